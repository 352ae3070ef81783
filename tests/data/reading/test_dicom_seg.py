# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM SEG of lung masks: read back by highdicom and by pydicom alone, they lie on their film to the pixel."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from monai_cxrssl.data.reading import dicom_seg
from monai_cxrssl.data.reading.dicom_seg import write_lung_seg
from monai_cxrssl.errors import ConfigurationError, CXRReadError

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
    """A film at ``path``, and its data set; the file may lack what was to be None."""
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
    # By highdicom: of the pixels of this very film, which it looks up by its SOP instance.
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
    assert ds.get("PatientOrientation") == film.get("PatientOrientation")
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
        ({"SeriesInstanceUID": ""}, "lacks SeriesInstanceUID, by which"),
        ({"SOPInstanceUID": None, "StudyInstanceUID": None}, "lacks SOPInstanceUID, StudyInstanceUID"),
        ({"Rows": 30}, "stores 30 x 47 pixels, and its mask has 31 x 47"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "has a header that a DICOM SEG cannot refer to"),
    ],
)
def test_films_that_cannot_be_referred_to(elements, words, dicom, tmp_path):
    ds = dicom.make_dicom(dicom.stored_film(), **({"SeriesInstanceUID": "1.2.4"} | elements))
    dicom.save(ds, tmp_path / "film.dcm", enforce_file_format=False)
    with pytest.raises(CXRReadError, match=words):
        write_lung_seg(drawing(), tmp_path / "film.dcm", tmp_path / "new" / "seg.dcm")
    assert not list(tmp_path.glob("new/*"))


def test_other_mistakes(dicom, tmp_path, monkeypatch):
    film_at(tmp_path / "film.dcm", dicom)
    (tmp_path / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(CXRReadError, match="is not a DICOM file"):
        write_lung_seg(drawing(), tmp_path / "film.png", tmp_path / "seg.dcm")
    with pytest.raises(ConfigurationError, match="of 0 and 1"):
        write_lung_seg(drawing() * 255, tmp_path / "film.dcm", tmp_path / "seg.dcm")
    monkeypatch.setattr(dicom_seg, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install highdicom"):
        write_lung_seg(drawing(), tmp_path / "film.dcm", tmp_path / "seg.dcm")
