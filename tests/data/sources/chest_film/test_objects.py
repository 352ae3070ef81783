# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM objects that are no chest X-rays."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from monai_cxrssl.data.sources.chest_film.body_part import other_body_part

from .archive import PROCESSING, dicom, grey, indexed

PIXELS = (
    *("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation"),
)


def colour(strong):
    pixels = np.repeat(grey(1, 64)[..., None], 3, 2)
    if strong:
        pixels[:20, :, 0] = 255
    return pixels


def report(path, sop_class, **elements):
    dicom(path, without=PIXELS, SOPClassUID=sop_class, **elements)


OBJECTS = {
    "pdf": ("no_pixels", lambda path: report(path, "1.2.840.10008.5.1.4.1.1.104.1", Modality="OT")),
    "sr": ("no_pixels", lambda path: report(path, "1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")),
    "state.dcm": ("no_pixels", lambda path: report(path, "1.2.840.10008.5.1.4.1.1.11.1", Modality="PR")),
    "stripped.dcm": ("no_pixels", lambda path: dicom(path, without=["PixelData"])),
    "ct": ("modality", lambda path: dicom(path, Modality="CT")),
    "mammogram": ("modality", lambda path: dicom(path, Modality="MG")),
    "capture": ("colour", lambda path: dicom(path, colour(True), SOPClassUID="1.2.840.10008.5.1.4.1.1.7")),
    "cine.dcm": ("frames", lambda path: dicom(path, Modality="RF", NumberOfFrames=8)),
    "seg": ("mask", lambda path: dicom(path, Modality="OT", SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")),
    "hand.dcm": ("body_part", lambda path: dicom(path, BodyPartExamined="HAND")),
    "dicomdir": ("dicomdir", lambda path: dicom(path)),
    "DicomDir": ("dicomdir", lambda path: dicom(path)),
    "DICOMDIR.;1": ("dicomdir", lambda path: dicom(path)),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_left_out_and_kept_on_demand(tmp_path, name, caplog):
    kind, make = OBJECTS[name]
    dicom(tmp_path / "p1" / "film.dcm")
    make(tmp_path / "p1" / name)
    with caplog.at_level(logging.WARNING):
        assert indexed(tmp_path) == (["p1/film.dcm"], {kind: 1})
    (said,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert f"--keep KIND ({kind})" in said
    films, left_out = indexed(tmp_path, keep=[kind])
    assert (len(films), left_out) == (2, {})


def test_what_is_a_film(tmp_path):
    dicom(tmp_path / "plain")
    dicom(tmp_path / "no_modality", Modality="")
    dicom(tmp_path / "other_object", Modality="OT", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    dicom(tmp_path / "cut.dcm")
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "cut.dcm").read_bytes()[:200])
    dicom(tmp_path / "one_frame", NumberOfFrames=1)
    assert indexed(tmp_path) == (["cut.dcm", "no_modality", "one_frame", "other_object", "plain"], {})


@pytest.mark.parametrize(
    ("part", "region", "view", "descriptions", "other"),
    [
        *((part, "", "", [], "") for part in ("CHEST", "THORAX", "RIBS", "RIB", "LUNG", "TÓRAX", "CHEST_ABDOMEN", "")),
        *(
            (part, "", "", ["Hand"], "")
            for part in ("CHEST", "Brustkorb", "胸部", "ГРУДНАЯ КЛЕТКА", "PORTABLECHEST CHEST")
        ),
        *(
            (part, "", "", ["Thorax"], part.lower())
            for part in ("HAND", "ABDOMEN", "KNEE", "SKULL", "PELVIS", "SHOULDER")
        ),
        *((part, "", "", [], word) for part, word in (("ARM", "arm"), ("HEAD", "head"), ("CSPINE", "cspine"))),
        *((part, "", "", [], "spine") for part in ("THORACIC SPINE", "T-SPINE", "Brustwirbelsäule", "胸椎")),
        *(("UNKNOWN", "", view, [], "") for view in ("PA", "AP", "LL", "LATERAL", "postero-anterior")),
        ("", "Hand", "", ["Thorax pa"], "hand"),
        ("", "Chest", "", ["Hand"], ""),
        ("", "", "MORTISE", [], "mortise"),
        *(
            ("", "", "PA", [text], "")
            for text in ("Thorax p.a.", "RX TORACE", "Radiographie pulmonaire", "Klatka piersiowa")
        ),
        *(
            ("", "", "AP", [text], "")
            for text in ("NG tube placement", "Bedside AP, arms up", "portable", "handheld", "")
        ),
        *(("", "", "AP", [text], "") for text in ("Chest and abdomen", "Babygram thorax/abdomen", "手術後")),
        *(
            ("", "", "", [text], word)
            for text, word in {
                "Handgelenk links": "handgelenk",
                "Abdomenübersicht": "abdomenubersicht",
                "KNEE 2V": "knee",
                "Hüfte rechts": "hufte",
                "Beckenübersicht": "beckenubersicht",
                "RX PIED DROIT": "pied",
                "Radiografía de mano": "mano",
                "Rachis dorsal": "spine",
                "LWS seitlich": "lws",
                "Колено": "колено",
                "腹部": "腹",
                "무릎": "무릎",
                "XR Left Wrist": "wrist",
                "LeftFoot": "foot",
            }.items()
        ),
        ("", "", "", ["", "XR chest", "XR hand"], ""),
        ("", "", "", ["routine", "XR hand", "XR chest"], "hand"),
    ],
)
def test_body_parts(part, region, view, descriptions, other):
    import unicodedata

    assert other_body_part(part, region, view, descriptions) == unicodedata.normalize("NFKD", other)


def test_descriptions_and_regions_of_headers(tmp_path):
    from pydicom import Dataset

    region, view = Dataset(), Dataset()
    region.CodeMeaning, view.CodeMeaning = "Knee", "postero-anterior"
    dicom(tmp_path / "a.dcm", SeriesDescription="Thorax pa", StudyDescription="Hand")
    dicom(tmp_path / "b.dcm", StudyDescription="XR hand")
    dicom(tmp_path / "c.dcm", AnatomicRegionSequence=[region], ViewCodeSequence=[view])
    dicom(tmp_path / "d.dcm", ProtocolName="Sprunggelenk")
    dicom(tmp_path / "e.dcm", ViewCodeSequence=[view])
    assert indexed(tmp_path) == (["a.dcm", "e.dcm"], {"body_part": 3})


def raw_of(film, path, pixels=None, **elements):
    """A FOR PROCESSING image of the study of an image."""
    pixels = 4080 - grey().astype(np.uint16) * 16 if pixels is None else pixels
    own = {"StudyInstanceUID": film.StudyInstanceUID, "SOPClassUID": PROCESSING}
    return dicom(path, pixels, **{**own, "PresentationIntentType": "FOR PROCESSING", **elements})


def test_pairs_of_one_study(tmp_path):
    film = dicom(tmp_path / "p1" / "a.dcm", AcquisitionDate="20240105", AcquisitionTime="101500.123")
    raw_of(film, tmp_path / "p1" / "b.dcm", AcquisitionDateTime="20240105101500.9")
    raw_of(film, tmp_path / "p1" / "other_time.dcm", AcquisitionDateTime="20240105104500")
    film = dicom(tmp_path / "p2" / "a.dcm", InstanceNumber=1)
    dicom(tmp_path / "p2" / "b.dcm", InstanceNumber=2, StudyInstanceUID=film.StudyInstanceUID)
    raw_of(film, tmp_path / "p2" / "c.dcm", InstanceNumber=2, PresentationIntentType="")
    raw_of(film, tmp_path / "p2" / "d.dcm", InstanceNumber=7)
    raw_of(film, tmp_path / "p2" / "third.dcm", InstanceNumber=8)
    films, left_out = indexed(tmp_path)
    assert films == ["p1/a.dcm", "p1/other_time.dcm", "p2/a.dcm", "p2/b.dcm", "p2/third.dcm"]
    assert left_out == {"for_processing": 3}


def test_pairs_by_reference_wherever_they_lie(tmp_path):
    from pydicom import Dataset

    raw = dicom(tmp_path / "p1" / "raw" / "a.dcm", PatientID="", PresentationIntentType="FOR PROCESSING")
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = PROCESSING, raw.SOPInstanceUID
    dicom(tmp_path / "p1" / "shown" / "b.dcm", SourceImageSequence=[reference])
    assert indexed(tmp_path) == (["p1/shown/b.dcm"], {"for_processing": 1})


def test_raw_alone_is_kept_and_said(tmp_path, caplog):
    film = dicom(tmp_path / "p1" / "a.dcm")
    noise = np.random.default_rng(0).integers(0, 4096, (96, 96), np.uint16)
    raw_of(film, tmp_path / "p2" / "b.dcm")
    raw_of(film, tmp_path / "p1" / "c.dcm", noise, StudyInstanceUID="1.2.3")
    raw_of(film, tmp_path / "p1" / "d.dcm", StudyInstanceUID="1.2.4")
    assert indexed(tmp_path) == (["p1/a.dcm", "p1/c.dcm", "p2/b.dcm"], {"for_processing": 1})
    assert "ept, though raw (FOR PROCESSING) with no image FOR PRESENTATION: 2" in caplog.text


def test_grey_stored_as_colour_is_left_to_the_reader(tmp_path):
    """What the reader takes for grey is an image, what it refuses as colour is none: one rule, the reader's."""
    from monai_cxrssl.data import read_cxr
    from monai_cxrssl.errors import CXRReadError

    dicom(tmp_path / "a" / "grey.dcm", colour(False))
    dicom(tmp_path / "a" / "film.dcm")
    try:
        read_cxr(tmp_path / "a" / "grey.dcm")
        expected = ["a/film.dcm", "a/grey.dcm"]
    except CXRReadError:
        expected = ["a/film.dcm"]
    assert indexed(tmp_path)[0] == expected
