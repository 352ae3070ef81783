# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A model is not measured on its training patients, whichever way the data set is opened."""

from __future__ import annotations

import hashlib
import json

import pytest

from monai_cxrssl.data import (
    Datalist,
    patient_keys,
    refuse_leak,
    refuse_shared_patients,
    training_patients_path,
    write_training_patients,
)
from monai_cxrssl.data.audit.audit import audit_datalists
from monai_cxrssl.data.sources.registry import mix_datalists
from monai_cxrssl.errors import ConfigurationError, DatalistError


def films(numbers, source="hospital", start=0):
    return [
        {"image": f"/films/{start + place}.png", "patient_id": f"patient-{number}", "source": source}
        for place, number in enumerate(numbers)
    ]


def test_a_key_is_the_salted_hash_of_source_and_patient():
    items = films([1, 2, 1]) + films([1], "clinic")
    keys = patient_keys(items, "salt")
    assert keys[0] == keys[2]
    assert len(set(keys)) == 3
    assert keys[0] == hashlib.sha256(b"salt\n8\nhospital\npatient-1").hexdigest()[:16]
    assert not set(keys) & set(patient_keys(items, "pepper"))
    nameless = [{"image": "a.png", "patient_id": "patient-1"}]
    assert patient_keys(nameless, "salt", name="hospital") == keys[:1]
    assert patient_keys(nameless, "salt") != keys[:1]


def test_the_file_holds_no_id_and_a_new_salt(tmp_path):
    contents = []
    for name in ("one", "two"):
        path = write_training_patients(films([3, 1, 2, 1]), tmp_path / "models" / f"{name}.pt")
        assert (
            path == tmp_path / "models" / f"{name}.patients.json" == training_patients_path(path.parent / f"{name}.pt")
        )
        contents.append(json.loads(path.read_text()))
        assert "patient-" not in path.read_text()
        assert "hospital" not in path.read_text()
    assert contents[0]["count"] == len(contents[0]["patients"]) == 3
    assert contents[0]["patients"] == sorted(contents[0]["patients"])
    assert contents[0]["salt"] != contents[1]["salt"]
    assert len(list((tmp_path / "models").iterdir())) == 2


def test_a_leak_is_refused_and_told(tmp_path, caplog):
    weights = tmp_path / "model.pt"
    write_training_patients(films(range(10)), weights)
    assert refuse_leak(films([10, 11]), weights) == []
    assert refuse_leak(films(range(10), "clinic"), weights) == []
    shared = films([10, 4, 11, 4, 5], start=100)
    with pytest.raises(
        DatalistError, match=r"2 of the 4 patients of this probe were trained on .* with 3 images"
    ) as told:
        refuse_leak(shared, weights, what="probe")
    assert "/films/101.png, /films/103.png, /films/104.png" in str(told.value)
    assert "allow_leak" in str(told.value)
    findings = refuse_leak(shared, weights, allow_leak=True)
    assert [finding.items for finding in findings] == [("/films/101.png", "/films/103.png"), ("/films/104.png",)]
    assert {(finding.kind, finding.severity) for finding in findings} == {("patient", "leak")}
    assert "2 of the 4 patients of this evaluation were trained on" in caplog.text


def test_unknown_training_patients_are_told(tmp_path, caplog):
    assert refuse_leak(films([1]), tmp_path / "model.pt") == []
    assert "nothing is known of the patients" in caplog.text


def test_patients_of_the_weights_it_started_from_count(tmp_path):
    write_training_patients(films([1, 2]), tmp_path / "first.pt")
    write_training_patients(films([3], "clinic"), tmp_path / "second.pt", pretrained=tmp_path / "first.pt")
    write_training_patients(films([4]), tmp_path / "third.pt", pretrained=tmp_path / "second.pt")
    for item in films([1, 2, 4]) + films([3], "clinic"):
        with pytest.raises(DatalistError, match="1 of the 1 patients"):
            refuse_leak([item], tmp_path / "third.pt")
    assert refuse_leak(films([3]), tmp_path / "third.pt") == []
    path = write_training_patients(films([1]), tmp_path / "fourth.pt", pretrained=tmp_path / "imagenet.pt")
    assert json.loads(path.read_text())["count"] == 1


def test_patients_of_several_weights_count(tmp_path):
    """Of an encoder and of a teacher, whose lists have salts of their own."""
    write_training_patients(films([1]), tmp_path / "encoder.pt")
    write_training_patients(films([2]), tmp_path / "teacher.pt")
    sources = [tmp_path / "encoder.pt", tmp_path / "teacher.pt"]
    write_training_patients(films([3]), tmp_path / "student.pt", pretrained=sources)
    write_training_patients(films([4]), tmp_path / "grandchild.pt", pretrained=[tmp_path / "student.pt", *sources])
    for item in films([1, 2, 3, 4]):
        with pytest.raises(DatalistError, match=r"1 of the 1 patients .* lists 4\)"):
            refuse_leak([item], tmp_path / "grandchild.pt")
    assert refuse_leak(films([5]), tmp_path / "grandchild.pt") == []
    content = json.loads(training_patients_path(tmp_path / "student.pt").read_text())
    assert content["count"] == len(content["patients"]) == 2
    assert [len(part["patients"]) for part in content["further"]] == [1]


def test_a_mixed_data_set_is_the_same_patients(tmp_path):
    one = Datalist("a", splits={"training": [{"image": "/1.png", "patient_id": "5"}]})
    other = Datalist("b", splits={"training": [{"image": "/2.png", "patient_id": "5"}]})
    mixed = mix_datalists([one, other])
    write_training_patients(one.items(), tmp_path / "m.pt", one.name)
    with pytest.raises(DatalistError, match=r"1 of the 2 patients .*/1.png"):
        refuse_leak(mixed.items(), tmp_path / "m.pt", name=mixed.name)
    assert refuse_leak(other.items(), tmp_path / "m.pt", name=other.name) == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"format": 1, "salt": "a", "count": 2, "patients": ["b"]}',
        '{"format": 1, "patients": []}',
        '{"format": 1, "salt": "a", "count": 0, "patients": [], "further": [{"salt": "b"}]}',
    ],
)
def test_a_damaged_list_is_no_free_pass(tmp_path, content):
    training_patients_path(tmp_path / "model.pt").write_text(content)
    with pytest.raises(ConfigurationError, match=r"model\.patients\.json"):
        refuse_leak(films([1]), tmp_path / "model.pt")


def test_splits_of_one_datalist(caplog):
    splits = {
        "training": films([1, 2, 2]),
        "validation": films([3, 2], start=10),
        "test": [*films([1], "clinic", start=20), *films([3, 4], start=30)],
    }
    datalist = Datalist("films", splits=splits)
    with pytest.raises(DatalistError, match=r"2 of the 5 patients of films are in more than one split, with 5 images"):
        refuse_shared_patients(datalist)
    findings = refuse_shared_patients(datalist, allow_leak=True)
    assert "Going on, since allow_leak is given" in caplog.text
    # The audit tells the same patients.
    audit = [f for f in audit_datalists([datalist], pixels=False).findings if f.kind == "patient"]
    assert len(findings) == len(audit) == 2
    images = {item["image"]: item["patient_id"] for part in splits.values() for item in part}
    assert {images[finding.items[0]] for finding in findings} == {finding.items[0] for finding in audit}
    clean = Datalist("films", splits={"training": films([1]), "test": films([2]) + films([1], "clinic")})
    assert refuse_shared_patients(clean) == []
