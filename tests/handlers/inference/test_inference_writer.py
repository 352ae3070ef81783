# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference output: probabilities of every image, masks in place on images of any shape, and what could not be done."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from monai_cxrssl.data import DecodedImages, ImageDataset, load_predictions
from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import InferenceWriter
from monai_cxrssl.networks import PredictionHead
from monai_cxrssl.transforms import ResizeCXR

SHAPES = {"a/1.png": (301, 200), "b/1.png": (200, 333), "b/c/2.png": (190, 190), "tiny.png": (40, 50)}


class BrightIsLung(torch.nn.Module):
    """Marks what is bright, and tells the mean intensity as its classes' logits."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, image):
        mean = image.mean((2, 3))
        output = {"label": torch.cat([mean, -mean], 1), "mask": 20 * (image - 0.5)}
        return {name: output[name] for name in self.names}


def drawing(shape) -> np.ndarray:
    """An upright mark that no flip or transposition leaves as it is."""
    mask = np.zeros(shape, np.uint8)
    height, width = shape
    mask[height // 8 : height // 2, width // 6 : width // 3] = 1
    mask[height // 2 : height * 5 // 8, width // 6 : width * 3 // 4] = 1
    return mask


@pytest.fixture
def images(tmp_path):
    for name, shape in SHAPES.items():
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.where(drawing(shape), 230, 25).astype(np.uint8))
        picture.save(tmp_path / "films" / name)
    (tmp_path / "films" / "broken.png").write_text("no image\n" * 9)
    # Stored lying, with the order to turn it: its mask must be as it is shown.
    turned = Image.fromarray(np.where(drawing((180, 120)), 230, 25).astype(np.uint8)).transpose(
        Image.Transpose.ROTATE_90
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "films" / "turned.jpg", exif=exif, quality=95)
    names = [*SHAPES, "broken.png", "turned.jpg"]
    items = [
        {"image": str(tmp_path / "films" / name), "patient_id": f"p{n}", "label": 1} for n, name in enumerate(names)
    ]
    return DecodedImages(items, side=64, progress=False)


def infer(images, writer, network, task="multi_class"):
    loader = torch.utils.data.DataLoader(ImageDataset(images, writer.transform, num_classes=1), batch_size=2)
    classes = ["bright", "dark"] if "label" in network.names else []
    evaluator = MultiTaskPredictor("cpu", loader, network, task, classes, amp=False, val_handlers=[writer])
    evaluator.run()
    return evaluator


@pytest.mark.parametrize("mode", ["pad", "stretch"])
def test_masks_lie_on_the_films(images, tmp_path, mode, caplog):
    writer = InferenceWriter(tmp_path / "out", images, PredictionHead(classes=["bright", "dark"]), ResizeCXR(96, mode))
    with caplog.at_level(logging.INFO):
        infer(images, writer, BrightIsLung("label", "mask"))
    found = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / "out/masks").iterdir()}
    expected = {name.replace("/", "_"): drawing(shape) for name, shape in SHAPES.items()}
    assert set(found) == {*expected, "turned.png"}
    for name, mask in {**expected, "turned.png": drawing((180, 120))}.items():
        assert found[name].shape == mask.shape
        assert found[name].dtype == np.uint8
        assert set(np.unique(found[name])) == {0, 255}
        drawn = found[name] > 0
        assert 2 * (drawn & (mask > 0)).sum() / (drawn.sum() + mask.sum()) > 0.95, name
    assert (
        "5 images (0 with warnings), 5 masks, 0 DICOM results, 0 overlays, 1 failures (1 unreadable files, 0 masks not written"
        in caplog.text
    )


def test_probabilities_and_unreadable_files(images, tmp_path):
    writer = InferenceWriter(tmp_path, images, PredictionHead(classes=["bright", "dark"]), ResizeCXR(96))
    evaluator = infer(images, writer, BrightIsLung("label"))
    table = load_predictions(tmp_path / "predictions.csv")
    assert [item["image"] for item in table.items] == [item["image"] for item in images.items]
    np.testing.assert_allclose(table.scores, evaluator.scores, atol=1e-6)
    assert (table.labels == -1).all()
    assert [Path(entry["image"]).name for entry in table.unreadable] == ["broken.png"]
    assert table.unreadable[0]["cause"]
    assert not (tmp_path / "masks").exists()
    assert not (tmp_path / "masks.csv").exists()


def test_films_that_are_gone_keep_their_row(images, tmp_path, caplog):
    out = tmp_path / "out"
    writer = InferenceWriter(out, images, PredictionHead(), ResizeCXR(96))
    infer(images, writer, BrightIsLung("mask"))
    Path(images.items[1]["image"]).unlink()
    with caplog.at_level(logging.INFO):
        infer(images, writer, BrightIsLung("mask"))
    with open(out / "masks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [item["image"] for item in images.items]
    assert rows[1]["mask"] == ""
    assert rows[1]["problem"]
    assert {row["mask"] for row in rows} - {""} == {f"masks/{path.name}" for path in (out / "masks").iterdir()}
    assert "4 masks, 0 DICOM results, 0 overlays, 2 failures (1 unreadable files, 1 masks not written" in caplog.text
    table = load_predictions(out / "predictions.csv")
    assert table.scores.shape == (5, 0)
    assert [item.get("mask", "") for item in table.items] == [row["mask"] for row in rows]


def test_no_numbers_are_no_mask_and_no_probability(images, tmp_path, caplog):
    writer = InferenceWriter(tmp_path, images, PredictionHead("multi_label", ["x"]), ResizeCXR(8))
    engine = Engine(lambda engine, batch: {"label": torch.tensor([[np.nan]]), "mask": torch.full((1, 1, 8, 8), np.nan)})
    writer.attach(engine)
    engine.run([{"index": torch.tensor([0])}])
    assert np.isnan(load_predictions(tmp_path / "predictions.csv").scores).all()
    assert not (tmp_path / "masks").exists()
    assert "no finite numbers" in caplog.text
    assert "no finite probabilities for 1 images" in caplog.text


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"label": torch.zeros(1, 3)}, "3 values per image for 1 classes"),
        ({"mask": torch.zeros(1, 1, 8, 8)}, "0 values"),
    ],
)
def test_outputs_of_other_classes_are_refused(images, tmp_path, output, words):
    engine = Engine(lambda engine, batch: output)
    InferenceWriter(tmp_path, images, PredictionHead("multi_label", ["x"]), ResizeCXR(8)).attach(engine)
    with pytest.raises(ConfigurationError, match=words):
        engine.run([{"index": torch.tensor([0])}])
