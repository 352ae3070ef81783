# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole reports of made-up predictions: of a sound model, of a planted shortcut, and of everything degenerate."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monai_cxrssl.data.datalists.predictions import (
    Predictions,
    join_predictions,
    load_predictions,
    save_predictions,
)
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import choose_threshold
from monai_cxrssl.report.write import write_report

CLASSES = ["normal", "pneumonia", "effusion"]
MEASURES = (
    "dice",
    "iou",
    "hd95_mm",
    "surface_distance_mm",
    "area_ratio",
    "pfs",
    "lung_area",
    "pointing",
    "saliency_iou",
)


def made(split="test", films=90, seed=0, skill=2.5, task="multi_class", measures=MEASURES, **known) -> Predictions:
    """Predictions of patients with two images each; the skill is the distance of the logits."""
    draw = np.random.default_rng(seed)
    patient = np.arange(films) // 2
    label = patient % len(CLASSES)
    logit = draw.normal(size=(films, len(CLASSES))) + skill * np.eye(len(CLASSES))[label]
    scores = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    columns = np.eye(len(CLASSES), dtype=np.float32)[label]
    items = [
        {"image": f"{split}{n}.png", "patient_id": f"{split}{p}", "split": split, **known}
        for n, p in enumerate(patient)
    ]
    values = {name: draw.uniform(0.5, 0.9, films) for name in measures}
    return Predictions(CLASSES, task, items, scores, label if task == "multi_class" else columns, values)


def evaluation(folder: Path, test: Predictions, validation: Predictions | None, **blanked: Predictions) -> Path:
    save_predictions(test if validation is None else join_predictions([validation, test]), folder / "predictions.csv")
    for region, part in blanked.items():
        save_predictions(replace(part, measures={}), folder / "blanked" / f"{region}.csv")
    return folder


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def read(page: Path):
    """The page's words, and the figures; both must be free of NaN."""
    words = re.sub(r"data:image/[^\"')]*", "", page.read_text(encoding="utf-8"))
    assert not re.search(r"\b(nan|inf|-inf)\b", words, flags=re.IGNORECASE)
    figures = json.loads(page.with_name("metrics.json").read_text(), parse_constant=refuse_constant)
    return words, figures


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_sound_model(tmp_path, task):
    test, validation = made(task=task, sex="F"), made("validation", seed=1, task=task)
    gone = made(seed=2, skill=0.0, task=task)
    folder = evaluation(tmp_path / "e", test, validation, lungs=gone, corners=test, border=test, outside_lungs=test)
    words, figures = read(write_report(folder, resamples=100, command="the command", run_metrics={"seconds": 3.5}))
    expected = roc_auc_score(
        np.eye(3)[np.arange(90) // 2 % 3], load_predictions(folder / "predictions.csv").scores[90:]
    )
    assert figures["macro_auc"] == pytest.approx(expected)
    assert figures["macro_auc_ci_low"] < expected < figures["macro_auc_ci_high"]
    # The threshold is the one of validation, not of the test images.
    label = (np.arange(90) // 2 % 3 == 1).astype(float)
    chosen = choose_threshold(load_predictions(folder / "predictions.csv").scores[:90, 1], label)
    assert figures["threshold_pneumonia"] == pytest.approx(chosen.threshold)
    called = load_predictions(folder / "predictions.csv").scores[90:, 1] >= chosen.threshold
    assert figures["sensitivity_pneumonia"] == pytest.approx(called[label == 1].mean())
    assert figures["lungs_blanked_macro_auc"] < 0.6 < figures["lungs_whole_macro_auc"]
    assert figures["corners_blanked_drop"] == 0
    assert figures["smallest_class_patients"] == 15
    assert figures["seconds"] == 3.5
    assert figures["dice"] == pytest.approx(test.measures["dice"].mean())
    assert ("accuracy" in figures) == (task == "multi_class")
    assert "the score falls to chance, as it should" in words
    temperature = json.loads((folder / "report" / "temperature.json").read_text())
    assert temperature["temperature"] == pytest.approx(figures["temperature"])
    assert "no images of another set" in words
    assert load_predictions(folder / "report" / "predictions.csv").items[-1]["image"] == "test89.png"
    drawn = {path.name for path in (folder / "report" / "figures").iterdir()}
    assert {"ranking.png", "reliability.png", "probes.png", "attention.png"} <= drawn


def test_planted_shortcut_is_told(tmp_path):
    test = made()
    test.measures["pfs"][:] = np.random.default_rng(3).uniform(0.02, 0.1, len(test.items))
    test.measures["lung_area"][:] = 0.3
    marker = made(seed=4, skill=0.0)
    folder = evaluation(tmp_path, test, made("validation", seed=1), lungs=test, corners=marker)
    words, figures = read(write_report(folder, resamples=100))
    assert "Lungs blanked: the score stays high, so the model reads something outside the lungs" in words
    assert "Corners blanked: little is left, so the model reads the corners" in words
    assert "Attention in the lungs is not above chance, it is below" in words
    assert figures["lung_attention_excess_ci_high"] < 0
    assert figures["lungs_blanked_macro_auc"] > 0.9
    assert figures["verdict"].startswith("Not ready for use by these criteria")


def one_patient(part):
    return replace(part, items=[{**item, "patient_id": "same"} for item in part.items])


def without(part, *measures):
    return replace(part, measures={name: values for name, values in part.measures.items() if name not in measures})


def in_pixels(part):
    values = {name.replace("_mm", "_pixel"): column for name, column in part.measures.items()}
    return replace(part, measures=values)


def unknown(part):
    return replace(part, labels=np.full(len(part.items), -1))


def no_classes(part):
    empty = np.zeros((len(part.items), 0))
    return replace(part, classes=[], scores=empty, labels=np.full(len(part.items), -1))


def some_nan(part):
    scores = part.scores.copy()
    scores[3] = np.nan
    return replace(part, scores=scores)


AUCS = ("macro_auc", "macro_auc_ci_low", "lowest_sensitivity", "ece_scaled")
DEGENERATE = {
    "one class absent": (lambda p: replace(p, labels=np.where(p.labels == 2, 0, p.labels)),
                         ("auc_effusion", "sensitivity_effusion", "lowest_sensitivity"), "there are no positive images"),
    "one class only": (lambda p: replace(p, labels=np.zeros_like(p.labels)), AUCS[:3], "there are no negative images"),
    "one patient": (one_patient, (*AUCS, "dice", "lung_attention_excess", "kappa"), "fewer than two patients"),
    "constant scores": (lambda p: replace(p, scores=np.full_like(p.scores, 0.25)), (*AUCS, "kappa"), "all scores are 0.25"),
    "some NaN scores": (some_nan, AUCS, "the scores of 1 of 90 images are not finite numbers"),
    "all NaN scores": (lambda p: replace(p, scores=np.full_like(p.scores, np.nan)), AUCS, "are not finite numbers"),
    "no masks": (lambda p: without(p, *MEASURES[:5]), ("dice",), "no image was compared with a mask"),
    "no lungs": (lambda p: without(p, *MEASURES[5:]), ("pfs", "lung_attention_excess"), "give lung masks"),
    "no measures": (lambda p: without(p, *MEASURES), ("pfs", "dice"), "no image was compared with a mask"),
    "no spacing": (in_pixels, (), "distances are in pixels, not in mm"),
    "no labels": (unknown, (*AUCS, "smallest_class_patients"), "no image has a known label"),
    "no classes": (no_classes, AUCS, "the model gives no classes"),
    "one image": (lambda p: made(films=1), (*AUCS, "dice"), "Not assessable"),
}  # fmt: skip


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_input_is_not_assessable(tmp_path, case):
    change, absent, reason = DEGENERATE[case]
    test, validation = change(made()), change(made("validation", seed=1))
    folder = evaluation(tmp_path, test, validation, lungs=test)
    words, figures = read(write_report(folder, resamples=40))
    told = {entry["figure"]: entry["reason"] for entry in figures["not_assessable"]}
    for name in absent:
        assert figures[name] is None
        assert told[name]
    assert reason in words or reason in " ".join(told.values())
    if case == "one patient":
        assert figures["macro_auc"] is None
    if case == "no spacing":
        assert "hd95_mm" not in figures
        assert figures["hd95_pixel"] > 0


def test_no_validation_films(tmp_path):
    words, figures = read(write_report(evaluation(tmp_path, made(), None), resamples=40))
    assert figures["macro_auc"] > 0.8
    for name in ("threshold_normal", "sensitivity_normal", "sens90_specificity_normal", "ece_scaled", "temperature"):
        assert figures[name] is None
    assert "operating points are chosen on validation images only, and there are none" in words
    assert not (tmp_path / "report" / "temperature.json").exists()


def test_no_test_films(tmp_path):
    unreadable = replace(made(films=0), unreadable=[{"image": "a.dcm", "cause": "it is cut off"}])
    words, figures = read(write_report(evaluation(tmp_path, unreadable, made("validation")), resamples=40))
    assert "There is no test image, so nothing can be assessed" in words
    assert "it is cut off" in words
    assert figures["images"] == 0
    assert figures["unreadable_share"] == 1
    assert figures["macro_auc"] is None


def test_external_set_and_subgroups(tmp_path):
    sexes = np.array(["F", "M"])[np.arange(240) // 2 % 2]
    test = made(films=240)
    scores = np.where((sexes == "M")[:, None], np.random.default_rng(9).dirichlet(np.ones(3), 240), test.scores)
    test = replace(
        test, scores=scores, items=[{**i, "sex": s, "age": 50} for i, s in zip(test.items, sexes, strict=True)]
    )
    folder = evaluation(tmp_path, test, made("validation", films=120, seed=1))
    save_predictions(made("external", films=120, seed=5, skill=0.3), folder / "external" / "elsewhere.csv")
    words, figures = read(write_report(folder, resamples=60))
    by_hand = [roc_auc_score(np.eye(3)[test.labels[sexes == sex]], scores[sexes == sex]) for sex in ("F", "M")]
    assert figures["largest_subgroup_gap"] == pytest.approx(by_hand[0] - by_hand[1])
    assert figures["external_drop"] == pytest.approx(figures["macro_auc"] - figures["external_elsewhere_macro_auc"])
    assert figures["external_drop"] == figures["external_elsewhere_drop"]
    assert "External set elsewhere: the model is worse there" in words
    assert "Source: not assessable, since it is not known of any image" in words
    assert 0 <= figures["external_elsewhere_sensitivity"] <= 1


def test_external_set_of_another_kind_is_not_assessable(tmp_path):
    folder = evaluation(tmp_path, made(), made("validation", seed=1))
    other = replace(made("external", seed=5), classes=["a", "b", "c"])
    save_predictions(other, folder / "external" / "elsewhere.csv")
    _, figures = read(write_report(folder, resamples=40))
    assert figures["external_drop"] is None
    told = {entry["figure"]: entry["reason"] for entry in figures["not_assessable"]}
    assert "it has the classes a, b, c" in told["external_drop"]


def test_models_are_compared_on_common_films(tmp_path):
    best, other = made(), made(seed=0, skill=1.0)
    fewer = Predictions(CLASSES, "multi_class", other.items[10:], other.scores[10:], other.labels[10:], {})
    save_predictions(best, tmp_path / "best.csv")
    save_predictions(fewer, tmp_path / "other.csv")
    page = write_report([tmp_path / "best.csv", tmp_path / "other.csv"], tmp_path / "r", resamples=100)
    words, figures = read(page)
    label = np.eye(3)[best.labels[10:]]
    difference = roc_auc_score(label, best.scores[10:]) - roc_auc_score(label, fewer.scores)
    assert figures["best_minus_other_macro_auc"] == pytest.approx(difference)
    assert "left out are 10 of best" in words
    assert "best is better than other" in words
    assert "Holm" in words
    with pytest.raises(ConfigurationError, match="Two models are called best"):
        write_report([tmp_path / "best.csv"] * 2, tmp_path / "r")
    save_predictions(made("elsewhere"), tmp_path / "apart.csv")
    with pytest.raises(DatalistError, match="no test image in common"):
        write_report([tmp_path / "best.csv", tmp_path / "apart.csv"], tmp_path / "r", resamples=20)
    save_predictions(replace(best, labels=(best.labels + 1) % 3), tmp_path / "odd.csv")
    with pytest.raises(DatalistError, match="other labels of test0.png"):
        write_report([tmp_path / "best.csv", tmp_path / "odd.csv"], tmp_path / "r", resamples=20)


def test_same_seed_same_figures(tmp_path):
    folder = evaluation(tmp_path, made(), made("validation", seed=1))
    first, second = (read(write_report(folder, tmp_path / str(n), resamples=30, seed=7))[1] for n in range(2))
    assert first == second
