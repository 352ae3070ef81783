# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every wrong option of docs/options.md ends in its sentence, before anything is trained."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue
from monai.bundle import ConfigWorkflow

from monai_cxrssl.apps import clear_sentence
from monai_cxrssl.engines import MethodTrainer

REPO = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (REPO / "docs" / "options.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]


def test_page_shows_many():
    assert len(ROWS) >= 30
    assert len({options for _, options, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("bundle", "options", "sentence"), ROWS, ids=lambda text: re.sub(r"[^\w=]+", "_", text)[:40])
def test_sentence(bundle, options, sentence, few_films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MethodTrainer, "run", lambda self: pytest.fail("it trains"))
    # shlex would take what follows # for a comment.
    name, value = shlex.split(options.strip("`").replace("#", "\0"))
    given = {"dataset_dir": str(few_films), name[2:].replace("\0", "#"): DefaultParseValue(value)}
    config = REPO / "bundles" / bundle.strip("`") / "configs" / "train.json"
    with pytest.raises(Exception) as caught:
        workflow = ConfigWorkflow(str(config), logging_file=False, workflow_type="train", output_dir="out", **given)
        workflow.initialize()
        workflow.run()
    assert clear_sentence(caught.value) == sentence


@pytest.mark.parametrize("config", ["evaluate", "inference"])
@pytest.mark.parametrize("bundle", ["micle", "multitask"])
def test_other_configs(bundle, config, few_films, tmp_path):
    path = REPO / "bundles" / bundle / "configs" / f"{config}.json"
    workflow = ConfigWorkflow(
        str(path), logging_file=False, workflow_type="infer", dataset_dir=str(few_films), batchsize=3
    )  # fmt: skip
    with pytest.raises(Exception) as caught:
        workflow.initialize()
    assert clear_sentence(caught.value) == "--batchsize is no option of this bundle. Did you mean --batch_size?"
