# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks from run lengths, boxes and polygons, against loops over single pixels and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.data.datalists.masks import boxes_to_mask, merge_masks, polygons_to_mask, rle_decode, rle_encode
from monai_cxrssl.errors import ConfigurationError, DatalistError


def pixels_of(rle, shape, convention, order):
    """The mask of a run-length text, one pixel at a time."""
    rows, columns = shape
    mask = np.zeros(shape, np.uint8)
    numbers = list(map(int, rle.split()))
    position = 0
    while numbers:
        first, length = numbers.pop(0), numbers.pop(0)
        position = first - 1 if convention == "kaggle" else position + first
        for _ in range(length):
            row, column = (position % rows, position // rows) if order == "column" else divmod(position, columns)
            mask[row, column] = 1
            position += 1
    return mask


@pytest.mark.parametrize("convention", ["kaggle", "siim"])
@pytest.mark.parametrize("order", ["column", "row"])
@pytest.mark.parametrize("density", [0.02, 0.5, 1.0])
def test_rle_round_trip(convention, order, density):
    mask = (np.random.default_rng(0).random((13, 29)) < density).astype(np.uint8)
    rle = rle_encode(mask * 255, convention, order)
    assert np.array_equal(pixels_of(rle, mask.shape, convention, order), mask)
    decoded = rle_decode(rle, mask.shape, convention, order)
    assert np.array_equal(decoded, mask)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous


def test_rle_by_hand():
    # Two pixels down the second column, then one in the third.
    mask = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1]], np.uint8)
    assert rle_encode(mask) == "4 2 9 1"
    assert rle_encode(mask, "siim") == "3 2 3 1"
    assert rle_encode(mask, order="row") == "2 1 5 1 9 1"
    assert np.array_equal(rle_decode("  4 2\t9 1 ", (3, 3)), mask)


@pytest.mark.parametrize(("text", "convention"), [("", "kaggle"), ("-1", "siim"), (" -1", "kaggle"), ("nan", "kaggle")])
def test_empty_rle(text, convention):
    assert not rle_decode(text, (4, 5), convention).any()
    assert rle_encode(np.zeros((4, 5)), "siim") == "-1"
    assert rle_encode(np.zeros((4, 5))) == ""


@pytest.mark.parametrize(
    ("text", "convention", "message"),
    [
        ("1 2 3", "kaggle", "has 3 numbers; expected pairs"),
        ("1 two", "kaggle", "other than whole numbers"),
        ("0 2", "kaggle", "run 0 2"),
        ("3 0", "kaggle", "run 3 0"),
        ("19 3", "kaggle", "within 4 x 5 pixels"),
        ("1 4 3 2", "kaggle", "not a run after the one before"),
        ("1 4 -2 2", "siim", "check the mask's size and the convention"),
    ],
)
def test_bad_rle(text, convention, message):
    with pytest.raises(DatalistError, match=message):
        rle_decode(text, (4, 5), convention)


def test_boxes_mark_pixels_whose_centre_is_inside():
    generator = np.random.default_rng(1)
    corners = generator.uniform(-5, 25, (8, 2, 2))
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    expected = np.zeros((18, 21), np.uint8)
    for x1, y1, x2, y2 in boxes[:3]:
        for row in range(18):
            for column in range(21):
                if x1 <= column + 0.5 < x2 and y1 <= row + 0.5 < y2:
                    expected[row, column] = 1
    assert expected.any()
    assert not expected.all()
    assert np.array_equal(boxes_to_mask(boxes[:3].tolist(), (18, 21)), expected)


def test_whole_number_box_has_its_own_area():
    assert boxes_to_mask([[2, 3, 7, 5]], (10, 10)).sum() == 5 * 2
    assert not boxes_to_mask([], (10, 10)).any()
    assert boxes_to_mask([[0, 0, 10, 10]], (10, 10)).all()


@pytest.mark.parametrize("box", [[1, 2, 3], [5, 1, 2, 3], [0, 0, float("nan"), 4], [0, 5, 3, 2]])
def test_bad_box(box):
    with pytest.raises(DatalistError, match=r"Box 1 is .*expected \[x1, y1, x2, y2\]"):
        boxes_to_mask([[0, 0, 1, 1], box], (5, 5))


@pytest.mark.parametrize("seed", range(5))
def test_polygons_like_scikit_image(seed):
    polygon2mask = pytest.importorskip("skimage.draw").polygon2mask

    generator = np.random.default_rng(seed)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 11))
    radius = generator.uniform(5, 30, 11)
    corners = np.stack((30 + radius * np.cos(angles), 25 + radius * np.sin(angles)), axis=1)
    # scikit-image has pixel centres at whole numbers and takes (row, column).
    expected = polygon2mask((48, 56), corners[:, ::-1] - 0.5)
    assert np.array_equal(polygons_to_mask([corners.tolist()], (48, 56)), expected.astype(np.uint8))


def test_polygon_of_a_box_is_the_box():
    box = [2.3, 1.5, 11.9, 7.5]
    corners = [[2.3, 1.5], [11.9, 1.5], [11.9, 7.5], [2.3, 7.5]]
    assert np.array_equal(polygons_to_mask([corners], (9, 14)), boxes_to_mask([box], (9, 14)))


def test_polygons_are_joined_and_cut_off():
    triangle = [[-9, -9], [30, -9], [-9, 30]]
    square = [[8, 8], [12, 8], [12, 12], [8, 12]]
    mask = polygons_to_mask([triangle, square], (10, 10))
    assert mask[:5, :5].all()
    assert mask[8:, 8:].all()
    assert not polygons_to_mask([[[20, 20], [30, 20], [25, 30]]], (10, 10)).any()


@pytest.mark.parametrize("polygon", [[[0, 0], [1, 1]], [[0, 0, 0]] * 3, [[0, 0], [1, 1], [2, float("inf")]], []])
def test_bad_polygon(polygon):
    with pytest.raises(DatalistError, match="Polygon 0 is no list of three or more corners"):
        polygons_to_mask([polygon], (5, 5))


def test_merge():
    left, right = np.zeros((4, 6)), np.zeros((4, 6), bool)
    left[1, 1], right[2, 4] = 255, True
    merged = merge_masks(left, right)
    assert merged.dtype == np.uint8
    assert np.array_equal(merged, ((left > 0) | right).astype(np.uint8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: merge_masks(), "no mask"),
        (lambda: merge_masks(np.zeros((2, 3)), np.zeros((3, 2))), "are 2x3, 3x2 pixels"),
        (lambda: merge_masks(np.zeros(4)), r"expected \(H, W\)"),
        (lambda: rle_encode(np.zeros((2, 2)), "coco"), "convention is 'coco'"),
        (lambda: rle_decode("1 1", (2, 2), order="z"), "order 'z'"),
        (lambda: rle_decode("1 1", (0, 2)), "at least 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ConfigurationError, match=message):
        call()
