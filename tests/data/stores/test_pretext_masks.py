# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung masks of pretraining images: their own, or the expected position."""

from __future__ import annotations

import logging
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data import PretextLungMasks, expected_lung_mask, index_folder
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.errors import ConfigurationError


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def of(*items: dict) -> SimpleNamespace:
    return SimpleNamespace(items=list(items))


@pytest.fixture
def drawn(tmp_path):
    """An image's mask of 60 x 84 pixels, and its two lungs as files."""
    rows, columns = np.mgrid[0:60, 0:84]
    left = (((rows - 30) / 22) ** 2 + ((columns - 60) / 14) ** 2 < 1).astype(np.uint8)
    right = (((rows - 30) / 22) ** 2 + ((columns - 22) / 14) ** 2 < 1).astype(np.uint8)
    for name, mask in (("left", left), ("right", right), ("both", left | right), ("none", left * 0)):
        Image.fromarray(mask * 255).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_text("no mask\n" * 9)
    return left | right


def test_masks_are_those_of_the_files(drawn, tmp_path):
    both, parts = str(tmp_path / "both.png"), [str(tmp_path / "left.png"), str(tmp_path / "right.png")]
    masks = PretextLungMasks(of({"lung_mask": both}, {}, {"lung_mask": parts}), progress=False)
    assert len(masks) == 3
    assert masks.counts == {"read": 2, "expected": 1, "anywhere": 0}
    for index in (0, 2):
        small = masks.mask(index)
        assert small.shape == (96, 96)
        assert small.dtype == np.uint8
        expected = cv2.resize(drawn, (96, 96), interpolation=cv2.INTER_NEAREST_EXACT)
        assert dice(small, expected) > 0.97
        # On the grid of the image, and on one twice as fine.
        assert dice(masks.mask(index, drawn.shape), drawn) > 0.97
        assert dice(masks.mask(index, (120, 168)), drawn.repeat(2, 0).repeat(2, 1)) > 0.97
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(masks)).mask(2), masks.mask(2))


@pytest.mark.parametrize(
    ("view", "kind"),
    [
        ("PA", "expected"),
        ("AP", "expected"),
        (None, "expected"),
        ("", "expected"),
        ("LL", "anywhere"),
        ("rl", "anywhere"),
    ],
)
@pytest.mark.parametrize("mask", [None, "broken.png", "none.png", "missing.png"])
def test_without_a_usable_mask(drawn, tmp_path, caplog, view, kind, mask):
    item = {"view_position": view, "lung_mask": mask and str(tmp_path / mask)}
    with caplog.at_level(logging.WARNING):
        masks = PretextLungMasks(of(item), progress=False)
    assert masks.counts[kind] == 1
    expected = expected_lung_mask((96, 96)) if kind == "expected" else np.ones((96, 96), np.uint8)
    np.testing.assert_array_equal(masks.mask(0), expected)
    unreadable = mask in ("broken.png", "missing.png")
    assert [entry["lung_mask"] for entry in masks.unreadable] == ([item["lung_mask"]] if unreadable else [])
    assert ("taken as absent" in caplog.text) is unreadable


def test_a_lateral_film_keeps_its_own_mask(drawn, tmp_path):
    masks = PretextLungMasks(of({"view_position": "LL", "lung_mask": str(tmp_path / "both.png")}), progress=False)
    assert masks.counts["read"] == 1


@pytest.mark.parametrize("side", [8, 33, 96])
def test_any_side(drawn, tmp_path, side):
    masks = PretextLungMasks(of({"lung_mask": str(tmp_path / "both.png")}, {}), side=side, progress=False)
    assert masks.mask(0).shape == (side, side)
    np.testing.assert_array_equal(masks.mask(1), expected_lung_mask((side, side)))


def test_faults():
    with pytest.raises(ConfigurationError, match="side is 4"):
        PretextLungMasks(of({}), side=4)
    with pytest.raises(IndexError, match="no lung mask 1"):
        PretextLungMasks(of({}), progress=False).mask(1)


def test_the_expected_position():
    mask = expected_lung_mask((200, 150))
    # Two lungs, either side of the midline, none over the other's half.
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    assert count == 3
    left, right = sorted(stats[1:, cv2.CC_STAT_LEFT].tolist())
    assert left < 75 < right
    np.testing.assert_allclose(expected_lung_mask((50, 50)).mean(), mask.mean(), atol=0.01)


def test_the_expected_position_fits_real_masks(shared_data):
    """The figures that stand beside the ellipses."""
    found = []
    for item in index_folder(shared_data / "covid-chestxray-dataset").all_items():
        if item.get("lung_mask") and item["view_position"] in ("PA", "AP"):
            mask, _ = read_lung_mask(item["lung_mask"])
            small = cv2.resize(mask.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA) >= 0.5
            expected = expected_lung_mask((64, 64)).astype(bool)
            found.append((dice(small, expected), (small & expected).sum() / expected.sum()))
    overlap, inside = np.mean(found, axis=0)
    assert len(found) > 80
    assert overlap == pytest.approx(0.78, abs=0.02)
    assert inside == pytest.approx(0.75, abs=0.02)
