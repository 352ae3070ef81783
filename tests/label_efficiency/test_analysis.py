# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures over draws against a slow loop with scikit-learn; what cannot be assessed; the table and the picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.label_efficiency import drift_figures, efficiency_table, label_efficiency, plot_label_efficiency
from monai_cxrssl.label_efficiency.drift_table import drift_table
from monai_cxrssl.label_efficiency.measures import assessed
from monai_cxrssl.metrics import Cohort, ResamplingPlan, auc_intervals
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN
from tests.metrics.references import expanded_percentiles

INITS, FRACTIONS = ["random", "micle"], [0.1, 1.0]


def predict(task="multi_class", draws=3, patients=20, seed=0, classes=3):
    """Predictions of every cell: two images per patient, ties among the scores, unknown labels if multi-label."""
    generator = np.random.default_rng(seed)
    films = 2 * patients
    items = [{"image": f"{n:03}.png", "patient_id": f"p{n // 2}"} for n in range(films)]
    if task == "multi_class":
        labels = np.arange(films) // 2 % classes
        truth = np.eye(classes)[labels]
    else:
        labels = generator.integers(0, 2, (films, classes)).astype(np.float32)
        truth = labels.copy()
        labels[::7, 0] = np.nan
    cells = {}
    for init in INITS:
        for fraction in FRACTIONS:
            for draw in range(draws):
                skill = 0.3 + 0.4 * (init == "micle") + 0.3 * fraction
                scores = np.round(np.clip((skill * truth + generator.random(truth.shape)) / 2, 0, 1), 2)
                measures = {"dice": np.where(np.arange(films) % 5 == 0, np.nan, generator.random(films))}
                order = generator.permutation(films)  # cells need not list the images in one order
                cells[init, fraction, draw] = Predictions(
                    [f"c{n}" for n in range(classes)], task, [items[n] for n in order], scores[order], labels[order],
                    {"dice": measures["dice"][order]},
                )  # fmt: skip
    return cells


def slow_figures(cells, metric, resamples):
    """One resample, one draw, one class at a time, in float64."""
    first = next(iter(cells.values()))
    order = np.argsort([item["image"] for item in first.items])
    patients = [f"\n{first.items[n]['patient_id']}" for n in order]
    weights = np.concatenate(list(ResamplingPlan(resamples).weights(patients)))
    draws = 1 + max(draw for _, _, draw in cells)
    chosen = np.random.default_rng([0, 1]).multinomial(draws, np.full(draws, 1 / draws), size=resamples)

    def one(cell, weight):
        order = np.argsort([item["image"] for item in cell.items])
        if metric == "dice":
            values = cell.measures["dice"][order]
            known = np.isfinite(values)
            return np.average(values[known], weights=weight[known])
        areas = []
        for c in range(len(cell.classes)):
            label = cell.labels[order]
            label = (label == c).astype(float) if label.ndim == 1 else label[:, c]
            known = ~np.isnan(label) & (weight > 0)
            if len(np.unique(label[known])) == 2:
                areas.append(roc_auc_score(label[known], cell.scores[order, c][known], sample_weight=weight[known]))
        return np.mean(areas)

    found = {}
    for init in INITS:
        for fraction in FRACTIONS:
            values = []
            for weight, share in zip([np.ones(len(order)), *weights], [np.ones(draws), *chosen], strict=True):
                per_draw = [one(cells[init, fraction, d], weight) if share[d] else 0.0 for d in range(draws)]
                values.append(np.dot(per_draw, share) / draws)
            found[init, fraction] = np.array(values)
    return found


@pytest.mark.parametrize(("task", "metric"), [("multi_class", "macro_auc"), ("multi_label", "macro_auc"), ("multi_class", "dice")])  # fmt: skip
def test_figures_against_a_slow_loop(task, metric):
    cells = predict(task)
    report = label_efficiency(cells, INITS, FRACTIONS, 3, metric, plan=ResamplingPlan(15))
    slow = slow_figures(cells, metric, 15)
    assert not report["refused"]
    assert report["test"] == {"images": 40, "patients": 20}
    rows = [(row, slow[row["row"], row["fraction"]]) for row in report["figures"]]
    rows += [(row, slow["micle", row["fraction"]] - slow["random", row["fraction"]]) for row in report["differences"]]
    for row, values in rows:
        assert row["value"] == pytest.approx(values[0], abs=1e-12)
        assert row["draws"] == 3
        np.testing.assert_allclose(np.mean(list(row["by_draw"].values())), values[0], atol=1e-12)
        assert row["method"]
        if metric == "dice":
            np.testing.assert_allclose(
                [row["ci_low"], row["ci_high"]], expanded_percentiles(values[1:], 20), atol=1e-12
            )
    assert len(report["figures"][0]["per_class"]) == (3 if metric == "macro_auc" else 0)


def test_interval_of_an_auc_is_over_patients_and_draws():
    """Of two draws alike the interval is that of one; the spread of draws adds to it what Student's t says."""
    cells = predict()
    cell, other = next(iter(cells.values())), cells["random", 0.1, 1]
    patients = [str(item["patient_id"]) for item in cell.items]
    whole = auc_intervals(Cohort.of(cell.scores, cell.labels, patients, cell.classes))["macro_auc"]
    plan = ResamplingPlan(confidence=0.5)

    def figure(*draws, plan=DEFAULT_PLAN):
        cells = {("a", 1.0, number): each for number, each in enumerate(draws)}
        return label_efficiency(cells, ["a"], [1.0], len(draws), plan=plan)["figures"][0]

    for end in ("value", "ci_low", "ci_high"):
        assert figure(cell)[end] == pytest.approx(getattr(whole, end))
        assert figure(cell, cell)[end] == pytest.approx(getattr(whole, end))
    both = figure(cell, other, plan=plan)
    first, second = both["by_draw"].values()
    spread = t.ppf(0.75, 1) * abs(first - second) / 2
    over_patients = max(figure(each, plan=plan)["value"] - figure(each, plan=plan)["ci_low"] for each in (cell, other))
    assert spread < both["value"] - both["ci_low"] < np.hypot(spread, over_patients)
    perfect = Predictions(cell.classes, cell.task, cell.items, np.eye(len(cell.classes))[cell.labels], cell.labels)
    found = label_efficiency({(name, 1.0, 0): perfect for name in "ab"}, ["a", "b"], [1.0], 1)
    assert found["figures"][0]["value"] == found["figures"][0]["ci_high"] == 1
    assert found["figures"][0]["ci_low"] < 0.9
    assert found["differences"][0]["ci_low"] < -0.05 < 0.05 < found["differences"][0]["ci_high"]


def test_paired_interval_is_narrower_than_an_unpaired_one():
    """Two equal initialisations: the difference varies little, whatever the spread between patients."""
    cells = predict()
    for name in list(cells):
        cells["micle", name[1], name[2]] = cells["random", name[1], name[2]]
    report = label_efficiency(cells, INITS, FRACTIONS, 3, plan=ResamplingPlan(50))
    assert all(row["value"] == 0 for row in report["differences"])
    for row, figure in zip(report["differences"], report["figures"], strict=False):
        # Equal on these images is not certainly equal.
        assert 0 < row["ci_high"] - row["ci_low"] < (figure["ci_high"] - figure["ci_low"]) / 2


def test_missing_draws_count_in_no_pair():
    cells = predict()
    del cells["random", 0.1, 1]
    for draw in range(3):
        del cells["micle", 1.0, draw]
    report = label_efficiency(cells, INITS, FRACTIONS, 3, plan=ResamplingPlan(20))
    rows = {(row["row"], row["fraction"]): row for row in report["figures"]}
    assert [rows[key]["draws"] for key in (("random", 0.1), ("random", 1.0), ("micle", 0.1), ("micle", 1.0))] == [
        2,
        3,
        3,
        0,
    ]
    pair = {row["fraction"]: row for row in report["differences"]}
    assert list(pair[0.1]["by_draw"]) == ["0", "2"]
    by_draw = [rows["micle", 0.1]["by_draw"][d] - rows["random", 0.1]["by_draw"][d] for d in ("0", "2")]
    assert pair[0.1]["value"] == pytest.approx(np.mean(by_draw), abs=1e-12)
    assert (pair[1.0]["value"], pair[1.0]["reason"]) == (None, "no cell with test predictions")


def test_what_cannot_be_assessed_says_why(caplog):
    one = label_efficiency(predict(patients=1, classes=2, draws=1), INITS, FRACTIONS, 1, plan=ResamplingPlan(10))
    assert all(row["value"] is None for row in one["figures"])
    assert "two or more" in one["notes"][0]
    one = label_efficiency(predict(patients=1), INITS, FRACTIONS, 3, "dice", plan=ResamplingPlan(10))["figures"][0]
    assert (one["ci_low"], one["reason"]) == (None, "one test patient: no interval over patients")
    assert one["value"] > 0
    cells = predict()
    for cell in cells.values():
        cell.labels[cell.labels == 2] = 0
    figure = label_efficiency(cells, INITS, FRACTIONS, 3, plan=ResamplingPlan(20))["figures"][0]
    absent = figure["per_class"]["c2"]
    assert (absent["value"], absent["reason"]) == (None, "the test split has no positive or no negative image")
    assert figure["value"] == pytest.approx(np.mean([figure["per_class"][c]["value"] for c in ("c0", "c1")]))
    single = label_efficiency(predict(draws=1), INITS, FRACTIONS, 1, plan=ResamplingPlan(20))
    assert single["figures"][0]["interval_over"] == "test patients"
    assert "With one draw" in single["notes"][0]


def test_predictions_that_do_not_belong_are_refused():
    cells = predict()
    part = cells["micle", 0.1, 0]
    cells["micle", 0.1, 0] = Predictions(part.classes, part.task, part.items[1:], part.scores[1:], part.labels[1:])
    cells["micle", 0.1, 1].scores[0, 0] = np.nan
    cells["micle", 0.1, 2].classes.reverse()
    report = label_efficiency(cells, INITS, FRACTIONS, 3, plan=ResamplingPlan(10))
    told = {draw: reason for (_, _, draw), reason in report["refused"].items()}
    assert "39 test predictions are not of the same images as the 40" in told[0]
    assert "not finite" in told[1]
    assert "its classes are c2, c1, c0" in told[2]
    other = label_efficiency(predict(), INITS, FRACTIONS, 3, "iou", plan=ResamplingPlan(10))
    assert (other["refused"], other["without"]) == ({}, INITS)
    assert {figure["reason"] for figure in other["figures"]} == {"its predictions have no iou"}


def whole_report(cells, draws=3, metrics=("macro_auc",)):
    found = {
        metric: label_efficiency(cells, INITS, FRACTIONS, draws, metric, plan=ResamplingPlan(20)) for metric in metrics
    }
    for of_metric in found.values():
        del of_metric["refused"]
    names = [(init, fraction, draw) for init in INITS for fraction in FRACTIONS for draw in range(draws)]
    return {
        "settings": {"rows": [{"name": name} for name in INITS], "fractions": FRACTIONS, "draws": draws},
        "subsets": [{"fraction": f, "draw": d, "patients": int(20 * f), "images": int(40 * f) + d * (f < 1)} for f in FRACTIONS for d in range(draws)],
        "cells": [{"row": i, "fraction": f, "draw": d, "status": "finished" if (i, f, d) in cells else "failed"} for i, f, d in names],
        "metrics": found,
    }  # fmt: skip


def test_table_and_picture(tmp_path):
    report = json.loads(json.dumps(whole_report(predict(), metrics=("macro_auc", "macro_f1", "dice")), allow_nan=False))
    text = efficiency_table(report).splitlines()
    assert text[0] == "macro AUC on 40 test images of 20 patients, mean of 3 draws"
    assert text[2].split() == ["share", "of", "labels", "10", "%", "100", "%"]
    assert text[3].split()[2:] == ["2", "20"]
    assert text[4].split()[2:] == ["4-6", "40"]
    assert text[7].startswith("micle - random ")
    assert text[7].split()[3][:3] == "+0."
    assert len({line.index("[") for line in text[5:8]}) <= 2
    assert [line for line in text if " test images of " in line][1:] == [
        "macro F1 on 40 test images of 20 patients, mean of 3 draws",
        "mean Dice on 40 test images of 20 patients, mean of 3 draws",
    ]
    assert [line.split(":")[0] for line in text if "Brackets" in line] == ["Brackets of AUCs", "Brackets, AUCs apart"]
    assert efficiency_table(report, markdown=True).splitlines()[3] == "|---|---|---|"
    plot_label_efficiency(report, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_table_and_picture_of_what_is_there(kept, tmp_path):
    cells = dict(list(predict().items())[:kept])
    report = whole_report(cells)
    text = efficiency_table(report)
    assert f"{12 - kept} of 12 cells have no result" in text
    assert "failed" in text
    assert ("(1 of 3 draws)" in text) == (kept > 0)
    plot_label_efficiency(report, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 5_000


def by_sklearn(cell, metric):
    order = np.argsort([item["image"] for item in cell.items])
    scores, labels = cell.scores[order], cell.labels[order]
    if cell.task == "multi_class":
        called = scores.argmax(axis=1)
        return {
            "macro_ap": np.mean([average_precision_score(labels == c, scores[:, c]) for c in range(3)]),
            "macro_f1": f1_score(labels, called, average="macro"), "accuracy": accuracy_score(labels, called),
        }[metric]  # fmt: skip
    values = []
    for score, label in zip(scores.T, labels.T, strict=True):
        known = ~np.isnan(label)
        shown, truth = score[known], label[known].astype(int)
        values.append(
            {
                "macro_ap": average_precision_score(truth, shown), "macro_f1": f1_score(truth, shown >= 0.5),
                "accuracy": accuracy_score(truth, shown >= 0.5),
            }[metric]
        )  # fmt: skip
    return np.mean(values)


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("metric", ["macro_ap", "macro_f1", "accuracy"])
def test_metrics_are_those_of_scikit_learn(task, metric):
    cells = predict(task)
    report = label_efficiency(cells, INITS, FRACTIONS, 3, metric, plan=ResamplingPlan(15), reference="micle")
    for figure in report["figures"]:
        expected = [by_sklearn(cells[figure["row"], figure["fraction"], draw], metric) for draw in range(3)]
        np.testing.assert_allclose(list(figure["by_draw"].values()), expected, atol=1e-12)
        assert figure["value"] == pytest.approx(np.mean(expected), abs=1e-12)
        assert figure["ci_low"] <= figure["value"] <= figure["ci_high"]
    assert {(row["row"], row["against"]) for row in report["differences"]} == {("random", "micle")}
    assert all(row["value"] < 0 for row in report["differences"])


def test_rows_that_lack_a_metric_stand_beside_those_that_have_it():
    """A probe draws no masks, and a network of two branches also marks images that nobody labelled."""
    cells = predict()
    for name, cell in cells.items():
        if name[0] == "random":
            cell.measures.clear()
        else:
            cell.items.append({"image": "masked.png", "patient_id": "p99"})
            object.__setattr__(cell, "labels", np.append(cell.labels, -1))
            object.__setattr__(cell, "scores", np.append(cell.scores, [[0.2, 0.3, 0.5]], axis=0))
            cell.measures["dice"] = np.append(cell.measures["dice"], 0.7)
    on = {metric: {name: assessed(cell, metric) for name, cell in cells.items()} for metric in ("macro_auc", "dice")}
    auc = label_efficiency(on["macro_auc"], INITS, FRACTIONS, 3, plan=ResamplingPlan(10))
    assert (auc["refused"], auc["without"], auc["test"]["images"]) == ({}, [], 40)
    dice = label_efficiency(on["dice"], INITS, FRACTIONS, 3, "dice", plan=ResamplingPlan(10))
    assert (dice["refused"], dice["without"], dice["test"]["images"]) == ({}, ["random"], 33)
    text = efficiency_table(whole_report(on["dice"], metrics=("dice",)))
    assert "Without mean Dice: random." in text
    assert "micle - random" not in text


def test_drift_is_paired_with_the_clean_films():
    clean = predict()
    worse = {
        name: Predictions(cell.classes, cell.task, cell.items, cell.scores.copy(), cell.labels)
        for name, cell in clean.items()
    }
    for name, cell in worse.items():
        if name[0] == "micle":
            cell.scores[::3] = cell.scores[::3, ::-1]
    found = drift_figures(clean, {"noise": worse}, INITS, FRACTIONS, 3, "accuracy", ResamplingPlan(20))
    assert [(entry["row"], entry["fraction"]) for entry in found] == [(i, f) for f in FRACTIONS for i in INITS]
    for entry in found:
        draws = [
            (by_sklearn(worse[entry["row"], entry["fraction"], d], "accuracy"), by_sklearn(clean[entry["row"], entry["fraction"], d], "accuracy"))
            for d in range(3)
        ]  # fmt: skip
        assert entry["under"]["value"] == pytest.approx(np.mean(draws, axis=0)[0], abs=1e-12)
        assert entry["change"]["value"] == pytest.approx(np.subtract(*np.mean(draws, axis=0)), abs=1e-12)
        if entry["row"] == "random":
            # Nothing changed on these images, which is no proof for those of other patients.
            unseen = 1 - 0.025 ** (1 / 20)
            assert [entry["change"]["ci_low"], entry["change"]["ci_high"]] == pytest.approx([-unseen, unseen])
            assert "against" not in entry
        else:
            assert entry["against"] == entry["change"]  # the reference changed by 0 in every resample
            assert entry["change"]["ci_high"] < 0
    report = {
        "drift": {"accuracy": found},
        "settings": {"fractions": FRACTIONS, "reference": "random", "drifts": ["noise"]},
    }
    lines = drift_table(report).splitlines()
    assert lines[0] == "accuracy under drift, 100 % of the labels"
    assert lines[2].split()[:3] == ["drift", "row", "accuracy"]
    assert [line.split()[:2] for line in lines[3:5]] == [["noise", "random"], ["noise", "micle"]]
