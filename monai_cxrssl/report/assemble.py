# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The content of a report: every section, the verdict by criteria, and the flat figures behind them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl import __version__
from monai_cxrssl.metrics.patient_bootstrap import ResamplingPlan
from monai_cxrssl.report.card import model_card
from monai_cxrssl.report.content import Content, Flag, Picture
from monai_cxrssl.report.criteria import evaluate_criteria, load_criteria, overall_sentence
from monai_cxrssl.report.evaluation_files import EvaluationFiles
from monai_cxrssl.report.findings import Findings, films_of
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

_ALT = {
    "attention": "Films with heatmaps of right and wrong decisions",
    "segmentation": "Films with true and predicted contours",
    "curves": "Training curves",
}
_CAPTIONS = {
    "attention": "Right and wrong decisions with the saliency of the predicted class.",
    "segmentation": "The worst films, and those around the median.",
    "curves": "The training of this model.",
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
    rules, plan = load_criteria(criteria), ResamplingPlan(resamples, seed=seed)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    test = films_of(model.test)
    validation = None if model.validation is None else films_of(model.validation)
    external = {name: films_of(part) for name, part in model.external.items()}
    blanked = {region: films_of(part) for region, part in model.blanked.items()}
    pictures = {kind: _kept(kind, path, out) for kind, path in model.pictures.items()}
    provenance = collect_provenance(datalist, test.items, weights, bundle, seed, command)
    found = [
        summary_findings(test, validation, model.test.unreadable, model.remarks),
        classification_findings(test, validation, out, plan),
        calibration_findings(test, validation, out, plan),
        segmentation_findings(test, pictures.get("segmentation"), plan),
        attention_findings(test, model.checks, pictures.get("attention"), out, plan),
        shortcut_findings(test, blanked, model.source_prediction, out, plan),
        shift_findings(test, validation, external, out, plan),
    ]
    if len(models) > 1:
        compared = {each.name: test if each is model else films_of(each.test) for each in models}
        found.append(comparison_findings(compared, plan))
    found.append(provenance_findings(provenance, pictures.get("curves")))
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
    return AssembledReport(content, figures, missing, provenance)


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
    return unreadable / (unreadable + read) if unreadable + read else float(np.nan)


def _kept(kind: str, path: Path, out: Path) -> Picture:
    """Copy a picture of the evaluation into the report."""
    name = f"{'gallery_' if kind != 'curves' else ''}{kind}{path.suffix}"
    shutil.copyfile(path, out / "figures" / name)
    return Picture(f"figures/{name}", _ALT[kind], _CAPTIONS[kind])
