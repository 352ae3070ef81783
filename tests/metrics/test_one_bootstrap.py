# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patients are drawn in one module, AUCs have their intervals from one, and all who show one show the same."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import monai_cxrssl
from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.handlers.test_metrics import TestMetrics as MetricsHandler
from monai_cxrssl.label_efficiency import label_efficiency
from monai_cxrssl.metrics import (
    Cohort,
    ResamplingPlan,
    auc_intervals,
    compare_auc,
    flat_metrics,
    ranking_figures,
    subgroup_figures,
)

PACKAGE = Path(monai_cxrssl.__file__).parent
#: Rooms that show figures of test images; the others draw views, splits and weights.
ROOMS = ("metrics", "report", "label_efficiency", "probing", "handlers/test_metrics.py", "engines/evaluator.py")


def calls(room: str) -> dict[str, set[str]]:
    """Names called, without what stands in front of the last dot, by module."""
    path = PACKAGE / room
    found = {}
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        nodes = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        names = {getattr(node, "attr", getattr(node, "id", "")) for node in nodes}
        found[file.relative_to(PACKAGE).as_posix()] = names
    return found


CALLS = {module: names for room in ROOMS for module, names in calls(room).items()}


def modules_that_call(*names: str) -> set[str]:
    return {module for module, called in CALLS.items() if called & set(names)}


def test_patients_are_drawn_in_one_module():
    drawing = modules_that_call("integers", "choice", "multinomial", "permutation", "randint", "shuffle")
    assert drawing - {"report/checks/checked_images.py"} == {"metrics/patient_bootstrap.py"}  # which images to show
    # Who has figures of an own kind hands them to the plan, which draws.
    assert modules_that_call("weights") == {"metrics/patient_bootstrap.py"}
    assert modules_that_call("resample") == {"metrics/patient_bootstrap.py", "label_efficiency/analysis.py"}


def test_areas_have_their_intervals_from_one_module():
    assert modules_that_call("class_ranker") == {"metrics/ranking.py"}
    assert modules_that_call("ranked_classes") == {"metrics/ranking.py", "label_efficiency/measures.py"}
    assert modules_that_call("wilson_ends") == {"metrics/clustered_auc.py", "metrics/clustered_proportion.py"}
    assert modules_that_call("proportion_ci", "proportion_confint") == set()
    # By scikit-learn there are areas without an interval only.
    others = modules_that_call("roc_auc_score", "average_precision_score")
    assert others == {"report/plots/ranking.py", "probing/linear_probe.py"}
    assert not others & modules_that_call("quantile", "percentile")


@pytest.mark.parametrize("multi_label", [False, True])
def test_all_who_show_an_auc_show_the_same(multi_label, tmp_path):
    generator = np.random.default_rng(0)
    label = generator.integers(-1, 3, 200)
    score = generator.dirichlet(np.ones(3), 200) + np.eye(3)[label] * 0.3
    score /= score.sum(axis=1, keepdims=True)
    if multi_label:
        label = (score > generator.random(score.shape)).astype(float)
        label[::9, 1] = np.nan
    patient, plan = [f"{number // 2:03}" for number in range(200)], ResamplingPlan(60, seed=4)
    cohort = Cohort.of(score, label, patient, ["a", "b", "c"])
    expected = auc_intervals(cohort, plan)
    assert expected["macro_auc"].ci_low < expected["macro_auc"].value < expected["macro_auc"].ci_high

    ranking = ranking_figures(cohort, plan)
    assert {key: ranking[key] for key in expected} == expected
    assert compare_auc(cohort, score[:, ::-1], plan)[0] == expected
    assert subgroup_figures(cohort, ["all"] * 200, plan=plan)[0].figures == expected

    items = [{"image": f"{number:03}", "patient_id": patient[number]} for number in range(200)]
    task = "multi_label" if multi_label else "multi_class"
    predictions = Predictions(["a", "b", "c"], task, items, score, label)
    row = label_efficiency({("x", 1.0, 0): predictions}, ["x"], [1.0], 1, plan=plan)["figures"][0]
    assert {key: row[key] for key in ("value", "ci_low", "ci_high", "resamples")} == {
        key: value
        for key, value in dataclasses.asdict(expected["macro_auc"]).items()
        if key not in ("reason", "method")
    }
    handler = MetricsHandler(tmp_path, items, ["a", "b", "c"], task, resamples=60, seed=4)
    figures = handler._figures(predictions, np.full(200, np.nan))
    known = np.flatnonzero(label >= 0 if label.ndim == 1 else ~np.isnan(label).all(axis=1))
    own = flat_metrics(auc_intervals(cohort.take(known), plan))
    assert {key: figures[key] for key in own} == own
