# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The criteria by which a model is judged before use: what each asks, and whether the figures of a run meet it.

The defaults stand, each with its reason, in ``criteria.json`` beside this file. A file of one's own changes them::

    {"criteria": {"discrimination": {"at_least": 0.9}, "segmentation": null,
                  "unreadable": {"title": "Share of unreadable films", "figure": "unreadable_share", "at_most": 0.01,
                                 "reason": "Every film counts here."}}}

It names what differs: other values of a criterion, null to leave one out, and new ones in full.
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError

__all__ = ["Criterion", "CriterionRule", "evaluate_criteria", "load_criteria", "overall_sentence"]

_DEFAULTS = Path(__file__).with_name("criteria.json")
_BOUNDS = {
    "at_least": (operator.ge, "at least"),
    "at_most": (operator.le, "at most"),
    "above": (operator.gt, "above"),
    "below": (operator.lt, "below"),
}
_WORDS = ("title", "figure", "reason")


@dataclass(frozen=True)
class CriterionRule:
    """What one criterion asks.

    Attributes:
        name: of the criterion.
        title: the figure in words.
        figure: its key among the figures of a run.
        bound: ``"at_least"``, ``"at_most"``, ``"above"`` or ``"below"``.
        threshold: the number that the bound speaks of.
        reason: why this threshold.
        remedy: what to bring when the figure is missing; may be empty.
    """

    name: str
    title: str
    figure: str
    bound: str
    threshold: float
    reason: str
    remedy: str = ""

    @property
    def asks(self) -> str:
        """The threshold in words, such as ``"at least 0.8"``."""
        return f"{_BOUNDS[self.bound][1]} {self.threshold:g}"


@dataclass(frozen=True)
class Criterion:
    """How a model fares by one criterion.

    Attributes:
        name: of the criterion.
        title: the figure in words.
        threshold: what is asked, in words.
        value: the figure; None where it is not assessable.
        verdict: ``"pass"``, ``"fail"`` or ``"not assessable"``.
        reason: the verdict in a sentence.
        why: why this threshold.
    """

    name: str
    title: str
    threshold: str
    value: float | None
    verdict: str
    reason: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Its attributes, plain JSON values."""
        return asdict(self)


def load_criteria(path: str | os.PathLike | None = None) -> list[CriterionRule]:
    """Read the criteria, the package's own with what a file of the user's changes.

    Args:
        path: the user's file, see above; None: the defaults as they are.

    Raises:
        ConfigurationError: a file that is missing or no JSON, an unknown or missing key, a value of another type, or
            no criterion left.
    """
    found = _read(_DEFAULTS)
    if path is not None:
        for name, own in _read(Path(path)).items():
            if own is None:
                if found.pop(name, None) is None:
                    raise ConfigurationError(
                        f"{path} leaves out the criterion {name!r}, which is none; choose from {', '.join(found)}."
                    )
                continue
            base = found.get(name, {})
            if isinstance(own, dict) and set(own) & set(_BOUNDS):
                # Else a criterion that is turned round would have two bounds.
                base = {key: value for key, value in base.items() if key not in _BOUNDS}
            found[name] = {**base, **own} if isinstance(own, dict) else own
    if not found:
        raise ConfigurationError(f"{path} leaves no criterion; keep at least one.")
    where = str(_DEFAULTS if path is None else path)
    return [_rule(name, content, where) for name, content in found.items()]


def evaluate_criteria(
    figures: Mapping[str, Any], criteria: Sequence[CriterionRule], missing: Mapping[str, str] | None = None
) -> list[Criterion]:
    """Judge the figures of a run.

    Args:
        figures: flat, as in ``metrics.json``; a figure that is absent, None or not finite is not assessable.
        criteria: from :func:`load_criteria`.
        missing: why a figure is missing, half a sentence by its key, for the reasons.

    Returns:
        One verdict per criterion, in their order.
    """
    return [_judge(rule, figures.get(rule.figure), (missing or {}).get(rule.figure)) for rule in criteria]


def overall_sentence(results: Sequence[Criterion]) -> str:
    """Sum the verdicts up; never as a bare "ready", since no test set can say that.

    Args:
        results: from :func:`evaluate_criteria`.
    """
    failed = [result.name for result in results if result.verdict == "fail"]
    unknown = [result.name for result in results if result.verdict == "not assessable"]
    total, passed = len(results), len(results) - len(failed) - len(unknown)
    counts = f"Of {total} criteria, {passed} {'passes' if passed == 1 else 'pass'}"
    if failed:
        counts += f", {len(failed)} {'fails' if len(failed) == 1 else 'fail'} ({_listed(failed)})"
    if unknown:
        counts += f", {len(unknown)} could not be assessed ({_listed(unknown)})"
    if failed:
        return f"Not ready for use by these criteria. {counts}."
    if unknown or not results:
        return f"{counts}. Nothing failed, but what was not assessed is not known, so readiness is not shown."
    return (
        f"{counts}. They hold for films like those of the test set only; before use the model has to be tried, under "
        "supervision, at the place and on the patients that it is meant for."
    )


def _judge(rule: CriterionRule, value: Any, why_missing: str | None) -> Criterion:
    number = _number(value)
    if number is None:
        cause = why_missing or ("it was not computed" if value is None else f"its value is {value}")
        words = f"Not assessable: {cause.rstrip('.')}." + (f" {rule.remedy}" if rule.remedy else "")
        return Criterion(rule.name, rule.title, rule.asks, None, "not assessable", words, rule.reason)
    compare, _ = _BOUNDS[rule.bound]
    verdict = "pass" if compare(number, rule.threshold) else "fail"
    words = f"It is {_shown(number, rule.threshold)}; {rule.asks} is asked."
    return Criterion(rule.name, rule.title, rule.asks, number, verdict, words, rule.reason)


def _number(value: Any) -> float | None:
    """The finite number that a figure is, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _shown(number: float, threshold: float) -> str:
    """Three significant digits, or as many as it takes not to round a miss up to the threshold."""
    for digits in (3, 6, 12):
        text = f"{number:.{digits}g}"
        if float(text) != threshold or number == threshold:
            return text
    return repr(number)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _read(path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            raise ConfigurationError(f"{path} names a key twice among {', '.join(key for key, _ in pairs)}; keep one.")
        return content

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise ConfigurationError(
            f"The criteria file {path} cannot be read ({error.strerror}); check the path."
        ) from None
    except ValueError as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"The criteria file {path} is no JSON ({error}); correct it.") from None
    if not isinstance(content, dict) or set(content) != {"criteria"} or not isinstance(content["criteria"], dict):
        raise ConfigurationError(
            f'{path} is no file of criteria: expected {{"criteria": {{name: ...}}}} and no other key.'
        )
    return content["criteria"]


def _rule(name: str, content: Any, where: str) -> CriterionRule:
    known = {*_WORDS, "remedy", *_BOUNDS}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{where}: the criterion {name!r} is {content!r}; expected keys and values, or null.")
    unknown = sorted(set(content) - known)
    if unknown:
        raise ConfigurationError(
            f"{where}: the criterion {name!r} has the unknown key {', '.join(map(repr, unknown))}; expected "
            f"{', '.join(sorted(known))}."
        )
    lacking = [key for key in _WORDS if key not in content]
    if lacking:
        raise ConfigurationError(f"{where}: the criterion {name!r} lacks {', '.join(lacking)}; add it.")
    for key in (*_WORDS, "remedy"):
        if not isinstance(content.get(key, ""), str):
            raise ConfigurationError(f"{where}: {key} of the criterion {name!r} is {content[key]!r}; expected text.")
    bounds = [key for key in _BOUNDS if key in content]
    if len(bounds) != 1:
        raise ConfigurationError(
            f"{where}: the criterion {name!r} has {len(bounds)} bounds; expected one of {', '.join(_BOUNDS)}."
        )
    threshold = content[bounds[0]]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise ConfigurationError(
            f"{where}: {bounds[0]} of the criterion {name!r} is {threshold!r}; expected a finite number."
        )
    words = {key: content[key] for key in (*_WORDS, "remedy") if key in content}
    return CriterionRule(name=name, bound=bounds[0], threshold=float(threshold), **words)
