# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The datalist: every fault is one sentence; what is written is what was read."""

from __future__ import annotations

import json
import logging
import math
import pickle

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist, save_datalist, validate_datalist
from monai_cxrssl.errors import DatalistError


def item(image="a.png", patient="p1", **more):
    return {"image": image, "patient_id": patient, **more}


def content(*items, classes=("x", "y"), task="multi_class", **more):
    return {"name": "toy", "classes": list(classes), "task": task, "training": list(items), **more}


FAULTS = [
    ([], ["a list", "expected an object"]),
    (None, ["null", "expected an object"]),
    ({}, ["no items", "keys: none"]),
    ({"train": [item()]}, ["no items", "keys: train"]),
    (content(), ["no items in training, validation, test"]),
    (content({"patient_id": "p"}), ["item 0", '"training"', 'no "image"']),
    (content(item(), {"image": "b.png"}), ["item 1", '"training"', 'no "patient_id"']),
    (content(item(patient=" ")), ['"patient_id" that is an empty text']),
    (content(item(patient=None)), ['"patient_id" that is null']),
    (content(item(patient=True)), ['"patient_id" that is true']),
    (content(item(image="")), ['"image" that is an empty text']),
    (content(item(image=3)), ['"image" that is the number 3']),
    (content("a.png"), ["item 0", "is a text", "expected an object"]),
    (content(item(label=2)), ['"label" 2', "0 to 1"]),
    (content(item(label=-1)), ['"label" -1', "0 to 1"]),
    (content(item(label=0.5)), ['"label" 0.5', "class number"]),
    (content(item(label=True)), ['"label" True', "class number"]),
    (content(item(label="x")), ["\"label\" 'x'", "class number"]),
    (content(item(label=[0, 1])), ["class number"]),
    (content(item(label=1), task="multi_label"), ["the number 1", "list of 2 values"]),
    (content(item(label=[1]), task="multi_label"), ["of 1 values", "expected 2"]),
    (content(item(label=[1, -1]), task="multi_label"), ["value -1 for 'y'", "0 to 1"]),
    (content(item(label=[1, math.inf]), task="multi_label"), ["value inf for 'y'"]),
    (content(item(), task="regression"), ["\"task\" is 'regression'", "multi_class, multi_label"]),
    ({"classes": ["x"], "training": [item(label=0)]}, ['"task" is missing']),
    ({"task": "multi_class", "training": [item(label=0)]}, ['"classes" is missing or empty']),
    (content(item(), classes=("x", "x")), ["class twice"]),
    (content(item(), classes=(1, 2)), ['"classes" must be a list of names']),
    ({"training": {"0": item()}}, ['split "training" is an object', "expected a list"]),
    (content(item(), item()), ["item 1", "same image as item 0", "a.png"]),
    (content(item("./b/../a.png"), validation=[item()]), ['item 0 (counted from 0) of "validation"', "same image"]),
    (content(item(lung_mask=["l.png"])), ['"lung_mask" must be a path or the two paths']),
    (content(item(label=5), item()), ["2 problems: (1)", "(2)"]),
    (content(*[{"image": f"{n}.png"} for n in range(9)]), ["9 problems, the first 3", "(3)"]),
]


@pytest.mark.parametrize(("value", "parts"), FAULTS)
def test_every_fault_is_one_sentence(value, parts):
    with pytest.raises(DatalistError) as caught:
        validate_datalist(value, origin="/somewhere/list.json")
    message = str(caught.value)
    assert message.startswith("Datalist /somewhere/list.json")
    assert message.endswith(".")
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("label", "task", "expected"),
    [
        (1, "multi_class", 1),
        (1.0, "multi_class", 1),
        (None, "multi_class", None),
        (math.nan, "multi_class", None),
        ([1, None], "multi_label", [1.0, None]),
        ([0.25, math.nan], "multi_label", [0.25, None]),
        (None, "multi_label", None),
    ],
)
def test_labels_are_taken_over(label, task, expected):
    datalist = Datalist.from_dict(content(item(label=label), task=task))
    assert datalist.items()[0].get("label") == expected


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b'{"training": [{"image": "a.png"}]}', 'no "patient_id"'),
        (b'{"training": [{"image": "no.png", "patient_id": "p"}]}', "None of the 1 images"),
    ],
)
def test_load_faults_name_the_file(tmp_path, data, part):
    path = tmp_path / "list.json"
    path.write_bytes(data)
    with pytest.raises(DatalistError, match=r"list\.json") as caught:
        load_datalist(path)
    assert part in str(caught.value)


def test_load_of_what_is_no_file(tmp_path):
    with pytest.raises(DatalistError, match="does not exist"):
        load_datalist(tmp_path / "no.json")
    with pytest.raises(DatalistError, match="is a folder"):
        load_datalist(tmp_path)
    (tmp_path / "list.json").write_text(json.dumps(content(item())))
    with pytest.raises(DatalistError, match="does not exist"):
        load_datalist(tmp_path / "list.json", tmp_path / "nowhere")


def test_round_trip_and_relative_paths(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.png").touch()
    outside = tmp_path / "c.png"
    items = [
        item("a.png", 7, lung_mask=["l.png", "r.png"], opacity_mask="o.png", age=50.5, label=1),
        item("sub/b \n'\udcff.png", "p2", label=math.nan, view_position="LL"),
        item(str(outside), "p2", label=None),
    ]
    datalist = Datalist.from_dict(content(*items, test=[item("t.png", "p3", label=0)]), data)
    first = datalist.items()[0]
    assert first["image"] == str(data / "a.png")
    assert first["lung_mask"] == [str(data / "l.png"), str(data / "r.png")]
    assert first["opacity_mask"] == str(data / "o.png")
    assert first["patient_id"] == "7"

    beside = save_datalist(datalist, data / "list.json")
    written = json.loads(beside.read_text())
    assert [entry["image"] for entry in written["training"]] == ["a.png", items[1]["image"], str(outside)]
    assert load_datalist(beside).all_items() == datalist.all_items()

    elsewhere = save_datalist(datalist, tmp_path / "new" / "list.json", dataset_dir=data)
    again = load_datalist(elsewhere, data)
    assert again.all_items() == datalist.all_items()
    assert (again.classes, again.task, again.name) == (("x", "y"), "multi_class", "toy")
    assert pickle.loads(pickle.dumps(again)) == again
    assert [path.name for path in data.iterdir() if path.name != "a.png"] == ["list.json"]


def test_failed_save_keeps_the_old_file(tmp_path):
    path = save_datalist(Datalist.from_dict(content(item())), tmp_path / "list.json")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_datalist(Datalist.from_dict(content(item(age=object()))), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["list.json"]


def test_items_are_copies():
    datalist = Datalist.from_dict(content(item()))
    datalist.items()[0]["image"] = "changed"
    assert datalist.items()[0]["image"] == "a.png"
    with pytest.raises(DatalistError, match="no split 'train'"):
        datalist.items("train")


def test_summary():
    value = content(
        item("1", "a", label=0, patient_from="folder"),
        item("2", "a"),
        item("3", "b", label=1),
        validation=[item("4", "c", label=1)],
    )
    assert Datalist.from_dict(value).summary() == {
        "name": "toy",
        "images": 4,
        "patients": 3,
        "multi_image_bags": 1,
        "left_out": {},
        "masks": {},
        "patients_known_by": {"data set": 3, "folder": 1},
        "splits": {
            "training": {"images": 3, "patients": 2, "classes": {"x": 1, "y": 1}, "unknown": 1},
            "validation": {"images": 1, "patients": 1, "classes": {"x": 0, "y": 1}, "unknown": 0},
        },
    }
    value = content(item("1", "a", label=[1, 1]), item("2", "b", label=[None, 0]), task="multi_label")
    part = Datalist.from_dict(value).summary()["splits"]["training"]
    assert part["classes"] == {"x": 1, "y": 1}
    assert part["unknown"] == 0


def test_patient_in_two_splits_is_warned_about(tmp_path, caplog):
    (tmp_path / "a.png").touch()
    (tmp_path / "list.json").write_text(json.dumps(content(item(), test=[item("b.png")])))
    with caplog.at_level(logging.WARNING):
        load_datalist(tmp_path / "list.json")
    assert "1 patients have images in more than one split" in caplog.text
