# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The generic csv layout: every option, and broken tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts.plain import csv_table
from monai_cxrssl.data.sources.registry import find_layout
from monai_cxrssl.errors import ConfigurationError, DatalistError

from .tables import touch, write_csv

COLUMNS = ("file", "pid", "visit", "view", "sex", "years", "mask", "part", "finding", "Edema", "Mass")
ROWS = (
    ("x/a.png", "1", "v1", "pa", "f", "50", "m/a.png", "train", "sick", "1", "-1"),
    ("x/b.png", "1", "v2", "LL", "", "", "", "Val", "well", "", "0"),
    ("x/c.png", "2", "", "", "m", "7.5", "", "TEST", "", "0", "1"),
)
OPTIONS = {"image_column": "file", "patient_column": "pid"}


def write(folder, rows=ROWS, columns=COLUMNS):
    write_csv(folder / "films.csv", columns, rows)
    touch(folder, *(row[0] for row in rows if row[0] and not row[0].startswith("/")))
    return folder


def test_all_options(tmp_path):
    names = ("study", "view", "sex", "age", "mask", "split", "label")
    columns = ("visit", "view", "sex", "years", "mask", "part", "finding")
    options = {f"{n}_column": c for n, c in zip(names, columns, strict=True)}
    datalist = csv_table.read(write(tmp_path), **OPTIONS, **options)
    assert (datalist.name, datalist.classes, datalist.task) == ("films", ("sick", "well"), "multi_class")
    (a,), (b,), (c,) = (datalist.items(split) for split in ("training", "validation", "test"))
    expected = {"patient_id": "1", "study_id": "v1", "view_position": "PA", "sex": "F", "age": 50.0, "label": 0}
    paths = {"image": str(tmp_path / "x/a.png"), "lung_mask": str(tmp_path / "m/a.png"), "source": "films"}
    assert a == expected | paths
    assert (b["label"], c["age"]) == (1, 7.5)
    assert not {"label", "study_id", "view_position", "lung_mask"} & set(c)
    Datalist.from_dict(datalist.to_dict(), tmp_path)


def test_ids_of_nobody_and_words_for_splits(tmp_path, caplog):
    ids = ("ANONYMOUS", "ANONYMOUS", "7", "0", "0", "anon")
    names = ("a.png", "b.png", "c.png", "00000013_001.png", "7/e.png", "7/f.png")
    parts = ("Training set", "VALID", "dev", "tst", "test_split", "TRN")
    rows = [
        (n, p, s, w) for n, p, s, w in zip(names, ids, ("S00001", "S00001", "S00002", "", "", ""), parts, strict=True)
    ]
    write(tmp_path, rows, ("image", "patient_id", "study", "part"))
    datalist = csv_table.read(tmp_path, study_column="study", split_column="part")
    items = {Path(item["image"]).name: item for item in datalist.all_items()}
    patients = {name: (item["patient_id"], item.get("patient_from")) for name, item in items.items()}
    assert patients == {
        "a.png": ("S00001", "study"), "b.png": ("S00001", "study"), "c.png": ("7", None),
        "00000013_001.png": ("13", "name"), "e.png": ("unnamed/7", "folder"), "f.png": ("unnamed/7", "folder"),
    }  # fmt: skip
    assert "5 of 6 images have a patient id that stands for nobody ('ANONYMOUS' 2, '0' 2, 'anon' 1)" in caplog.text
    assert {split: len(items) for split, items in datalist.splits.items()} == {
        "training": 2,
        "validation": 2,
        "test": 2,
    }


def test_label_columns(tmp_path):
    path = write(tmp_path) / "films.csv"
    datalist = csv_table.read(path, **OPTIONS, label_columns=["Edema", "Mass"], policy={"Mass": "ones"}, blanks="zero")
    assert [item["label"] for item in datalist.items()] == [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    assert datalist.task == "multi_label"


def test_image_dir_and_absolute_paths(tmp_path):
    write(tmp_path / "t")
    (tmp_path / "t" / "x").rename(tmp_path / "x")
    datalist = csv_table.read(tmp_path / "t", **OPTIONS, image_dir=tmp_path, name="mine")
    assert datalist.items()[0]["image"] == str(tmp_path / "x/a.png")
    assert datalist.items()[0]["source"] == "mine"
    write_csv(tmp_path / "t" / "films.csv", COLUMNS[:2], [(str(tmp_path / "x/a.png"), "1")])
    assert csv_table.read(tmp_path / "t", **OPTIONS).items()[0]["image"] == str(tmp_path / "x/a.png")


def test_not_recognised_by_itself(tmp_path):
    assert find_layout(write(tmp_path)) == "folder"


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (("x/../x/a.png", "3"), {}, "row 5 .*the image x/a.png was listed before, in row 2"),
        (("x/d.png", ""), {}, "row 5 .*pid is empty"),
        (("", "3"), {}, "row 5 .*file is empty"),
        (("x/d.png", "3", "", "", "", "old"), {"age_column": "years"}, "row 5 .*years is no number"),
        (("x/d.png", "3"), {"split_column": "part"}, "row 5 .*part is no split; expected one of training"),
        (ROWS[0], {"study_column": "nope"}, "films.csv lacks the column nope "),
    ],
)
def test_broken(tmp_path, row, options, message):
    row = (*row, *[""] * (len(COLUMNS) - len(row)))
    with pytest.raises(DatalistError, match=message):
        csv_table.read(write(tmp_path, [*ROWS, row]), **OPTIONS, **options)


def test_which_file(tmp_path):
    write(tmp_path)
    with pytest.raises(ConfigurationError, match="both given"):
        csv_table.read(tmp_path, **OPTIONS, label_column="finding", label_columns=["Edema"])
    write_csv(tmp_path / "other.csv", ["a"], [])
    with pytest.raises(DatalistError, match=r"exactly one .found: films.csv, other.csv.; give the file"):
        csv_table.read(tmp_path, **OPTIONS)
