# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folds that train, the ensemble of them, and a run that goes on where one was stopped."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import load_predictions
from monai_cxrssl.metrics.temperature import apply_temperature

OPTIONS = ["--encoder_name", "resnet18", "--image_size", "32", "--max_epochs", "1", "--batch_size", "16", "--recipe",
           "short", "--num_workers", "0", "--ignore_absent", "True", "--seed", "4"]  # fmt: skip


def rows(path, split):
    """Probabilities by image."""
    found = load_predictions(path)
    pairs = zip(found.items, found.scores, strict=True)
    return {item["image"]: scores for item, scores in pairs if item["split"] == split}


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_folds_train_and_their_ensemble_is_one_model(few_films, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        "folds",
        "--bundle",
        "multitask",
        "--folds",
        "2",
        "--output_dir",
        str(out),
        "--dataset_dir",
        str(few_films),
    ]
    assert main([*words, *OPTIONS]) == 0
    report = json.loads((out / "folds.json").read_text())
    parts = [json.loads((out / "folds" / f"fold{fold}.json").read_text()) for fold in range(2)]
    patients = [{split: {i["patient_id"] for i in part[split]} for split in ("training", "validation", "test")}
                for part in parts]  # fmt: skip
    official = json.loads((few_films / "datalist.json").read_text())
    assert patients[0]["test"] == patients[1]["test"] == {item["patient_id"] for item in official["test"]}
    for one, other in (patients, patients[::-1]):
        assert one["training"] == other["validation"]
        assert not one["training"] & (one["validation"] | one["test"])
    # The ensemble averages the members' calibrated probabilities; out of fold each image has that of one member.
    temperatures = [fold["temperature"] for fold in report["folds"]]
    tests, others = [], {}
    for fold, temperature in enumerate(temperatures):
        own = out / "members" / f"fold{fold}"
        test = rows(own / "predictions.csv", "test")
        tests.append({image: apply_temperature(p[None], temperature, "multi_class")[0] for image, p in test.items()})
        left_out = rows(own / "out_of_fold.csv", "validation")
        others |= {i: apply_temperature(p[None], temperature, "multi_class")[0] for i, p in left_out.items()}
    ensemble = rows(out / "evaluation" / "report" / "predictions.csv", "test")
    assert ensemble.keys() == tests[0].keys()
    for image, scores in ensemble.items():
        np.testing.assert_allclose(scores, np.mean([test[image] for test in tests], axis=0), atol=1e-5)
    validation = rows(out / "evaluation" / "report" / "predictions.csv", "validation")
    assert validation.keys() == others.keys()
    assert len(validation) == len(official["training"]) + len(official["validation"])
    for image, scores in validation.items():
        np.testing.assert_allclose(scores, others[image], atol=1e-5)
    figures = {name: [entry["model"] for entry in found["figures"]] for name, found in report["metrics"].items()}
    rows_of_all = ["fold0", "fold1", "mean of members", "ensemble"]
    assert figures == {"macro_auc": rows_of_all, "dice": rows_of_all}
    assert json.loads((out / "evaluation" / "checks.json").read_text())["saliency_method"] is not None
    settings = json.loads((out / "model.json").read_text())
    assert settings["members"] == 2
    assert {"temperature", "thresholds"} <= settings.keys()
    learnt = set().union(*(p["training"] | p["validation"] for p in patients))
    assert json.loads((out / "model.patients.json").read_text())["count"] == len(learnt)
    assert "ensemble - model" in capsys.readouterr().out

    # Stopped after the second member, it evaluates the ensemble and leaves the members alone.
    before = (out / "members" / "fold0" / "model.pt").stat().st_mtime_ns
    shutil.rmtree(out / "evaluation")
    (out / "model.pt").unlink()
    assert main([*words, *OPTIONS]) == 0
    said = capsys.readouterr()
    assert "2 cells: 2 finished, 0 left to run" in said.out + said.err
    assert "1 cell: 0 finished, 1 left to run" in said.out + said.err
    assert (out / "members" / "fold0" / "model.pt").stat().st_mtime_ns == before
    again = rows(out / "evaluation" / "report" / "predictions.csv", "test")
    assert all(np.array_equal(again[image], scores) for image, scores in ensemble.items())
