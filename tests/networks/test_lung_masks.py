# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung masks of a run by weights: made once, only where they are missing and clear, and told of."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch

from monai_cxrssl.data import Datalist, DecodedImages, PretextLungMasks
from monai_cxrssl.errors import OptionError
from monai_cxrssl.networks import PredictionHead, SegmentLungs, with_lung_masks
from monai_cxrssl.transforms import ResizeCXR, RestoreMask


class DarkIsLung(SegmentLungs):
    """Marks what is dark, by no network; counts the images that it was shown."""

    def __init__(self, weights=None, device="cpu"):
        self.path, self.shown = WEIGHTS, 0
        self.resize, self.head = ResizeCXR(64), PredictionHead()
        self.restore = RestoreMask(self.resize)
        MADE.append(self)

    def probabilities(self, images):
        self.shown += len(images)
        planes = torch.stack([self.resize(image) for image in images])
        return ((planes < 0.3) & (planes > 0.05)).float()


MADE: list[DarkIsLung] = []


@pytest.fixture
def source(tmp_path, monkeypatch):
    global WEIGHTS
    WEIGHTS = tmp_path / "weights.pt"
    WEIGHTS.write_bytes(b"any")
    monkeypatch.setattr("monai_cxrssl.networks.lungs.lung_masks.SegmentLungs", DarkIsLung)
    MADE.clear()
    film = np.full((96, 96), 180, np.uint8)
    film[20:80, 15:40] = film[20:80, 56:81] = 50
    cv2.imwrite(str(tmp_path / "frontal.png"), film)
    cv2.imwrite(str(tmp_path / "side.png"), film)
    cv2.imwrite(str(tmp_path / "hand.png"), np.full((96, 96), 180, np.uint8) + np.eye(96, dtype=np.uint8) * 40)
    cv2.imwrite(str(tmp_path / "own.png"), film)
    cv2.imwrite(str(tmp_path / "own_mask.png"), (film < 100).astype(np.uint8) * 255)
    (tmp_path / "broken.png").write_text("no image")
    names = {
        "frontal": {},
        "side": {"view_position": "LL"},
        "hand": {},
        "own": {"lung_mask": "own_mask.png"},
        "broken": {},
    }
    items = [{"image": f"{name}.png", "patient_id": name, **more} for name, more in names.items()]
    return Datalist("films", splits={"training": items}, root=tmp_path)


def test_masks_where_they_are_missing_and_clear(source, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        masked = with_lung_masks(source, "auto", tmp_path / "run")
    by_name = {item["patient_id"]: item for item in masked.items("training")}
    assert by_name["frontal"]["lung_mask_by"] == "weights.pt"
    assert by_name["own"]["lung_mask"].endswith("own_mask.png")
    for name in ("side", "hand", "broken"):
        assert "lung_mask" not in by_name[name], name
    drawn = cv2.imread(by_name["frontal"]["lung_mask"], cv2.IMREAD_GRAYSCALE)
    mask = cv2.imread(str(tmp_path / "own_mask.png"), cv2.IMREAD_GRAYSCALE)
    assert (drawn != mask).mean() < 0.03  # through 64 px and back
    account = masked.extra["lung_masks"]
    assert {name: account[name] for name in ("weights", "own", "made", "without")} == {
        "weights": "weights.pt", "own": 1, "made": 1, "without": 3,
    }  # fmt: skip
    assert account["causes"] == {"lungs in doubt": 1, "unreadable": 1}
    assert "lung masks: 1 of the data set, 1 drawn by weights.pt (sha256 " in caplog.text
    readable = [item for item in masked.items("training") if item["patient_id"] != "broken"]
    pretext = PretextLungMasks(DecodedImages(readable, side=96, progress=False), progress=False)
    assert pretext.counts == {"read": 2, "expected": 1, "anywhere": 1}


def test_made_once_and_anew_for_another_film(source, tmp_path):
    with_lung_masks(source, "auto", tmp_path / "run")
    with_lung_masks(source, "auto", tmp_path / "run")
    assert [each.shown for each in MADE] == [2, 0]
    film = cv2.imread(str(tmp_path / "frontal.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "frontal.png"), np.fliplr(np.pad(film, 4, mode="edge")))
    with_lung_masks(source, "auto", tmp_path / "run")
    assert MADE[2].shown == 1


def test_off_and_refused(source, tmp_path):
    assert with_lung_masks(source, None, tmp_path) is source
    with pytest.raises(OptionError, match="a person must have drawn"):
        with_lung_masks(source, "auto", tmp_path, mask="lung")
