# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The CheXpert layout: fields, label policies, split, and what it says of a broken table."""

from __future__ import annotations

import logging

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist, save_datalist
from monai_cxrssl.data.sources.layouts import chexpert
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

from .tables import touch, write_csv

A = "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"
B = "CheXpert-v1.0-small/train/patient00001/study2/view2_lateral.jpg"
C = "CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg"
V = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg"


def row(path, **cells):
    lateral = {"Frontal/Lateral": "Lateral"} if "lateral" in path else {"Frontal/Lateral": "Frontal", "AP/PA": "AP"}
    return {"Path": path, "Sex": "Female", "Age": "68"} | lateral | {k.replace("_", " "): v for k, v in cells.items()}


def write(folder, train=None, valid=(), columns=chexpert.COLUMNS, make=True):
    if train is None:
        train = [row(A, Edema="1.0", No_Finding="0.0", Mass=""), row(B, Edema="-1.0"), row(C, Fracture="-1.0")]
    write_csv(folder / "train.csv", columns, train)
    if valid:
        write_csv(folder / "valid.csv", columns, valid)
    if make:
        touch(folder, *(r["Path"].split("/", 1)[1] for r in [*train, *valid] if r["Path"].count("/") == 4))
    return folder


def test_fields(tmp_path):
    write(tmp_path, valid=[row(V, Pneumonia="1", Sex="Unknown", Age="")])
    assert find_layout(tmp_path) == "chexpert"
    datalist = index_folder(tmp_path)
    first, second, third = datalist.items("training")
    assert (first["patient_id"], first["study_id"]) == ("patient00001", "patient00001/study1")
    assert (first["sex"], first["age"], first["view_position"], second["view_position"]) == ("F", 68.0, "AP", "LL")
    assert first["image"] == str(tmp_path / "train/patient00001/study1/view1_frontal.jpg")
    edema = chexpert.CLASSES.index("Edema")
    assert [item["label"][edema] for item in (first, second, third)] == [1.0, None, None]
    assert first["label"][0] == 0.0
    (valid,) = datalist.items("validation")
    assert "sex" not in valid
    assert "age" not in valid
    assert datalist.summary()["splits"]["validation"]["classes"]["Pneumonia"] == 1
    # What the layout makes by columns passes the check item by item, and survives a file.
    Datalist.from_dict(datalist.to_dict(), tmp_path)
    assert load_datalist(save_datalist(datalist, tmp_path / "d.json")).all_items() == datalist.all_items()


def test_policies(tmp_path):
    write(tmp_path)
    datalist = chexpert.read(tmp_path, policy="chexpert", blanks="zero")
    edema, fracture = chexpert.CLASSES.index("Edema"), chexpert.CLASSES.index("Fracture")
    assert [item["label"][edema] for item in datalist.items()] == [1.0, 1.0, 0.0]
    assert [item["label"][fracture] for item in datalist.items()] == [0.0, 0.0, 0.0]
    smooth = chexpert.read(tmp_path, policy="lsr").items()[1]["label"][edema]
    assert 0.55 <= smooth < 0.85
    frontal = chexpert.read(tmp_path, policy="lsr", frontal_only=True).items()
    assert [item["view_position"] for item in frontal] == ["AP", "AP"]


@pytest.mark.parametrize("missing", ["Path", "AP/PA", "Pleural Effusion"])
def test_missing_column(tmp_path, missing):
    write(tmp_path, columns=[c for c in chexpert.COLUMNS if c != missing])
    with pytest.raises(DatalistError, match=f"train.csv lacks the column {missing} \\(row 1 holds "):
        index_folder(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(A), row(C), row(A)], r"train.csv, row 4 \(the header is row 1\): the image train/.* before, in row 2"),
        ([row(A), row("")], "row 3 .*Path is empty"),
        ([row(A), row("CheXpert-v1.0/train/x.jpg")], "row 3 .*names no patient and study; expected"),
        ([row(A), row(C, Age="old")], "row 3 .*Age is no number"),
        ([row(A) | {"Frontal/Lateral": "Side"}], "row 2 .*neither Frontal nor Lateral"),
        ([], "train.csv lists nothing below its header"),
    ],
)
def test_broken_rows(tmp_path, rows, message):
    before = sorted(write(tmp_path, rows).rglob("*"))
    with pytest.raises(DatalistError, match=message):
        index_folder(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_absent(tmp_path, caplog):
    write(tmp_path, make=False)
    with pytest.raises(
        DatalistError, match=r"rows 2, 3, 4 .*do not exist .looked for .*give the folder that holds both"
    ):
        chexpert.read(tmp_path)
    assert len(chexpert.read(tmp_path, check_files=False).items()) == 3
    touch(tmp_path, A.split("/", 1)[1], C.split("/", 1)[1])
    with pytest.raises(DatalistError, match="row 3 .*the listed file does not exist .*allow_absent"):
        chexpert.read(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert len(chexpert.read(tmp_path, allow_absent=True).items()) == 2
    assert "1 of 3 listed images are absent" in caplog.text


def test_blank_lines_keep_row_numbers(tmp_path):
    write(tmp_path)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([lines[0], lines[1], "", lines[1], "", ""]))
    with pytest.raises(DatalistError, match="row 4 .*listed before, in row 2"):
        chexpert.read(tmp_path)


@pytest.mark.parametrize("number", [1, 2])
def test_row_longer_than_the_header(tmp_path, number):
    write(tmp_path)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    lines[number] += ",1,1"
    (tmp_path / "train.csv").write_text("\n".join(lines))
    with pytest.raises(DatalistError, match="train.csv cannot be read as a table"):
        chexpert.read(tmp_path)
