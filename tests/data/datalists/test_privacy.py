# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the identity in a DICOM header may and may not arrive."""

from __future__ import annotations

import json
import logging

from monai.transforms import LoadImaged

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.reading.dicom import read_dicom_header
from monai_cxrssl.data.reading.read import read_cxr
from monai_cxrssl.transforms import LoadCXRd

IDENTITY = {
    "PatientName": "Secretname^Given", "PatientBirthDate": "19431231", "PatientAddress": "Secretstreet 1",
    "AccessionNumber": "SECRETACC", "ReferringPhysicianName": "Secretdoctor", "InstitutionName": "Secrethospital",
    "OtherPatientIDs": "SECRETOTHER", "StudyDate": "20010203", "StudyID": "SECRETSTUDY",
}  # fmt: skip
KEPT = {"view_position", "patient_id", "study_id", "photometric_interpretation", "bits_stored", "modality"}


def film(dicom, path, **elements):
    return dicom.save(dicom.make_dicom(dicom.stored_film(), PatientID="SECRETID", **IDENTITY, **elements), path)


def holds_identity(text):
    return [value for value in IDENTITY.values() if value.split("^")[0] in text]


def test_metadata_is_an_allow_list(tmp_path, dicom, caplog):
    path = film(dicom, tmp_path / "a.dcm")
    with caplog.at_level(logging.DEBUG):
        _, metadata = read_cxr(path)
        tensors = [LoadCXRd(keys="image")({"image": str(path)})["image"]]
        tensors.append(LoadImaged(keys="image", reader="monai_cxrssl.data.CXRReader")({"image": str(path)})["image"])
        header = read_dicom_header(path)
    assert set(metadata) >= KEPT
    for shown in (str(metadata), str(header), caplog.text, *(str(tensor.meta) for tensor in tensors)):
        assert holds_identity(shown) == []
    assert "SECRETID" not in caplog.text


def test_a_damaged_film_s_cause_names_nobody(tmp_path, dicom, caplog):
    path = film(dicom, tmp_path / "a.dcm", Rows=60000, Columns=60000)
    whole = path.read_bytes()
    for place in range(200, len(whole), max(1, len(whole) // 80)):
        (tmp_path / "cut.dcm").write_bytes(whole[:place])
        with caplog.at_level(logging.DEBUG):
            try:
                read_cxr(tmp_path / "cut.dcm")
            except Exception as error:
                caplog.handler.stream.write(str(error))
    assert holds_identity(caplog.text) == []
    assert "SECRETID" not in caplog.text


def test_index_and_audit_show_no_identity(tmp_path, dicom, capsys, caplog):
    folder = tmp_path / "films"
    folder.mkdir()
    film(dicom, folder / "a.dcm", BurnedInAnnotation="YES")
    film(dicom, folder / "b.dcm")
    with caplog.at_level(logging.DEBUG):
        assert main(["index", str(folder), "--out", str(tmp_path / "d.json")]) == 0
        main(["audit", str(tmp_path / "d.json"), "--phi", "--json", str(tmp_path / "found.json")])
    written = "".join(path.read_text() for path in tmp_path.glob("*.json"))
    for shown in (written, caplog.text, "".join(capsys.readouterr())):
        assert holds_identity(shown) == []
        assert "SECRETID" not in shown
    phi = [each for each in json.loads((tmp_path / "found.json").read_text())["findings"] if each["kind"] == "phi"]
    assert any("PatientName" in each["sentence"] and "BurnedInAnnotation" in each["sentence"] for each in phi)
