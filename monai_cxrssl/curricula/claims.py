# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts on what the curricular paper claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["fraction_claims", "verdict"]

_AUC, _ATTENTION = "macro_auc", "lung_attention_excess"
_NO_CURRICULUM = "no curriculum has a macro AUC on validation films, by which the best is chosen"


def verdict(figure: Mapping[str, Any]) -> str:
    """Return ``"shown"`` (interval above 0), ``"contradicted"`` (below), ``"not shown"`` or ``"not assessable"``.

    Example:
        >>> verdict({"value": 0.02, "ci_low": -0.01, "ci_high": 0.05})
        'not shown'
    """
    if figure.get("ci_low") is None:
        return "not assessable"
    return "shown" if figure["ci_low"] > 0 else "contradicted" if figure["ci_high"] < 0 else "not shown"


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
    judged = verdict(figure)
    value, low, high = (figure.get(key) for key in ("value", "ci_low", "ci_high"))
    if judged == "not assessable":
        told = f": {figure.get('reason') or 'there is no interval'}"
    else:
        assert value is not None
        assert low is not None
        assert high is not None
        told = f", {value:+.3f} ({low:+.3f} to {high:+.3f})"
        if judged == "not shown":
            told += f"; a difference of about {(high - low) / 2:.3f} could have been seen"
    return {
        "fraction": fraction, "claim": words, "metric": metric, "start": name, "value": value, "ci_low": low,
        "ci_high": high, "verdict": judged, "text": f"{100 * fraction:.6g} % of the labels: {words}: {judged}{told}.",
    }  # fmt: skip
