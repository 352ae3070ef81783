# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every option that a page names is one of a bundle, of a command or of a script here, or of a program named below."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGES = [
    REPO / "README.md",
    *(path for path in sorted((REPO / "docs").rglob("*.md")) if "_build" not in path.parts),
    *sorted((REPO / "bundles").glob("*/docs/README.md")),
]
OTHERS = {
    "torchrun": "nnodes node_rank nproc_per_node master_addr master_port standalone rdzv_id rdzv_backend rdzv_endpoint",
    "SLURM": "job-name nodes ntasks-per-node gpus-per-node cpus-per-task",
    "MONAI Label": "app studies conf port download ssl_certfile",
    "monai.bundle": "id net_id filepath ckpt_file meta_file precision use_trace tracking tracking_uri experiment_name run_name",
    "docker": "shm-size",
}


@pytest.fixture(scope="module")
def known() -> set[str]:
    found = set(" ".join(OTHERS.values()).split())
    for path in (REPO / "bundles").rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            found |= content.keys()
            if path.name == "recipes.json":
                found |= {name for recipe in content.values() for name in recipe}
    scripts = [(REPO / "monai_cxrssl").rglob("*.py"), (REPO / "benchmarks").glob("*.py"), (REPO / "docs").rglob("*.py")]
    for path in (path for folder in scripts for path in folder):
        found |= set(re.findall(r"[\"']--([\w-]+)[\"']", path.read_text(encoding="utf-8")))
    # argparse turns dashes into underscores, and a flag into one that can be negated.
    return found | {name.replace("-", "_") for name in found} | {f"no-{name}" for name in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_options_exist(known, page):
    text = page.read_text(encoding="utf-8")
    if page.name == "options.md":
        # What its table shows is wrong on purpose; tests/runs/test_wrong_options.py reads it.
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("| `"))
    options = set(re.findall(r"(?<![\w-])--([a-zA-Z][\w-]*)", text))
    assert sorted(options - known) == []


def test_options_are_found(known):
    assert {"recipe", "cache_dir", "ignore_official", "check_images"} <= known
    assert "base_learning_rat" not in known
