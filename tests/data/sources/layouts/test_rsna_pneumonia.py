# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The RSNA Pneumonia layout on a miniature of its tree, and what it says of broken tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data.sources.layouts import rsna_pneumonia
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

HEADER = "patientId,x,y,width,height,Target"
ROWS = ["n1,,,,,0", "o1,264.0,152.0,213.0,379.0,1", "o1,562.0,152.0,256.0,453.0,1", "x1,,,,,0"]
INFO_HEADER = "patientId,class"
INFO = ["n1,Normal", "o1,Lung Opacity", "o1,Lung Opacity", "x1,No Lung Opacity / Not Normal"]


@pytest.fixture
def tree(tmp_path, dicom):
    """Writes the data set."""

    def write(rows=ROWS, info=INFO, header=HEADER, info_header=INFO_HEADER, films=("n1", "o1", "x1")):
        (tmp_path / "stage_2_train_labels.csv").write_text("\n".join([header, *rows]) + "\n")
        (tmp_path / "stage_2_detailed_class_info.csv").write_text("\n".join([info_header, *info]) + "\n")
        (tmp_path / "stage_2_train_images").mkdir(exist_ok=True)
        for name in films:
            elements = {"PatientID": name, "ViewPosition": "PA", "PatientSex": "M", "PatientAge": "051Y"}
            film = dicom.make_dicom(np.zeros((4, 4), np.uint16), **elements)
            film.save_as(tmp_path / "stage_2_train_images" / f"{name}.dcm")
        return tmp_path

    return write


def test_items(tree):
    folder = tree()
    assert find_layout(folder) == "rsna_pneumonia"
    datalist = index_folder(folder)
    assert datalist.classes == ("No Finding", "Lung Opacity", "No Lung Opacity / Not Normal")
    items = datalist.items()
    assert [Path(item["image"]) for item in items] == [
        folder / "stage_2_train_images" / f"{name}.dcm" for name in ("n1", "o1", "x1")
    ]
    assert [item["label"] for item in items] == [0, 1, 2]
    assert [item["patient_id"] for item in items] == ["n1", "o1", "x1"]
    assert [item["boxes"] for item in items] == [[], [[264, 152, 477, 531], [562, 152, 818, 605]], []]
    assert (items[0]["view_position"], items[0]["sex"]) == ("PA", "M")


@pytest.mark.parametrize("place", ["stage_2_train_images", "train_png", "Training/Images"])
def test_films_as_png(tree, place):
    folder = tree(films=())
    (folder / place).mkdir(parents=True, exist_ok=True)
    for name in ("n1", "o1", "x1"):
        Image.new("L", (512, 256)).save(folder / place / f"{name}.png")
    items = index_folder(folder).items()
    assert [Path(item["image"]) for item in items] == [folder / place / f"{n}.png" for n in ("n1", "o1", "x1")]
    # Half of the columns and a quarter of the rows of the DICOM file, whose pixels the table counts.
    assert items[1]["boxes"] == [[132, 38, 238.5, 132.75], [281, 38, 409, 151.25]]
    assert "view_position" not in items[0]


def test_without_the_table_of_classes(tree, caplog):
    folder = tree()
    (folder / "stage_2_detailed_class_info.csv").unlink()
    items = index_folder(folder).items()
    assert [item.get("label") for item in items] == [None, 1, None]
    assert [len(item["boxes"]) for item in items] == [0, 2, 0]
    assert "2 images without an opacity have no label" in caplog.text


def test_without_headers_and_absent(tree, caplog):
    items = rsna_pneumonia.read(tree(films=("o1",)), headers=False, allow_absent=True).items()
    assert [item["patient_id"] for item in items] == ["o1"]
    assert "view_position" not in items[0]
    assert "2 of 3 listed images are absent" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"header": HEADER.replace("width", "w")}, "lacks the column width"),
        ({"info_header": "patientId,kind"}, "lacks the column class"),
        ({"films": ("n1", "o1")}, r"train_labels.csv, row 5 .*listed file does not exist"),
        ({"rows": [*ROWS, ROWS[1]]}, r"row 6 .*image or box o1 264 152 213 379 was listed before, in row 3"),
        ({"rows": [*ROWS, ROWS[0]]}, r"row 6 .*image or box n1 was listed before, in row 2"),
        ({"info": [*INFO, "n1,Lung Opacity"]}, r"row 6 .*another class in an earlier row"),
        ({"info": INFO[:3]}, r"row 5 .*not in stage_2_detailed_class_info.csv"),
        ({"rows": [ROWS[0], "o1,,,,,0", ROWS[3]]}, r"row 3 .*disagree"),
        ({"rows": [*ROWS[:3], "x1,,,,,yes"]}, r"row 5 .*Target is 1 without a box"),
        ({"rows": ["o1,1,2,0,4,1"]}, r"row 2 .*Target is 1 without a box"),
        ({"rows": ["n1,1,2,3,4,0"]}, r"row 2 .*Target is 0 with a box"),
        ({"rows": [",,,,,0"]}, r"row 2 .*patientId is empty"),
    ],
)
def test_faults(tree, changed, message):
    folder = tree(**changed)
    with pytest.raises(DatalistError, match=message):
        rsna_pneumonia.read(folder, headers=False)
