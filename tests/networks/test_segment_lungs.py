# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lungs by trained weights: on the image's own grid, with metadata, and only where a mask is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks import MultiTaskNet, PredictionHead, SegmentLungs, SegmentLungsd, load_trained_network
from monai_cxrssl.transforms import CropToLungsd, ResizeCXR, RestoreMask

SETTINGS = {
    "encoder_name": "resnet18", "image_size": 64, "classes": [], "task": "multi_class", "decoder": "Unet",
    "mask": "lung", "mask_channels": 1, "input_mean": [0.0], "input_std": [1.0], "input_scale": 1.0, "pooling": "mean",
}  # fmt: skip
FILM = np.random.default_rng(0).integers(0, 256, (1, 90, 70)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lungs") / "own.pt"
    write_model(MultiTaskNet("resnet18"), path, SETTINGS, None)
    return path


def test_mask_is_that_of_the_network(weights):
    segment = SegmentLungs(weights)
    network, _ = load_trained_network(weights)
    resize = ResizeCXR(64)
    with torch.no_grad():
        plane = PredictionHead().predict(network(resize(FILM)[None]))["mask"][0]
    expected = RestoreMask(resize)(plane, (90, 70))
    assert segment(FILM).dtype == torch.uint8
    torch.testing.assert_close(segment(FILM), expected)
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    moved = segment(MetaTensor(torch.from_numpy(FILM), affine=affine))
    torch.testing.assert_close(moved.as_tensor(), expected)
    torch.testing.assert_close(moved.affine, affine)


def test_dictionary_form_feeds_crops_and_leaves_own_masks(weights):
    drawn = SegmentLungsd(weights=weights)({"image": torch.from_numpy(FILM)})
    assert drawn["lung_mask_by"] == "own.pt"
    assert CropToLungsd("image")(drawn)["image"].shape[0] == 1
    own = torch.ones(1, 90, 70, dtype=torch.uint8)
    kept = SegmentLungsd(weights=weights)({"image": torch.from_numpy(FILM), "lung_mask": own})
    assert kept["lung_mask"] is own
    assert "lung_mask_by" not in kept


def test_weights_that_segment_no_lungs(weights, tmp_path):
    other = tmp_path / "lesions.pt"
    other.write_bytes(weights.read_bytes())
    write_model(MultiTaskNet("resnet18"), other, {**SETTINGS, "mask": "lesion"}, None)
    with pytest.raises(ConfigurationError, match="segments no lungs"):
        SegmentLungs(other)
    assert json.loads(other.with_suffix(".json").read_text(encoding="utf-8"))["mask"] == "lesion"
