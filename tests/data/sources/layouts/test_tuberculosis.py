# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The Montgomery and Shenzhen layouts on miniatures of their trees."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.data.sources.layouts import montgomery, shenzhen
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError


def write(folder, files):
    """Empty or text files by their paths."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def montgomery_set(folder):
    return write(
        folder,
        {
            "CXR_png/MCUCXR_0001_0.png": "",
            "CXR_png/MCUCXR_0104_1.png": "",
            "CXR_png/Thumbs.db": "",
            "ManualMask/leftMask/MCUCXR_0001_0.png": "",
            "ManualMask/rightMask/MCUCXR_0001_0.png": "",
            "ClinicalReadings/MCUCXR_0001_0.txt": "Patient's Sex: F\nPatient's Age: 027Y\nnormal\n",
            "ClinicalReadings/MCUCXR_0104_1.txt": "Patient's Sex: M\nPatient's Age: 006M\n3 mm nodule\n",
        },
    )


@pytest.mark.parametrize("above", [False, True])
def test_montgomery(tmp_path, above):
    top = montgomery_set(tmp_path / "MontgomerySet" if above else tmp_path)
    assert find_layout(tmp_path) == "montgomery"
    datalist = index_folder(tmp_path)
    assert datalist.classes == ("No Finding", "Tuberculosis")
    first, second = datalist.items()
    assert first == {
        "image": str(top / "CXR_png/MCUCXR_0001_0.png"),
        "patient_id": "MCUCXR_0001",
        "source": "Montgomery",
        "label": 0,
        "lung_mask": [str(top / f"ManualMask/{side}/MCUCXR_0001_0.png") for side in ("leftMask", "rightMask")],
        "sex": "F",
        "age": 27.0,
    }
    assert (second["label"], second["sex"], second["age"], "lung_mask" in second) == (1, "M", 0.5, False)


def test_both_masks_are_merged(tmp_path):
    montgomery_set(tmp_path)
    expected = np.zeros((40, 60), np.uint8)
    for side, columns in (("leftMask", slice(35, 50)), ("rightMask", slice(10, 25))):
        mask = np.zeros((40, 60), np.uint8)
        mask[5:30, columns] = 255
        expected |= mask // 255
        cv2.imwrite(str(tmp_path / "ManualMask" / side / "MCUCXR_0001_0.png"), mask)
    merged, _ = read_lung_mask(montgomery.read(tmp_path).items()[0]["lung_mask"])
    assert np.array_equal(merged, expected)


@pytest.mark.parametrize("place", ["mask", "masks", "mask/mask"])
@pytest.mark.parametrize("above", [False, True])
def test_shenzhen(tmp_path, place, above):
    top = tmp_path / "ChinaSet_AllFiles" if above else tmp_path
    write(
        top,
        {
            "CXR_png/CHNCXR_0001_0.png": "",
            "CXR_png/CHNCXR_0327_1.png": "",
            f"{place}/CHNCXR_0327_1_mask.png": "",
            "ClinicalReadings/CHNCXR_0327_1.txt": "Female , 37yrs\nright PTB\n",
        },
    )
    assert find_layout(tmp_path) == "shenzhen"
    first, second = index_folder(tmp_path).items()
    assert (first["patient_id"], first["label"], first.keys() & {"lung_mask", "sex", "age"}) == (
        "CHNCXR_0001",
        0,
        set(),
    )
    assert (second["patient_id"], second["label"], second["sex"], second["age"]) == ("CHNCXR_0327", 1, "F", 37.0)
    assert Path(second["lung_mask"]) == top / place / "CHNCXR_0327_1_mask.png"


def test_both_in_one_folder_as_kaggle_has_them(tmp_path, caplog):
    names = ("CHNCXR_0001_0", "CHNCXR_0002_1", "MCUCXR_0001_0", "MCUCXR_0104_1")
    masks = ("CHNCXR_0001_0_mask", "MCUCXR_0104_1")
    write(tmp_path, {f"CXR_png/{n}.png": "" for n in (*names, "film")} | {f"masks/{n}.png": "" for n in masks})
    datalist = index_folder(tmp_path)
    items = {Path(item["image"]).stem: item for item in datalist.items()}
    assert {name: item["label"] for name, item in items.items()} == {name: int(name[-1]) for name in names}
    assert {item["source"] for item in items.values()} == {"Montgomery", "Shenzhen"}
    assert {name: Path(i["lung_mask"]).stem for name, i in items.items() if "lung_mask" in i} == {
        "CHNCXR_0001_0": "CHNCXR_0001_0_mask",
        "MCUCXR_0104_1": "MCUCXR_0104_1",
    }
    assert "holds 2 data sets, each read by its own layout" in caplog.text
    assert datalist.summary()["left_out"] == {"unlisted": 1}


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("male 45yrs\nnormal", {"sex": "M", "age": 45}),
        ("male45yrs", {"sex": "M", "age": 45}),
        ("Female, 24 yrs \n\nPTB in 3 mm", {"sex": "F", "age": 24}),
        ("female 9 month", {"sex": "F", "age": 0.75}),
        ("normal\nmale 3yrs", {}),
        ("", {}),
    ],
)
def test_shenzhen_reading(text, known):
    assert shenzhen.parse_reading(text) == known


@pytest.mark.parametrize(
    ("layout", "files", "message"),
    [
        (
            montgomery,
            {"CXR_png/MCUCXR_0003_0.png": "", "CXR_png/MCUCXR_a_0.png": ""},
            "MCUCXR_a_0.png has a name without",
        ),
        (
            montgomery,
            {"CXR_png/MCUCXR_0003_0.png": "", "ManualMask/leftMask/MCUCXR_0003_0.png": ""},
            "rightMask/MCUCXR_0003_0.png does not exist, but the mask of the other lung does",
        ),
        (montgomery, {"CXR_png/CHNCXR_0003_0.png": ""}, "holds no image named MCUCXR_"),
        (shenzhen, {"CXR_png/a.txt": ""}, "holds no image named CHNCXR_"),
    ],
)
def test_faults(tmp_path, layout, files, message):
    with pytest.raises(DatalistError, match=message):
        layout.read(write(tmp_path, files))
