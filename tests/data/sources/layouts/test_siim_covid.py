# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The SIIM-FISABIO-RSNA COVID-19 layout on a miniature of its tree, and what it says of broken tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_cxrssl.data.sources.layouts.covid import siim_covid
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

STUDY_HEADER = "id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance"
STUDIES = ["st1_study,0,1,0,0", "st2_study,1,0,0,0", "st3_study,0,0,0,1"]
IMAGE_HEADER = "id,boxes,label,StudyInstanceUID"
BOXES = "\"[{'x': 10.5, 'y': 20, 'width': 30, 'height': 5}, {'x': 1, 'y': 2, 'width': 3, 'height': 4}]\""
IMAGES = [
    f"a_image,{BOXES},opacity 1 10.5 20 40.5 25 opacity 1 1 2 4 6,st1",
    "b_image,,none 1 0 0 1 1,st1",
    "c_image,,none 1 0 0 1 1,st2",
    "d_image,,none 1 0 0 1 1,st3",
]
FILMS = {"a": "st1/se1", "b": "st1/se2", "c": "st2/se3", "d": "st3/se4"}


@pytest.fixture
def tree(tmp_path, dicom):
    """Writes the data set; patient p1 has two studies, and the header of image d cannot be read."""

    def write(studies=STUDIES, images=IMAGES, films=FILMS, study_header=STUDY_HEADER, image_header=IMAGE_HEADER):
        (tmp_path / "train_study_level.csv").write_text("\n".join([study_header, *studies]) + "\n")
        (tmp_path / "train_image_level.csv").write_text("\n".join([image_header, *images]) + "\n")
        for name, place in films.items():
            path = tmp_path / "train" / place / f"{name}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == "d":
                path.touch()
                continue
            patient = "p2" if name == "c" else "p1"
            film = dicom.make_dicom(
                np.zeros((4, 4), np.uint16), PatientID=patient, ViewPosition="AP", PatientSex="F", PatientAge="061Y"
            )
            film.save_as(path)
        return tmp_path

    return write


def test_items(tree, caplog):
    folder = tree()
    assert find_layout(folder) == "siim_covid"
    datalist = index_folder(folder)
    assert datalist.classes == ("No Finding", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance")
    items = datalist.items()
    assert [Path(item["image"]).relative_to(folder).as_posix() for item in items] == [
        f"train/{place}/{name}.dcm" for name, place in FILMS.items()
    ]
    assert [item["label"] for item in items] == [1, 1, 0, 3]
    assert [item["study_id"] for item in items] == ["st1", "st1", "st2", "st3"]
    assert [item["patient_id"] for item in items] == ["p1", "p1", "p2", "st3"]
    assert [item.get("boxes") for item in items] == [[[10.5, 20, 40.5, 25], [1, 2, 4, 6]], None, [], []]
    assert (items[0]["view_position"], items[0]["sex"], items[0]["age"]) == ("AP", "F", 61)
    assert "1 of 4 headers cannot be read" in caplog.text


def test_without_headers_a_study_is_a_patient(tree):
    items = siim_covid.read(tree(), headers=False).items()
    assert [item["patient_id"] for item in items] == ["st1", "st1", "st2", "st3"]
    assert "view_position" not in items[0]


def test_absent_film_may_be_left_out(tree, caplog):
    folder = tree(films={name: FILMS[name] for name in "ac"})
    assert len(siim_covid.read(folder, allow_absent=True).items()) == 2
    assert "2 of 4 listed images are absent" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"study_header": STUDY_HEADER.replace("Typical", "Usual", 1)}, "lacks the column Typical Appearance"),
        ({"image_header": "id,boxes,label,study"}, "lacks the column StudyInstanceUID"),
        ({"films": {name: FILMS[name] for name in "abd"}}, r"image_level.csv, row 4 .*listed file does not exist"),
        ({"images": [*IMAGES, IMAGES[1]]}, r"row 6 .*the image b_image was listed before, in row 3"),
        ({"studies": [*STUDIES, STUDIES[0]]}, r"row 5 .*the study st1_study was listed before, in row 2"),
        ({"images": [IMAGES[0].replace("4 6,", "4,")]}, r"row 2 .*expected 'none 1 0 0 1 1' or 'opacity"),
        ({"images": [IMAGES[0].replace("40.5", "10.5")]}, r"row 2 .*the label is"),
        ({"images": [IMAGES[1].replace("b_image", "b")]}, r"row 2 .*does not end in _image"),
        ({"images": [IMAGES[1].replace("st1", "st9")]}, r"row 2 .*study is not in train_study_level.csv"),
        ({"images": [IMAGES[1].replace("st1", "")]}, r"row 2 .*StudyInstanceUID is empty"),
        ({"studies": ["st1_study,0,1,0,1"]}, r"row 2 .*several of the four grades are 1"),
        ({"studies": ["st1,0,1,0,1"]}, r"row 2 .*does not end in _study"),
    ],
)
def test_faults(tree, changed, message):
    folder = tree(**changed)
    with pytest.raises(DatalistError, match=message):
        siim_covid.read(folder, headers=False)
