# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The data set of fine-tuning: one view of image and mask, labels, masks and boxes, and what is refused."""

from __future__ import annotations

import logging
import pickle

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from monai_cxrssl.data import (
    DecodedImages,
    DecodedMasks,
    Draw,
    FineTuningImages,
    ImageSampler,
    index_folder,
    open_images,
    training_loader,
)
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.transforms import MultiView, ResizeCXR

SHAPE = (72, 90)


@pytest.fixture
def folder(tmp_path):
    """Images that show their own mask: bright where it is set."""
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    for number in range(4):
        mask = ((rows - 36) / 25) ** 2 + ((columns - 20 - 15 * number) / 14) ** 2 < 1
        Image.fromarray(np.where(mask, 220, 20).astype(np.uint8)).save(tmp_path / f"film{number}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"mask{number}.png")
    big = cv2.resize(np.asarray(Image.open(tmp_path / "mask1.png")), (270, 216), interpolation=cv2.INTER_NEAREST_EXACT)
    Image.fromarray(big).save(tmp_path / "big.png")
    Image.fromarray(np.eye(60, 40, dtype=np.uint8)).save(tmp_path / "other.png")
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_text("no mask\n" * 9)
    return tmp_path


def item(folder, number: int, **fields) -> dict:
    return {"image": str(folder / f"film{number}.png"), "patient_id": f"p{number // 2}", **fields}


def decoded(*items: dict) -> DecodedImages:
    return DecodedImages(items, side=72, progress=False)


def masked(folder, number: int, name: str | None = None, **fields) -> dict:
    return item(folder, number, lung_mask=str(folder / (name or f"mask{number}.png")), **fields)


def test_image_and_mask_share_one_keyed_view(folder):
    images = decoded(masked(folder, 0, label=1), masked(folder, 1, "big.png"), item(folder, 2, label=0))
    augment = MultiView(48, num_views=1, scale=[0.5, 1], jitter_prob=0.0, rotation=30.0, seed=3)
    data = FineTuningImages(images, ResizeCXR(48), classes=["a", "b"], mask="lung", augment=augment, progress=False)
    seen = []
    for number, draw in ((0, Draw(4, 7, 0, 0, -1)), (1, Draw(4, 8, 1, 1, -1)), (0, Draw(5, 7, 0, 0, -1))):
        sample = data[draw]
        assert sample["image"].shape == sample["mask"].shape == (1, 48, 48)
        assert sample["mask"].dtype is torch.uint8
        assert sample["has_mask"] is True
        # What the view shows bright is what its mask marks, but for the pixels along the edge.
        assert ((sample["image"] > 0.5) != (sample["mask"] > 0)).float().mean() < 0.03
        assert torch.equal(data[draw]["image"], sample["image"])
        assert sample["index"] == number
        seen.append(sample["image"])
    assert not torch.equal(seen[0], seen[2])
    bare = data[Draw(4, 9, 2, 2, -1)]
    assert bare["has_mask"] is False
    assert not bare["mask"].any()
    assert [data[number]["label"].item() for number in range(3)] == [1, -1, 0]
    assert data[2]["patient"] == 1


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
def test_evaluation_is_deterministic_and_on_one_grid(folder, mode):
    images = decoded(masked(folder, 3, label=0))
    data = FineTuningImages(images, ResizeCXR(60, mode), classes=["a"], mask="lung", progress=False)
    sample = data[0]
    assert ((sample["image"] > 0.5) != (sample["mask"] > 0)).float().mean() < 0.02
    assert torch.equal(sample["image"], data[Draw(3, 9, 0, 0, -1)]["image"])
    assert torch.equal(sample["image"], ResizeCXR(60, mode)(images.image(0)[None]))


def test_masks_are_the_files_bit_for_bit(folder):
    masks = DecodedMasks(decoded(masked(folder, 0), item(folder, 1), masked(folder, 1, "big.png")), progress=False)
    masks = pickle.loads(pickle.dumps(masks))
    expected = np.asarray(Image.open(folder / "mask0.png")) > 0
    np.testing.assert_array_equal(masks.mask(0, SHAPE), expected)
    assert not masks.mask(1, SHAPE).any()
    assert masks.has_mask.tolist() == [True, False, True]
    np.testing.assert_array_equal(masks.mask(2, SHAPE), np.asarray(Image.open(folder / "mask1.png")) > 0)
    with pytest.raises(IndexError, match="no mask 3"):
        masks.mask(3, SHAPE)


def test_unreadable_and_empty_masks_count_as_absent(folder, caplog):
    images = decoded(*(masked(folder, n, name) for n, name in enumerate(["broken.png", "gone.png", "empty.png", None])))
    with caplog.at_level(logging.WARNING):
        masks = DecodedMasks(images, progress=False)
    assert masks.has_mask.tolist() == [False, False, False, True]
    assert [entry["mask"] for entry in masks.unreadable] == [str(folder / "broken.png"), str(folder / "gone.png")]
    assert all(entry["cause"] for entry in masks.unreadable)
    assert caplog.text.count("taken as absent") == 2
    lesions = decoded(item(folder, 0, lesion_mask=str(folder / "empty.png")))
    assert DecodedMasks(lesions, "lesion", progress=False).has_mask.tolist() == [True]


def test_a_mask_of_other_proportions_is_one_sentence(folder):
    images = decoded(masked(folder, 0, "other.png"), masked(folder, 1), masked(folder, 2, "other.png"))
    message = r"other\.png has 40 x 60 pixels .*film0\.png was decoded to 90 x 72.*1 more of the 3 masks"
    with pytest.raises(DatalistError, match=message):
        DecodedMasks(images, progress=False)


def test_boxes_of_a_dicom_film_on_the_decoded_grid(dicom, tmp_path):
    """Boxes count pixels of the stored image; the decoded one is half as large."""
    pixels = dicom.stored_film(shape=(160, 120))
    path = dicom.save(dicom.make_dicom(pixels), tmp_path / "film.dcm")
    boxes = [[20.0, 40.0, 60.0, 80.0], [100.0, 150.0, 122.0, 163.0]]
    items = [{"image": str(path), "patient_id": "p", "boxes": found} for found in (boxes, [], None)]
    images = DecodedImages(items, side=60, progress=False)
    assert images.image(0).shape == (80, 60)
    masks = DecodedMasks(images, "boxes", progress=False)
    expected = np.zeros((80, 60), np.uint8)
    expected[20:40, 10:30] = 1
    expected[75:, 50:] = 1
    np.testing.assert_array_equal(masks.mask(0, (80, 60)), expected)
    # No box means nothing to find; unknown boxes mean no mask.
    assert masks.has_mask.tolist() == [True, True, False]
    assert not masks.mask(1, (80, 60)).any()


def test_boxes_of_a_larger_original(folder):
    """Unless its size is told, they are refused rather than drawn elsewhere."""
    images = decoded(item(folder, 0, boxes=[[20, 40, 60, 80], [100, 40, 120, 140]]))
    with pytest.raises(DatalistError, match=r"reaches to \(120, 140\), far outside the image of 90 x 72 pixels"):
        DecodedMasks(images, "boxes", progress=False)
    expected = np.zeros(SHAPE, np.uint8)
    expected[20:40, 10:30] = 1
    expected[20:70, 50:60] = 1
    found = DecodedMasks(images, "boxes", [144, 180], progress=False).mask(0, SHAPE)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ConfigurationError, match="boxes_shape is"):
        DecodedMasks(images, "boxes", [144], progress=False)


@pytest.mark.parametrize("boxes", [[[1, 2, 3]], [[5, 5, 1, 9]], "all"])
def test_boxes_that_are_none(folder, boxes):
    with pytest.raises(DatalistError, match=r"[Bb]ox"):
        DecodedMasks(decoded(item(folder, 0, boxes=boxes)), "boxes", progress=False)


def test_boxes_of_a_picture(folder):
    masks = DecodedMasks(decoded(item(folder, 0, boxes=[[10, 20, 30, 40]])), "boxes", progress=False)
    expected = np.zeros(SHAPE, np.uint8)
    expected[20:40, 10:30] = 1
    np.testing.assert_array_equal(masks.mask(0, SHAPE), expected)


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        ("multi_class", 2, "label 2; expected a class number from 0 to 1, for the classes a, b"),
        ("multi_class", -1, "label -1"),
        ("multi_class", [0, 1], r"label \[0, 1\]"),
        ("multi_class", True, "label True"),
        ("multi_label", 1, "label 1; expected 2 values"),
        ("multi_label", [1], r"label \[1\]"),
        ("multi_label", [1, 2], r"label \[1, 2\]; expected 2 values from 0 to 1"),
    ],
)
def test_labels_outside_the_classes(folder, task, label, message):
    images = decoded(item(folder, 0, label=0 if task == "multi_class" else [None, 1]), item(folder, 1, label=label))
    with pytest.raises(DatalistError, match=rf"film1\.png has the {message}"):
        FineTuningImages(images, ResizeCXR(32), task, ["a", "b"])


def test_multi_label_images_without_any_label_are_left_out(folder):
    labels = ([1, None, 0], [0, 1, 0], [None, None, None], [1, None, 0])
    images = decoded(*(item(folder, number, label=label) for number, label in enumerate(labels)))
    data = FineTuningImages(images, ResizeCXR(32), "multi_label", ["a", "b", "c"])
    assert data.indices == [0, 1, 3]
    np.testing.assert_array_equal(data.labels, [[1, np.nan, 0], [0, 1, 0], [1, np.nan, 0]])
    assert data[2]["index"] == 3
    assert "mask" not in data[2]


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_unlabelled_images_are_kept_on_request(folder, task, caplog):
    one = [0, 1] if task == "multi_class" else [[1, None], [0, 1]]
    unknown = None if task == "multi_class" else [None, None]
    images = decoded(
        masked(folder, 0, label=one[0]), item(folder, 1), item(folder, 2, label=unknown), masked(folder, 3)
    )
    options = {"task": task, "classes": ["a", "b"], "mask": "lung", "progress": False}
    assert FineTuningImages(images, ResizeCXR(32), **options).indices == [0, 3]
    with caplog.at_level(logging.INFO):
        data = FineTuningImages(images, ResizeCXR(32), **options, keep_unlabelled=True)
    assert data.indices == [0, 1, 2, 3]
    assert data.has_mask.tolist() == [True, False, False, True]
    assert "2 images without a label or mask are kept" in caplog.text
    label = data[1]["label"]
    assert (label == -1 if task == "multi_class" else label.isnan()).all()
    # Balanced sampling takes all images without a label for one group, with a mask or not.
    first = [draw.first for draw in ImageSampler(data.labels, balanced=True)]
    assert sum(number == 0 for number in first) == 2
    nothing = FineTuningImages(decoded(item(folder, 1)), ResizeCXR(32), task, ["a", "b"], keep_unlabelled=True)
    assert nothing.indices == [0]
    with pytest.raises(ConfigurationError, match="keep_unlabelled is given without classes"):
        FineTuningImages(images, ResizeCXR(32), mask="lung", keep_unlabelled=True)


def test_masks_only_takes_whatever_labels_there_are(folder):
    images = decoded(masked(folder, 0, label=[1, 0, 5]), item(folder, 1, label=7))
    data = FineTuningImages(images, ResizeCXR(32), mask="lung", progress=False)
    assert data.indices == [0]
    assert data[0]["label"].item() == -1
    assert data.data[0]["image"] == images.items[0]["image"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigurationError, "nothing to learn"),
        ({"mask": "heart"}, ConfigurationError, "not 'heart'"),
        ({"classes": "ab", "task": "ranking"}, (ConfigurationError, DatalistError), "ranking|label"),
        ({"classes": "ab", "augment": MultiView(32)}, ConfigurationError, "draws 2 views"),
        ({"mask": "lung"}, DatalistError, 'None of the 1 images has a usable "lung_mask"'),
        ({"mask": "lesion", "classes": "ab"}, DatalistError, '"label" or "lesion_mask"'),
    ],
)
def test_faults_are_one_sentence(folder, options, error, message):
    with pytest.raises(error, match=message):
        FineTuningImages(decoded(item(folder, 0)), ResizeCXR(32), **options, progress=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_key_alone(folder, workers):
    images = decoded(*(masked(folder, number, label=number % 2) for number in range(4)))
    data = FineTuningImages(
        images, ResizeCXR(32), classes="ab", mask="lung", augment=MultiView(32, num_views=1), progress=False
    )
    sampler = ImageSampler(data.labels, seed=5)
    loader = training_loader(data, sampler, 2, num_workers=workers)
    sampler.set_epoch(3)
    batches = list(loader)
    expected = [data[draw] for draw in sampler]
    assert torch.equal(
        torch.cat([batch["image"] for batch in batches]), torch.stack([one["image"] for one in expected])
    )
    assert torch.equal(torch.cat([batch["mask"] for batch in batches]), torch.stack([one["mask"] for one in expected]))
    first = batches[0]
    assert first["label"].dtype is torch.int64
    assert first["has_mask"].dtype is torch.bool
    assert (first["mask"].shape, first["mask"].dtype) == ((2, 1, 32, 32), torch.uint8)


def test_real_masks(shared_data):
    items = list(index_folder(shared_data / "covid-chestxray-dataset").all_items())[:60]
    images = open_images(items, side=128, progress=False)
    masks = DecodedMasks(images, progress=False)
    named = [index for index, found in enumerate(images.items) if found.get("lung_mask")]
    assert masks.has_mask.sum() == len(named) > 5
    for index in named:
        shape = images.image(index).shape
        assert masks.mask(index, shape).shape == shape
        assert 0.05 < masks.mask(index, shape).mean() < 0.7
