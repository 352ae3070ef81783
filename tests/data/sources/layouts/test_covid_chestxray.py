# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The covid-chestxray-dataset layout: what it takes, what it leaves out, and what it says of a broken table."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from monai_cxrssl.data.datalists.left_out import LeftOut
from monai_cxrssl.data.sources.layouts.covid import covid_chestxray
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.errors import DatalistError

COLUMNS = ["patientid", "offset", "sex", "age", "finding", "view", "modality", "date", "folder", "filename"]


def write(folder, rows, columns=COLUMNS, make=True):
    """A small data set: each row holds (patientid, finding, view, modality, filename) and perhaps more by name."""
    (folder / "images").mkdir(exist_ok=True)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            values = dict(zip(("patientid", "finding", "view", "modality", "filename"), row[:5], strict=False))
            values |= {"folder": "images"} | (row[5] if len(row) > 5 else {})
            writer.writerow(values)
            if make and values["filename"]:
                (folder / "images" / values["filename"]).touch()
    return folder


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("No Finding", 0),
        ("no finding", 0),
        ("COVID-19", 1),
        ("COVID-19, ARDS", 1),
        ("Pneumonia/Viral/COVID-19", 1),
        ("Pneumonia", 2),
        ("SARS", 2),
        ("E.Coli", 2),
        ("Pneumocystis", 2),
        ("Pneumonia/Viral/SARS", 2),
        ("Pneumonia/Fungal/Pneumocystis", 2),
        ("Pneumonia/Viral/MERS-CoV", 2),
        ("Pneumonia/Bacterial/Something New", 2),
        ("Pneumonia/Lipoid", 2),
        ("ARDS", None),
        ("Tuberculosis", None),
        ("Unknown", None),
        ("todo", None),
        ("", None),
        ("No Finding, Tuberculosis", None),
    ],
)
def test_finding_to_label(finding, label):
    assert covid_chestxray.finding_to_label(finding) == label


def test_fields(tmp_path, caplog):
    rows = [
        ("324a", "COVID-19", "AP Supine", "X-ray", "a.png", {"offset": "3", "sex": "M", "age": "50"}),
        ("324a", "COVID-19", "L", "X-ray", "b.v2.jpg", {"offset": "3.0"}),
        ("324a", "todo", "", "X-ray", "c.png", {"date": "2020"}),
        ("5", "SARS", "PA", "x-ray", "d.png", {"date": "March 5, 2020"}),
        ("5", "SARS", "PA", "X-ray", "e.png", {"date": "March 2003"}),
        ("5", "SARS", "PA", "X-ray", "f.png", {"date": "January 12"}),
        ("9", "COVID-19", "Axial", "CT", "ct.png"),
    ]
    write(tmp_path, rows)
    masks = tmp_path / "annotations" / "lungVAE-masks"
    masks.mkdir(parents=True)
    (masks / "b.v2_mask.png").touch()
    (tmp_path / "images" / "ct.png").touch()
    left_out = LeftOut()
    items = covid_chestxray.read(tmp_path, left_out=left_out).items()
    assert [Path(item["image"]).name for item in items] == ["a.png", "b.v2.jpg", "c.png", "d.png", "e.png", "f.png"]
    assert [item.get("view_position") for item in items] == ["AP", "LL", None, "PA", "PA", "PA"]
    studies = [item.get("study_id") for item in items]
    assert studies == ["324a-day3", "324a-day3", None, "5-March 5, 2020", None, "5-January 12"]
    assert [item.get("label") for item in items] == [1, 1, None, 2, 2, 2]
    assert (items[0]["sex"], items[0]["age"], items[0]["patient_id"]) == ("M", 50.0, "324a")
    assert items[1]["lung_mask"] == str(masks / "b.v2_mask.png")
    assert "lung_mask" not in items[0]
    ct = {"count": 1, "details": {"CT": 1}, "examples": [str(tmp_path / "images" / "ct.png")]}
    assert left_out.records() == {"left_out": {"modality": ct}}
    assert len(covid_chestxray.read(tmp_path, left_out=LeftOut(["modality"])).items()) == 7
    assert index_folder(tmp_path).summary()["left_out"] == {"modality": 1}
    assert "of another modality: 1 (CT 1)" in caplog.text


@pytest.mark.parametrize("missing", covid_chestxray.REQUIRED)
def test_missing_column(tmp_path, missing):
    write(tmp_path, [("1", "SARS", "PA", "X-ray", "a.png")], [c for c in COLUMNS if c != missing])
    with pytest.raises(DatalistError, match=f"metadata.csv lacks the column {missing} \\(row 1 holds "):
        index_folder(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("", "SARS", "PA", "X-ray", "a.png")], r"row 2 \(the header is row 1\): patientid is empty"),
        ([("1", "", "", "CT", ""), ("1", "SARS", "PA", "X-ray", "")], "row 3 .*filename is empty"),
        ([("1", "SARS", "Axial", "CT", "a.png")], "lists no X-ray among its 1 rows"),
        ([], "lists nothing below its header"),
    ],
)
def test_broken_rows(tmp_path, rows, message):
    with pytest.raises(DatalistError, match=message):
        index_folder(write(tmp_path, rows))


def test_absent_files(tmp_path, caplog):
    write(tmp_path, [(str(n), "SARS", "PA", "X-ray", f"{n}.png") for n in range(4)], make=False)
    with pytest.raises(DatalistError, match=r"rows 2, 3, 4, 5 .*do not exist .looked for .*0.png"):
        index_folder(tmp_path)
    (tmp_path / "images" / "2.png").touch()
    assert [item["patient_id"] for item in index_folder(tmp_path).items()] == ["2"]
    assert "3 of 4 listed images are absent, rows 2, 3, 5" in caplog.text


def test_other_tables_are_not_taken(tmp_path):
    assert not covid_chestxray.detect(tmp_path)
    (tmp_path / "metadata.csv").write_text("image,label,view\n")
    assert not covid_chestxray.detect(tmp_path)
    (tmp_path / "metadata.csv").write_bytes(b"\x00\xff" * 99)
    assert not covid_chestxray.detect(tmp_path)


def test_real_data(shared_data):
    root = shared_data / "covid-chestxray-dataset"
    if not root.is_dir():
        pytest.skip("covid-chestxray-dataset not found beside the other real X-rays")
    datalist = index_folder(str(root))
    summary = datalist.summary()
    assert (summary["images"], summary["patients"], summary["multi_image_bags"]) == (286, 162, 67)
    items = datalist.items()
    assert sum("lung_mask" in item for item in items) == 97
    assert Counter(item.get("view_position") for item in items) == {"PA": 148, "AP": 124, "LL": 14}
    # Independent count, straight from the table.
    with open(root / "metadata.csv", newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["modality"] == "X-ray"]
    covid = sum("COVID-19" in row["finding"] for row in rows)
    assert summary["splits"]["training"]["classes"]["COVID-19"] == covid
    assert {Path(item["image"]).name for item in items} == {row["filename"] for row in rows}
    assert all(Path(item["image"]).is_file() for item in items)
