# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The PadChest layout: fields, terms, projections, where images lie, broken tables."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.vocabulary import PATHOLOGIES
from monai_cxrssl.data.reading.read import read_cxr
from monai_cxrssl.data.sources.layouts import padchest
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

from .tables import touch, write_csv

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
# fmt: off
COLUMNS = (
    "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
    "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Modality_DICOM", "Manufacturer_DICOM",
    "ReportID", "Report", "MethodLabel", "Labels", "Localizations", "LabelsLocalizationsBySentence", "labelCUIS",
    "LocalizationsCUIS",
)
# fmt: on


def row(name, labels, **more):
    fields = {"ImageID": name, "ImageDir": "0", "StudyDate_DICOM": "20140915", "StudyID": "77", "PatientID": "8398"}
    fields |= {"PatientBirth": "1930.0", "PatientSex_DICOM": "F", "Projection": "PA", "MethodLabel": "Physician"}
    return fields | {"Labels": labels, "Localizations": "['loc basal', 'loc left']", "Report": "sin, cambi"} | more


ROWS = (
    row("a_1.png", "['normal']"),
    row("a_2.png", "['cardiomegaly', ' pleural effusion', '']", Projection="L", ImageDir="54", StudyID="78"),
    row("b_1.png", "['laminar atelectasis', 'nipple shadow']", Projection="AP_horizontal", PatientID="9"),
    row("b_2.png", "[]", Projection="COSTAL", PatientID="9", PatientBirth="", PatientSex_DICOM="None"),
    row("c_1.png", "['exclude']", Projection="UNK", PatientID="10", MethodLabel="RNN_model"),
    row("d_1.png", "['normal']", Projection="EXCLUDE", PatientID="11"),
)


def write(folder, rows=ROWS, columns=COLUMNS, name=TABLE, place="{ImageDir}/"):
    write_csv(folder / name, columns, rows)
    touch(folder, *(place.format(**r) + r["ImageID"] for r in rows if r["ImageID"]))
    return folder


def named(label):
    return {name for name, value in zip(padchest.CLASSES, label, strict=True) if value}


def test_fields(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write(tmp_path)
    assert find_layout(tmp_path) == "padchest"
    datalist = index_folder(tmp_path)
    items = datalist.items()
    assert [item["image"].removeprefix(f"{tmp_path}/") for item in items] == [
        "0/a_1.png", "54/a_2.png", "0/b_1.png", "0/b_2.png", "0/c_1.png",
    ]  # fmt: skip
    assert [item["patient_id"] for item in items] == ["8398", "8398", "9", "9", "10"]
    assert [item.get("view_position") for item in items] == ["PA", "LL", "AP", "COSTAL", None]
    assert [item.get("age") for item in items] == [84.0, 84.0, 84.0, None, 84.0]
    assert [item.get("sex") for item in items] == ["F", "F", "F", None, "F"]
    assert (items[1]["study_id"], items[4]["label_method"]) == ("78", "RNN_model")
    assert [named(item["label"]) for item in items[:3]] == [
        {"No Finding"}, {"Cardiomegaly", "Pleural Effusion"}, {"Atelectasis"},
    ]  # fmt: skip
    assert not any("label" in item for item in items[3:])
    assert "1 images of the Projection EXCLUDE left out" in caplog.text
    assert "1 terms without a class left out of the labels, most often nipple shadow 1" in caplog.text
    Datalist.from_dict(datalist.to_dict(), tmp_path)


@pytest.mark.parametrize(
    ("labels", "positive", "absent", "healthy"),
    [
        ("['normal']", set(), 0.0, 1.0),
        ("['nipple shadow']", set(), 0.0, 0.0),
        ("['normal', 'unchanged']", set(), 0.0, 1.0),
        ("['unchanged', 'pneumonia']", {"Pneumonia"}, None, 0.0),
        ("['suboptimal study', 'NSG tube']", {"Support Devices"}, None, 0.0),
        ("['callus rib fracture']", {"Rib Fracture", "Fracture"}, 0.0, 0.0),
        ("['hydropneumothorax']", {"Hydropneumothorax", "Pleural Effusion", "Pneumothorax"}, 0.0, 0.0),
        ("['air bronchogram']", {"Consolidation", "Alveolar Pattern", "Infiltration"}, 0.0, 0.0),
        ('["pulmonary  edema"]', {"Edema"}, 0.0, 0.0),
        ("['tuberculosis sequelae']", {"Tuberculosis Sequelae"}, 0.0, 0.0),
    ],
)
def test_terms(tmp_path, labels, positive, absent, healthy):
    label = padchest.read(write(tmp_path, [row("a.png", labels)])).items()[0]["label"]
    assert label[0] == healthy
    assert label[1:] == [1.0 if name in positive else absent for name in padchest.CLASSES[1:]]


@pytest.mark.parametrize("labels", ["", "nan", "[]", "['']", "['unchanged']", "['exclude', 'pneumonia']"])
def test_terms_that_tell_nothing(tmp_path, labels):
    assert "label" not in padchest.read(write(tmp_path, [row("a.png", labels)])).items()[0]


def test_classes():
    assert set(padchest.CLASSES) <= set(PATHOLOGIES)
    assert len(set(padchest.CLASSES)) == len(padchest.CLASSES)
    assert set(padchest.NARROWER) <= set(padchest.CLASSES)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (TABLE, ""),
        (f"{TABLE}.gz", "images/"),
        ("PADCHEST_chest_x_ray_images_labels_160K.csv", "images/{ImageDir}/"),
        ("padchest_labels_2020.csv", "{ImageDir}/"),
    ],
)
def test_tables_and_places(tmp_path, name, place):
    datalist = index_folder(write(tmp_path, name=name, place=place))
    assert datalist.items()[1]["image"] == f"{tmp_path}/{place.format(ImageDir=54)}a_2.png"
    assert padchest.read(tmp_path, check_files=False).splits["training"][1]["image"] == "54/a_2.png"


def test_of_several_tables_the_last(tmp_path, caplog):
    write(tmp_path)
    write(tmp_path, ROWS[:1], name=TABLE.replace("01.02.19", "02.02.20"))
    assert len(padchest.read(tmp_path).items()) == 1
    assert "2 tables of PadChest, PADCHEST_chest_x_ray_images_labels_160K_02.02.20.csv is taken" in caplog.text


def test_16_bit_film(tmp_path):
    write(tmp_path, ROWS[:1])
    film = np.linspace(0, 40_000, 64).astype(np.uint16).reshape(8, 8)
    (tmp_path / "0" / "a_1.png").write_bytes(cv2.imencode(".png", film)[1].tobytes())
    pixels, metadata = read_cxr(padchest.read(tmp_path).items()[0]["image"])
    np.testing.assert_allclose(pixels, film / 40_000.0, atol=1e-6)
    assert metadata["bits_stored"] == 16


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (row("a_1.png", "[]"), "row 8 .*the image a_1.png was listed before, in row 2"),
        (row("e.png", "[]", PatientID=" "), "row 8 .*PatientID is empty"),
        (row("", "[]"), "row 8 .*ImageID is empty"),
    ],
)
def test_broken_rows(tmp_path, wrong, message):
    with pytest.raises(DatalistError, match=message):
        index_folder(write(tmp_path, [*ROWS, wrong]))


def test_missing_column_and_absent_image(tmp_path):
    write(tmp_path, columns=[c if c != "Projection" else "View" for c in COLUMNS])
    with pytest.raises(DatalistError, match=f"{TABLE} lacks the column Projection "):
        index_folder(tmp_path)
    write(tmp_path)
    (tmp_path / "54" / "a_2.png").unlink()
    with pytest.raises(DatalistError, match=r"row 3 .*the listed file does not exist \(looked for .*54/a_2.png\)"):
        index_folder(tmp_path)
    assert len(padchest.read(tmp_path, allow_absent=True).items()) == 4
    with pytest.raises(DatalistError, match="holds no table such as PADCHEST"):
        padchest.read(tmp_path / "54")


def test_unknown_projection_is_told(tmp_path, caplog):
    items = padchest.read(write(tmp_path, [row("a.png", "[]", Projection="OBLIQUE")])).items()
    assert "view_position" not in items[0]
    assert "1 images of an unknown Projection get no view (OBLIQUE 1)" in caplog.text
