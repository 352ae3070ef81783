# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts on the papers' claims, computed from the benchmark of record and put into the reproduction pages.

    python benchmarks/reproductions.py --record real_cxr.json

The record holds, beside what its own page shows, ``"comparisons"``: a list of ``{"of", "against", "task", "amount",
"metric", "difference": [value, low, high], "pretrainings": n}``, one for each of ``reproduction_claims.comparisons()``
that was run; ``"difference": null`` with ``"no_figure"`` says why there is none. A claim is *shown* where the interval
lies above zero (or above the claim's margin), *contradicted* where it lies below, *not shown* where it holds zero, with
the difference that could have been seen, and *not run yet* where the record has no such figure. What the pages are made
of is kept beside them, ``docs/reproductions/record.json``, and taken from there without ``--record``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page_marks import into_page
from real_table import aligned
from reproduction_claims import AUC, CLAIMS, DICE, RANDOM, Claim, Comparison, comparisons

from monai_cxrssl.curricula.claims import verdict, verdict_words
from monai_cxrssl.files import write_json

__all__ = ["excerpt", "fill", "index_text", "page_text"]

PAGES = Path(__file__).parents[1] / "docs" / "reproductions"
ABSENT = "not run yet"
VERDICTS = ("shown", "not shown", "contradicted", "not assessable", ABSENT)
MADE_BY = "Made by `python benchmarks/reproductions.py --record FILE` from the [benchmark of record](../real_cxr.md)."


def excerpt(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the pages need of a record: films, date, machine, and the comparisons of the claims."""
    asked = set(comparisons())
    found = {
        key: row
        for row in record.get("comparisons", ())
        if (key := Comparison(*map(row.get, Comparison._fields))) in asked
    }
    for test in sorted(asked - found.keys()):
        if test.against == RANDOM and test.metric in (AUC, DICE):
            # What the record's own tables show: each row less the random encoder of its architecture.
            cell = record.get("figures", {}).get(test.of, {}).get(test.task, {}).get(test.amount, {})
            if "difference" in cell:
                found[test] = {**test._asdict(), "difference": cell["difference"]}
    cost = record.get("cost", {})
    return {
        "tasks": record.get("tasks", {}), "cost": {"date": cost.get("date"), "machine": cost.get("machine", {})},
        "comparisons": [found[test] for test in comparisons() if test in found],
    }  # fmt: skip


def figure_of(record: Mapping[str, Any], test: Comparison) -> Mapping[str, Any] | None:
    """Return ``{"value", "ci_low", "ci_high"}`` or ``{"reason"}`` of a comparison, ``None`` where it was not run."""
    for row in record.get("comparisons", ()):
        if Comparison(*map(row.get, Comparison._fields)) == test:
            if row.get("difference") is None:
                return {"reason": row.get("no_figure")}
            figure = dict(zip(("value", "ci_low", "ci_high"), row["difference"], strict=True))
            return figure | {"pretrainings": row.get("pretrainings", 1)}
    return None


def judged(record: Mapping[str, Any], claim: Claim) -> list[tuple[Comparison, str, str]]:
    """Return each test of a claim with its verdict, and with that verdict in words."""
    found = []
    for test in claim.tests:
        figure = figure_of(record, test)
        if figure is None:
            found.append((test, ABSENT, ABSENT))
        else:
            told = verdict_words(figure, claim.margin)
            if figure.get("pretrainings", 1) > 1:
                told += f"; {figure['pretrainings']} pretrainings of each"
            found.append((test, verdict(figure, claim.margin), told))
    return found


def page_text(record: Mapping[str, Any], page: str) -> str:
    """Return what was run for a page on which films, and the verdicts on its claims."""
    claims = [claim for claim in CLAIMS if claim.page == page]
    parts = [_setting(record, claims)]
    rows = [["claim", "tested as", "task", "verdict"]]
    for claim in claims:
        words = claim.words
        for test, _, told in judged(record, claim):
            rows.append([words, f"{test.of} - {test.against}, {test.metric}", f"{test.task}, {test.amount}", told])
            words = "″"
    return "\n\n".join([*parts, aligned(rows), MADE_BY])


def index_text(record: Mapping[str, Any]) -> str:
    """Return the counts of verdicts by page."""
    rows = [["page", *VERDICTS]]
    for page in dict.fromkeys(claim.page for claim in CLAIMS):
        counts = Counter(of for claim in CLAIMS if claim.page == page for _, of, _ in judged(record, claim))
        rows.append([f"[{page}]({page}.md)", *(str(counts[name]) for name in VERDICTS)])
    return f"{aligned(rows)}\n\n{MADE_BY}"


def _setting(record: Mapping[str, Any], claims: list[Claim]) -> str:
    """The films and the machine, of the tasks that the claims are tested on."""
    if not record:
        return "Not run yet: none of the figures below is there."
    tasks = record["tasks"]
    names = dict.fromkeys(test.task for claim in claims for test in claim.tests)
    rows = [["task", "to learn from: films (patients)", "scored on: films (patients)"]]
    for key in names:
        if key in tasks:
            sizes = [
                f"{tasks[key][split]['films']} ({tasks[key][split]['patients']})" for split in ("training", "test")
            ]
            rows.append([f"{key}: {tasks[key]['name']}", *sizes])
    cost, corpus = record["cost"], tasks.get("corpus")
    told = f"{cost['date']}, {cost['machine'].get('processor', 'processor unknown')}."
    if corpus:
        told += f" Pretrained on {corpus['films']} films of {corpus['patients']} patients, none of them scored."
    return f"{told}\n\n{aligned(rows)}" if len(rows) > 1 else told


def fill(pages: Path, record: Mapping[str, Any]) -> None:
    """Put the verdicts into every page, and their counts into the index."""
    for page in dict.fromkeys(claim.page for claim in CLAIMS):
        into_page(pages / f"{page}.md", page_text(record, page), "verdicts")
    into_page(pages / "index.md", index_text(record), "verdicts")


def main(words: list[str] | None = None) -> None:
    """Fill the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, help="real_cxr.json; by default what was kept of the last one")
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder of the pages")
    options = parser.parse_args(words)
    kept = options.pages / "record.json"
    if options.record:
        write_json(excerpt(json.loads(options.record.read_text(encoding="utf-8"))), kept)
    fill(options.pages, json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {})


if __name__ == "__main__":
    main()
