# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Doubts of the audit about who the patients are."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.audit.audit import audit_datalists
from monai_cxrssl.data.audit.leak import refuse_shared_patients
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.errors import DatalistError

UID = "1.2.840.99"


def listed(patients, studies=None, split="training", **more):
    studies = studies or [None] * len(patients)
    pairs = enumerate(zip(patients, studies, strict=True))
    items = [{"image": f"/{split}/{n}.png", "patient_id": p, "study_id": s, **more} for n, (p, s) in pairs]
    return Datalist(name="set", splits={split: items})


def found(*datalists):
    result = audit_datalists(datalists, pixels=False, progress=False)
    return {finding.kind: finding for finding in result.findings}


def people(count):
    return [f"p{n}" for n in range(count) for _ in range(2)]


def test_a_study_of_two_patients():
    kinds = found(listed(["a", "b", "c", "c"], [f"{UID}.1", f"{UID}.1", f"{UID}.2", f"{UID}.2"]))
    assert list(kinds) == ["study_of_two_patients"]
    assert f"1 studies have images of two patients or more, likely one person each ({UID}.1 of a and b)" in (
        kinds["study_of_two_patients"].sentence
    )
    # In two splits it is a leak, which training refuses as well.
    whole = Datalist(
        name="set",
        splits={
            "training": listed(["a"], [f"{UID}.1"]).splits["training"],
            "test": listed(["b"], [f"{UID}.1"], split="test").splits["test"],
        },
    )
    assert (found(whole)["study"].severity, found(whole)["study"].sentence) == (
        "leak", f"The study {UID}.1 of set is in training and test under the patients a and b."
    )  # fmt: skip
    with pytest.raises(DatalistError, match="1 of the 1 patients of set are in more than one split"):
        refuse_shared_patients(whole)


def test_numbers_of_a_patient_s_own_studies_are_no_leak():
    whole = [listed(["a", "b"], ["1", "2"]), listed(["c", "d"], ["1", "2"], split="test")]
    assert found(*whole) == {}


def test_a_study_of_many_patients_is_a_value():
    whole = [listed(list("abcd"), [UID] * 4), listed(list("efgh"), [UID] * 4, split="test")]
    assert list(found(*whole)) == ["study_of_many_patients"]


def test_ids_that_look_alike():
    kinds = found(listed(["0012", "12", "ABC1", "abc1", "9"]))
    assert "2 groups of patient ids differ by capitals" in kinds["alike_patient_ids"].sentence
    assert set(kinds["alike_patient_ids"].items) == {"0012", "12", "ABC1", "abc1"}


def test_how_patients_were_known():
    whole = Datalist(splits={"training": [
        {"image": f"{n}.png", "patient_id": f"p{n // 2}", "patient_from": "dicom" if n < 6 else "folder"} for n in range(8)
    ]})  # fmt: skip
    kinds = found(whole)
    assert kinds["patients_known_by"].severity == "note"
    assert "known by: dicom 6, folder 2" in kinds["patients_known_by"].sentence
    assert "own_patients" not in kinds
    kinds = found(listed(["a", "b", "b"], patient_from="file"))
    assert "3 of 3 images are each their own patient" in kinds["own_patients"].sentence
    assert "all 12 images are each their own patient" in found(listed(list("abcdefghijkl")))["own_patients"].sentence


@pytest.mark.parametrize("patient", ["unknown", "-", "ANON"])
def test_an_id_that_stands_for_nobody(patient):
    (finding,) = found(listed([*people(9), patient, patient])).values()
    assert finding.kind == "placeholder_patient"
    assert f"2 of 20 images are of the patient {patient!r}, which stands for nobody" in finding.sentence


def test_one_patient_of_most_images():
    kinds = found(listed([*people(4), *["4711"] * 12]))
    assert "12 of 20 images are of the patient '4711'; look whether that is one person" in (
        kinds["placeholder_patient"].sentence
    )
