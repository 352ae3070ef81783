# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_cxrssl.data.sources.patients.folders import folder_patients, is_no_patient


def told(folders, studies=None):
    """Patients of images that lie in these folders (texts with slashes)."""
    pairs, _ = folder_patients([text.split("/") if text else [] for text in folders], studies or [""] * len(folders))
    return [patient for patient, _ in pairs]


@pytest.mark.parametrize(
    "name",
    ["Train", "images_001", "COVID-19", "NORMAL", "Pleural_Effusion", "2023-05", "batch 3", "320x320", "PA", "frontal",
     "siteB", "hospital_2", "DICOM", "test", "x-rays", "part1", "Non-COVID"],
)  # fmt: skip
def test_no_patients(name):
    assert is_no_patient(name)


@pytest.mark.parametrize(
    "name", ["p12", "PA000001", "pa12", "patient00001", "1033", "2023", "case00", "Doe", "s1", "ABC-12"]
)
def test_names_that_may_be_patients(name):
    assert not is_no_patient(name)


@pytest.mark.parametrize(
    ("folders", "patients"),
    [
        (["p1", "p1", "p2"], ["p1", "p1", "p2"]),
        (["", "p1"], ["", "p1"]),
        (["2022/p1", "2023/p1", "2023/p2"], ["p1", "p1", "p2"]),
        (["20230105/p1", "20230106/p2"], ["p1", "p2"]),
        (["2022", "2023"], ["", ""]),
        # Numbers of patients that look like years are none, since others beside them do not.
        (["1033", "2001", "2002", "2987"], ["1033", "2001", "2002", "2987"]),
        (["20231299", "20230105"], ["20231299", "20230105"]),
        # Sites number alike, splits and years do not.
        (["site1/p1", "site2/p1"], ["site1/p1", "site2/p1"]),
        (["train/p1", "valid/p1"], ["p1", "p1"]),
        (["train/p1", "train/p2", "test/p1", "test/p2"], ["p1", "p2", "p1", "p2"]),
    ],
)
def test_which_folder(folders, patients):
    assert told(folders) == patients


def test_a_level_of_many_films_or_studies_is_no_patient():
    # Of one site each, whatever it is called; the next level is.
    folders = [f"{ward}/{n // 3}" for ward in ("east", "west") for n in range(180)]
    assert told(folders) == folders
    _, (sentence,) = folder_patients([text.split("/") for text in folders], [""] * len(folders))
    assert "2 folders such as 'east' hold too many images" in sentence
    # Nothing below it: the images are nobody's; a folder of the usual size beside it is a patient's.
    assert told(["old images"] * 60 + ["p1"]) == [""] * 60 + ["p1"]
    # One patient of many images beside others stays.
    folders = [f"p{n // 3}" for n in range(300)] + ["intensive"] * 80
    assert told(folders) == folders
    # Six studies in a folder are of several people more often than of one; two are of one.
    assert told(["alpha"] * 6 + ["beta"] * 6, [str(n) for n in range(12)]) == [""] * 12
    assert told(["alpha", "alpha", "beta", "beta"], list("abcd")) == ["alpha", "alpha", "beta", "beta"]


def test_folders_of_classes_are_no_patients():
    paths = [["north", "train", "Turberculosis"], ["north", "Sound", "p1"]]
    pairs, _ = folder_patients(paths, ["", ""], not_patients=("Turberculosis", "Sound"))
    assert [patient for patient, _ in pairs] == ["", "p1"]


def test_the_study_is_the_folder_below():
    pairs, _ = folder_patients([["p1", "s1"], ["p1", "s2", "x"], ["p2"]], [""] * 3)
    assert pairs == [("p1", "p1/s1"), ("p1", "p1/s2"), ("p2", "")]
    assert folder_patients([], []) == ([], [])
