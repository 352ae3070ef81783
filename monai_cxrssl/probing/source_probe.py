# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Probe of the data source in a network's features.

It stands here and not with the metrics, which may not import the embeddings and probes that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.patient_bootstrap import Interval, ResamplingPlan
from monai_cxrssl.metrics.ranking import auc_intervals
from monai_cxrssl.probing.linear_probe import classifier

__all__ = ["SourcePrediction", "predict_source"]


@dataclass(frozen=True)
class SourcePrediction:
    """How well sources can be told apart."""

    macro_auc: Interval | None  #: mean AUC of the sources against the rest; ``None`` where it cannot be assessed.
    auc: dict[str, Interval] = field(default_factory=dict)  #: the area of each source.
    images: dict[str, int] = field(default_factory=dict)  #: number of images of each source that took part.
    left_out: dict[str, int] = field(default_factory=dict)  #: sources left out, with their number of patients.
    text: str = ""  #: the result, or the reason why there is none, in words.


def predict_source(
    embeddings: np.ndarray,
    source: Sequence[str | None],
    patient: Sequence[str],
    folds: int = 5,
    min_patients: int = 5,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> SourcePrediction:
    """Cross-validate a linear classifier of the source on frozen embeddings, no patient in two folds.

    A network whose features name the hospital can lean on whatever differs between hospitals, the share of sick
    patients first of all. A high figure is no proof that it does: sources that differ in their patients differ in
    features that matter, too.

    The classifier and its folds are those of :func:`~monai_cxrssl.probing.probe`, one source against the rest; scores
    of all folds are taken together. Seed, resamples and confidence: :class:`~monai_cxrssl.metrics.ResamplingPlan`.

    Args:
        embeddings: ``(N, D)``, see :func:`~monai_cxrssl.probing.embed`.
        source: of each image; images with ``None`` or an empty name are left out.
        min_patients: sources with fewer patients, or fewer than folds, are left out with their images.

    Returns:
        The areas with intervals over patients, or in ``text`` the reason why there are none: fewer than two sources, or
        embeddings that are not finite.

    Raises:
        DatalistError: the lengths differ.
    """
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    features = np.asarray(embeddings)
    names = np.array([str(name) if name is not None else "" for name in source], dtype=str)
    ids = np.asarray(patient, dtype=str)
    if features.ndim != 2 or not len(features) == len(names) == len(ids):
        raise DatalistError(
            f"There are embeddings of shape {features.shape}, {len(names)} sources and {len(ids)} patient ids; "
            "expected (N, D) and one of each per image."
        )
    fewest = max(2, min_patients, folds)
    patients = {str(name): len(np.unique(ids[names == name])) for name in np.unique(names) if name}
    kept = [name for name, count in patients.items() if count >= fewest]
    left_out = {name: count for name, count in patients.items() if count < fewest}
    if len(kept) < 2:
        return SourcePrediction(None, left_out=left_out, text=_too_few(kept, left_out, fewest))
    known = np.isin(names, kept)
    features, names, ids = features[known], names[known], ids[known]
    broken = int((~np.isfinite(features).all(axis=1)).sum())
    if broken:
        text = f"Not assessable: the embeddings of {broken} of {len(features)} images are not finite."
        return SourcePrediction(None, left_out=left_out, text=text)
    number, group = np.searchsorted(kept, names), np.unique(ids, return_inverse=True)[1]
    scores = np.zeros((len(features), len(kept)))
    for column, name in enumerate(kept):
        target = number == column
        parts = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(features, target, group))
        if any(len(np.unique(target[train])) < 2 for train, _ in parts):
            # Patients with very many images, or seen in several sources, can fill a fold with all there is of one.
            text = f"Not assessable: the images of source {name!r} cannot be spread over {folds} folds by patient."
            return SourcePrediction(None, left_out=left_out, text=text)
        model = classifier("linear")
        scores[:, column] = cross_val_predict(model, features, target, cv=parts, method="predict_proba")[:, 1]
    areas = auc_intervals(Cohort.of(scores, number, ids, kept), ResamplingPlan(resamples, confidence, seed))
    macro = areas.pop("macro_auc")
    images = {name: int((names == name).sum()) for name in kept}
    said = f"; left out for fewer than {fewest} patients: {_listed(left_out)}" if left_out else ""
    if macro.ci_low > 0.5:
        finding = "The source can be read off the features"
    else:
        finding = "The source cannot be read off the features better than by chance"
    text = (
        f"{finding}: AUC {macro.value:.3f} ({confidence:.0%} interval {macro.ci_low:.3f} to {macro.ci_high:.3f}, "
        f"chance 0.5) over the sources {_listed(images)}{said}."
    )
    return SourcePrediction(
        macro, {name.removeprefix("auc_"): area for name, area in areas.items()}, images, left_out, text
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _too_few(kept: list[str], left_out: dict[str, int], fewest: int) -> str:
    """The reason why sources cannot be told apart."""
    if not kept and not left_out:
        return "Not assessable: no image has a known source."
    if not left_out:
        return f"Not assessable: all images with a known source are of one source, {kept[0]!r}."
    return (
        f"Not assessable: telling sources apart takes two with {fewest} patients or more, and {len(kept)} of "
        f"{len(kept) + len(left_out)} have as many; too few have {_listed(left_out)}."
    )
