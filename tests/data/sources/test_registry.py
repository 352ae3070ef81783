# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From what the user points at to one datalist."""

from __future__ import annotations

import json
import logging

import pytest

from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError


def image_folder(root, *names):
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).touch()
    return root


def labelled_folder(root, classes=("x", "y"), task="multi_class", label=1):
    items = [{"image": f"{n}.png", "patient_id": str(n), "study_id": "s", "label": label} for n in range(2)]
    image_folder(root, "0.png", "1.png")
    content = {"name": root.name, "classes": list(classes), "task": task, "training": items[:1], "test": items[1:]}
    (root / "datalist.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "Neither dataset_dir nor datalist is given"),
        ("{tmp}/nowhere", "nowhere does not exist; expected a folder"),
        ("{tmp}/empty", "empty is empty; expected a folder of images"),
        ("{tmp}/file.json", "file.json is a file; expected a folder of images. Give a datalist file as datalist"),
        ("{tmp}/texts", "texts holds no image; expected PNG"),
        ("", "names no folder"),
        ([], "names no folder"),
        (["{tmp}/good", ""], "names no folder"),
        (["{tmp}/good", "{tmp}/nowhere"], "nowhere does not exist"),
        ("['{tmp}/good', ", "neither a folder nor a list of folders"),
        ("['{tmp}/good', 5]", "expected a folder or a list of folders"),
        (5, "expected a folder or a list of folders"),
    ],
)
def test_faults(tmp_path, given, message):
    image_folder(tmp_path / "empty")
    image_folder(tmp_path / "texts", "a.txt", "b.csv")
    image_folder(tmp_path / "good", "a.png")
    (tmp_path / "file.json").touch()
    if isinstance(given, str):
        given = given.replace("{tmp}", str(tmp_path))
    elif isinstance(given, list):
        given = [entry.replace("{tmp}", str(tmp_path)) for entry in given]
    with pytest.raises(DatalistError) as caught:
        index_folder(given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_datalist_in_the_folder_wins(tmp_path):
    datalist = index_folder(labelled_folder(tmp_path / "a"))
    assert datalist.classes == ("x", "y")
    assert datalist.items("test")[0]["image"] == str(tmp_path / "a" / "1.png")
    assert find_layout(tmp_path / "a") == "folder"
    assert find_layout(tmp_path) == "folder"


def test_datalist_argument(tmp_path):
    labelled_folder(tmp_path / "a")
    (tmp_path / "list.json").write_text((tmp_path / "a" / "datalist.json").read_text())
    assert index_folder(tmp_path / "a", tmp_path / "list.json").items()[0]["image"] == str(tmp_path / "a" / "0.png")
    with pytest.raises(DatalistError, match="None of the 2 images"):
        index_folder(None, tmp_path / "list.json")
    with pytest.raises(DatalistError, match="comes with 2 folders"):
        index_folder([tmp_path / "a", tmp_path], tmp_path / "list.json")


@pytest.mark.parametrize("as_text", [False, True])
def test_mixing_keeps_common_labels(tmp_path, as_text):
    folders = [
        str(labelled_folder(tmp_path / "a")),
        str(labelled_folder(tmp_path / "sub" / "a")),
        str(image_folder(tmp_path / "plain", "0.png")),
    ]
    datalist = index_folder(str(folders) if as_text else folders)
    assert datalist.name == "a + a-2 + plain"
    assert datalist.classes == ("x", "y")
    assert [item["patient_id"] for item in datalist.items()] == ["a:0", "a-2:0", "plain:0"]
    assert [item["source"] for item in datalist.items()] == ["a", "a-2", "plain"]
    assert [item.get("study_id") for item in datalist.items()] == ["a:s", "a-2:s", None]
    assert [item.get("label") for item in datalist.items()] == [1, 1, None]
    assert [item["image"] for item in datalist.items("test")] == [f"{folder}/1.png" for folder in folders[:2]]


@pytest.mark.parametrize(
    "other", [{"classes": ("y", "x")}, {"classes": ("x", "y", "z")}, {"task": "multi_label", "label": [0, 1]}]
)
def test_mixing_drops_labels_of_different_classes(tmp_path, other, caplog):
    with caplog.at_level(logging.WARNING):
        datalist = index_folder([labelled_folder(tmp_path / "a"), labelled_folder(tmp_path / "b", **other)])
    assert "labels dropped" in caplog.text
    assert datalist.classes == ()
    assert not datalist.has_labels


def test_the_same_folder_twice(tmp_path):
    image_folder(tmp_path / "a", "0.png")
    with pytest.raises(DatalistError, match="names the same image"):
        index_folder([tmp_path / "a", tmp_path / "a"])


def test_real_mixture(shared_data):
    folders = [shared_data / "covid-chestxray-dataset", shared_data / "nih-chestxray14-subset"]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip("covid-chestxray-dataset and nih-chestxray14-subset not found")
    datalist = index_folder(folders)
    assert datalist.summary()["images"] == 286 + 517
    assert datalist.multi_image_bags == 67 + 91
    # Their classes differ, so what a source does not tell is unknown for its images.
    classes, items = datalist.classes, datalist.items()
    for name, source in (("COVID-19", "covid-chestxray-dataset"), ("Pneumonia", "ChestX-ray14")):
        told = {i["source"] for i in items if "label" in i and i["label"][classes.index(name)] is not None}
        assert told == {source}
