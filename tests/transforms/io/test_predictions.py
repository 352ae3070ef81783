# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks on the image's own grid, MONAI Label's reply, and single images against the decoded images of a run."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta

from monai_cxrssl.data import open_images
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.networks import PredictionHead
from monai_cxrssl.transforms import (
    LabelReplyd,
    LoadSmallCXR,
    LoadSmallCXRd,
    ResizeCXR,
    RestoreMask,
    RestoreMaskd,
    SplitPredictiond,
)

LOGITS = torch.tensor([1.5, -0.5, 0.25])
CLASSES = ["a", "b", "c"]


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (210, 140), dtype=np.uint8))
    return path


@pytest.mark.parametrize("mode", ["pad", "stretch"])
@pytest.mark.parametrize("shape", [(210, 140), (90, 155)])
def test_mask_comes_back_where_it_was(mode, shape):
    """A rectangle on the image, seen through the resizing, is drawn within the blur of a pixel of the small grid."""
    drawn = np.zeros((1, *shape), np.uint8)
    drawn[:, shape[0] // 5 : shape[0] // 2, shape[1] // 3 :] = 1
    seen = ResizeCXR(64, mode=mode)(drawn.astype(np.float32))
    found = RestoreMask(ResizeCXR(64, mode))(seen, shape)
    assert found.dtype == torch.uint8
    assert found.shape == drawn.shape
    assert (found.numpy() != drawn).mean() < 0.02


def test_mask_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        RestoreMask(ResizeCXR(8))(torch.full((1, 8, 8), torch.nan), (8, 8))


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
    item = {"image": None, "image_film": {"affine": affine}, "mask": mask}
    turned = LabelReplyd(PredictionHead())(item)["pred"]
    np.testing.assert_array_equal(turned.numpy().transpose()[0], mask[0])
    for row, column in [(0, 0), (1, 2)]:
        np.testing.assert_allclose(turned.affine.numpy() @ [column, row, 0, 1], affine @ [row, column, 0, 1])


def test_the_chain_on_dictionaries(film):
    item = LoadSmallCXRd("image", side=64)({"image": film})
    item["image"] = ResizeCXR(32)(item["image"])
    item["pred"] = {"label": LOGITS, "mask": torch.full((1, 32, 32), 3.0)}
    head = PredictionHead(classes=CLASSES, thresholds={"a": 0.5, "b": None, "c": float("nan")})
    item = SplitPredictiond(head)(item)
    assert "pred" not in item
    item = RestoreMaskd(ResizeCXR(32))(item)
    assert item["mask"].shape == (1, 210, 140)
    reply = LabelReplyd(head)(item)
    assert reply["pred"].shape == (140, 210, 1)
    assert "image" not in reply
    table = reply["result"]["prediction"]
    assert [row["label"] for row in table] == CLASSES
    assert [row.get("decision") for row in table] == [1, None, None]


def test_a_chain_that_lacks_what_it_needs():
    with pytest.raises(KeyError, match="LoadSmallCXRd"):
        RestoreMaskd(ResizeCXR(32))({"mask": torch.zeros(1, 32, 32)})
    assert RestoreMaskd(ResizeCXR(32), allow_missing_keys=True)({"scores": 1}) == {"scores": 1}
    with pytest.raises(KeyError, match="neither"):
        LabelReplyd(PredictionHead())({"image": 1})
    with pytest.raises(ConfigurationError, match="2 entries"):
        SplitPredictiond(PredictionHead(), ("a", "b"))
