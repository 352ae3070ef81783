# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Import contracts, size of rooms and files, first lines of modules."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from importlinter.api import read_configuration

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


def test_the_contracts_protect_what_there_is() -> None:
    """A contract passes over an inner module that is gone, so that its successor would go unprotected."""
    contracts = read_configuration(str(REPOSITORY / "pyproject.toml"))["contracts_options"]
    protected = [name for options in contracts for name in options.get("protected_modules", [])]
    assert len(protected) > 20
    places = [REPOSITORY / name.replace(".", "/") for name in protected]
    assert [str(path) for path in places if not (path.is_dir() or path.with_suffix(".py").is_file())] == []


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
            "import monai_cxrssl.checkpoints.random_state",
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


def test_a_module_is_named_in_at_most_twelve_words() -> None:
    first_lines = {
        str(path.relative_to(PACKAGE)): (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
        for path in FILES
        if "layouts" not in path.parts  # These begin with what the data set is.
    }
    assert {name: line for name, line in first_lines.items() if not 0 < len(line.split()) <= 12} == {}


def imports_by_ast(package: str) -> dict[str, list[str]]:
    """Imports between the rooms of a package, read from the statements alone."""
    folder = REPOSITORY / package.replace(".", "/")
    rooms = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    rooms -= {"__init__", "__main__"}
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for path in folder.rglob("*.py"):
        room = path.relative_to(folder).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names]
            inside = {
                name.removeprefix(f"{package}.").split(".")[0] for name in names if name.startswith(f"{package}.")
            }
            found.get(room, set()).update(inside & rooms - {room})
    return {room: sorted(others) for room, others in sorted(found.items())}


def test_the_picture_shows_the_imports_of_the_package() -> None:
    drawn = json.loads((REPOSITORY / "docs" / "images" / "architecture.json").read_text("utf-8"))
    present = {package: imports_by_ast(package) for package in ("monai_cxrssl", "monai_cxrssl.data")}
    assert drawn == present, "Run python docs/make_architecture_figure.py."


def test_the_page_names_what_there_is() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
    names = re.findall(r"`((?:[a-z]\w*\.)+[A-Za-z]\w*)`", page)
    names = [name for name in names if (PACKAGE / name.split(".")[0]).is_dir() and not name.endswith((".json", ".csv"))]
    assert len(names) > 25
    for name in names:
        *folders, module = re.match(r"[a-z_0-9.]+?(?=\.[A-Z]|\.\w+$)", name)[0].split(".")
        text = PACKAGE.joinpath(*folders, f"{module}.py").read_text("utf-8")
        for defined in name.split(".")[len(folders) + 1 :]:
            assert re.search(rf"^\s*(class|def) {defined}\b", text, flags=re.MULTILINE), name
