# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report content: sections, verdict and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from monai_cxrssl import __version__
from monai_cxrssl.report.card import model_card
from monai_cxrssl.report.content import Content, Flag
from monai_cxrssl.report.criteria import CriterionRule, evaluate_criteria, overall_sentence
from monai_cxrssl.report.findings import Evidence, Findings
from monai_cxrssl.report.sections.attention import attention_findings
from monai_cxrssl.report.sections.calibration import calibration_findings
from monai_cxrssl.report.sections.classification import classification_findings
from monai_cxrssl.report.sections.comparison import comparison_findings
from monai_cxrssl.report.sections.segmentation import segmentation_findings
from monai_cxrssl.report.sections.shift import shift_findings
from monai_cxrssl.report.sections.shortcuts import shortcut_findings
from monai_cxrssl.report.sections.summary import provenance_findings, summary_findings

__all__ = ["AssembledReport", "assemble_report"]

_SECTIONS = (
    summary_findings,
    classification_findings,
    calibration_findings,
    segmentation_findings,
    attention_findings,
    shortcut_findings,
    shift_findings,
)


@dataclass(frozen=True)
class AssembledReport:
    """A report before it is written."""

    content: Content  #: of the page.
    figures: dict[str, Any]  #: flat, for ``metrics.json``; NaN where there is none.
    missing: dict[str, str] = field(default_factory=dict)  #: why a figure is missing, half a sentence by its name.
    provenance: dict[str, Any] = field(default_factory=dict)  #: of :func:`~monai_cxrssl.report.collect_provenance`.


def assemble_report(
    evidence: Evidence, rules: Sequence[CriterionRule], metadata: Mapping[str, Any] | None = None
) -> AssembledReport:
    """Make the content of a report; pictures, and the temperature, are written on the way.

    Raises:
        DatalistError: models that cannot be compared.
    """
    test, metadata = evidence.test, metadata or {}
    first, *others = evidence.compared
    sections = [*_SECTIONS, *([comparison_findings] if others else []), provenance_findings]
    found = [section(evidence) for section in sections]
    figures, missing = _together(found)
    figures["unreadable_share"] = _share(figures["unreadable_images"], figures["images"])
    judged = evaluate_criteria(figures, rules, missing)
    content = Content(
        title=f"Readiness report: {metadata.get('name') or first}",
        subtitle=f"{len(test.items)} test images of {test.patients} patients"
        + (f"; compared with {', '.join(others)}" if others else ""),
        created=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, monai_cxrssl {__version__}",
        verdict=overall_sentence(judged),
        criteria=[each.to_dict() for each in judged],
        flags=_first_flags(found),
        sections=[findings.section for findings in found],
        card=[asdict(each) for each in model_card(metadata, figures)],
    )
    return AssembledReport(content, figures, missing, evidence.provenance)


def _together(found: Sequence[Findings]) -> tuple[dict[str, Any], dict[str, str]]:
    figures: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for findings in found:
        twice = set(figures) & set(findings.figures)
        assert not twice, f"two sections give {sorted(twice)}"
        figures |= findings.figures
        missing |= findings.missing
    # What has a reason has a place too, so that a reader of the figures finds it as null.
    return {**figures, **{name: None for name in missing if name not in figures}}, missing


def _first_flags(found: Sequence[Findings]) -> list[Flag]:
    """What speaks against the model, the worst first; what is good or unknown stands in its section."""
    flags = [flag for findings in found for flag in findings.section.flags]
    return [flag for level in ("bad", "warning") for flag in flags if flag.level == level]


def _share(unreadable: int, read: int) -> float:
    return unreadable / (unreadable + read) if unreadable + read else float("nan")
