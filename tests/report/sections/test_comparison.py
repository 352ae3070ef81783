# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Paired differences of attention between saved evaluations, against a bootstrap written out."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics import ResamplingPlan
from monai_cxrssl.report.findings import films_of
from monai_cxrssl.report.sections.comparison import comparison_findings

FILMS, PATIENTS = 120, 40


def table(gain: float = 0.0, classes: bool = True, seed: int = 1) -> Predictions:
    """Three images per patient; every tenth has no lungs. The gain is of attention."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    labels = shared.integers(0, 2, FILMS)
    score = np.clip(0.5 + 0.3 * (labels - 0.5) + 0.2 * shared.normal(size=FILMS), 0, 1)
    area = shared.uniform(0.2, 0.4, FILMS)
    pfs = np.clip(area + 0.1 * shared.normal(size=FILMS) + gain + 0.02 * own.normal(size=FILMS), 0, 1)
    pfs[::10] = np.nan
    items = [{"image": f"{n}.png", "patient_id": f"p{n % PATIENTS}"} for n in range(FILMS)]
    measures = {"pfs": pfs, "lung_area": area, "pointing": np.where(np.isnan(pfs), np.nan, pfs > 0.3)}
    if not classes:
        return Predictions([], "multi_class", items, np.zeros((FILMS, 0)), np.full(FILMS, -1), measures)
    return Predictions(["a", "b"], "multi_class", items, np.stack([1 - score, score], 1), labels, measures)


def findings(**models: Predictions):
    films = {name: films_of(predictions) for name, predictions in models.items()}
    return comparison_findings(SimpleNamespace(compared=films, plan=ResamplingPlan()))  # type: ignore[arg-type]


def test_attention_is_compared_film_by_film_over_patients():
    one, other = table(0.05), table(seed=2)
    found = findings(ssl=one, scratch=other)
    key = "ssl_minus_scratch_lung_attention_excess"
    difference = one.measures["pfs"] - other.measures["pfs"]
    assert found.figures[key] == pytest.approx(np.nanmean(difference))
    by_patient = difference.reshape(3, PATIENTS)
    drawn = np.random.default_rng(7).integers(0, PATIENTS, (4000, PATIENTS))
    ends = np.quantile([np.nanmean(by_patient[:, each]) for each in drawn], [0.025, 0.975])
    own = [found.figures[f"{key}_ci_low"], found.figures[f"{key}_ci_high"]]
    assert own == pytest.approx(ends, abs=0.12 * np.ptp(ends))
    assert "ssl_minus_scratch_pointing" in found.figures
    assert "ssl_minus_scratch_saliency_iou" not in found.figures
    levels = {flag.text.split(":")[0]: flag.level for flag in found.section.flags}
    assert levels["ssl attends to the lungs more than scratch"] == "good"
    words = [row[0] for row in found.section.tables[0].rows]
    assert words[-2:] == ["Attention on the lungs: PFS minus lung area", "Attention on the lungs: pointing game"]


def test_larger_lungs_of_one_model_are_no_attention():
    """The same maps; the second model draws lungs of twice the size, and so has twice the saliency inside."""
    one = table()
    larger = {"pfs": 2 * one.measures["lung_area"], "lung_area": 2 * one.measures["lung_area"]}
    flat = {"pfs": one.measures["lung_area"], "lung_area": one.measures["lung_area"]}
    found = findings(small=replace(one, measures=flat), large=replace(one, measures=larger))
    assert found.figures["small_minus_large_lung_attention_excess"] == pytest.approx(0)


def test_less_attention_is_a_warning_and_none_is_left_out():
    found = findings(ssl=table(-0.05), scratch=table(seed=2))
    assert any("ssl attends to the lungs less than scratch" in flag.text for flag in found.section.flags)
    without = findings(ssl=table(), scratch=replace(table(), measures={}))
    assert not any("attention" in name for name in without.figures)


def test_models_without_classes_are_compared_by_attention_alone():
    found = findings(one=table(0.05, classes=False), other=table(classes=False, seed=2))
    assert found.figures["one_minus_other_lung_attention_excess_ci_low"] > 0
    bare = replace(table(classes=False), measures={})
    with pytest.raises(DatalistError, match="neither classes nor Dice nor attention"):
        findings(one=bare, other=bare)
