# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Structured report, secondary capture and presentation state, read back by highdicom, pydicom and OpenCV."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pydicom
import pytest

from monai_cxrssl.data import (
    PATHOLOGIES,
    Algorithm,
    FilmResult,
    read_cxr_uint,
    write_capture,
    write_contours,
    write_score_report,
)
from monai_cxrssl.data.dicom_results.capture_page import draw_page
from monai_cxrssl.data.dicom_results.finding_codes import OWN_SCHEME, finding_code
from monai_cxrssl.data.reading.display.orientation import to_stored
from monai_cxrssl.errors import ConfigurationError, CXRReadError

highdicom = pytest.importorskip("highdicom")

ALGORITHM = Algorithm("chest_xray_multitask", "1.2.0", ("temperature 1.4",))
SCORES = {"Effusion": 0.875, "normal": 0.1, "typical": 0.6}


@pytest.fixture
def film(dicom, tmp_path):
    ds = dicom.make_dicom(dicom.stored_film(), SeriesInstanceUID="1.2.4", AccessionNumber="A1", StudyID="S")
    dicom.save(ds, tmp_path / "film.dcm")
    return ds


def drawing(shape=(31, 47)) -> np.ndarray:
    """Two lungs, one with a hole, a dot, and a line."""
    mask = np.zeros(shape, np.uint8)
    mask[3:20, 5:15] = mask[4:25, 20:35] = 1
    mask[8:12, 24:28] = 0
    mask[28, 40] = mask[29, 2:5] = 1
    return mask


def test_a_report_says_what_was_scored_by_whom(film, tmp_path):
    result = FilmResult(SCORES, {"Effusion": 0.5, "normal": 0.3}, {"Effusion": (0.8, 0.9)}, warnings="lateral view")
    path = write_score_report(result, tmp_path / "film.dcm", tmp_path / "new" / "sr.dcm", ALGORITHM)
    report = highdicom.sr.srread(path)
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyID"):
        assert report[keyword].value == film[keyword].value
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    groups = report.content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == list(SCORES)
    findings = [(group.finding_type.scheme_designator, group.finding_type.value) for group in groups]
    assert findings[:2] == [("SCT", "60046008"), ("SCT", "281900007")]
    assert findings[2][0] == OWN_SCHEME
    certainty = pydicom.sr.codedict.codes.DCM.CertaintyOfFinding
    for group, score in zip(groups, SCORES.values(), strict=True):
        measurement = group.get_measurements(certainty)[0]
        assert (measurement.value, measurement.unit.value) == (pytest.approx(100 * score), "%")
        assert group.source_images[0].referenced_sop_instance_uid == film.SOPInstanceUID
    decided = [[evaluation.value.meaning for evaluation in group.get_qualitative_evaluations()] for group in groups]
    assert decided == [["Present"], ["Absent"], []]
    # The interval of the first, about its value.
    bounds = groups[0].get_measurements(certainty)[0][0].ContentSequence
    assert [float(item.MeasuredValueSequence[0].NumericValue) for item in bounds] == [2.5, 7.5]
    assert {item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue for item in bounds} == {"%"}
    texts = [item.TextValue for item in walk(report) if item.ValueType == "TEXT"]
    assert {"chest_xray_multitask", "1.2.0", "temperature 1.4"} <= set(texts)
    assert any("Research use only" in text for text in texts)
    assert any("lateral view" in text for text in texts)


def walk(item):
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def test_the_same_model_is_the_same_observer(film, tmp_path):
    paths = [
        write_score_report(FilmResult(SCORES), tmp_path / "film.dcm", tmp_path / name, Algorithm(version=version))
        for name, version in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    first, second, third = (
        next(item.UID for item in walk(pydicom.dcmread(path)) if item.ValueType == "UIDREF") for path in paths
    )
    assert first == second != third


def test_codes_are_one_to_a_finding():
    codes = [finding_code(name) for name in PATHOLOGIES]
    assert len({(code.scheme_designator, code.value) for code in codes}) == len(PATHOLOGIES)
    assert sum(code.scheme_designator == OWN_SCHEME for code in codes) < len(PATHOLOGIES) / 2
    # What pydicom's copy of the standard has, by the same meaning.
    standard = pydicom.sr.codedict.codes
    for keyword, name in (("Pneumothorax", "pneumothorax"), ("EndotrachealTube", "Endotracheal Tube")):
        assert finding_code(name) == getattr(standard.SCT, keyword)
    assert finding_code("infiltrates") == standard.DCM.Infiltrate
    assert finding_code("Typical_Appearance") == finding_code("typical")
    assert finding_code("x" * 200).meaning == "x" * 64


@pytest.mark.parametrize("orientation", [None, ["L", "F"], ["R", "F"], ["F", "R"], ["A", "H"]])
def test_contours_lie_on_the_stored_mask(orientation, dicom, tmp_path):
    ds = dicom.make_dicom(dicom.stored_film(), SeriesInstanceUID="1.2.4", PatientOrientation=orientation or [])
    dicom.save(ds, tmp_path / "film.dcm")
    stored = drawing()
    upright = read_cxr_uint(tmp_path / "film.dcm").shape
    mask = np.zeros(upright, np.uint8)
    mask[2:20, 3:15] = 1
    mask[5:9, 6:10] = 0
    stored = to_stored(mask, tuple(orientation or ()))
    state = pydicom.dcmread(write_contours(mask, tmp_path / "film.dcm", tmp_path / "gsps"))
    reference = state.ReferencedSeriesSequence[0]
    assert reference.SeriesInstanceUID == ds.SeriesInstanceUID
    assert reference.ReferencedImageSequence[0].ReferencedSOPInstanceUID == ds.SOPInstanceUID
    np.testing.assert_array_equal(filled(state, stored.shape), stored)


def filled(state, shape) -> np.ndarray:
    """What the outlines enclose, the inner ones being holes: the even-odd rule, its border included."""
    lines = [np.reshape(item.GraphicData, (-1, 2)) for item in state.GraphicAnnotationSequence[0].GraphicObjectSequence]
    corners = [np.rint(line - 0.5).astype(np.int32) for line in lines]
    result = np.zeros(shape, np.uint8)
    cv2.fillPoly(result, corners, 1)
    return result


def test_every_pixel_of_a_mask_is_outlined(film, tmp_path):
    state = pydicom.dcmread(write_contours(drawing(), tmp_path / "film.dcm", tmp_path / "gsps"))
    objects = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    assert sorted(item.GraphicType for item in objects) == ["POINT", *["POLYLINE"] * 4]
    np.testing.assert_array_equal(filled(state, (31, 47)), drawing())
    empty = pydicom.dcmread(write_contours(np.zeros((31, 47), bool), tmp_path / "film.dcm", tmp_path / "empty"))
    assert "GraphicAnnotationSequence" not in empty


def test_a_long_outline_is_parted(dicom, tmp_path):
    """A comb has more corners than a value of an element may hold."""
    mask = np.zeros((64, 9000), np.uint8)
    mask[10], mask[11:50, ::2] = 1, 1
    dicom.save(dicom.make_dicom(mask.astype(np.uint16), SeriesInstanceUID="1.2.4"), tmp_path / "film.dcm")
    state = pydicom.dcmread(write_contours(mask, tmp_path / "film.dcm", tmp_path / "gsps"))
    objects = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    assert len(objects) > 1
    assert max(len(item.GraphicData) for item in objects) * 4 < 65536
    ends = [(tuple(item.GraphicData[:2]), tuple(item.GraphicData[-2:])) for item in objects]
    assert all(first[1] == second[0] for first, second in itertools.pairwise(ends))
    assert ends[-1][1] == ends[0][0]


@pytest.mark.parametrize(
    ("elements", "shape"),
    [({}, "IDENTITY"), ({"photometric": "MONOCHROME1"}, "INVERSE"), ({"PresentationLUTShape": "INVERSE"}, "INVERSE")],
)
def test_a_state_shows_its_film_as_before(elements, shape, dicom, tmp_path):
    window = {"WindowCenter": [2000, 1000], "WindowWidth": [3000, 500], "RescaleSlope": 2, "RescaleIntercept": -1}
    ds = dicom.make_dicom(dicom.stored_film(), SeriesInstanceUID="1.2.4", **window, **elements)
    dicom.save(ds, tmp_path / "film.dcm")
    state = pydicom.dcmread(write_contours(drawing(), tmp_path / "film.dcm", tmp_path / "gsps"))
    assert state.PresentationLUTShape == shape
    shown = state.SoftcopyVOILUTSequence[0]
    assert (list(shown.WindowCenter), list(shown.WindowWidth)) == ([2000, 1000], [3000, 500])
    assert (state.RescaleSlope, state.RescaleIntercept) == (2, -1)


def test_a_capture_shows_film_overlay_and_scores(film, tmp_path):
    picture, mask = np.full((310, 470), 90, np.uint8), np.kron(drawing(), np.ones((10, 10), np.uint8))
    saliency = np.zeros((31, 47))
    saliency[5:10, 8:12] = 1
    result = FilmResult(SCORES, {"Effusion": 0.5}, mask=mask > 0, saliency=saliency)
    capture = pydicom.dcmread(write_capture(picture, result, tmp_path / "film.dcm", tmp_path / "sc", ALGORITHM))
    assert capture.StudyInstanceUID == film.StudyInstanceUID
    assert capture.PatientName == film.PatientName
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert capture.BurnedInAnnotation == "NO"
    assert "Research use only" in capture.ImageComments
    page = capture.pixel_array
    assert page.shape == (675, 1024 + 480, 3)
    # The image is itself where nothing lies over it; outlines are cyan; the heatmap is warm.
    scale = 1024 / 470
    assert page[20, 900].tolist() == [90, 90, 90]
    assert page[round(30 * scale) + 1, round(100 * scale)].tolist() == [0, 220, 220]
    red, _, blue = page[round(75 * scale), round(100 * scale)].astype(int)
    assert red > blue + 40
    assert page[:, 1024:].any(axis=2).mean() > 0.02


def test_a_page_keeps_what_is_present_in_sight():
    scores = {f"class {number}": 0.9 - number / 1000 for number in range(60)} | {"rare": 0.05}
    crowded, absent = (
        draw_page(np.zeros((64, 64), np.uint8), FilmResult(scores, {"rare": limit}), ALGORITHM) for limit in (0.01, 0.5)
    )
    amber = [(page[150:, 1024:] == (255, 190, 60)).all(axis=2).sum() for page in (crowded, absent)]
    assert amber[0] > 200
    assert amber[1] == 0


def test_mistakes(film, tmp_path):
    with pytest.raises(ConfigurationError, match="this network has none"):
        write_score_report(FilmResult(), tmp_path / "film.dcm", tmp_path / "sr")
    with pytest.raises(CXRReadError, match="probabilities that are no numbers"):
        write_score_report(FilmResult({"a": np.nan}), tmp_path / "film.dcm", tmp_path / "sr")
    with pytest.raises(CXRReadError, match="stores 31 x 47 pixels, and its mask has 9 x 9"):
        write_contours(np.zeros((9, 9), bool), tmp_path / "film.dcm", tmp_path / "gsps")
    (tmp_path / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(CXRReadError, match="is not a DICOM file"):
        write_capture(np.zeros((9, 9), np.uint8), FilmResult(SCORES), tmp_path / "film.png", tmp_path / "sc")
    assert not [path for path in tmp_path.iterdir() if path.name not in ("film.dcm", "film.png")]
