# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The verdicts of the reproduction pages: computed from the record, and those that stand on the pages."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
# The scripts are no package; they import each other from their own folder.
sys.path.insert(0, str(SCRIPTS))
try:
    import reproductions
finally:
    sys.path.remove(str(SCRIPTS))


def claim(paper, test, difference, margin=0.0):
    # The verdict of the record is not taken over.
    return {"claim": [paper, test, "Kermany"], "difference": difference, "verdict": "?", "margin": margin}


SIZES = {"training": {"films": 9, "patients": 8}, "test": {"films": 7, "patients": 6}}
RECORD = {
    "tasks": {
        "labelled": {"kermany": {"name": "Kermany, 3 classes", **SIZES}}, "masked": {},
        "corpus": {"films": 90, "patients": 80},
    },
    "figures": {"SimCLR": {"kermany probe 10 %": {"value": [0.8, 0.7, 0.9, 5], "difference": [0.04, 0.01, 0.07, 1]}}},
    "claims": [
        claim("MICLe", "A > B", [0.02, 0.001, 0.04, 5]),
        claim("MICLe", "C > D", [0.01, -0.02, 0.04, 1]),
        claim("MICLe", "E > F", [-0.03, -0.05, -0.01, 1]),
        claim("MICLe", "G > H", None),
        claim("SPCXR", "I > J +0.1", [0.11, 0.09, 0.13, 3], 0.1),
        claim("pixels", "K > L", [1, 1, 1, 1]),
    ],
    "cost": {"date": "2026-12-01", "machine": {"processor": "a processor"}},
}  # fmt: skip


@pytest.fixture
def pages(repo, tmp_path):
    return shutil.copytree(repo / "docs" / "reproductions", tmp_path / "pages")


def verdicts(path):
    """The rows of the marked table: test and verdict."""
    block = re.search(r"<!-- verdicts -->(.*)<!-- end of verdicts -->", path.read_text(), re.DOTALL)[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"]
    return {(row[0], row[1]): row[-1] for row in rows[2:]}


def test_pages_hold_what_the_script_writes(repo, pages):
    reproductions.main(["--pages", str(pages)])
    for page in ("index", *reproductions.PAGES):
        assert (pages / f"{page}.md").read_text() == (repo / "docs" / "reproductions" / f"{page}.md").read_text(), page
    assert {path.stem for path in pages.glob("*.md")} == {"index", *reproductions.PAGES}


def test_no_record_is_not_run(pages):
    (pages / "record.json").unlink(missing_ok=True)
    reproductions.main(["--pages", str(pages)])
    for path in pages.glob("*.md"):
        assert "<!-- verdicts -->\nNot run yet. Made by" in path.read_text()


def test_verdicts(pages, tmp_path):
    (tmp_path / "real_cxr.json").write_text(json.dumps(RECORD))
    reproductions.main(["--record", str(tmp_path / "real_cxr.json"), "--pages", str(pages)])
    assert verdicts(pages / "micle.md") == {
        ("A > B", "Kermany"): "shown, +0.020 (+0.001 to +0.040); 5 pairs of pretrainings",
        ("C > D", "Kermany"): "not shown, +0.010 (-0.020 to +0.040); a difference of about 0.030 could have been seen",
        ("E > F", "Kermany"): "contradicted, -0.030 (-0.050 to -0.010)",
        ("G > H", "Kermany"): "not run yet",
    }
    # Above zero, and yet not above its margin.
    assert verdicts(pages / "spcxr.md")["I > J +0.1", "Kermany"].startswith(
        "not shown, +0.110 (+0.090 to +0.130); a diff"
    )
    simclr = verdicts(pages / "simclrv2.md")
    of = "SimCLR > random encoder of its architecture"
    assert simclr[of, "kermany probe 10 %"] == "shown, +0.040 (+0.010 to +0.070)"
    assert simclr[of, "kermany fine-tuned 10 %"] == "not run yet"
    index = (pages / "index.md").read_text()
    assert "| [micle](micle.md) | 1 | 1 | 1 | 0 | 1 |" in index
    assert "| Kermany, 3 classes | 9 (8) | 7 (6) |" in index
    assert "2026-12-01, a processor. Pretrained on 90 images of 80 patients" in index
    # What is kept beside the pages gives them again.
    before = {path.name: path.read_bytes() for path in pages.iterdir()}
    reproductions.main(["--pages", str(pages)])
    assert {path.name: path.read_bytes() for path in pages.iterdir()} == before
