# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of an evaluation and of a fine-tuning run, against scikit-learn and the csv module."""

from __future__ import annotations

import csv
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from monai_cxrssl.data import load_predictions, refuse_leak, write_training_patients
from monai_cxrssl.engines import MultiTaskPredictor, MultiTaskTrainer
from monai_cxrssl.errors import ConfigurationError, DatalistError, TrainingError
from monai_cxrssl.handlers import BestCheckpoint, CurvesPlot, FineTuningSummary, RunHistory, TestMetrics, Validation
from monai_cxrssl.methods import FineTuningMethod
from tests.engines.small_multi_task import PlainLoss, SmallMultiTask, batches

CLASSES = ["normal", "TB", "mass"]
MODEL = {"encoder_name": "small", "image_size": 8, "classes": CLASSES, "task": "multi_class", "decoder": "Unet"}


def items_of(count: int = 306) -> list[dict]:
    return [{"image": f"/films/{n}.png", "patient_id": f"p{n // 2}", "sex": "F"} for n in range(count)]


def run(tmp_path, data, network=None, **options):
    assessment = TestMetrics(tmp_path, items_of(), CLASSES, "multi_class", resamples=200, **options)
    network = network or SmallMultiTask()
    evaluator = MultiTaskPredictor("cpu", data, network, classes=CLASSES, amp=False, val_handlers=[assessment])
    evaluator.run()
    return assessment, evaluator


def test_the_files_of_an_evaluation(tmp_path):
    unreadable = [{"image": "/films/bad.png", "cause": "is empty"}]
    assessment, evaluator = run(
        tmp_path, batches(3, seed=4), settings={"seed": 7}, unreadable=unreadable, split="test", filename="figures.json"
    )
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[:-1]] == [f"/films/{index}.png" for index in evaluator.indices]
    assert {row["split"] for row in rows[:-1]} == {"test"}
    assert rows[-1]["problem"] == "is empty"
    known = [row for row in rows[:-1] if row["label:TB"]]
    figures = json.loads((tmp_path / "figures.json").read_text())
    for name in CLASSES:
        truth, score = ([float(row[f"{kind}:{name}"]) for row in known] for kind in ("label", "p"))
        assert figures[f"auc_{name}"] == pytest.approx(roc_auc_score(truth, score))
        assert figures[f"auc_{name}_ci_low"] <= figures[f"auc_{name}"] <= figures[f"auc_{name}_ci_high"]
    assert figures["macro_auc"] == pytest.approx(np.mean([figures[f"auc_{name}"] for name in CLASSES]))
    assert figures["dice"] == pytest.approx(np.mean([float(row["dice"]) for row in rows if row["dice"]]))
    assert figures["dice_ci_low"] <= figures["dice"] <= figures["dice_ci_high"]
    counts = {name: figures[name] for name in ("images", "patients", "labelled", "masked", "seed")}
    assert counts == {"images": 18, "patients": 9, "labelled": 15, "masked": 9, "seed": 7}
    assert figures["unreadable"] == unreadable
    assert figures["not_assessable"] == []
    assert {**figures, **assessment.figures} == figures
    again, _ = run(tmp_path, batches(3, seed=4))
    assert again.figures == assessment.figures


def test_a_leak_is_found_from_the_table_alone(tmp_path):
    """Items that name no source are of the data set's name, for the list of patients and for the table alike."""
    run(tmp_path, batches(2), name="clinic")
    found = load_predictions(tmp_path / "predictions.csv")
    assert {item["source"] for item in found.items} == {"clinic"}
    write_training_patients(items_of(), tmp_path / "model.pt", "clinic")
    with pytest.raises(DatalistError, match="were trained on"):
        refuse_leak(found.items, tmp_path / "model.pt")


def without_class(number):
    data = batches(2)
    for batch in data:
        batch["label"][batch["label"] == number] = -1
    return data


def one_patient():
    batch = batches(1)[0]
    batch = {name: value[[0, 1, 2, 4]] for name, value in batch.items()}
    batch["index"] = torch.tensor([4, 5, 4, 5])
    return [batch]


def no_labels():
    data = batches(2)
    for batch in data:
        batch["label"][:] = -1
    return data


@pytest.mark.parametrize(
    ("data", "numbers", "nulls", "told"),
    [
        (without_class(1), {"auc_normal", "macro_auc_ci_low", "dice_ci_low"}, {"auc_TB", "auc_TB_ci_low"}, "auc_TB, since"),
        (one_patient(), {"auc_TB", "macro_auc", "dice"}, {"macro_auc_ci_low", "dice_ci_high"}, "all masks are of one"),
        (no_labels(), {"dice"}, set(), ""),
    ],
    ids=["a class is missing", "one patient", "no labels"],
)  # fmt: skip
def test_what_cannot_be_assessed_is_null_and_said(data, numbers, nulls, told, tmp_path, caplog):
    run(tmp_path, data)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert all(isinstance(figures[name], float) for name in numbers)
    assert all(figures[name] is None for name in nulls)
    assert told in caplog.text
    assert bool(figures["not_assessable"]) is bool(told)
    assert all(value != value or isinstance(value, (int, float, str, list, type(None))) for value in figures.values())
    if not told:
        assert not any("auc" in name for name in figures)


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_masks_only_and_numbers_that_are_none(task, tmp_path):
    engine = SimpleNamespace(indices=np.arange(4), labels=np.full(4, -1), scores=np.zeros((4, 0)), dice=np.ones(4))
    assessment = TestMetrics(tmp_path, items_of(4), [], task, resamples=20)
    assessment.write(engine)
    # Of two patients: five in six may be unlike them.
    assert assessment.figures["dice_ci_low"] == pytest.approx(0.025**0.5)
    assert "all resamples are equal" in assessment.figures["dice_ci_method"]
    assert not any("auc" in name for name in assessment.figures)
    engine.labels = np.array([0, 1, 0, 1]) if task == "multi_class" else np.eye(4, 2, dtype=np.float32)
    engine.scores, engine.dice = np.full((4, 2), np.nan), np.full(4, np.nan)
    assessment = TestMetrics(tmp_path, items_of(4), ["a", "b"], task, resamples=20)
    assessment.write(engine)
    assert assessment.figures["macro_auc"] is None
    assert assessment.figures["not_assessable"][0]["reason"].startswith(
        "the network gave no finite probabilities for 4"
    )
    assert np.isnan(load_predictions(tmp_path / "predictions.csv").scores).all()


def train(tmp_path, epochs=3, test=True, network=None, metric="val_macro_auc", damage=None):
    network = network or SmallMultiTask()
    evaluators = [
        MultiTaskPredictor("cpu", batches(2, seed=seed), network, classes=CLASSES, amp=False) for seed in (1, 2)
    ]
    validation = Validation(evaluators[0])
    best = BestCheckpoint(validation, network, tmp_path / "best.pt", metric)
    assessment = TestMetrics(tmp_path, items_of(), CLASSES, "multi_class", filename=None, resamples=50, split="test")
    assessment.attach(evaluators[1])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    history = RunHistory(optimizer)
    summary = FineTuningSummary(
        history,
        best,
        tmp_path,
        tmp_path / "models" / "model.pt",
        MODEL,
        items_of(20),
        items_of(26)[20:],
        evaluators[1] if test else None,
        assessment,
        settings={"seed": 3, "source": "x"},
        unreadable=[{"image": "bad\udcff.png", "cause": "is empty"}],
    )
    if damage:
        damage(best, network)
    method = FineTuningMethod(network, PlainLoss())
    handlers = [validation, best, history, CurvesPlot(history, tmp_path / "curves.png"), summary]
    trainer = MultiTaskTrainer("cpu", epochs, batches(2), method, optimizer, amp=False, train_handlers=handlers)
    trainer.run()
    return SimpleNamespace(
        best=best,
        assessment=assessment,
        network=network,
        evaluator=evaluators[1],
        validation=validation,
        history=history,
    )


def test_what_a_fine_tuning_run_leaves(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        done = train(tmp_path, epochs=6)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    chosen = max(done.validation.rows, key=lambda row: row["val_macro_auc"])
    assert figures["best_epoch"] == chosen["epoch"]
    assert {name: value for name, value in figures.items() if name.startswith("val_")} == {
        name: value for name, value in chosen.items() if name != "epoch"
    }
    assert figures["epochs"] == 6
    assert figures["loss_first_epoch"] == done.history.rows[0]["loss"]
    assert {name: value for name, value in figures.items() if name.endswith(("_images", "_patients", "ed", "seed"))} == {
        "training_images": 20, "training_patients": 10, "validation_images": 6, "validation_patients": 3,
        "test_images": 12, "test_patients": 6, "test_labelled": 10, "test_masked": 6, "seed": 3,
    }  # fmt: skip
    assert figures["unreadable"] == [{"image": "bad\udcff.png", "cause": "is empty"}]
    assert figures["images_per_second"] > 0
    # The weights are those of the best epoch, and the figures theirs.
    saved = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    kept = torch.load(tmp_path / "best.pt", weights_only=True)
    assert all(torch.equal(saved[name], value) for name, value in kept.items())
    network = SmallMultiTask(seed=9)
    network.load_state_dict(saved)
    again = MultiTaskPredictor("cpu", batches(2, seed=2), network, classes=CLASSES, amp=False)
    again.run()
    expected = {
        name: value for name, value in again.state.metrics.items() if name.startswith(("auc_", "macro", "dice"))
    }
    assert len(expected) == 5
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert figures["macro_auc_ci_low"] <= figures["macro_auc"] <= figures["macro_auc_ci_high"]
    run = {"folder": "..", "recipe": None, "source": "x"}
    assert json.loads((tmp_path / "models" / "model.json").read_text()) == {**MODEL, "run": run}
    for items in (items_of(2), items_of(26)[24:]):
        with pytest.raises(DatalistError, match="1 of the 1 patients"):
            refuse_leak(items, tmp_path / "models" / "model.pt", name="x")
    assert refuse_leak(items_of(30)[26:], tmp_path / "models" / "model.pt", name="x") == []
    assert "training_patients" in caplog.text
    assert len(load_predictions(tmp_path / "predictions.csv").items) == 12
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    assert (np.abs(picture - (0x7A, 0x3F, 0xA0)).sum(2) < 30).any()  # the macro AUC
    assert (np.abs(picture - (0x0F, 0x8A, 0x8A)).sum(2) < 30).any()  # the Dice coefficient


def test_a_run_without_test_images(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        train(tmp_path, epochs=1, test=False, metric="val_dice")
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["test_images"] == 0
    assert "val_dice" in figures
    assert "macro_auc" not in figures
    assert "no test images" in caplog.text
    assert not (tmp_path / "predictions.csv").exists()


def lose(best, network):
    best._is_better = lambda value: False


def spoil(best, network):
    best.path.write_bytes(b"PK\x03\x04 half a file")
    best._is_better = lambda value: setattr(best, "best", value)  # as after resuming, without a new file


@pytest.mark.parametrize(("damage", "words"), [(lose, "never a finite number"), (spoil, "cannot be read back from")])
def test_weights_that_are_not_there(damage, words, tmp_path):
    with pytest.raises(TrainingError, match=words):
        train(tmp_path, epochs=1, damage=damage)
    assert not (tmp_path / "models").exists()


def test_an_evaluator_of_something_else():
    network = SmallMultiTask()
    evaluator = MultiTaskPredictor("cpu", [], SmallMultiTask(), classes=CLASSES, amp=False)
    best = SimpleNamespace(network=network)
    for assessment, words in ((None, "no assessment"), ("given", "another network")):
        with pytest.raises(ConfigurationError, match=words):
            FineTuningSummary(None, best, "out", "m.pt", {}, [], [], evaluator, assessment)
