# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Intervals over patients and draws, against plain loops and scikit-learn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
# The scripts are no package; they import each other from their own folder.
sys.path.insert(0, str(SCRIPTS))
try:
    import draw_intervals
    import page_marks
finally:
    sys.path.remove(str(SCRIPTS))


def test_weighted_auc_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 3, 60), generator.integers(0, 9, (60, 3)) / 9.0
    weights = generator.integers(0, 4, (5, 60)).astype(float)
    found = draw_intervals.auc_of_draw(scores, labels)(weights)
    for row, value in zip(weights, found, strict=True):
        expected = [roc_auc_score(labels == number, scores[:, number], sample_weight=row) for number in range(3)]
        assert value == pytest.approx(np.mean(expected), abs=1e-12)


def test_intervals_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(1)
    patients = np.array([f"p{number}" for number in generator.integers(0, 15, 40)])
    labels = generator.integers(0, 2, 40)
    models = generator.random((2, 3, 40, 2))
    own, other = ([draw_intervals.auc_of_draw(draw, labels) for draw in model] for model in models)
    found = draw_intervals.intervals(own, other, patients, labels, resamples=60)

    def auc(rows: np.ndarray, scores: np.ndarray) -> float:
        return float(np.mean([roc_auc_score(labels[rows] == c, scores[rows, c]) for c in (0, 1)]))

    draws = np.random.default_rng(0)
    groups = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    resampled = []
    while len(resampled) < 60:
        rows = np.concatenate([groups[index] for index in draws.integers(0, len(groups), len(groups))])
        if len(np.unique(labels[rows])) == 2:
            chosen = draws.integers(0, 3, 3)
            first, second = (np.mean([auc(rows, model[draw]) for draw in chosen]) for model in models)
            resampled.append((first, first - second))
    whole = [np.mean([auc(np.arange(40), draw) for draw in model]) for model in models]
    for name, value, column in (("value", whole[0], 0), ("difference", whole[0] - whole[1], 1)):
        ends = np.percentile(np.array(resampled)[:, column], [2.5, 97.5])
        np.testing.assert_allclose(found[name], [value, *ends], atol=1e-12)


def test_interval_of_a_mean_holds_it() -> None:
    """Against the standard error of a mean of independent patients."""
    values = np.random.default_rng(2).normal(0.8, 0.05, 400)
    parts = [draw_intervals.mean_of_draw(values)]
    value, low, high = draw_intervals.intervals(parts, parts, np.arange(400))["value"]
    assert value == pytest.approx(values.mean(), abs=1e-12)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_page_keeps_what_is_around_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- real_cxr -->\nold\n<!-- end of real_cxr -->\nafter\n")
    for _ in range(2):
        page_marks.into_page(page, "| new |\n", "real_cxr")
        assert page.read_text() == "before\n<!-- real_cxr -->\n| new |\n\n<!-- end of real_cxr -->\nafter\n"
    with pytest.raises(ValueError, match="<!-- measured -->"):
        page_marks.into_page(page, "text")
