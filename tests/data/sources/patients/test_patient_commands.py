# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Archives whose headers do not tell the patient, from ``index`` over ``split`` to ``audit``."""

from __future__ import annotations

import json

import pytest

from monai_cxrssl.apps.cli.main import main

SPLITS = ("training", "validation", "test")


def archive(dicom, folder, films):
    """Write a small image for each (name, header elements)."""
    for name, elements in films:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dicom.save(dicom.make_dicom(dicom.stored_film(shape=(16, 16)), **elements), path)
    return folder


def test_an_archive_in_which_everybody_is_anonymous(tmp_path, dicom, capsys, caplog):
    elements = [{"PatientID": "ANONYMOUS", "StudyInstanceUID": f"1.2.840.99.{n}"} for n in range(12)]
    films = archive(dicom, tmp_path / "films", [(f"{n}.dcm", values) for n, values in enumerate(elements)])
    indexed, out = tmp_path / "d.json", tmp_path / "s.json"
    assert main(["index", str(films), "--out", str(indexed)]) == 0
    assert "patients of images known by: study alone 12" in capsys.readouterr().out
    assert "12 images have a PatientID that stands for nobody ('ANONYMOUS' 12)" in caplog.text
    assert main(["split", str(indexed), "--out", str(out), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["patients_known_by"] == {"study": 12}
    assert [told["splits"][split]["patients"] for split in SPLITS] == pytest.approx([8.4, 1.2, 2.4], abs=1)
    # The ids as they are: nothing to divide, and that is said.
    assert main(["index", str(films), "--out", str(indexed), "--option", "patient_from=dicom"]) == 0
    for words in ([], ["--folds", "3"]):
        assert main(["split", str(indexed), "--out", str(tmp_path / "t.json"), *words]) == 2
        assert "index again with what tells them apart (--option patient_from=study" in capsys.readouterr().err
        assert not list(tmp_path.glob("t*.json"))


def test_one_study_of_two_patients(tmp_path, dicom, capsys, caplog):
    names = [("0012", "12"), ("ABC1", "abc1"), ("merged", "other")]
    elements = [
        {"PatientID": f"{name}{n}" if "e" in name else name, "StudyInstanceUID": f"1.2.840.99.{n}.{k}"}
        for n in range(20)
        for k, pair in enumerate(names)
        for name in (pair if k == 2 else [f"{n + 1}-{writing}" for writing in pair])
    ]
    films = archive(dicom, tmp_path / "films", [(f"{n}.dcm", values) for n, values in enumerate(elements)])
    indexed, out = tmp_path / "d.json", tmp_path / "s.json"
    assert main(["index", str(films), "--out", str(indexed)]) == 0
    assert "40 patients have ids that differ by capitals, blanks or leading zeros alone" in caplog.text
    assert "20 studies have images of two PatientIDs or more" in caplog.text
    assert main(["split", str(indexed), "--out", str(out), "--fractions", "0.5", "0.2", "0.3"]) == 0
    content = json.loads(out.read_text())
    studies = [{item["study_id"] for item in content[split]} for split in SPLITS]
    assert sum(map(len, studies)) == len(set.union(*studies)) == 60
    assert main(["audit", str(out), "--no-pixels"]) == 0
    assert "20 studies have images of two patients or more" in capsys.readouterr().out
