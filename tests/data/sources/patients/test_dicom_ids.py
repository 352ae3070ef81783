# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Which ids of DICOM headers are a person's: one value for many, and one person under many values."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.reading.dicom_header import person_digest
from monai_cxrssl.data.sources.patients.dicom_ids import dicom_ids


def header(patient, study="", birth="", name="", sex="M", age=None):
    digests = {"birth_date_digest": person_digest(birth), "name_digest": person_digest(name)}
    return {"patient_id": patient, "study_id": study, "sex": sex, "age": age, **digests}


def uid(number):
    return f"1.2.840.99.{number}"


def many(patient, count=12, **more):
    """Images of as many studies; a value of ``more`` may be a function of the image's number."""
    made = ({key: value(n) if callable(value) else value for key, value in more.items()} for n in range(count))
    return [header(patient, uid(n), **values) for n, values in enumerate(made)]


@pytest.mark.parametrize(
    "word",
    [
        "ANONYMOUS",
        "anon",
        "0",
        "000",
        "-",
        " ",
        "N/A",
        "REMOVED",
        "X",
        "x",
        "XXX",
        "TEST",
        "patient",
        "123456",
        "999999",
    ],
)
def test_a_word_that_all_films_share_is_no_patient(word):
    ids = dicom_ids(many(word))
    assert ids.patients == ids.keys == [""] * 12
    assert ids.studies == [uid(n) for n in range(12)]
    if word.strip():
        assert f"12 images have a PatientID that stands for nobody ('{word}' 12)" in ids.sentences
        assert ids.nobodys == list(range(12))


def test_a_word_is_no_patient_among_others_either():
    ids = dicom_ids([header(f"P{n}", uid(n)) for n in range(50)] + [header("ANONYMOUS", uid(n)) for n in range(50, 55)])
    assert ids.patients == [f"P{n}" for n in range(50)] + [""] * 5


@pytest.mark.parametrize(
    "others", [["0", "1", "2", "3"], ["w", "X", "y", "z"], ["123455", "123456", "123457", "888888"]]
)
def test_weak_words_in_a_row_of_others_are_patients(others):
    # Each with two studies.
    headers = [header(patient, uid(f"{number}.{k}")) for number, patient in enumerate(others) for k in range(2)]
    assert dicom_ids(headers).patients == [patient for patient in others for _ in range(2)]


@pytest.mark.parametrize(
    "signs",
    [
        {"birth": lambda n: f"19{30 + n}0512"},
        {"sex": lambda n: "FM"[n % 2]},
        {"age": lambda n: 20 + 5 * n},
        {"name": lambda n: f"{'ABCDEFGHIJKL'[n]}ara^Given"},
    ],
)
def test_an_id_of_several_people_is_no_patient(signs):
    ids = dicom_ids(many("RESEARCH-7", **signs))
    assert set(ids.patients) == {""}
    (sentence,) = ids.sentences
    assert "12 of 12 images, in 12 studies, have one PatientID, but their" in sentence
    assert "RESEARCH" not in sentence
    assert "'RESEARCH-7'" in dicom_ids(many("RESEARCH-7", **signs), show_ids=True).sentences[0]


@pytest.mark.parametrize("place", ["ST MARY HOSPITAL", "Klinikum Nord", "Radiology", "Univ. Center", "CXR study"])
def test_a_place_is_no_patient(place):
    assert set(dicom_ids(many(place)).patients) == {""}


def test_one_person_over_years_stays_one():
    same = {"birth": "19431231", "name": "Doe^Jane", "sex": "F"}
    for patient in ("4711", "0", "TEST", "123456", "STUDY ONE"):
        ids = dicom_ids(many(patient, 30, **same, age=lambda n: 60 + n // 10))
        assert set(ids.patients) == {patient}
        assert not ids.sentences
    # A typing error in one image, another spelling of the name, a sex that one image lacks.
    headers = many("4711", 30, **same)
    headers[3] = header("4711", uid(3), "19341231", "Doe^Jane", "F")
    headers[4] = header("4711", uid(4), "19431231", "DOE^JANE^^MRS", "")
    assert set(dicom_ids(headers).patients) == {"4711"}


def test_what_nothing_tells_is_kept_and_asked_about():
    ids = dicom_ids(many("4711"))
    assert set(ids.patients) == {"4711"}
    (sentence,) = ids.sentences
    assert "nothing tells whether that is one person" in sentence
    assert "patient_from=study" in sentence
    # An anonymiser's date and name tell nothing.
    assert dicom_ids(many("4711", birth="19000101", name="ANONYMOUS")).sentences == ids.sentences
    assert dicom_ids(many("4711", name="4711")).sentences == ids.sentences
    # One study, or a few images, or a smaller share are what patients have.
    assert not dicom_ids([header("4711", uid(1)) for _ in range(9)]).sentences
    assert not dicom_ids(many("4711", 3) + [header(f"P{n}", uid(n)) for n in range(20, 40)]).sentences


def test_a_smaller_share_is_enough_where_no_two_films_agree():
    others = [header(f"P{n}", uid(n), "19500101", sex="F") for n in range(100, 160)]
    headers = many("EMERGENCY", 10, birth=lambda n: f"19{30 + n}0512") + others
    ids = dicom_ids(headers)
    assert set(ids.patients[:10]) == {""}
    assert all(ids.patients[10:])


@pytest.mark.parametrize(("one", "other"), [("0012", "12"), ("ABC1", "abc1"), ("P 7", "p  007")])
def test_one_id_in_two_writings_is_one_patient(one, other):
    ids = dicom_ids([header(one, uid(1)), header(other, uid(2)), header("9", uid(3))])
    assert ids.patients[0] == ids.patients[1] in (one, other)
    assert ids.keys[0] == ids.keys[1] != ids.keys[2]
    # The key is that of an archive with one of them alone.
    assert ids.keys[0] == dicom_ids([header(other, uid(2))]).keys[0] == dicom_ids([header(one, uid(2))]).keys[0]
    assert any("1 patients have ids that differ" in sentence for sentence in ids.sentences)
    ids = dicom_ids([header(one, uid(1)), header(other, uid(1))])
    assert any("(1 studies have images of both)" in sentence for sentence in ids.sentences)


@pytest.mark.parametrize("sign", [{"sex": "F"}, {"birth": "19800101"}])
def test_two_people_with_alike_ids_stay_two(sign):
    ids = dicom_ids([header("0012", uid(1), birth="19431231"), header("12", uid(2), **{"birth": "19431231", **sign})])
    assert ids.patients == ids.keys == ["0012", "12"]
    assert "they are kept apart" in ids.sentences[0]
    # A common study is stronger than that.
    ids = dicom_ids([header("0012", uid(1)), header("12", uid(1), **sign)])
    assert len(set(ids.keys)) == 1


def test_two_numberings_of_two_sites_stay_two():
    sexes = "MFFMMFMFFM"
    headers = [header(f"{n}", uid(n), sex="M") for n in range(1, 11)]
    headers += [header(f"{n:04d}", uid(100 + n), sex=sexes[n - 1]) for n in range(1, 11)]
    assert len(set(dicom_ids(headers).keys)) == 20


def test_merged_records_are_said_and_stay_two_ids():
    ids = dicom_ids([header("A", uid(1)), header("B", uid(1)), header("C", uid(2))])
    assert ids.patients == ["A", "B", "C"]
    assert any("1 studies have images of two PatientIDs" in sentence for sentence in ids.sentences)


def test_a_study_that_all_films_share_is_no_study():
    ids = dicom_ids([header(f"P{n}", uid(1)) for n in range(8)])
    assert ids.studies == [""] * 8
    assert "8 images have a StudyInstanceUID that images of many share" in ids.sentences[0]
    assert dicom_ids([header("ANON", uid(1)) for _ in range(30)]).studies == [""] * 30
    # Four images of one study of a person who is not named are that person's.
    assert dicom_ids([header("ANON", uid(1)) for _ in range(4)]).studies == [uid(1)] * 4


def test_trust_takes_ids_as_they_are():
    ids = dicom_ids(many("ANONYMOUS"), trust=True)
    assert set(ids.patients) == {"ANONYMOUS"}
    assert not ids.sentences
