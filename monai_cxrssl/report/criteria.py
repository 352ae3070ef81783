# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Acceptance criteria of a report and their verdicts.

The defaults stand, each with its reason, in ``criteria.json`` beside this file. A file of one's own changes them::

    {"criteria": {"discrimination": {"at_least": 0.9}, "segmentation": null,
                  "unreadable": {"title": "Share of unreadable images", "figure": "unreadable_share", "at_most": 0.01,
                                 "reason": "Every image counts here."}}}

It names what differs: other values of a criterion, null to leave one out, and new ones in full.
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.report.findings import number_or_none

__all__ = ["Criterion", "CriterionRule", "evaluate_criteria", "exact_words", "load_criteria", "overall_sentence"]

_DEFAULTS = Path(__file__).with_name("criteria.json")
#: Of a file in full.
_SCHEMA = Path(__file__).with_name("criteria.schema.json")
_BOUNDS = {
    "at_least": (operator.ge, "at least"),
    "at_most": (operator.le, "at most"),
    "above": (operator.gt, "above"),
    "below": (operator.lt, "below"),
}


@dataclass(frozen=True)
class CriterionRule:
    """What one criterion asks."""

    name: str  #: of the criterion.
    title: str  #: the figure in words.
    figure: str  #: its key among the figures of a run.
    bound: str  #: ``"at_least"``, ``"at_most"``, ``"above"`` or ``"below"``.
    threshold: float  #: the number that the bound speaks of.
    reason: str  #: why this threshold.
    remedy: str = ""  #: what to bring when the figure is missing; may be empty.

    @property
    def asks(self) -> str:
        """The threshold in words, such as ``"at least 0.8"``."""
        return f"{_BOUNDS[self.bound][1]} {self.threshold:g}"


@dataclass(frozen=True)
class Criterion:
    """How a model fares by one criterion."""

    name: str  #: of the criterion.
    title: str  #: the figure in words.
    threshold: str  #: what is asked, in words.
    value: float | None  #: the figure; None where it is not assessable.
    verdict: str  #: ``"pass"``, ``"fail"`` or ``"not assessable"``.
    reason: str  #: the verdict in a sentence.
    why: str  #: why this threshold.

    def to_dict(self) -> dict[str, Any]:
        """Its attributes, plain JSON values."""
        return asdict(self)


def load_criteria(path: str | os.PathLike | None = None) -> list[CriterionRule]:
    """Read the package's own criteria, with what a file of the user's (see above) changes.

    Raises:
        ConfigurationError: a file that is missing or no JSON, an unknown or missing key, a value of another type, or
            no criterion left.
    """
    content = _read(_DEFAULTS)
    if path is not None:
        content = _changed(content["criteria"], _read(Path(path)), path)
    problem = _problem(content)
    if problem is not None:
        raise ConfigurationError(f"{_DEFAULTS if path is None else path}{problem}.")
    rules = []
    for name, words in content["criteria"].items():
        bound = next(key for key in _BOUNDS if key in words)
        rules.append(CriterionRule(name=name, bound=bound, threshold=float(words.pop(bound)), **words))
    return rules


def evaluate_criteria(
    figures: Mapping[str, Any], criteria: Sequence[CriterionRule], missing: Mapping[str, str] | None = None
) -> list[Criterion]:
    """Judge the figures of a run: one verdict per criterion, in their order.

    Args:
        figures: flat, as in ``metrics.json``; a figure that is absent, None or not finite is not assessable.
        missing: why a figure is missing, half a sentence by its key, for the reasons.
    """
    return [_judge(rule, figures.get(rule.figure), (missing or {}).get(rule.figure)) for rule in criteria]


def overall_sentence(results: Sequence[Criterion]) -> str:
    """Sum the verdicts up; never as a bare "ready", since no test set can say that."""
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
        f"{counts}. They hold for images like those of the test set only; before use the model has to be tried, under "
        "supervision, at the place and on the patients that it is meant for."
    )


def _judge(rule: CriterionRule, value: Any, why_missing: str | None) -> Criterion:
    number = number_or_none(value)
    if number is None:
        cause = why_missing or ("it was not computed" if value is None else f"its value is {value}")
        words = f"Not assessable: {cause.rstrip('.')}." + (f" {rule.remedy}" if rule.remedy else "")
        return Criterion(rule.name, rule.title, rule.asks, None, "not assessable", words, rule.reason)
    compare, _ = _BOUNDS[rule.bound]
    verdict = "pass" if compare(number, rule.threshold) else "fail"
    words = f"It is {exact_words(number, [rule.threshold])}; {rule.asks} is asked."
    return Criterion(rule.name, rule.title, rule.asks, number, verdict, words, rule.reason)


def exact_words(number: float, bounds: Sequence[float]) -> str:
    """Print three significant digits, or as many as it takes not to round a miss up to one of the bounds."""
    texts = [f"{number:.{digits}g}" for digits in (3, 6, 12)]
    return next((text for text in texts if number in bounds or float(text) not in bounds), repr(number))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _read(path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            raise ConfigurationError(f"{path} names a key twice among {', '.join(key for key, _ in pairs)}; keep one.")
        return content

    try:
        # NaN and infinity as texts, which are no numbers of a criterion.
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique, parse_constant=str)
    except OSError as error:
        raise ConfigurationError(
            f"The criteria file {path} cannot be read ({error.strerror}); check the path."
        ) from None
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"The criteria file {path} is no JSON ({error}); correct it.") from None


def _changed(criteria: dict[str, Any], own: Any, path: str | os.PathLike) -> Any:
    """Return the content of the user's file with what it leaves as it is."""
    if not isinstance(own, dict) or not isinstance(own.get("criteria"), dict):
        return own
    for name, change in own["criteria"].items():
        if change is None:
            if criteria.pop(name, None) is None:
                raise ConfigurationError(
                    f"{path} leaves out the criterion {name!r}, which is none; choose from {', '.join(criteria)}."
                )
        elif isinstance(change, dict):
            # Without the old bound where there is a new one: a criterion that is turned round would have two.
            dropped = _BOUNDS if set(change) & set(_BOUNDS) else ()
            base = {key: value for key, value in criteria.get(name, {}).items() if key not in dropped}
            criteria[name] = base | change
        else:
            criteria[name] = change
    return own | {"criteria": criteria}


def _problem(content: Any) -> str | None:
    """Say what the schema finds wrong, as the end of a sentence that begins with the file; None when nothing is."""
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(json.loads(_SCHEMA.read_text(encoding="utf-8"))).iter_errors(content)
    error = min(errors, key=lambda error: len(error.absolute_path), default=None)
    if error is None:
        return None
    names = [str(key) for key in error.absolute_path][1:]
    if error.validator == "minProperties":
        return " leaves no criterion; keep at least one"
    if not names:
        return ' is no file of criteria: expected {"criteria": {name: ...}} and no other key'
    place = ": " + "".join(f"{key} of " for key in names[1:]) + f"the criterion {names[0]!r}"
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = ", ".join(repr(key) for key in sorted(error.instance) if key not in known)
        return f"{place} has the unknown key {unknown}; expected {', '.join(known)}"
    if error.validator == "required":
        return f"{place} lacks {', '.join(key for key in error.validator_value if key not in error.instance)}; add it"
    if error.validator == "oneOf":
        return (
            f"{place} has {sum(key in error.instance for key in _BOUNDS)} bounds; expected one of {', '.join(_BOUNDS)}"
        )
    return f"{place} is {error.instance!r}; expected {error.schema['description']}"
