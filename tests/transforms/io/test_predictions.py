# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From logits to probabilities and masks on the film's grid, against float64 formulas and the decoded images of a run."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta

from monai_cxrssl.data import open_images
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.transforms import (
    LabelReply,
    LabelReplyd,
    LoadSmallCXR,
    LoadSmallCXRd,
    ResizeCXR,
    RestoreMask,
    RestoreMaskd,
    SplitPrediction,
    SplitPredictiond,
)

LOGITS = torch.tensor([1.5, -0.5, 0.25])
CLASSES = ["a", "b", "c"]


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (210, 140), dtype=np.uint8))
    return path


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_probabilities(task, temperature):
    exact = LOGITS.numpy().astype(np.float64) / temperature
    expected = np.exp(exact) / np.exp(exact).sum() if task == "multi_class" else 1 / (1 + np.exp(-exact))
    found = SplitPrediction(CLASSES, task, temperature)({"label": LOGITS, "mask": torch.zeros(1, 4, 4)})
    np.testing.assert_allclose(found["scores"], expected, rtol=1e-12)
    assert found["mask"].tolist() == torch.full((1, 4, 4), 0.5).tolist()


@pytest.mark.parametrize(
    ("options", "prediction", "words"),
    [
        ({"task": "other"}, None, "multi_label"),
        ({"temperature": 0.0}, None, "above 0"),
        ({"classes": ["a"]}, {"label": LOGITS}, "3 values"),
        ({}, {"mask": torch.zeros(2, 4, 4)}, "2 masks"),
    ],
)
def test_refusals(options, prediction, words):
    with pytest.raises(ConfigurationError, match=words):
        SplitPrediction(**options)(prediction)


@pytest.mark.parametrize("mode", ["pad", "stretch"])
@pytest.mark.parametrize("shape", [(210, 140), (90, 155)])
def test_mask_comes_back_where_it_was(mode, shape):
    """A rectangle on the film, seen through the resizing, is drawn within the blur of a pixel of the small grid."""
    drawn = np.zeros((1, *shape), np.uint8)
    drawn[:, shape[0] // 5 : shape[0] // 2, shape[1] // 3 :] = 1
    seen = ResizeCXR(64, mode=mode)(drawn.astype(np.float32))
    found = RestoreMask(64, mode)(seen, shape)
    assert found.dtype == torch.uint8
    assert found.shape == drawn.shape
    assert (found.numpy() != drawn).mean() < 0.02


def test_mask_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        RestoreMask(8)(torch.full((1, 8, 8), torch.nan), (8, 8))


@pytest.mark.parametrize("side", [64, 109, 400])
def test_a_film_alone_is_what_a_run_decodes(film, side):
    images = open_images([{"image": str(film), "patient_id": "p"}], side, progress=False)
    alone = LoadSmallCXR(side)(film)
    assert alone.dtype == torch.uint8
    np.testing.assert_array_equal(alone[0], images.image(0))
    assert list(alone.meta["film_shape"]) == [210, 140]
    assert pickle.loads(pickle.dumps(LoadSmallCXR(side))).side == side


@pytest.mark.parametrize("tracked", [True, False])
def test_sizes_travel_beside_the_image(film, tracked):
    set_track_meta(tracked)
    try:
        item = LoadSmallCXRd("image", side=64)({"image": film, "other": 1})
    finally:
        set_track_meta(True)
    assert isinstance(item["image"], MetaTensor) is tracked
    assert item["image_film"]["shape"] == (210, 140)
    assert item["image_film"]["decoded_shape"] == (96, 64)
    assert item["other"] == 1


def test_a_folder_of_one_film(film):
    assert LoadSmallCXR(64)(film.parent).shape == (1, 96, 64)
    (film.parent / "other.png").write_bytes(film.read_bytes())
    with pytest.raises(CXRReadError, match="2 files"):
        LoadSmallCXR(64)(film.parent)


def test_reply_has_the_axes_of_the_writer():
    """What ``image_np.transpose()`` makes of it is a slice of rows and columns, and its affine follows."""
    mask = torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3)
    affine = np.array([[0.0, -2, 0, 5], [-3, 0, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = LabelReply()(mask, affine)
    np.testing.assert_array_equal(turned.numpy().transpose()[0], mask[0])
    for row, column in [(0, 0), (1, 2)]:
        np.testing.assert_allclose(turned.affine.numpy() @ [column, row, 0, 1], affine @ [row, column, 0, 1])


def test_the_chain_on_dictionaries(film):
    item = LoadSmallCXRd("image", side=64)({"image": film})
    item["image"] = ResizeCXR(32)(item["image"])
    item["pred"] = {"label": LOGITS, "mask": torch.full((1, 32, 32), 3.0)}
    item = SplitPredictiond("pred", CLASSES)(item)
    assert "pred" not in item
    item = RestoreMaskd("mask", 32)(item)
    assert item["mask"].shape == (1, 210, 140)
    reply = LabelReplyd(CLASSES, thresholds={"a": 0.5, "b": None, "c": float("nan")})(item)
    assert reply["pred"].shape == (140, 210, 1)
    assert "image" not in reply
    table = reply["result"]["prediction"]
    assert [row["label"] for row in table] == CLASSES
    assert [row.get("decision") for row in table] == [1, None, None]


def test_a_chain_that_lacks_what_it_needs():
    with pytest.raises(KeyError, match="LoadSmallCXRd"):
        RestoreMaskd("mask", 32)({"mask": torch.zeros(1, 32, 32)})
    assert RestoreMaskd("mask", 32, allow_missing_keys=True)({"scores": 1}) == {"scores": 1}
    with pytest.raises(KeyError, match="neither"):
        LabelReplyd()({"image": 1})
    with pytest.raises(ConfigurationError, match="2 entries"):
        SplitPredictiond(("a", "b"))
