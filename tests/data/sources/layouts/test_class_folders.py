# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder per class, when asked and when not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import load_datalist
from monai_cxrssl.data.sources.layouts.plain import class_folders
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.errors import ConfigurationError, DatalistError

CLASSES = ("COVID19", "NORMAL", "PNEUMONIA", "TURBERCULOSIS")


def tree(root, *folders, count=3):
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    return root


def test_labels_and_split_when_asked(tmp_path):
    tree(tmp_path / "c", *(f"{split}/{name}" for split in ("train", "val", "test") for name in CLASSES))
    out = tmp_path / "d.json"
    assert main(["index", str(tmp_path / "c"), "--out", str(out), "--layout", "class_folders"]) == 0
    datalist = load_datalist(out)
    assert (datalist.classes, datalist.task) == (CLASSES, "multi_class")
    for split, folder in (("training", "train"), ("validation", "val"), ("test", "test")):
        items = datalist.items(split)
        assert len(items) == 12
        assert all(f"/c/{folder}/{CLASSES[item['label']]}/" in item["image"] for item in items)
    assert len(datalist.patients) == 36


@pytest.mark.parametrize(
    "folders",
    [
        [f"{split}/{name}" for split in ("train", "test") for name in CLASSES],
        ["COVID19 from Italy", "Viral Pneumonia", "Lung_Opacity", "TURBERCULOSIS"],
        ["outer/NORMAL/images", "outer/TURBERCULOSIS/images"],
    ],
)
def test_one_sentence_when_not_asked(tmp_path, folders, caplog):
    datalist = index_folder(tree(tmp_path, *folders))
    assert not datalist.has_labels
    assert len(datalist.patients) == 3 * len(folders)
    (told,) = (text for text in caplog.messages if "look like classes" in text)
    assert "--layout class_folders" in told
    assert all(name.split("/")[-1 if "/images" not in name else -2] in told for name in folders)


def test_folders_below_a_class_are_patients(tmp_path):
    tree(tmp_path, "NORMAL/p1", "NORMAL/p2", "SOMETHING/p3")
    for datalist in (index_folder(tmp_path), class_folders.read(tmp_path)):
        assert datalist.patients == ["p1", "p2", "p3"]
    assert [item["label"] for item in class_folders.read(tmp_path).items()] == [0] * 6 + [1] * 3


def test_level_and_order_of_classes(tmp_path, caplog):
    tree(tmp_path, "north/a", "north/b", "south/a", "south/c")
    assert class_folders.read(tmp_path).classes == ("north", "south")
    datalist = class_folders.read(tmp_path, level=2, classes=["b", "a"])
    assert datalist.classes == ("b", "a")
    assert [item.get("label") for item in datalist.items()] == [1] * 3 + [0] * 3 + [1] * 3 + [None] * 3
    assert "3 of 12 images lie in no class and get no label" in caplog.text


@pytest.mark.parametrize(
    ("folders", "options", "message"),
    [
        (["NORMAL"], {}, "holds no two folders of images side by side; expected a folder per class"),
        (["a", "b"], {"level": 2}, "holds no two folders of images side by side at level 2"),
        (["a", "b"], {"level": 0}, "level is 0; expected 1"),
        (["a", "b"], {"classes": ["a", "c"]}, "expected names of the folders of .*, which are a, b"),
    ],
)
def test_faults(tmp_path, folders, options, message):
    with pytest.raises((DatalistError, ConfigurationError), match=message):
        class_folders.read(tree(tmp_path, *folders), **options)


def test_masks_are_no_images(tmp_path, caplog):
    tree(tmp_path, "COVID/images", "Normal/images")
    for name in ("COVID", "Normal"):
        (tmp_path / name / "masks").mkdir()
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / name / "masks" / "0.png")
    assert class_folders.read(tmp_path).summary()["splits"]["training"]["classes"] == {"COVID": 3, "Normal": 3}
    assert "2 masks are no images and left out" in caplog.text
