# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the whole report of an evaluation: page, figures, pictures, predictions."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.predictions import save_predictions
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import write_json
from monai_cxrssl.metrics.patient_bootstrap import ResamplingPlan
from monai_cxrssl.report.assemble import assemble_report
from monai_cxrssl.report.content import Picture
from monai_cxrssl.report.criteria import load_criteria
from monai_cxrssl.report.evaluation_files import read_evaluation
from monai_cxrssl.report.findings import Evidence, films_of
from monai_cxrssl.report.page.page import write_page
from monai_cxrssl.report.provenance import bundle_metadata, collect_provenance

__all__ = ["write_report"]

#: Name in the report, alternative text and caption of the pictures that an evaluation left.
_PICTURES = {
    "attention": (
        "gallery_attention.png",
        "Images with heatmaps of right and wrong decisions",
        "Right and wrong decisions with the saliency of the predicted class.",
    ),
    "segmentation": (
        "gallery_segmentation.png",
        "Images with true and predicted contours",
        "The worst images, and those around the median.",
    ),
    "curves": ("curves.png", "Training curves", "The training of this model."),
}


def write_report(
    evaluation: str | os.PathLike | Sequence[str | os.PathLike],
    output_dir: str | os.PathLike | None = None,
    *,
    names: Sequence[str] | None = None,
    validation: str | os.PathLike | None = None,
    external: Sequence[str | os.PathLike] = (),
    datalist: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    bundle: str | os.PathLike | None = None,
    criteria: str | os.PathLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
    command: str | Sequence[str] | None = None,
    run_metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``index.html``, ``metrics.json``, ``predictions.csv``, ``provenance.json`` and ``figures/*.png``.

    ``temperature.json`` is there too where one could be fitted on validation images. Files not described below are
    those of :func:`~monai_cxrssl.report.collect_provenance`. Return the page.

    Args:
        evaluation: folder that an evaluation left, or table of predictions; several: models on the same cases.
        output_dir: folder of the report; by default ``report`` in the folder of the first evaluation.
        names: of the models, one each; by default those of their folders or tables.
        validation: table of validation images of the first model, if its own table holds none.
        external: tables of the first model on other sets, named after their files.
        datalist: the file that the run was split by, for the provenance.
        weights: the file of the evaluated weights, for the provenance. The folder of the training that their
            description names has the curves, where the evaluation's has none.
        bundle: folder of the bundle, for the provenance and the model card.
        criteria: see :func:`~monai_cxrssl.report.load_criteria`.
        command: that made the report; by default this process's.
        run_metrics: further figures of the run for ``metrics.json``, such as ``seconds``; plain JSON values. Those of
            the report win.

    Raises:
        ConfigurationError: names that do not fit, or files that cannot be read.
        DatalistError: predictions that cannot be read or compared.
    """
    paths = [evaluation] if isinstance(evaluation, str | os.PathLike) else list(evaluation)
    called = list(names) if names is not None else [None] * len(paths)
    if not paths or len(called) != len(paths):
        raise ConfigurationError(f"There are {len(called)} names for {len(paths)} evaluations; give one each.")
    models = [
        read_evaluation(path, name, *((validation, external) if not number else ()))
        for number, (path, name) in enumerate(zip(paths, called, strict=True))
    ]
    twice = {model.name for model in models if [each.name for each in models].count(model.name) > 1}
    if twice:
        raise ConfigurationError(f"Two models are called {', '.join(sorted(twice))}; give them names of their own.")
    model, first = models[0], Path(paths[0]).expanduser()
    out = (
        Path(output_dir).expanduser()
        if output_dir is not None
        else (first if first.is_dir() else first.parent) / "report"
    )
    rules = load_criteria(criteria)
    pictures = {**_training_curves(weights), **model.pictures}
    (out / "figures").mkdir(parents=True, exist_ok=True)
    compared = {each.name: films_of(each.test) for each in models}
    evidence = Evidence(
        model=model,
        test=compared[model.name],
        validation=None if model.validation is None else films_of(model.validation),
        compared=compared,
        pictures={kind: _kept(kind, path, out) for kind, path in pictures.items()},
        provenance=collect_provenance(datalist, model.test.items, weights, bundle, seed, command),
        folder=out,
        plan=ResamplingPlan(resamples, seed=seed),
    )
    report = assemble_report(evidence, rules, None if bundle is None else bundle_metadata(bundle))
    save_predictions(model.predictions, out / "predictions.csv")
    write_json(report.provenance, out / "provenance.json")
    told = [{"figure": name, "reason": reason} for name, reason in report.missing.items()]
    figures = {**(run_metrics or {}), **report.figures, "verdict": report.content.verdict, "not_assessable": told}
    write_json({name: _plain(value) for name, value in figures.items()}, out / "metrics.json")
    return Path(write_page(report.content, out))


def _training_curves(weights: str | os.PathLike | None) -> dict[str, Path]:
    if weights is None:
        return {}
    # Without weights a report needs no torch.
    from monai_cxrssl.handlers.run_model import read_run

    folder = read_run(Path(weights)).get("folder")
    curves = None if folder is None else folder / "curves.png"
    return {} if curves is None or not curves.is_file() else {"curves": curves}


def _kept(kind: str, path: Path, out: Path) -> Picture:
    """Copy a picture of the evaluation into the report."""
    name, alt, caption = _PICTURES[kind]
    shutil.copyfile(path, out / "figures" / name)
    return Picture(f"figures/{name}", alt, caption)


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's, and what is not finite as None, which JSON can write."""
    if isinstance(value, str | bool | list | dict) or value is None:
        return value
    number = value.item() if hasattr(value, "item") else value
    return None if isinstance(number, float) and not math.isfinite(number) else number
