# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of members and ensemble against scikit-learn, their intervals against a slow resampling; the tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.ensembles import ensemble_figures, folds_table

PATIENTS, MEMBERS = 60, 3


def predictions():
    """Members of some skill on two images per patient, in orders of their own, and the mean of them."""
    generator = np.random.default_rng(3)
    films = 2 * PATIENTS
    items = [{"image": f"{n:03}.png", "patient_id": f"p{n // 2}", "split": "test"} for n in range(films)]
    labels = np.arange(films) // 2 % 3
    scores = generator.dirichlet(np.ones(3), (MEMBERS, films)) + 0.4 * np.eye(3)[labels]
    scores /= scores.sum(-1, keepdims=True)
    dice = generator.random((MEMBERS, films))
    members = {}
    for number in range(MEMBERS):
        order = generator.permutation(films)
        members[f"fold{number}"] = Predictions(
            ["a", "b", "c"], "multi_class", [items[n] for n in order], scores[number][order], labels[order],
            {"dice": dice[number][order]},
        )  # fmt: skip
    mean = Predictions(["a", "b", "c"], "multi_class", items, scores.mean(0), labels, {"dice": dice.max(0)})
    return members, mean


def value(cell, metric):
    if metric == "dice":
        return cell.measures["dice"].mean()
    if metric == "accuracy":
        return accuracy_score(cell.labels, cell.scores.argmax(1))
    return np.mean([roc_auc_score(cell.labels == c, cell.scores[:, c]) for c in range(3)])


def taken(cell, patients):
    rows = [row for p in patients for row, item in enumerate(cell.items) if item["patient_id"] == p]
    return replace(cell, items=[cell.items[n] for n in rows], scores=cell.scores[rows], labels=cell.labels[rows],
                   measures={"dice": cell.measures["dice"][rows]})  # fmt: skip


@pytest.mark.parametrize("metric", ["macro_auc", "accuracy", "dice"])
def test_members_mean_ensemble_and_differences(metric):
    members, ensemble = predictions()
    found = ensemble_figures(members, ensemble, metric)
    figures = {entry["model"]: entry for entry in found["figures"]}
    differences = {entry["model"]: entry for entry in found["differences"]}
    assert [*figures] == [*members, "mean of members", "ensemble"]
    assert [*differences] == [*members, "mean of members"]
    own = {name: value(cell, metric) for name, cell in members.items()}
    expected = {**own, "mean of members": np.mean([*own.values()]), "ensemble": value(ensemble, metric)}
    for name, number in expected.items():
        assert figures[name]["value"] == pytest.approx(number, abs=1e-12)
        assert figures[name]["ci_low"] <= number <= figures[name]["ci_high"]
    for name, entry in differences.items():
        assert entry["value"] == pytest.approx(expected["ensemble"] - expected[name], abs=1e-12)
    assert found["spread"] == pytest.approx(np.std([*own.values()], ddof=1), abs=1e-12)
    assert found["test"] == {"images": 2 * PATIENTS, "patients": PATIENTS}
    # The interval of the paired difference is that of resampled patients, the same for all models.
    generator, names = np.random.default_rng(0), [f"p{n}" for n in range(PATIENTS)]
    resampled = []
    for _ in range(80):
        drawn = generator.choice(names, PATIENTS)
        mean = np.mean([value(taken(cell, drawn), metric) for cell in members.values()])
        resampled.append(value(taken(ensemble, drawn), metric) - mean)
    entry = differences["mean of members"]
    reach = 2 * 1.96 * np.std(resampled)
    assert entry["ci_high"] - entry["ci_low"] == pytest.approx(reach, rel=0.35)


def test_a_model_of_other_images_is_told_and_left_out():
    members, ensemble = predictions()
    members["fold1"] = taken(members["fold1"], [f"p{n}" for n in range(PATIENTS - 1)])
    found = ensemble_figures(members, ensemble)
    assert [*found["refused"]] == ["fold1"]
    figures = {entry["model"]: entry["value"] for entry in found["figures"]}
    assert figures["fold1"] is None
    assert figures["mean of members"] == pytest.approx(np.mean([figures["fold0"], figures["fold2"]]))


def test_tables_are_aligned_and_say_what_failed():
    members, ensemble = predictions()
    counts = {"images": 4, "patients": 2}
    row = {"training": counts, "validation": counts, "problem": "", "best": 0.5, "best_epoch": 3, "temperature": 1.25}
    report = {
        "settings": {"best_metric": "val_score"},
        "data": {"name": "films"},
        "folds": [
            {"member": "fold0", **row, "status": "finished", "seconds": 12.0},
            {"member": "fold1", **row, "status": "failed", "seconds": None, "best": None, "temperature": None},
        ],
        "metrics": {name: ensemble_figures(members, ensemble, name) for name in ("macro_auc", "dice")},
    }
    text = folds_table(report)
    lines = text.splitlines()
    assert lines[0] == "2 folds of the patients of films"
    assert "12 s" in lines[3]
    assert "failed" in lines[4]
    head = next(number for number, line in enumerate(lines) if line.startswith("model"))
    column = lines[head].index("ensemble - model")
    assert [line[column - 1 : column + 1].strip()[:1] for line in lines[head + 1 : head + 5]] == [
        "-" if entry["value"] < 0 else "+" for entry in report["metrics"]["macro_auc"]["differences"]
    ]
    assert "mean Dice on 120 test images of 60 patients; standard deviation of the members" in text
    assert folds_table(report, markdown=True).count("|---") == 8 + 3 + 3
    alone = ensemble_figures(members, None)
    assert [entry["model"] for entry in alone["figures"]] == [*members, "mean of members"]
    assert alone["differences"] == []
