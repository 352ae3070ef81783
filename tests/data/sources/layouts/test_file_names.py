# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patients told by the file names of known data sets, in folders that no layout knows."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.sources.layouts.plain import folder
from monai_cxrssl.data.sources.layouts.plain.file_names import known_patients

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
BRAX = "id_3b2c1d00-1111-2222-3333-0123456789ab"


def told(*paths):
    return [name and name[:2] for name in known_patients(paths)]


@pytest.mark.parametrize(
    ("path", "source", "patient"),
    [
        ("00000013_005.png", "ChestX-ray14", "13"),
        ("sample/images/00030805_000.png", "ChestX-ray14", "30805"),
        ("a/patient00001/study1/view1_frontal.jpg", "CheXpert", "patient00001"),
        ("CheXpert-v1.0-small_valid_patient64541_study1_view1_frontal.jpg", "CheXpert", "patient64541"),
        ("files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg", "MIMIC-CXR", "p10000032"),
        ("p10000032_s50414267_02aa804e-bde0afdd.jpg", "MIMIC-CXR", "p10000032"),
        ("person23_bacteria_78.jpeg", "Kermany", "person23-bacteria"),
        ("x/NORMAL-1003233-0001.jpeg", "Kermany", "NORMAL-1003233"),
        ("NORMAL2-IM-0323-0001.jpeg", "Kermany", "NORMAL2-IM-0323"),
        ("CXR_png/MCUCXR_0001_0.png", "Montgomery", "MCUCXR_0001"),
        ("CXR_png/CHNCXR_0362_1.png", "Shenzhen", "CHNCXR_0362"),
        ("JPCLN001.IMG", "JSRT", "JPCLN001"),
        ("JPCNN093.png", "JSRT", "JPCNN093"),
        ("CXR1_1_IM-0001-3001.png", "Open-I", "1"),
        ("1_IM-0001-4001.dcm.png", "Open-I", "1"),
        (f"images/{BRAX}/Study_1.2/Series_2/image-1.png", "BRAX", BRAX),
        ("sub-S03044/ses-E06218/mod-rx/sub-S03044_ses-E06218_run-1_bp-chest_vp-ap_dx.png", "BIDS", "sub-S03044"),
        ("sub-S03044_ses-E06218_run-1_bp-chest_vp-ap_dx.png", "BIDS", "sub-S03044"),
        ("MIDRC-RICORD-1C-419639-000025-46647-0.png", "MIDRC-RICORD", "MIDRC-RICORD-1C-419639-000025"),
    ],
)
def test_names(path, source, patient):
    assert told(path) == [(source, patient)]


@pytest.mark.parametrize(
    "path",
    [
        "20230115_001.png", "99999999_001.png", "00000000_001.png", "a_1.png", "0000013_005.png", "IMG_0001.jpg",
        "covid_1.png", "Normal (1).png", "COVID-1.png", "h0001.png", "IM-0001-0001.jpg", "p1/s1/a.png",
        "216840111366964012283393834152009033102258826_00-163-058.png", "0a0c32c9e08cc2ea76a71649de56be6d.dicom",
    ],
)  # fmt: skip
def test_names_that_tell_no_patient(path):
    assert told(path) == [None]


def test_a_viewer_s_names_are_kermany_s_beside_these_alone():
    assert told("NORMAL/IM-0115-0001.jpeg", "PNEUMONIA/person1_virus_6.jpeg")[0] == ("Kermany", "IM-0115")
    assert told("NORMAL/IM-0115-0001.jpeg", "NORMAL/b.jpeg")[0] is None


def test_two_data_sets_of_equal_numbers_in_a_plain_folder(tmp_path):
    names = ["all/00000013_000.png", "all/00000013_001.png", "south/13/a.png", "south/14/a.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    items = folder.read(tmp_path).splits["training"]
    assert [(item["patient_id"], item["patient_from"], item.get("study_id")) for item in items] == [
        ("13", "name", "13-0"), ("13", "name", "13-1"), ("south", "folder", "south/13"), ("south", "folder", "south/14"),
    ]  # fmt: skip
    (tmp_path / "all").rename(tmp_path / "images")
    (tmp_path / "south").rename(tmp_path / "data")
    items = folder.read(tmp_path).splits["training"]
    assert [item["patient_id"] for item in items] == ["13", "14", "ChestX-ray14/13", "ChestX-ray14/13"]
