# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What an import of the package, its rooms and its command line may bring along; no timing, see benchmarks/imports.py."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "captum",
    "highdicom",
    "imagecodecs",
    "ignite",
    "itk",
    "lightly",
    "matplotlib",
    "monai",
    "nibabel",
    "onnx",
    "onnxruntime",
    "pandas",
    "pydicom",
    "scipy",
    "segmentation_models_pytorch",
    "skimage",
    "sklearn",
    "tensorboard",
    "timm",
    "torch",
    "torchvision",
)
ROOMS = (
    "data", "phantom", "transforms", "networks", "losses", "methods", "metrics", "hardware", "optim", "probing", "checkpoints",
    "handlers", "engines", "runs", "report", "label_efficiency", "curricula", "tuning", "apps",
)  # fmt: skip


def loaded(*statements: str) -> list[set[str]]:
    """Top-level modules in memory after each statement, in one new process."""
    told = "import json, sys; print('loaded', json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    code = "\n".join(line for statement in statements for line in (statement, told))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [set(json.loads(line[7:])) for line in done.stdout.splitlines() if line.startswith("loaded ")]


HELP = """
from monai_cxrssl.apps.cli.main import main
try:
    main({words!r})
except SystemExit as left:
    assert left.code == 0
"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("import monai_cxrssl", id="package"),
        pytest.param(HELP.format(words=["--help"]), id="help"),
        pytest.param(HELP.format(words=["split", "--help"]), id="help of a command"),
        pytest.param(
            "from monai_cxrssl.apps.cli.main import main\nassert main(['train', '--help']) == 0", id="bundles"
        ),
    ],
)
def test_the_package_and_its_help_load_nothing_heavy(statement: str) -> None:
    (modules,) = loaded(statement)
    assert "monai_cxrssl" in modules
    assert not modules & set(HEAVY)


def test_the_rooms_load_nothing_heavy_that_monai_does_not() -> None:
    # What the data room offers is imported when it is asked for.
    rooms = (
        "import "
        + ", ".join(f"monai_cxrssl.{room}" for room in ROOMS)
        + "\n"
        + "\n".join(f"from monai_cxrssl.{room} import *" for room in ROOMS)
    )
    before, after = loaded("import monai", rooms)
    assert "monai_cxrssl" in after - before
    assert not (after - before) & set(HEAVY)


def test_commands_on_lists_and_films_need_neither_torch_nor_monai(tmp_path, monkeypatch) -> None:
    """They would take ten seconds to import where the work takes one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("film,finding\nPHANTOM00000_1_PA,ill\nPHANTOM00000_1_AP,ill\n")
    commands = (
        "phantom images --patients 4 --size 64",
        "index images --out d.json",
        "label d.json t.csv --out l.json --match film=file --label_column finding --replace",
        "split d.json --out s.json",
        "audit s.json",
        "show d.json --out sheet.png",
        "cache d.json --out cache --side 64",
    )
    run = "assert main({words!r}) == 0, {words!r}"
    statements = [run.format(words=command.split()) for command in commands]
    modules = loaded("from monai_cxrssl.apps.cli.main import main", *statements)
    for command, found in zip(("import", *commands), modules, strict=True):
        assert not found & {"monai", "torch", "ignite"}, command
