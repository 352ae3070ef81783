# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the tutorials' notebooks that tests compare."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

__all__ = ["NOTEBOOKS", "code_cells", "pictures", "prose", "run_notebooks", "unsupported_numbers"]

_SCRIPT = Path(__file__).parents[2] / "docs" / "run_notebooks.py"
_spec = importlib.util.spec_from_file_location("run_notebooks", _SCRIPT)
assert _spec is not None
assert _spec.loader is not None
run_notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_notebooks)

NOTEBOOKS: list[Path] = run_notebooks.NOTEBOOKS
_NUMBER = r"\d+(?:\.\d+)?"


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: Any) -> str:
    """Return what stands between the cells of code."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def pictures(notebook: Any) -> list[str]:
    """Return the PNGs of the outputs, in base 64."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def unsupported_numbers(notebook: Any) -> list[str]:
    """Return the numbers of the prose that neither stand in code nor came out of it."""
    said = re.sub(r"\]\([^)]*\)|`[^`]*`|^#+ \d+\.", " ", prose(notebook), flags=re.MULTILINE)
    known = [cell.source for cell in code_cells(notebook)]
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
            known.append(str(output.get("text", "")) + json.dumps(data))
    there = set(re.findall(_NUMBER, " ".join(known)))
    return [number for number in re.findall(rf"(?<![\w.-]){_NUMBER}(?![\w-])", said) if number not in there]
