# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""All four DICOM results against dciodvfy (Debian's dicom3tools), whatever the image's header lacks or holds."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from monai_cxrssl.data import Algorithm, FilmResult, write_capture, write_contours, write_lung_seg, write_score_report

pytest.importorskip("highdicom")

ALGORITHM = Algorithm("chest_xray_multitask", "1.2.0", ("temperature 1.4", "weights SHA-256 ab"))


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"photometric": "MONOCHROME1", "PatientOrientation": ["L", "F"], "Laterality": "R"},
        {"PatientOrientation": ["A", "F"], "ViewPosition": "LL", "BodyPartExamined": "CHEST"},
        {"WindowCenter": [2000, 1000], "WindowWidth": [3000, 500], "WindowCenterWidthExplanation": ["a", "b"]},
        {"RescaleSlope": 2, "RescaleIntercept": -10, "RescaleType": "US", "FrameOfReferenceUID": "1.2.9"},
        {"PatientName": None, "PatientSex": None, "PatientID": None, "PatientBirthDate": None},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "StudyDate": "2024.01.02"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "Modality": "DX", "ImagerPixelSpacing": [0.1, 0.1]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT", "LossyImageCompression": "01"},
        {"SeriesInstanceUID": "", "StudyInstanceUID": "1.2.03"},
    ],
    ids=lambda elements: ",".join(elements),
)
@pytest.mark.filterwarnings("ignore")
def test_no_errors(elements, dicom, dicom_errors, tmp_path):
    film = tmp_path / "film.dcm"
    ds = dicom.make_dicom(dicom.stored_film(), **({"SeriesInstanceUID": "1.2.4"} | elements))
    dicom.save(ds, film, enforce_file_format=False)
    mask = np.zeros((31, 47), bool)
    mask[3:20, 5:30] = True
    mask[8:12, 9:12] = False
    mask[25, 40] = True
    scores = {"Effusion": 0.875, "Normal": 0.1, "Odd ünit": 0.5}
    result = FilmResult(scores, {"Effusion": 0.5}, {"Effusion": (0.8, 0.9)}, mask, warnings="lateral view")
    written = {
        "seg": write_lung_seg(mask, film, tmp_path / "seg", ALGORITHM),
        "lesions": write_lung_seg(mask, film, tmp_path / "lesions", ALGORITHM, structure="lesion"),
        "sr": write_score_report(result, film, tmp_path / "sr", ALGORITHM),
        "sc": write_capture(mask.astype(np.uint8) * 90, result, film, tmp_path / "sc", ALGORITHM),
        "gsps": write_contours(mask, film, tmp_path / "gsps"),
    }
    errors = {kind: dicom_errors(path) for kind, path in written.items()}
    assert not any(errors.values()), errors
    study = {pydicom.dcmread(path).StudyInstanceUID for path in written.values()}
    assert len(study) == 1


def test_the_validator_finds_errors(dicom, dicom_errors, tmp_path):
    dicom.save(dicom.make_dicom(dicom.stored_film(), SeriesInstanceUID="1.2.4"), tmp_path / "film.dcm")
    path = write_lung_seg(np.zeros((31, 47), bool), tmp_path / "film.dcm", tmp_path / "seg")
    ds = pydicom.dcmread(path)
    del ds.SegmentSequence
    ds.save_as(path)
    assert dicom_errors(path)
