# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import t
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import Cohort, ResamplingPlan, calibration_figures, reliability_diagram, top_label
from tests.metrics.references import expanded_percentiles


def films(count: int = 400, slope: float = 2.0, seed: int = 0):
    generator = np.random.default_rng(seed)
    score = generator.random((count, 2))
    label = (generator.random((count, 2)) < 1 / (1 + (1 / score - 1) ** slope)).astype(float)
    label[generator.random((count, 2)) < 0.1] = np.nan
    return score, label, generator.integers(0, count // 3, size=count)


def ece_by_hand(score, label, edges):
    error = 0.0
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        here = (score > low) & (score <= high) | (score == low) & (number == 0)
        if here.any():
            error += here.mean() * abs(label[here].mean() - score[here].mean())
    return error


@pytest.mark.parametrize(
    ("binning", "strategy", "decimals"),
    [("equal_width", "uniform", 3), ("equal_mass", "quantile", 12), ("equal_mass", "quantile", 1)],
)
def test_diagram_equals_scikit_learn(binning, strategy, decimals):
    score, label, _ = films()
    score, known = score[:, 0].round(decimals), ~np.isnan(label[:, 0])
    diagram = reliability_diagram(score, label[:, 0], bins=12, binning=binning)
    observed, mean = calibration_curve(label[known, 0], score[known], n_bins=12, strategy=strategy)
    filled = diagram.count > 0
    np.testing.assert_allclose(diagram.observed[filled], observed)
    np.testing.assert_allclose(diagram.mean_score[filled], mean)
    assert diagram.count.sum() == known.sum()
    assert (diagram.ci_low[filled] <= observed).all()
    assert (observed <= diagram.ci_high[filled]).all()
    assert diagram.ece == pytest.approx(ece_by_hand(score[known], label[known, 0], diagram.edges))


def test_wilson_interval_by_its_formula():
    diagram = reliability_diagram([0.2] * 10 + [0.8], [1] * 3 + [0] * 7 + [1], bins=2)
    z, n, share = t.ppf(0.975, 9), 10, 0.3
    centre, reach = share + z**2 / (2 * n), z * np.sqrt(share * 0.7 / n + z**2 / (4 * n**2))
    expected = [(centre - reach) / (1 + z**2 / n), (centre + reach) / (1 + z**2 / n)]
    np.testing.assert_allclose([diagram.ci_low[0], diagram.ci_high[0]], expected)


def test_values_of_both_binnings_and_brier():
    score, label, patient = films()
    figures = calibration_figures(Cohort.of(score, label, patient, ["a", "b"]), ResamplingPlan(10), bins=10)
    for c, name in enumerate("ab"):
        known = ~np.isnan(label[:, c])
        assert figures[f"brier_{name}"].value == pytest.approx(brier_score_loss(label[known, c], score[known, c]))
        for key, binning in (("ece_width", "equal_width"), ("ece_mass", "equal_mass")):
            expected = reliability_diagram(score[:, c], label[:, c], 10, binning).ece
            assert figures[f"{key}_{name}"].value == pytest.approx(expected)
    for kind in ("ece_width", "ece_mass", "brier"):
        expected = (figures[f"{kind}_a"].value + figures[f"{kind}_b"].value) / 2
        assert figures[f"macro_{kind}"].value == pytest.approx(expected)
    assert not any(key.startswith("top_label") for key in figures)


def test_intervals_equal_resampling_film_by_film():
    score, label, patient = films(count=150)
    figures = calibration_figures(Cohort.of(score, label, patient), ResamplingPlan(25, 0.8, 2), bins=8)
    known = np.flatnonzero(~np.isnan(label[:, 1]))
    edges = reliability_diagram(score[:, 1], label[:, 1], 8, "equal_mass").edges
    brier, ece = [], []
    for weights in ResamplingPlan(25, seed=2).weights(patient):
        for row in weights:
            drawn = np.repeat(known, row[known].astype(int))
            brier.append(brier_score_loss(label[drawn, 1], score[drawn, 1]))
            ece.append(ece_by_hand(score[drawn, 1], label[drawn, 1], edges))
    found = figures["brier_1"]
    fewer = min(len(np.unique(patient[label[:, 1] == kind])) for kind in (0, 1))
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(expanded_percentiles(brier, fewer, 0.8)))
    found, high = figures["ece_mass_1"], expanded_percentiles(ece, fewer, 0.8)[1]
    chance = []
    generator = np.random.default_rng(7)
    for _ in range(600):
        label = (generator.random(len(known)) < score[known, 1]).astype(float)
        chance.append(ece_by_hand(score[known, 1], label, edges))
    by_chance = found.value < np.quantile(chance, 0.8)
    low = 0 if by_chance else max(0, 2 * found.value - high)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))


@pytest.mark.parametrize(("slope", "count"), [(1.0, 200), (1.3, 200), (1.3, 600), (2.0, 200)])
def test_interval_of_a_calibration_error_covers_the_truth(slope, count):
    """Simulation: the error of models that are not sure enough, from its formula; few images, so the bias is large."""
    score = (np.arange(100_000) + 0.5) / 100_000
    truth = reliability_diagram_truth(score, slope)
    covered, trials = 0, 120
    for trial in range(trials):
        score, label, _ = films(count, slope, trial)
        figures = calibration_figures(Cohort.of(score[:, :1], label[:, :1]), ResamplingPlan(150, seed=trial), bins=10)
        covered += figures["ece_width_0"].ci_low <= truth <= figures["ece_width_0"].ci_high
    assert 0.88 <= covered / trials <= 1


def reliability_diagram_truth(score, slope):
    off = 1 / (1 + (1 / score - 1) ** slope) - score
    return np.abs(off.reshape(10, -1).mean(axis=1)).mean()


def test_top_label_of_multi_class():
    generator = np.random.default_rng(1)
    score = generator.dirichlet([0.5] * 4, size=300)
    label = np.array([generator.choice(4, p=row) for row in score])
    label[:20] = -1
    figures = calibration_figures(Cohort.of(score, label), ResamplingPlan(10), bins=10)
    top, right = top_label(Cohort.of(score, label))
    for key, binning in (("top_label_ece_width", "equal_width"), ("top_label_ece_mass", "equal_mass")):
        expected = reliability_diagram(top, right, 10, binning, both_kinds=False).ece
        assert figures[key].value == pytest.approx(expected)
    assert top_label(Cohort.of([[0.2, 0.8]], [1]))[1] == [1.0]


def test_all_right_is_a_finding_of_the_top_label_only():
    score = np.eye(3)[[0, 1, 2, 0]] * 0.4 + 0.2
    cohort = Cohort.of(score, [0, 1, 2, 0])
    figures = calibration_figures(cohort, ResamplingPlan(10))
    assert figures["top_label_ece_width"].value == pytest.approx(0.4)
    top, right = top_label(cohort)
    assert reliability_diagram(top, right).reason == "there are no negative images"
    assert reliability_diagram(top, right, binning="equal_mass", both_kinds=False).ece == pytest.approx(0.4)


def test_logits_are_no_probabilities():
    score, label, patient = films()
    figures = calibration_figures(Cohort.of(score * 4, label, patient), ResamplingPlan(10))
    assert all(np.isnan(interval.value) for interval in figures.values())
    assert "no probabilities" in figures["brier_0"].reason
    assert "no probabilities" in reliability_diagram(score[:, 0] * 4, label[:, 0]).reason


@pytest.mark.parametrize("options", [{"bins": 0}, {"binning": "equal"}])
def test_bins_that_cannot_work(options):
    with pytest.raises(ConfigurationError, match="bins of kind"):
        reliability_diagram([0.1, 0.2], [0, 1], **options)


def test_input_that_does_not_fit():
    with pytest.raises(DatalistError, match=r"expected \(N,\)"):
        reliability_diagram(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(DatalistError, match="class numbers"):
        top_label(Cohort.of(np.zeros((3, 1)), np.zeros((3, 1))))
