# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images beside masks, in the forms that segmentation data sets have."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data.sources.layouts.plain import image_mask_folders
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import ConfigurationError, DatalistError

LUNGS = np.zeros((24, 24), np.uint8)
LUNGS[4:20, 3:9] = LUNGS[4:20, 14:21] = 255
FILM = np.arange(576, dtype=np.uint8).reshape(24, 24)


def save(root, name, array):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def tree(root, images, masks, array=LUNGS):
    for name in images:
        save(root, name, FILM)
    for name in masks:
        save(root, name, array)
    return root


def joined(root, field="lung_mask", **options):
    datalist = image_mask_folders.read(root, **options) if options else index_folder(root)
    found = {}
    for item in datalist.items():
        masks = item.get(field)
        masks = [masks] if isinstance(masks, str) else masks
        found[os.path.relpath(item["image"], root)] = masks and [os.path.relpath(mask, root) for mask in masks]
    return found


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("images/1.png", ["masks/1.png"]),
        ("images/1.png", ["masks/1_mask.png"]),
        ("img/1.png", ["mask/1.gif"]),
        ("Images/1.jpg", ["Lung Masks/1.png"]),
        ("CXR_png/a_1.png", ["segmentations/a_1_seg.png"]),
        ("images/1.png", ["labels/1.png"]),
        ("images/1.png", ["annotations/lungVAE-masks/1_mask.png"]),
        ("images/train/1.png", ["masks/train/1.png"]),
        ("train/images/1.png", ["train/masks/1.png"]),
        ("train/1.png", ["train_masks/1.png"]),
        ("COVID/images/COVID-1.png", ["COVID/masks/COVID-1.png"]),
        ("Lung_Opacity/images/1.png", ["Lung_Opacity/masks/1.png"]),
        ("masks and images/images/1.png", ["masks and images/masks/1.png"]),
        ("1.png", ["1_mask.png"]),
        ("p1/1.png", ["p1/1-mask.png"]),
        ("p1/1.png", ["p1/mask_1.png"]),
        ("images/1.png", ["masks/left/1.png", "masks/right/1.png"]),
        ("images/1.png", ["masks/left lung/1.png", "masks/right lung/1.png"]),
        ("images/1.png", ["leftMask/1.png", "rightMask/1.png"]),
        ("images/1.png", ["masks/1_left.png", "masks/1_right.png"]),
    ],
)
def test_forms(tmp_path, image, masks):
    other = image.replace("1.", "2.")
    tree(tmp_path, [image, other], masks)
    assert find_layout(tmp_path) == "image_mask_folders"
    assert joined(tmp_path) == {image: masks, other: None}


def test_kinds_by_name(tmp_path, caplog):
    names = ("masks/lung/1.png", "masks/heart/1.png", "infection masks/1.png", "masks/lung/9.png", "masks/left/3.png")
    tree(tmp_path, [f"images/{n}.png" for n in (1, 2, 3)], names)
    assert joined(tmp_path) == {"images/1.png": ["masks/lung/1.png"], "images/2.png": None, "images/3.png": None}
    assert joined(tmp_path, "lesion_mask")["images/1.png"] == ["infection masks/1.png"]
    for told in (
        "1 joined as lung_mask, 1 joined as lesion_mask, 2 images without a mask, 1 masks without an image",
        "1 masks of one lung without the other, 1 masks of other organs",
    ):
        assert told in caplog.text


def test_masks_of_lesions_by_option(tmp_path):
    tree(tmp_path, ["images/1.png"], ["masks/1.png"])
    assert joined(tmp_path, "lesion_mask", mask="lesion_mask") == {"images/1.png": ["masks/1.png"]}
    with pytest.raises(ConfigurationError, match="mask is 'heart'; expected one of lung_mask, lesion_mask"):
        image_mask_folders.read(tmp_path, mask="heart")


def test_labels_of_the_class_above(tmp_path, caplog):
    names = ("COVID", "Normal", "Lung_Opacity", "Bacterial Pneumonia")
    # The numbers repeat from class to class; a mask must not go to another class's image.
    tree(tmp_path, [f"{n}/images/{i}.png" for n in names for i in (1, 2)], [f"{n}/masks/1.png" for n in names])
    save(tmp_path, "COVID/masks/7.png", LUNGS)
    save(tmp_path, "Normal/images/7.png", FILM)
    plain = index_folder(tmp_path)
    assert (plain.has_labels, len(plain.patients)) == (False, 9)
    assert "look like classes; no labels are taken from them; give --option class_folders=true" in caplog.text
    datalist = image_mask_folders.read(tmp_path, class_folders=True)
    assert datalist.classes == ("Bacterial Pneumonia", "COVID", "Lung_Opacity", "Normal")
    for item in datalist.items():
        name = datalist.classes[item["label"]]
        assert f"/{name}/images/" in item["image"]
        assert item.get("lung_mask") == (
            item["image"].replace("images", "masks") if "/1.png" in item["image"] else None
        )


def test_not_recognised_by_itself(tmp_path):
    grey = tree(tmp_path / "grey", ["images/1.png"], ["masks/1.png"], FILM)
    assert not image_mask_folders.detect(grey)
    assert joined(grey, mask="lung_mask") == {"images/1.png": ["masks/1.png"]}
    strangers = tree(tmp_path / "strangers", ["images/1.png"], ["masks/1.png", "masks/7.png", "masks/8.png"])
    assert not image_mask_folders.detect(strangers)
    bare = tree(tmp_path / "bare", ["images/1.png", "x/2.png"], [])
    assert not image_mask_folders.detect(bare)
    with pytest.raises(DatalistError, match="holds 0 masks, none of which has an image of its name"):
        image_mask_folders.read(bare)


def test_jpeg_masks_and_patients(tmp_path):
    tree(tmp_path, ["p1/images/a.png", "p1/images/b.png", "p2/images/a.png"], ["p1/masks/a.jpg", "p2/masks/a.jpg"])
    datalist = index_folder(tmp_path)
    assert datalist.patients == ["p1", "p2"]
    assert [item.get("lung_mask", "")[-14:] for item in datalist.items()] == ["p1/masks/a.jpg", "", "p2/masks/a.jpg"]


def test_masks_of_an_inference_are_no_truth(tmp_path, caplog):
    tree(tmp_path, ["films/1.png", "films/2.png"], ["films/predictions/masks/1_mask.png", "masks/2.png"])
    (tmp_path / "films/predictions/inference_files.jsonl").touch()
    assert joined(tmp_path) == {"films/1.png": None, "films/2.png": ["masks/2.png"]}
    assert "1 files that an inference wrote" in caplog.text
