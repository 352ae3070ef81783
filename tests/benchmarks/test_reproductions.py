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
    import reproduction_claims
    import reproductions
finally:
    sys.path.remove(str(SCRIPTS))

CLAIMS = reproduction_claims.CLAIMS
PAGES = sorted({claim.page for claim in CLAIMS})


def row_of(test, difference, **further):
    return {**test._asdict(), "difference": difference, **further}


@pytest.fixture
def pages(repo, tmp_path):
    return shutil.copytree(repo / "docs" / "reproductions", tmp_path / "pages")


def cells(text, test, words):
    """The verdict in the line of a test, that of the claim's first test under its words."""
    found = [line for line in text.splitlines() if f"{test.of} - {test.against}, {test.metric}" in line]
    return [line.split("|")[4].strip() for line in found if f" {test.task}, {test.amount} " in line and words in line]


def test_pages_hold_what_the_script_writes(repo, pages):
    reproductions.main(["--pages", str(pages)])
    for page in ("index", *PAGES):
        assert (pages / f"{page}.md").read_text() == (repo / "docs" / "reproductions" / f"{page}.md").read_text(), page


def test_no_record_is_not_run(pages):
    (pages / "record.json").unlink(missing_ok=True)
    reproductions.main(["--pages", str(pages)])
    for page in PAGES:
        block = re.search(
            r"<!-- verdicts -->(.*)<!-- end of verdicts -->", (pages / f"{page}.md").read_text(), re.DOTALL
        )[1]
        rows = [line.split("|")[4].strip() for line in block.splitlines() if line.startswith("|")][2:]
        assert rows == ["not run yet"] * sum(len(claim.tests) for claim in CLAIMS if claim.page == page)


def test_verdicts(pages, tmp_path):
    micle, other, third, fourth = next(claim for claim in CLAIMS if claim.page == "micle").tests
    margin = next(claim for claim in CLAIMS if claim.margin)
    [first, *_] = margin.tests
    lungs = next(test for claim in CLAIMS for test in claim.tests if test.task == "lungs")
    record = {
        "tasks": {
            "kermany": {
                "name": "Kermany",
                "training": {"films": 9, "patients": 8},
                "test": {"films": 7, "patients": 6},
            },
            "corpus": {"films": 90, "patients": 80},
        },
        "figures": {lungs.of: {"lungs": {lungs.amount: {"value": [0.8, 0.7, 0.9], "difference": [0.04, 0.01, 0.07]}}}},
        "cost": {"date": "2026-12-01", "machine": {"processor": "a processor"}},
        "comparisons": [
            row_of(micle, [0.02, 0.001, 0.04], pretrainings=5),
            row_of(other, [0.01, -0.02, 0.04]),
            row_of(third, [-0.03, -0.05, -0.01]),
            row_of(fourth, None, no_figure="no draw holds a film of each class"),
            row_of(first, [0.11, 0.09, 0.13]),
            row_of(micle._replace(task="elsewhere"), [1, 1, 1]),
        ],
    }
    (tmp_path / "real_cxr.json").write_text(json.dumps(record))
    reproductions.main(["--record", str(tmp_path / "real_cxr.json"), "--pages", str(pages)])
    text = (pages / "micle.md").read_text()
    words = "MICLe is better than SimCLR"
    assert cells(text, micle, words) == ["shown, +0.020 (+0.001 to +0.040); 5 pretrainings of each"]
    assert cells(text, other, "″") == [
        "not shown, +0.010 (-0.020 to +0.040); a difference of about 0.030 could have been seen"
    ]
    assert cells(text, third, "″") == ["contradicted, -0.030 (-0.050 to -0.010)"]
    assert cells(text, fourth, "″") == ["not assessable: no draw holds a film of each class"]
    assert "| kermany: Kermany | 9 (8) " in text
    assert "2026-12-01, a processor. Pretrained on 90 films of 80 patients" in text
    # Against zero it is shown, against the margin of .10 not; what the record's own tables show is taken from there.
    spcxr = (pages / "spcxr.md").read_text()
    assert cells(spcxr, first, "SPCXR is better")[0].startswith("shown, +0.110")
    assert cells(spcxr, first, "by more than")[0].startswith("not shown, +0.110 (+0.090 to +0.130)")
    assert cells(spcxr, lungs, "lungs are")[0] == "shown, +0.040 (+0.010 to +0.070)"
    assert re.search(r"\[micle\]\(micle.md\) +\| 1 +\| 1 +\| 1 +\| 1 +\| 10 ", (pages / "index.md").read_text())
    # What is kept beside the pages gives them again.
    before = {path.name: path.read_bytes() for path in pages.iterdir()}
    reproductions.main(["--pages", str(pages)])
    assert {path.name: path.read_bytes() for path in pages.iterdir()} == before
