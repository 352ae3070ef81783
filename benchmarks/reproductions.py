# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts on the papers' claims, computed from the benchmark of record and put into the reproduction pages.

    python benchmarks/reproductions.py --record real_cxr.json

The differences are those of the record: its ``"claims"``, and for papers of which it has none, rows less the random
encoder of their architecture, from its ``"figures"``. A claim is *shown* where the interval lies above zero (or above
the claim's margin), *contradicted* where it lies below, *not shown* where it holds zero, with the difference that could
have been seen, and *not run yet* where the record has no such figure. What the pages are made of is kept beside them,
``docs/reproductions/record.json``, and taken from there without ``--record``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from page_marks import into_page

from monai_cxrssl.curricula.claims import verdict, verdict_words
from monai_cxrssl.files import write_json

__all__ = ["PAGES", "excerpt", "fill"]

FOLDER = Path(__file__).parents[1] / "docs" / "reproductions"
ABSENT = "not run yet"
VERDICTS = ("shown", "not shown", "contradicted", "not assessable", ABSENT)
MADE_BY = "Made by `python benchmarks/reproductions.py --record FILE` from the [benchmark of record](../real_cxr.md)."
SHORT = ("kermany probe 10 %", "kermany fine-tuned 10 %", "chestxray14 probe 10 %", "chestxray14 fine-tuned 10 %")
#: Pneumonia of adults learnt, of children scored: by a probe, and fine-tuned.
TO_CHILDREN = ("kermany shift 100 %", "chestxray14 fine-tuned 100 % shift")
DRIFTS = tuple(f"kermany fine-tuned 10 % {drift}" for drift in ("contrast", "noise", "blur"))
#: By page, whose claims of the record stand there, and which figures of which rows less the random encoder's.
PAGES: dict[str, tuple[str | None, dict[str, Sequence[str]]]] = {
    "micle": ("MICLe", {}),
    "curricular": ("curricular", {}),
    "spcxr": ("SPCXR", {"SPCXR (SiT)": (*SHORT, *DRIFTS)}),
    "fine_grained_covid": ("fine-grained", {}),
    "simclrv2": (None, {"SimCLR": SHORT, "SimCLR, distilled": SHORT[1::2]}),
    "eva_x": (None, {"EVA-X form, ImageNet teacher": SHORT}),
    "paediatric_tb": (None, {"MAE": TO_CHILDREN, "DINO": TO_CHILDREN}),
}


def excerpt(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the pages need of a record: images, date, machine, and by page the tests with what came of them."""
    pages: dict[str, list[dict[str, Any]]] = {}
    for page, (paper, rows) in PAGES.items():
        pages[page] = [
            {"claim": claim["claim"][1:], "difference": claim["difference"], "margin": claim.get("margin", 0.0)}
            for claim in record.get("claims", ())
            if claim["claim"][0] == paper
        ]
        for row, names in rows.items():
            for name in names:
                difference = record.get("figures", {}).get(row, {}).get(name, {}).get("difference")
                claim = [f"{row} > random encoder of its architecture", name]
                pages[page].append({"claim": claim, "difference": difference, "margin": 0.0})
    tasks, cost = record.get("tasks", {}), record.get("cost", {})
    sizes = [
        [task["name"], *(f"{task[split]['films']} ({task[split]['patients']})" for split in ("training", "test"))]
        for kind in ("labelled", "masked")
        for task in tasks.get(kind, {}).values()
    ]
    return {
        "date": cost.get("date"), "processor": cost.get("machine", {}).get("processor"),
        "corpus": {name: tasks.get("corpus", {}).get(name) for name in ("films", "patients")}, "tasks": sizes,
        "pages": pages,
    }  # fmt: skip


def judged(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the verdict on a test, and the verdict in words."""
    if row["difference"] is None:
        return ABSENT, ABSENT
    value, low, high, *pretrainings = row["difference"]
    figure = {"value": value, "ci_low": low, "ci_high": high}
    words = verdict_words(figure, row["margin"])
    if pretrainings and pretrainings[0] > 1:
        words += f"; {pretrainings[0]} pairs of pretrainings"
    return verdict(figure, row["margin"]), words


def page_text(kept: Mapping[str, Any], page: str) -> str:
    """Return the tests of a page's claims with their verdicts."""
    rows = [["test", "on", "verdict"], ["---"] * 3]
    rows += [[*row["claim"], judged(row)[1]] for row in kept["pages"][page]]
    return f"{_where(kept)} The images of each task: [index](index.md).\n\n{_table(rows)}\n\n{MADE_BY}"


def index_text(kept: Mapping[str, Any]) -> str:
    """Return the images, and the counts of verdicts by page."""
    rows = [["page", *VERDICTS], ["---"] * (1 + len(VERDICTS))]
    for page, tests in kept["pages"].items():
        counts = Counter(judged(row)[0] for row in tests)
        rows.append([f"[{page}]({page}.md)", *(str(counts[name]) for name in VERDICTS)])
    films = [["task", "to learn from: images (patients)", "scored on: images (patients)"], ["---"] * 3, *kept["tasks"]]
    return f"{_where(kept)}\n\n{_table(rows)}\n\n{_table(films)}\n\n{MADE_BY}"


def _where(kept: Mapping[str, Any]) -> str:
    corpus = kept["corpus"]
    return (
        f"{kept['date']}, {kept['processor']}. Pretrained on {corpus['films']} images of {corpus['patients']} "
        "patients, none of whom is scored."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def fill(folder: Path, kept: Mapping[str, Any] | None) -> None:
    """Put the verdicts into every page, and their counts into the index."""
    for page in PAGES:
        text = f"Not run yet. {MADE_BY}" if kept is None else page_text(kept, page)
        into_page(folder / f"{page}.md", text, "verdicts")
    into_page(folder / "index.md", f"Not run yet. {MADE_BY}" if kept is None else index_text(kept), "verdicts")


def main(words: list[str] | None = None) -> None:
    """Fill the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, help="real_cxr.json; by default what was kept of the last one")
    parser.add_argument("--pages", type=Path, default=FOLDER, help="folder of the pages")
    options = parser.parse_args(words)
    file = options.pages / "record.json"
    if options.record:
        write_json(excerpt(json.loads(options.record.read_text(encoding="utf-8"))), file)
    fill(options.pages, json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None)


if __name__ == "__main__":
    main()
