# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Import contracts, size of rooms and files, first lines of modules."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "monai_cxrssl"
FILES = sorted(PACKAGE.rglob("*.py"))


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of a folder's pyproject.toml on the package in it."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run([*command, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_contracts_hold() -> None:
    checked = lint_imports(REPOSITORY)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert ", 0 broken." in checked.stdout


@pytest.mark.parametrize(
    ("file", "statement", "contract"),
    [
        pytest.param(
            "data/reading/film.py",
            "from monai_cxrssl.engines.trainer import MethodTrainer",
            "Rooms of the package, from top to bottom",
            id="upward import",
        ),
        pytest.param(
            "data/reading/film.py",
            "from monai_cxrssl.data.datalists.datalist import Datalist",
            "Rooms of data",
            id="upward import between rooms of data",
        ),
        pytest.param(
            "transforms/io/load.py",
            "def load():\n    from monai_cxrssl.data.reading.dicom_pixels import decode",
            "Inner modules of data.reading",
            id="inner module, in a function",
        ),
        pytest.param(
            "runs/stage.py",
            "import monai_cxrssl.checkpoints.folder_lock",
            "Inner modules of checkpoints",
            id="inner module of another room",
        ),
        pytest.param(
            "phantom/canvas.py",
            "from monai_cxrssl.phantom import frontal",
            "No circle of rooms or modules",
            id="circle",
        ),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, file: str, statement: str, contract: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    with (tmp_path / PACKAGE.name / file).open("a") as stream:
        stream.write(f"\n\n{statement}\n")
    checked = lint_imports(tmp_path)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert f"{contract} BROKEN" in checked.stdout


def test_no_room_holds_more_than_twenty_files() -> None:
    rooms = Counter(str(path.parent.relative_to(PACKAGE)) for path in FILES)
    assert {room: count for room, count in rooms.items() if count > 20} == {}


def test_no_file_has_more_than_400_lines() -> None:
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_module_imports_a_private_name_of_another() -> None:
    imported = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {name.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name)
        for name in node.names
        if name.name.startswith("_") and not name.name.startswith("__")
    ]
    assert imported == []


@pytest.mark.xfail(strict=False, reason="The docstrings of all modules are still being shortened.")
def test_a_module_is_named_in_at_most_twelve_words() -> None:
    first_lines = {
        str(path.relative_to(PACKAGE)): (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
        for path in FILES
    }
    assert {name: line for name, line in first_lines.items() if not 0 < len(line.split()) <= 12} == {}
