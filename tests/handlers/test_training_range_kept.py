# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The range of the training images on its way: training, model.json, inference, predictions.csv."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from monai_cxrssl.data import DecodedImages, load_predictions, measure_training_range
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import FineTuningSummary, InferenceWriter
from monai_cxrssl.handlers.inference.film_warnings import film_warnings
from monai_cxrssl.networks import PredictionHead, read_training_range
from monai_cxrssl.transforms import ResizeCXR

MODEL = {"encoder_name": "resnet18", "image_size": 48, "classes": ["x"], "task": "multi_label"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Forty images, not all of which are trained on; the last one is far too dark."""
    import cv2

    folder = tmp_path_factory.mktemp("films")
    generator = np.random.default_rng(0)
    items = []
    for number in range(40):
        film = cv2.GaussianBlur(generator.normal(140, 60, (64, 64)), (0, 0), 2) + np.linspace(-40, 40, 64)[:, None]
        cv2.imwrite(str(folder / f"{number}.png"), np.clip(film * (0.3 if number == 39 else 1), 0, 255))
        items.append({"image": str(folder / f"{number}.png"), "patient_id": str(number), "age": 40 + number % 20})
    return DecodedImages(items, side=64, progress=False)


def summary(tmp_path, images, training):
    network = torch.nn.Linear(2, 1)
    torch.save(network.state_dict(), tmp_path / "best.pt")
    best = SimpleNamespace(
        path=tmp_path / "best.pt", metric="val_dice", best=0.5, best_epoch=1, network=network,
        validation=SimpleNamespace(rows=[]),
    )  # fmt: skip
    history = SimpleNamespace(rows=[{"epoch": 1, "loss": 1.0, "seconds": 1.0, "images": 4, "images_per_second": 4.0}])
    return FineTuningSummary(history, best, tmp_path, tmp_path / "model.pt", MODEL, training, [], images=images)


def test_training_keeps_what_its_films_looked_like(images, tmp_path):
    summary(tmp_path, images, images.items[:35]).write()
    stored = read_training_range(tmp_path / "model.pt")
    assert stored == measure_training_range(images, range(35), 48).to_dict()
    content = json.loads((tmp_path / "model.json").read_text())
    assert {**content, "run": None} == {**MODEL, "training_range": stored, "run": None}


@pytest.mark.parametrize(("kept", "count"), [(False, 35), (True, 20)])
def test_without_images_or_with_few_there_is_none(images, tmp_path, kept, count):
    summary(tmp_path, images if kept else None, images.items[:count]).write()
    assert "training_range" not in json.loads((tmp_path / "model.json").read_text())
    assert read_training_range(tmp_path / "model.pt") is None
    assert read_training_range(tmp_path / "gone.pt") is None


def test_model_json_with_something_else(tmp_path):
    (tmp_path / "model.json").write_text('{"training_range": [1]}')
    with pytest.raises(ConfigurationError, match=r"has the training_range \[1\]; expected an object"):
        read_training_range(tmp_path / "model.pt")


def infer(images, folder, training_range):
    writer = InferenceWriter(
        folder, images, PredictionHead("multi_label", ["x"]), ResizeCXR(48), training_range=training_range
    )
    engine = Engine(lambda engine, batch: {"label": torch.zeros(40, 1)})
    writer.attach(engine)
    for _ in range(2):
        engine.run([{"index": torch.arange(40)}])
    return load_predictions(folder / "predictions.csv").items


def test_inference_warns_of_the_film_that_is_too_dark(images, tmp_path, caplog):
    found = measure_training_range(images, range(35), 48).to_dict()
    with caplog.at_level(logging.INFO):
        warned = [item.get("warnings") or "" for item in infer(images, tmp_path, found)]
    assert warned[39].startswith("outside training range: darker than 99 % of the training images (mean_intensity 0.1")
    assert not any("outside" in text for text in warned[:35])
    assert "40 images (1 with warnings)" in caplog.text
    assert "come without" not in caplog.text


def test_weights_without_a_range_are_told_once_and_warn_of_nothing(images, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert not any("outside" in (item.get("warnings") or "") for item in infer(images, tmp_path, None))
    assert caplog.text.count("come without the range of their training images") == 1
    with pytest.raises(ConfigurationError, match="not what training writes"):
        infer(images, tmp_path, {"films": 3})


def test_warnings_stand_side_by_side(images):
    found = measure_training_range(images, range(35), 48)
    lateral, beyond = film_warnings({"view_position": "LL", "age": 3}, images.image(39), training_range=found)
    assert lateral == "lateral view"
    assert beyond.endswith("patient age 3 below the training images' 40 to 58.7")
    assert film_warnings({"age": 50}, images.image(1), training_range=found) == []
