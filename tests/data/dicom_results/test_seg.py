# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM SEG of lung masks: read back by highdicom and by pydicom alone, they lie on their image to the pixel."""

from __future__ import annotations

import sys

import numpy as np
import pydicom
import pytest

from monai_cxrssl.data import read_cxr
from monai_cxrssl.data.dicom_results.seg import write_lung_seg
from monai_cxrssl.errors import ConfigurationError, CXRReadError, MissingTierError

highdicom = pytest.importorskip("highdicom")

PLACE = {
    "FrameOfReferenceUID": "1.2.9",
    "ImagePositionPatient": [-100.0, 20.0, 300.0],
    "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0],
    "SliceThickness": 1.0,
}


def drawing(shape=(31, 47)) -> np.ndarray:
    """A mark that no flip or transposition leaves as it is; its pixels are no multiple of 8."""
    mask = np.zeros(shape, bool)
    mask[3:20, 5:30] = True
    mask[3:6, 6] = False
    return mask


def film_at(path, dicom, **elements):
    """An image at ``path``, and its data set; the file may lack what was to be None."""
    ds = dicom.make_dicom(dicom.stored_film(), **({"SeriesInstanceUID": "1.2.4"} | elements))
    dicom.save(ds, path)
    return ds


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"photometric": "MONOCHROME1", "PatientOrientation": ["L", "F"]},
        {"PixelSpacing": None, "ImagerPixelSpacing": [0.139, 0.139]},
        {"FrameOfReferenceUID": "1.2.9"},
        {"FrameOfReferenceUID": ""},
        PLACE,
        {key: value for key, value in PLACE.items() if key != "SliceThickness"},
        {key: value for key, value in PLACE.items() if key != "ImageOrientationPatient"},
        {"ImagePositionPatient": [1.0, 2.0, 3.0]},
        {"PatientName": None, "PatientSex": None, "PatientID": None, "PatientBirthDate": None},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
        {"syntax": "1.2.840.10008.1.2.2"},
        {"syntax": "1.2.840.10008.1.2"},
    ],
    ids=lambda elements: ",".join(elements),
)
def test_a_seg_lies_on_its_film(elements, dicom, tmp_path):
    film = film_at(tmp_path / "film.dcm", dicom, **elements)
    path = write_lung_seg(drawing(), tmp_path / "film.dcm", tmp_path / "new" / "seg.dcm")
    assert [file.name for file in path.parent.iterdir()] == ["seg.dcm"]
    # By highdicom: of the pixels of this very image, which it looks up by its SOP instance.
    found = highdicom.seg.segread(path)
    assert found.get_source_image_uids() == [("1.2.3", "1.2.4", film.SOPInstanceUID)]
    pixels = found.get_pixels_by_source_instance([film.SOPInstanceUID])
    np.testing.assert_array_equal(pixels[0, ..., 0], drawing())
    segment = found.get_segment_description(1)
    assert (segment.segment_label, segment.segmented_property_type.value) == ("Lung", "39607008")
    assert segment.segmented_property_type.scheme_designator == "SCT"
    # By pydicom alone.
    ds = pydicom.dcmread(path)
    assert (ds.Rows, ds.Columns, ds.NumberOfFrames) == (film.Rows, film.Columns, 1)
    np.testing.assert_array_equal(ds.pixel_array, drawing())
    assert (ds.SegmentationType, ds.Modality, ds.StudyInstanceUID) == ("BINARY", "SEG", film.StudyInstanceUID)
    assert ds.SeriesInstanceUID != film.SeriesInstanceUID
    assert str(ds.PatientName or "") == str(film.get("PatientName") or "")
    reference = ds.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == film.SOPClassUID
    assert reference.SpatialLocationsPreserved == "YES"
    assert ds.get("FrameOfReferenceUID") == (film.get("FrameOfReferenceUID") or None)
    # Type 2C: unknown, not absent.
    assert (ds.get("PatientOrientation") or None) == film.get("PatientOrientation")
    assert ds.get("ImagerPixelSpacing") == film.get("ImagerPixelSpacing")
    shared, placed = ds.SharedFunctionalGroupsSequence[0], set(PLACE) <= set(elements)
    assert ("PlaneOrientationSequence" in shared) is placed
    assert ("PixelMeasuresSequence" in shared) is placed
    measures = shared.PixelMeasuresSequence[0] if placed else ds
    assert measures.get("PixelSpacing") == film.get("PixelSpacing")
    if placed:
        position = ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
        assert position.ImagePositionPatient == film.ImagePositionPatient
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == film.ImageOrientationPatient


def test_no_lungs_are_a_seg_without_lungs(dicom, tmp_path):
    film_at(tmp_path / "film.dcm", dicom)
    paths = [write_lung_seg(np.zeros((31, 47), np.uint8), tmp_path / "film.dcm", tmp_path / name) for name in "ab"]
    first, second = (pydicom.dcmread(path) for path in paths)
    assert not first.pixel_array.any()
    assert first.pixel_array.shape == (31, 47)
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"SeriesInstanceUID": ""}, "SeriesInstanceUID was missing"),
        ({"SOPInstanceUID": None, "StudyInstanceUID": None}, "StudyInstanceUID was missing"),
        ({"StudyInstanceUID": "1.2.03"}, "StudyInstanceUID"),
        ({"SOPClassUID": None}, ""),
        (
            {"PatientBirthDate": "1950.02.03", "StudyDate": "unknown", "StudyTime": "12:30"},
            "StudyDate 'unknown' became ''",
        ),
        ({"PatientSex": "W"}, "PatientSex 'W' was emptied"),
        ({"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"}, "UTF-8"),
        ({"SpecificCharacterSet": "ISO_IR 999"}, "UTF-8"),
        ({"StudyID": "a number that is far too long for it", "AccessionNumber": "x" * 40}, "StudyID"),
        ({"NumberOfFrames": 1}, ""),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_odd_headers_are_repaired_in_the_copy(elements, words, dicom, tmp_path, caplog):
    ds = dicom.make_dicom(dicom.stored_film(), **({"SeriesInstanceUID": "1.2.4"} | elements))
    dicom.save(ds, tmp_path / "film.dcm", enforce_file_format=False)
    first, second = (write_lung_seg(drawing(), tmp_path / "film.dcm", tmp_path / name) for name in "ab")
    assert words in caplog.text
    seg, again = pydicom.dcmread(first), pydicom.dcmread(second)
    np.testing.assert_array_equal(seg.pixel_array, drawing())
    assert seg.SpecificCharacterSet == "ISO_IR 192"
    reference = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert seg.StudyInstanceUID == again.StudyInstanceUID
    assert pydicom.uid.UID(seg.StudyInstanceUID).is_valid
    if "PatientName" in elements:
        assert str(seg.PatientName) == elements["PatientName"]
    if "PatientBirthDate" in elements:
        assert (seg.PatientBirthDate, seg.StudyDate, seg.StudyTime) == ("19500203", "", "1230")


@pytest.mark.parametrize("orientation", [["R", "F"], ["L", "H"], ["F", "R"], ["H", "L"], ["A", "H"]])
def test_a_seg_of_a_turned_film_lies_on_the_stored_pixels(orientation, dicom, tmp_path):
    stored = dicom.stored_film()
    dicom.save(
        dicom.make_dicom(stored, PatientOrientation=orientation, SeriesInstanceUID="1.2.4"), tmp_path / "film.dcm"
    )
    film, _ = read_cxr(tmp_path / "film.dcm")
    path = write_lung_seg(film > 0.5, tmp_path / "film.dcm", tmp_path / "seg.dcm")
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, stored / 4095.0 > 0.5)


def test_a_film_said_to_be_ct_cannot_be_referred_to(dicom, tmp_path):
    ds = dicom.make_dicom(dicom.stored_film(), SOPClassUID="1.2.840.10008.5.1.4.1.1.2", SeriesInstanceUID="1.2.4")
    dicom.save(ds, tmp_path / "film.dcm")
    with pytest.raises(CXRReadError, match="has a header that a DICOM SEG cannot refer to"):
        write_lung_seg(drawing(), tmp_path / "film.dcm", tmp_path / "seg.dcm")


def test_a_mask_of_another_size_is_refused(dicom, tmp_path):
    ds = dicom.make_dicom(dicom.stored_film(), SeriesInstanceUID="1.2.4", Rows=30)
    dicom.save(ds, tmp_path / "film.dcm", enforce_file_format=False)
    with pytest.raises(CXRReadError, match="stores 30 x 47 pixels, and its mask has 31 x 47"):
        write_lung_seg(drawing(), tmp_path / "film.dcm", tmp_path / "new" / "seg.dcm")
    assert not list(tmp_path.glob("new/*"))


def test_other_mistakes(dicom, tmp_path, monkeypatch):
    film_at(tmp_path / "film.dcm", dicom)
    (tmp_path / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(CXRReadError, match="is not a DICOM file"):
        write_lung_seg(drawing(), tmp_path / "film.png", tmp_path / "seg.dcm")
    with pytest.raises(ConfigurationError, match="of 0 and 1"):
        write_lung_seg(drawing() * 255, tmp_path / "film.dcm", tmp_path / "seg.dcm")
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingTierError, match=r'highdicom, which is not installed: pip install "monai-cxrssl\[seg\]"'):
        write_lung_seg(drawing(), tmp_path / "film.dcm", tmp_path / "seg.dcm")
