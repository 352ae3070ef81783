# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patients of a plain folder: what tells them, in which order, and what the log says of it."""

from __future__ import annotations

import re

import pytest

from monai_cxrssl.data.sources.layouts.plain.file_names import known_patients
from monai_cxrssl.data.sources.patients.evidence import patient_items
from monai_cxrssl.errors import ConfigurationError


def dicom(patient="", study="", **more):
    return {"patient_id": patient, "study_id": study, "sex": "F", "age": 50.0, **more}


def items(*found, **options):
    films = [(path, header) if header else (path, {}) for path, header in found]
    options = {"patient_ids": "original", **options}
    return [(i["patient_id"], i["patient_from"]) for i in patient_items(films, "DIR", known_patients, **options)]


def test_the_order(caplog):
    found = [
        ("x/1.dcm", dicom("A", "1.2.3.4.1")),
        ("x/00000013_000.dcm", dicom("", "1.2.3.4.2")),
        ("x/3.dcm", dicom("", "1.2.3.4.3")),
        ("4.dcm", dicom("ANONYMOUS", "1.2.3.4.4")),
        ("5.png", None),
    ]
    assert items(*found) == [
        ("A", "dicom"), ("13", "name"), ("x", "folder"), ("1.2.3.4.4", "study"), ("5", "file"),
    ]  # fmt: skip
    assert "1 images have a PatientID that stands for nobody ('ANONYMOUS' 1)" in caplog.text
    assert "in place of these PatientIDs stand: the study 1" in caplog.text
    assert "the patient of 1 of 5 images is known by the study alone" in caplog.text
    assert "1 of 5 images are each taken for their own patient" in caplog.text
    assert items(*found, patient_from="study,folder") == [
        ("1.2.3.4.1", "study"), ("1.2.3.4.2", "study"), ("1.2.3.4.3", "study"), ("1.2.3.4.4", "study"), ("5", "file"),
    ]  # fmt: skip
    assert items(*found, patient_from=["dicom"])[3] == ("ANONYMOUS", "dicom")
    assert [kind for _, kind in items(*found, patient_pattern=r"(\d)\.(?:dcm|png)$")] == ["pattern"] * 5


def test_everybody_is_anonymous(caplog):
    found = [(f"case{n}/a.dcm", dicom("ANONYMOUS", f"1.2.3.4.{n}")) for n in range(12)]
    assert items(*found) == [(f"case{n}", "folder") for n in range(12)]
    assert "in place of these PatientIDs stand: the sub-folder 12" in caplog.text
    found = [(f"{n}.dcm", header) for n, (_, header) in enumerate(found)]
    assert items(*found) == [(f"1.2.3.4.{n}", "study") for n in range(12)]
    found = [(path, dicom("ANONYMOUS")) for path, _ in found]
    assert items(*found) == [(f"{n}", "file") for n in range(12)]


def test_pseudonyms_are_of_persons_not_of_writings(tmp_path, caplog):
    found = [("1.dcm", dicom("0012", "1.2.3.4.1")), ("2.dcm", dicom("12", "1.2.3.4.1")), ("3.dcm", dicom("P7", ""))]
    options = {"patient_ids": "pseudonym", "salt_file": tmp_path / "salt"}
    ids = [patient for patient, _ in items(*found, **options)]
    assert ids[0] == ids[1] != ids[2]
    assert all(re.fullmatch("patient-[0-9a-f]{16}", patient) for patient in ids)
    assert "0012" not in caplog.text
    # The archive of the other system, indexed another day.
    assert items(("9.dcm", dicom(" 000012 ")), **options)[0][0] == ids[0]


def test_a_form_of_unknown_origin_is_suggested_and_not_taken(caplog):
    found = [(f"{patient}_{n}.png", None) for patient in ("a17", "b3", "c9") for n in range(3)]
    assert items(*found) == [(path[:-4], "file") for path, _ in found]
    option = re.search(r"'patient_pattern=(.*)'", caplog.text)[1]
    assert {patient for patient, _ in items(*found, patient_pattern=option)} == {"a17", "b3", "c9"}
    for names in (
        [f"covid_{n}" for n in range(9)] + [f"normal_{n}" for n in range(9)],  # classes
        [f"IMG_{n:04}" for n in range(9)],  # a camera's numbers
        [f"x{n}" for n in range(9)],
    ):
        caplog.clear()
        items(*[(f"{name}.png", None) for name in names])
        assert "are each taken for their own patient" in caplog.text
        assert "<patient>_<number>" not in caplog.text


def test_one_patient_of_all_films_is_said(caplog):
    items(*[(f"{n}.dcm", dicom("4711", f"1.2.3.4.{n}", birth_date_digest="ab")) for n in range(8)])
    assert "all 8 images are taken for one patient, '4711'" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patient_ids": "none"}, "pseudonym, original"),
        ({"patient_from": "header"}, "expected some of dicom, name, folder, study, file"),
        ({"patient_from": []}, "expected some of"),
        ({"patient_pattern": "(("}, "is no regular expression"),
        ({"patient_pattern": r"\d+"}, "has no group"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        items(("a.png", None), **options)
