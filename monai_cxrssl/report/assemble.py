# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report content: sections, verdict and metrics."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from monai_cxrssl import __version__
from monai_cxrssl.report.card import model_card
from monai_cxrssl.report.content import Content, Flag, Picture
from monai_cxrssl.report.criteria import evaluate_criteria, load_criteria, overall_sentence
from monai_cxrssl.report.evaluation_files import EvaluationFiles
from monai_cxrssl.report.findings import Evidence, Findings, films_of
from monai_cxrssl.report.provenance import bundle_metadata, collect_provenance
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
#: Name in the report, alternative text and caption of the pictures that an evaluation left.
_PICTURES = {
    "attention": (
        "gallery_attention.png",
        "Films with heatmaps of right and wrong decisions",
        "Right and wrong decisions with the saliency of the predicted class.",
    ),
    "segmentation": (
        "gallery_segmentation.png",
        "Films with true and predicted contours",
        "The worst films, and those around the median.",
    ),
    "curves": ("curves.png", "Training curves", "The training of this model."),
}


@dataclass(frozen=True)
class AssembledReport:
    """A report before it is written.

    Attributes:
        content: of the page.
        figures: flat, for ``metrics.json``; NaN where there is none.
        missing: why a figure is missing, half a sentence by its name.
        provenance: of :func:`~monai_cxrssl.report.collect_provenance`.
    """

    content: Content
    figures: dict[str, Any]
    missing: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def assemble_report(
    models: Sequence[EvaluationFiles],
    folder: str | os.PathLike,
    *,
    datalist: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    bundle: str | os.PathLike | None = None,
    criteria: str | os.PathLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
    command: str | Sequence[str] | None = None,
) -> AssembledReport:
    """Make the content of a report; pictures, and the temperature, are written on the way.

    Args:
        models: the evaluations; the sections are of the first, and all are compared.
        folder: of the report; pictures go to ``figures`` in it.
        datalist: the file that the run was split by, for the provenance.
        weights: the file of the evaluated weights, for the provenance.
        bundle: folder of the bundle, for the provenance and the model card.
        criteria: a file of criteria, see :func:`~monai_cxrssl.report.load_criteria`.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        command: that made the report; by default this process's.

    Raises:
        DatalistError: models that cannot be compared, or a datalist that cannot be read.
        ConfigurationError: criteria, bundle or weights that cannot be read.
    """
    out, model = Path(folder), models[0]
    rules = load_criteria(criteria)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    test = films_of(model.test)
    evidence = Evidence(
        model,
        test,
        None if model.validation is None else films_of(model.validation),
        {each.name: test if each is model else films_of(each.test) for each in models},
        {kind: _kept(kind, path, out) for kind, path in model.pictures.items()},
        collect_provenance(datalist, test.items, weights, bundle, seed, command),
        out,
        resamples,
        seed,
    )
    sections = [*_SECTIONS, *([comparison_findings] if len(models) > 1 else []), provenance_findings]
    found = [section(evidence) for section in sections]
    figures, missing = _together(found)
    figures["unreadable_share"] = _share(figures["unreadable_images"], figures["images"])
    judged = evaluate_criteria(figures, rules, missing)
    metadata = {} if bundle is None else bundle_metadata(bundle)
    name = str(metadata.get("name") or model.name)
    content = Content(
        title=f"Readiness report: {name}",
        subtitle=f"{len(test.items)} test films of {test.patients} patients"
        + (f"; compared with {', '.join(each.name for each in models[1:])}" if len(models) > 1 else ""),
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


def _kept(kind: str, path: Path, out: Path) -> Picture:
    """Copy a picture of the evaluation into the report."""
    name, alt, caption = _PICTURES[kind]
    shutil.copyfile(path, out / "figures" / name)
    return Picture(f"figures/{name}", alt, caption)
