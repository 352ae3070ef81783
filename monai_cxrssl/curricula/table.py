# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Table of starts by AUC and lung attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["comparison_table"]

_PARTS = {
    "AUC": [("macro AUC", "macro_auc")],
    "Attention": [("pointing", "pointing"), ("IoU", "saliency_iou"), ("PFS", "pfs"),
                  ("lung area (chance)", "lung_area"), ("PFS minus chance", "lung_attention_excess")],
}  # fmt: skip
#: What differences are from, in every comparison.
_FIRST = ("scratch", "best single")
#: Figures that stand beside others, without an interval of their own.
_BARE = frozenset({"pfs", "lung_area", "pointing", "saliency_iou"})


def comparison_table(report: Mapping[str, Any], markdown: bool = False) -> str:
    """Lay out AUC, then attention, of each fraction, a row per start; then the verdicts and what to know of them.

    Args:
        report: what :func:`~monai_cxrssl.curricula.compare_starts` returns.
    """
    parts: list[str] = []
    for chosen in report["chosen"]:
        rows = [row for row in report["rows"] if row["fraction"] == chosen["fraction"]]
        best = [chosen["best_single"], chosen["best_curriculum"]]
        there = dict.fromkeys(words for row in rows for words in row["minus"])
        references = [
            *(words for words in _FIRST if words in there),
            *(words for words in there if words not in _FIRST),
        ]
        for title, columns in _PARTS.items():
            heading = f"{title}, {100 * chosen['fraction']:.6g} % of the labels"
            # The last of the columns is what is compared.
            compared = columns[-1][1]
            cells = [["start", "kind", *(words for words, _ in columns), *(f"minus {words}" for words in references)]]
            for row in rows:
                entries = [_entry(row[metric], metric) for _, metric in columns]
                entries += [_entry(row["minus"].get(words, {}).get(compared), compared, "+") for words in references]
                cells.append([row["start"] + " *" * (row["start"] in best), row["kind"], *entries])
            parts.append("\n".join([f"**{heading}**" if markdown else heading, "", *_lines(cells, markdown)]))
    sentences = [claim["text"] for claim in report["claims"]]
    test = report["test"]
    notes = [
        f"Scored on {test['images']} test images of {test['patients']} patients. * best single task and best "
        "curriculum on validation. PFS: share of the saliency that lies on the lungs; pointing: share of the images "
        "whose highest saliency does; IoU: of the lungs and the most salient fifth.",
        *report["notes"],
        *(f"Left out: {cell}: {reason}." for cell, reason in report["problems"].items()),
    ]
    for title, texts in (("Claims", sentences), ("Notes", notes)):
        parts.append("\n".join([f"**{title}**" if markdown else title, "", *("- " + text for text in texts)]))
    return "\n\n".join(parts)


def _entry(figure: Mapping[str, Any] | None, metric: str, sign: str = "") -> str:
    if figure is None:
        return ""
    if figure["value"] is None:
        return "no result" if not figure["draws"] else "not assessable"
    sign = "+" if metric == "lung_attention_excess" else sign
    text = f"{figure['value']:{sign}.3f}"
    if metric in _BARE:
        return text
    if figure["ci_low"] is None:
        return f"{text} [no interval]"
    return f"{text} [{figure['ci_low']:{sign}.3f}, {figure['ci_high']:{sign}.3f}]"


def _lines(cells: Sequence[Sequence[str]], markdown: bool) -> list[str]:
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        return [lines[0], "|---" * len(cells[0]) + "|", *lines[1:]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
