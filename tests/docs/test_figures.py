# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The scripts that draw the pictures of the pages run, and draw pictures of the size that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
FIGURES = {
    "make_architecture_figure": "architecture.png",
    "make_flow_figure": "flow.png",
    "make_method_figures": "methods",
    "make_phantom_contact_sheet": "phantom_contact_sheet.png",
    "make_views_figure": "multi_view.png",
}
#: Drawn from what a run left, not from nothing.
OF_A_RUN = {"make_report_screenshot", "make_reliability_table"}


def test_every_script_is_accounted_for():
    assert {path.stem for path in DOCS.glob("make_*.py")} == FIGURES.keys() | OF_A_RUN


@pytest.mark.slow
@pytest.mark.parametrize(("script", "made"), FIGURES.items())
def test_figure(tmp_path, warm_python, script, made):
    result = warm_python.run([f"docs/{script}.py", "--output", tmp_path / made], DOCS.parent, MPLBACKEND="Agg")
    assert result.returncode == 0, result.stderr[-3000:]
    there = sorted((DOCS / "images" / made).glob("*.png")) if made == "methods" else [DOCS / "images" / made]
    for path in there:
        drawn = tmp_path / path.relative_to(DOCS / "images")
        with Image.open(drawn) as new, Image.open(path) as old:
            assert new.size == old.size
