# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts on what the curricular paper claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["fraction_claims", "verdict", "verdict_words"]

_AUC, _ATTENTION = "macro_auc", "lung_attention_excess"
_NO_CURRICULUM = "no curriculum has a macro AUC on validation images, by which the best is chosen"


def verdict(figure: Mapping[str, Any], margin: float = 0.0) -> str:
    """Say ``"shown"`` (interval above the margin), ``"contradicted"`` (below), ``"not shown"`` or ``"not assessable"``.

    Example:
        >>> verdict({"value": 0.02, "ci_low": -0.01, "ci_high": 0.05})
        'not shown'
    """
    if figure.get("ci_low") is None:
        return "not assessable"
    return "shown" if figure["ci_low"] > margin else "contradicted" if figure["ci_high"] < margin else "not shown"


def verdict_words(figure: Mapping[str, Any], margin: float = 0.0) -> str:
    """Say the verdict with its difference and interval, of one that is not shown the size that could have been seen.

    Example:
        >>> verdict_words({"value": 0.02, "ci_low": -0.01, "ci_high": 0.05})
        'not shown, +0.020 (-0.010 to +0.050); a difference of about 0.030 could have been seen'
        >>> verdict_words({"reason": "not run yet"})
        'not assessable: not run yet'
    """
    judged = verdict(figure, margin)
    if judged == "not assessable":
        return f"{judged}: {figure.get('reason') or 'there is no interval'}"
    low, high = figure["ci_low"], figure["ci_high"]
    seen = f"; a difference of about {(high - low) / 2:.3f} could have been seen" if judged == "not shown" else ""
    return f"{judged}, {figure['value']:+.3f} ({low:+.3f} to {high:+.3f}){seen}"


def fraction_claims(
    fraction: float, rows: Sequence[Mapping[str, Any]], best: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """Judge the claims at one fraction of the labels, a sentence each.

    They are about the curriculum that is best on validation: its AUC against scratch, the best single task and every
    given start, such as ImageNet; its attention on the lungs against chance and these.

    Args:
        rows: of :func:`~monai_cxrssl.curricula.compare_starts`, of this fraction, scratch first.
        best: the best of ``"curriculum"`` and of ``"single task"`` on validation.

    Returns:
        ``fraction``, ``claim``, ``metric``, ``start``, ``value``, ``ci_low``, ``ci_high``, ``verdict`` and ``text`` of
        each.
    """
    name, single = best["curriculum"], best["single task"]
    row = next((row for row in rows if row["start"] == name), None)
    given = [other["start"] for other in rows if other["kind"] == "given"]
    words = {"scratch": "training from scratch", "best single": f"the best single task{f' ({single})' * bool(single)}"}
    missing = {"reason": _NO_CURRICULUM} if row is None else {"reason": "there is none to compare with"}

    def minus(reference: str, metric: str) -> Mapping[str, Any]:
        return missing if row is None else row["minus"].get(reference, {}).get(metric, missing)

    claims: list[tuple[str, str, Mapping[str, Any]]] = []
    for reference in (*words, *given):
        against = words.get(reference, reference)
        claims.append((f"has a higher AUC than {against}", _AUC, minus(reference, _AUC)))
    claims.append(("attends to the lungs more than chance", _ATTENTION, missing if row is None else row[_ATTENTION]))
    for reference in (*words, *given):
        against = words.get(reference, reference)
        claims.append((f"attends to the lungs more than {against}", _ATTENTION, minus(reference, _ATTENTION)))
    who = f"the best curriculum ({name})" if name else "the best curriculum"
    return [_claim(fraction, f"{who} {told}", name, metric, figure) for told, metric, figure in claims]


def _claim(fraction: float, words: str, name: str | None, metric: str, figure: Mapping[str, Any]) -> dict[str, Any]:
    value, low, high = (figure.get(key) for key in ("value", "ci_low", "ci_high"))
    return {
        "fraction": fraction, "claim": words, "metric": metric, "start": name, "value": value, "ci_low": low,
        "ci_high": high, "verdict": verdict(figure),
        "text": f"{100 * fraction:.6g} % of the labels: {words}: {verdict_words(figure)}.",
    }  # fmt: skip
