# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_cxrssl.data.datalists.persons import (
    alike_ids,
    comparable_id,
    is_placeholder,
    shared_studies,
    study_key,
    united_patients,
)

UID = "1.2.840.99.7"


def item(patient, study=None, **more):
    return {"image": f"{patient}{study}.png", "patient_id": patient, "study_id": study, **more}


@pytest.mark.parametrize(
    "text",
    ["", "  ", "-", "--", "?", "***", "_", ".", "^^", "ANONYMOUS", "anon", "Anonymized", "Anonymous^Patient", "N/A", "nan",
     "None", "NULL", "REMOVED", "de-identified", "xxx", "XXXX", "unknown", "[redacted]", "<none>", "anonymisé", "匿名", None],
)  # fmt: skip
def test_words_that_stand_for_nobody(text):
    assert is_placeholder(text)


@pytest.mark.parametrize(
    "text",
    ["0", "X", "1", "4711", "ANON001", "anonymous-12", "Anna", "P0", "Nana Mouskouri", "NA12", "patient1", "X12"],
)
def test_words_that_may_be_a_person(text):
    assert not is_placeholder(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0012", "12", True),
        ("ABC1", "abc1", True),
        ("abc 12", " ABC  0012 ", True),
        ("P-007", "p-7", True),
        ("１２", "12", True),
        ("000", "0", True),
        ("120", "12", False),
        ("1-0", "10", False),
        ("1.02", "1.2", False),
        ("ab", "a b", False),
    ],
)
def test_writings_of_an_id(one, other, same):
    assert (comparable_id(one) == comparable_id(other)) is same


@pytest.mark.parametrize(
    ("study", "unique"),
    [
        (UID, True), ("study-0123456789abcdef", True), ("s50414267", True), ("ACC-2023-0001", True),
        ("1", False), ("12", False), ("2023-01-05", False), ("20230105", False), ("05.01.2023", False), ("chest pa", False),
        ("", False), (None, False),
    ],
)  # fmt: skip
def test_which_studies_are_unique(study, unique):
    assert (study_key(item("p", study)) is not None) is unique


def test_a_uid_counts_over_data_sets_and_an_accession_number_within_one():
    items = [item("a:1", f"a:{UID}", source="a"), item("b:2", f"b:{UID}", source="b")]
    assert list(shared_studies(items).values()) == [["a:1", "b:2"]]
    items = [item("a:1", "a:ACC123456", source="a"), item("b:2", "b:ACC123456", source="b")]
    assert not shared_studies(items)


def test_who_is_one_person():
    items = [item("a", UID), item("b", UID), item("b", UID + ".1"), item("c", UID + ".1"), item("d", UID + ".2")]
    assert united_patients(items) == {"a": "a", "b": "a", "c": "a", "d": "d"}
    # A value that an anonymiser wrote into all joins nobody, nor does a number of the patient's own studies.
    for study in (UID, "1", "2023-05-06"):
        items = [item(patient, study) for patient in "abcd"]
        assert united_patients(items) == {patient: patient for patient in "abcd"}
    items = [item("0012"), item("12"), item("13")]
    assert united_patients(items) == {"0012": "0012", "12": "0012", "13": "13"}
    assert united_patients(items, alike=False) == {"0012": "0012", "12": "12", "13": "13"}


def test_alike_ids_are_those_of_people_and_of_one_data_set():
    assert alike_ids([item("P01"), item("p1"), item("p1"), item("2")]) == [["P01", "p1"]]
    assert not alike_ids([item("IMG_01", patient_from="file"), item("img_1", patient_from="file")])
    assert not alike_ids([item("a:01", source="a"), item("b:1", source="b")])
    assert alike_ids([item("a:01", source="a"), item("a:1", source="a")]) == [["a:01", "a:1"]]
    assert not alike_ids([item("patient-00aa000000000000"), item("patient-0aa0000000000000")])
