# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The ChestX-ray14 layout: fields, official lists, boxes, broken tables, and the real subset."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts import chestxray14
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

from .tables import touch, write_csv

COLUMNS = (*chestxray14.REQUIRED[:2], "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position")
ROWS = (
    ("00000001_000.png", "Cardiomegaly|Effusion", "0", "1", "058Y", "M", "PA"),
    ("00000001_001.png", "No Finding", "1", "1", "58", "M", "AP"),
    ("00000002_000.png", "Pleural_Thickening", "0", "2", "006M", "F", "PA"),
    ("00000003_000.png", "Hernia", "0", "3", "414", "F", "PA"),
)


def write(folder, rows=ROWS, columns=COLUMNS, name="Data_Entry_2017.csv", make=True):
    write_csv(folder / name, columns, rows)
    if make:
        touch(folder, *(f"images_00{n % 2 + 1}/images/{row[0]}" for n, row in enumerate(rows) if row[0]))
    return folder


@pytest.mark.parametrize("name", chestxray14.TABLES)
def test_fields(tmp_path, name):
    write(tmp_path, name=name)
    assert find_layout(tmp_path) == "chestxray14"
    datalist = index_folder(tmp_path)
    items = datalist.items()
    assert [item["patient_id"] for item in items] == ["1", "1", "2", "3"]
    assert [item.get("age") for item in items] == [58.0, 58.0, 0.5, None]
    assert [item["study_id"] for item in items] == ["1-0", "1-1", "2-0", "3-0"]
    assert (items[0]["sex"], items[1]["view_position"]) == ("M", "AP")
    assert items[1]["image"] == str(tmp_path / "images_002/images/00000001_001.png")
    positive = [{chestxray14.CLASSES[n] for n, v in enumerate(item["label"]) if v} for item in items]
    assert positive == [{"Cardiomegaly", "Pleural Effusion"}, set(), {"Pleural Thickening"}, {"Hernia"}]
    Datalist.from_dict(datalist.to_dict(), tmp_path)


@pytest.mark.parametrize(
    ("lists", "training", "test"),
    [
        ({"train_val_list.txt": [0, 1], "test_list.txt": [2, 3]}, [0, 1], [2, 3]),
        ({"test_list.txt": [3]}, [0, 1, 2], [3]),
        ({"train_val_list.txt": [0]}, [0], [1, 2, 3]),
    ],
)
def test_official_lists(tmp_path, lists, training, test):
    write(tmp_path)
    for name, numbers in lists.items():
        (tmp_path / name).write_text("\n".join(ROWS[n][0] for n in numbers) + "\n")
    datalist = chestxray14.read(tmp_path, check_files=False)
    for split, numbers in (("training", training), ("test", test)):
        assert [i["image"] for i in datalist.splits[split]] == [f"images/{ROWS[n][0]}" for n in numbers]


def test_contradicting_lists(tmp_path):
    write(tmp_path)
    (tmp_path / "train_val_list.txt").write_text(ROWS[0][0])
    (tmp_path / "test_list.txt").write_text(ROWS[1][0])
    with pytest.raises(DatalistError, match="rows 4, 5 .*the image is in neither train_val_list.txt nor test_list.txt"):
        chestxray14.read(tmp_path)
    (tmp_path / "test_list.txt").write_text(f"{ROWS[1][0]}\n{ROWS[0][0]}\n")
    with pytest.raises(DatalistError, match="test_list.txt, line 2: 00000001_000.png is in train_val_list.txt, too"):
        chestxray14.read(tmp_path)


def test_boxes(tmp_path):
    write(tmp_path)
    header = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    lines = "00000001_000.png,Infiltrate,225.08,547.01,86.77,79.18,,,\n00000001_000.png,Mass,1,2,3,4,,,\n"
    (tmp_path / "BBox_List_2017.csv").write_text(header + lines)
    items = chestxray14.read(tmp_path).items()
    assert items[0]["boxes"][0] == pytest.approx([225.08, 547.01, 311.85, 626.19])
    assert items[0]["boxes"][1] == [1, 2, 4, 6]
    assert items[0]["box_classes"] == ["Infiltration", "Mass"]
    assert "boxes" not in items[1]
    (tmp_path / "BBox_List_2017.csv").write_text(header + "00000001_000.png,Mass,1,2,0,4,,,\n")
    with pytest.raises(DatalistError, match="BBox_List_2017.csv, row 2 .*the box is no x, y, width, height"):
        chestxray14.read(tmp_path)


@pytest.mark.parametrize("missing", chestxray14.REQUIRED)
def test_missing_column(tmp_path, missing):
    keep = [n for n, c in enumerate(COLUMNS) if c != missing]
    write(tmp_path, [[r[n] for n in keep] for r in ROWS], [COLUMNS[n] for n in keep], make=False)
    touch(tmp_path, "images/a.png")
    with pytest.raises(DatalistError, match=f"Data_Entry_2017.csv lacks the column {missing} "):
        index_folder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: ROWS[0][0]}, "row 5 .*the image 00000001_000.png was listed before, in row 2"),
        ({1: "Hernia|No Finding"}, "row 5 .*a finding and none"),
        ({3: "  "}, "row 5 .*Patient ID is empty; fill it in"),
    ],
)
def test_broken_rows(tmp_path, change, message):
    write(tmp_path, [*ROWS[:3], [change.get(n, cell) for n, cell in enumerate(ROWS[3])]])
    with pytest.raises(DatalistError, match=message):
        index_folder(tmp_path)


def test_absent(tmp_path):
    write(tmp_path)
    (tmp_path / "images_001/images/00000002_000.png").unlink()
    with pytest.raises(
        DatalistError,
        match="row 4 .*the listed file does not exist .looked for 00000002_000.png below .*; put the images there",
    ):
        index_folder(tmp_path)
    assert len(chestxray14.read(tmp_path, allow_absent=True).items()) == 3


def test_images_and_columns_in_another_spelling(tmp_path, caplog):
    write(tmp_path, columns=[name.lower() for name in COLUMNS], make=False)
    touch(
        tmp_path,
        *(
            f"images/{row[0].replace('.png', end)}"
            for row, end in zip(ROWS, (".jpg", ".PNG", ".jpeg", ".png"), strict=True)
        ),
    )
    items = index_folder(tmp_path).splits["training"]
    assert [item["image"] for item in items] == [
        "images/00000001_000.jpg", "images/00000001_001.PNG", "images/00000002_000.jpeg", "images/00000003_000.png",
    ]  # fmt: skip
    assert [item["patient_id"] for item in items] == ["1", "1", "2", "3"]
    assert "3 names differ from their files'" in caplog.text


def test_linked_folder_and_loop(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / "images_001").rename(tmp_path / "elsewhere")
    (tmp_path / "a" / "images_001").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "a")
    assert len(chestxray14.read(tmp_path / "a").items()) == 4


def test_same_name_in_two_folders(tmp_path, caplog):
    write(tmp_path)
    touch(tmp_path, f"images_000/{ROWS[0][0]}")
    assert chestxray14.read(tmp_path).splits["training"][0]["image"] == f"images_000/{ROWS[0][0]}"
    assert "1 images lie in several folders" in caplog.text


def test_real_subset(shared_data):
    folder = shared_data / "nih-chestxray14-subset"
    datalist = index_folder(folder)
    told = datalist.summary()
    assert (told["images"], told["patients"], told["multi_image_bags"]) == (517, 357, 91)
    with open(folder / "Data_Entry_2017.csv", newline="") as stream:
        findings = Counter(row["Finding Labels"] for row in csv.DictReader(stream))
    assert told["splits"]["training"]["classes"]["Pneumonia"] == findings["Pneumonia"]
