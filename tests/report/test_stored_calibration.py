# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import roc_curve

from monai_cxrssl.data import Predictions, save_predictions
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks import read_temperature, read_thresholds
from monai_cxrssl.networks.weights.header import read_header
from monai_cxrssl.report import store_calibration

CLASSES = ["well", "ill"]


@pytest.fixture
def report(tmp_path):
    """A folder as a report leaves it: validation and test rows, a temperature of 2; and a model beside."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 60)
    logits = generator.normal(size=(60, 2)) + 2 * np.eye(2)[labels]
    items = [
        {"image": f"{n}.png", "patient_id": str(n), "split": "validation" if n < 40 else "test"} for n in range(60)
    ]
    table = Predictions(CLASSES, "multi_class", items, softmax(logits, axis=1), labels)
    save_predictions(table, tmp_path / "report" / "predictions.csv")
    fitted = {"temperature": 2.0, "task": "multi_class", "classes": CLASSES}
    (tmp_path / "report" / "temperature.json").write_text(json.dumps(fitted))
    torch.save({"weight": torch.ones(3)}, tmp_path / "model.pt")
    store_description(tmp_path / "model.pt", {"encoder_name": "resnet18", "classes": CLASSES})
    return tmp_path, logits, labels


def test_thresholds_are_of_validation_after_the_temperature(report):
    folder, logits, labels = report
    stored = store_calibration(folder / "report", folder / "model.pt")
    assert read_temperature(folder / "model.pt") == 2
    assert read_thresholds(folder / "model.pt") == stored["thresholds"]
    inside = read_header(folder / "model.pt")[1]
    assert inside == json.loads((folder / "model.json").read_text())
    assert inside == {"encoder_name": "resnet18", "classes": CLASSES, **stored}
    assert torch.equal(torch.load(folder / "model.pt", weights_only=True)["weight"], torch.ones(3))
    # The weights alone tell it too.
    (folder / "model.json").unlink()
    assert read_thresholds(folder / "model.pt") == stored["thresholds"]
    scores = softmax(logits[:40] / 2, axis=1)[:, 1]
    false_positive, true_positive, _ = roc_curve(labels[:40] == 1, scores, drop_intermediate=False)
    best = (true_positive - false_positive).max()
    found = scores >= stored["thresholds"]["ill"]
    assert found[labels[:40] == 1].mean() - found[labels[:40] == 0].mean() == pytest.approx(best)


def test_without_a_temperature_the_stored_one_goes(report, caplog):
    folder, _, _ = report
    store_calibration(folder / "report", folder / "model.pt")
    (folder / "report" / "temperature.json").unlink()
    assert store_calibration(folder / "report", folder / "model.pt") == {}
    assert "fitted no temperature" in caplog.text
    assert read_temperature(folder / "model.pt") == 1
    assert read_thresholds(folder / "model.pt") is None


def test_a_report_of_other_classes_is_refused(report):
    folder, _, _ = report
    store_description(folder / "model.pt", {"classes": ["a", "b"]})
    with pytest.raises(ConfigurationError, match="of the classes well, ill"):
        store_calibration(folder / "report", folder / "model.pt")


def test_a_temperature_stored_only_beside_goes_inside_too(report):
    folder, _, _ = report
    torch.save({"weight": torch.ones(3)}, folder / "model.pt")
    stored = store_calibration(folder / "report", folder / "model.pt")
    assert read_header(folder / "model.pt")[1] == {"encoder_name": "resnet18", "classes": CLASSES, **stored}


def test_without_a_model_there_is_nothing_to_store_in(report):
    folder, _, _ = report
    torch.save({"weight": torch.ones(3)}, folder / "model.pt")
    (folder / "model.json").unlink()
    with pytest.raises(ConfigurationError, match="does not say what it was trained for"):
        store_calibration(folder / "report", folder / "model.pt")
    (folder / "model.pt").unlink()
    with pytest.raises(ConfigurationError, match="There is no file of weights"):
        store_calibration(folder / "report", folder / "model.pt")
    assert read_temperature(folder / "model.pt") == 1
    assert read_thresholds(folder / "model.pt") is None


@pytest.mark.parametrize(
    ("content", "reader"),
    [
        ({"temperature": 0}, read_temperature),
        ({"temperature": "warm"}, read_temperature),
        ({"thresholds": {"ill": 2}}, read_thresholds),
        ({"thresholds": [0.5]}, read_thresholds),
    ],
)
def test_values_that_cannot_be(tmp_path, content, reader):
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="expected a"):
        reader(tmp_path / "model.pt")
