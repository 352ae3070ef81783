# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A plain folder: which files are images, and whose."""

from __future__ import annotations

import json
import logging
import os
import re

import numpy as np
import pytest

from monai_cxrssl.data.sources.layouts.plain import folder
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.errors import ConfigurationError, DatalistError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def dicom(path, patient="", modality="CR", study=""):
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = ComputedRadiographyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = UID("1.2.3")
    data.PatientID, data.StudyInstanceUID, data.PatientSex, data.ViewPosition = patient, study, "F", "PA"
    if modality is not None:
        data.Modality = modality
    data.Rows = data.Columns = 2
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PixelData = np.zeros((2, 2), np.uint16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def tree(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return root


def patients(root, **options):
    items = (folder.read(root, **options) if options else index_folder(root)).items()
    return {os.path.relpath(item["image"], root): item["patient_id"] for item in items}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b.png", "a.jpg"], {"a.jpg": "a", "b.png": "b"}),
        (["p1/a.png", "p1/b.png", "p2/a.png"], {"p1/a.png": "p1", "p1/b.png": "p1", "p2/a.png": "p2"}),
        (["p1/s1/a.png", "p1/s2/a.png", "p2/a.png"], {"p1/s1/a.png": "p1", "p1/s2/a.png": "p1", "p2/a.png": "p2"}),
        (["p1/a.png", "c.nii.gz"], {"p1/a.png": "p1", "c.nii.gz": "c"}),
        # A folder that holds everything tells no patient.
        (["images/a.png", "images/b.png"], {"images/a.png": "a", "images/b.png": "b"}),
        (["x/y/p1/a.png", "x/y/p2/a.png"], {"x/y/p1/a.png": "p1", "x/y/p2/a.png": "p2"}),
        (
            ["Train/NORMAL/1.png", "test/NORMAL/1.png"],
            {"Train/NORMAL/1.png": "Train/NORMAL/1", "test/NORMAL/1.png": "test/NORMAL/1"},
        ),
        (["train/p1/1.png", "valid/p2/1.png"], {"train/p1/1.png": "p1", "valid/p2/1.png": "p2"}),
    ],
)
def test_patient_without_a_header(tmp_path, names, expected):
    assert patients(tree(tmp_path, names)) == expected


def test_study_from_the_second_sub_folder(tmp_path):
    items = index_folder(tree(tmp_path, ["p1/s1/a.png", "p1/s1/b.png", "p2/c.png"])).items()
    assert [item.get("study_id") for item in items] == ["p1/s1", "p1/s1", None]


def test_what_is_an_image(tmp_path, caplog):
    tree(tmp_path, ["a.PNG", "b.jpeg", "c.tiff", "d.bmp", "no_extension", "1.2.840.99", ".hidden.png", ".git/x.png"])
    for name in ("labels.csv", "readme.txt", "d.json", "notes", "x.xml", "page.html", "DICOMDIR"):
        (tmp_path / name).write_text("text")
    (tmp_path / "text.dcm").write_text("a text file")
    (tmp_path / "empty.png").touch()
    (tmp_path / "truncated.png").write_bytes(PNG[:10])
    (tmp_path / "folder.png").mkdir()
    with caplog.at_level(logging.INFO):
        found = patients(tmp_path)
    taken = [
        "1.2.840.99",
        "a.PNG",
        "b.jpeg",
        "c.tiff",
        "d.bmp",
        "empty.png",
        "no_extension",
        "text.dcm",
        "truncated.png",
    ]
    assert list(found) == taken
    assert found["text.dcm"] == "text"
    assert found["1.2.840.99"] == "1.2.840.99"
    assert "9 of 9 images are each taken for their own patient" in caplog.text


def test_patient_from_the_header(tmp_path, caplog):
    dicom(tmp_path / "x" / "1", "A", study="1.5")
    dicom(tmp_path / "y" / "2.png", "A", None)
    dicom(tmp_path / "y" / "3.dcm", "  ", "DX")
    dicom(tmp_path / "y" / "4", "B", "CT")
    dicom(tmp_path / "y" / "5.dcm", "B", "SR")
    dicom(tmp_path / "y" / "6.dcm", "B", "CT")
    (tmp_path / "y" / "7.dcm").write_bytes((tmp_path / "x" / "1").read_bytes()[132:])  # no preamble
    (tmp_path / "y" / "8").write_bytes((tmp_path / "x" / "1").read_bytes()[132:])
    (tmp_path / "y" / "9.dcm").write_bytes((tmp_path / "x" / "1").read_bytes()[:200])
    assert patients(tmp_path, patient_ids="original") == {
        "x/1": "A",
        "y/2.png": "A",
        "y/3.dcm": "y",
        "y/7.dcm": "A",
        "y/8": "A",
        "y/9.dcm": "y",
    }
    assert "of another modality: 3 (CT 2, SR 1)" in caplog.text
    first = folder.read(tmp_path, patient_ids="original").items()[0]
    assert (first["study_id"], first["view_position"], first["sex"]) == ("1.5", "PA", "F")


def test_pseudonyms_stand_for_the_header_s_ids(tmp_path):
    root = tmp_path / "data"
    dicom(root / "x" / "1", "A", study="1.5")
    dicom(root / "y" / "2", "A", study="1.6")
    dicom(root / "y" / "3", "1.5", None)
    tree(root, ["A/4.png"])
    content = (root / "x" / "1").read_bytes()
    found = patients(root)
    assert found["x/1"] == found["y/2"] != found["y/3"]
    # The names of folders and files are what they are.
    assert found["A/4.png"] == "A"
    assert re.fullmatch(r"patient-[0-9a-f]{16}", found["x/1"])
    items = folder.read(root).items()
    assert re.fullmatch(r"study-[0-9a-f]{16}", items[1]["study_id"])
    assert items[1]["study_id"] != items[2]["study_id"]
    assert '"1.5"' not in json.dumps(items)
    # The same over runs and folders; another with another salt, which is drawn once.
    assert patients(root) == found
    other = patients(root, salt_file=tmp_path / "salt")
    assert other["x/1"] == other["y/2"] != found["x/1"]
    assert patients(root, salt_file=tmp_path / "salt") == other
    assert (root / "x" / "1").read_bytes() == content
    with pytest.raises(ConfigurationError, match="pseudonym, original"):
        folder.read(root, patient_ids="none")


@pytest.mark.parametrize("fault", ["no pixels", "part of them", "garbage"])
def test_pixels_are_not_read(tmp_path, fault):
    path = tmp_path / "x" / "1.dcm"
    dicom(path, "A", study="1.5")
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW") + 12
    end = {"no pixels": b"", "part of them": content[start : start + 3], "garbage": b"\xff" * 999}[fault]
    path.write_bytes(content[:start] + end)
    (item,) = folder.read(tmp_path, patient_ids="original").items()
    assert (item["patient_id"], item["study_id"], item["view_position"], item["sex"]) == ("A", "1.5", "PA", "F")


def test_modalities(tmp_path, caplog):
    for number, modality in enumerate(("CR", "DX", "RF", None)):
        dicom(tmp_path / f"{number}.dcm", str(number), modality)
    tree(tmp_path, ["p.png"])
    assert len(index_folder(tmp_path).items()) == 5
    items = folder.read(tmp_path, modalities=["cr", "DX"], patient_ids="original").items()
    assert [item["patient_id"] for item in items] == ["0", "1", "p"]
    assert "of another modality: 2 (RF 1, no modality 1)" in caplog.text
    for wrong in ("CR", []):
        with pytest.raises(ConfigurationError, match="expected a list such as"):
            folder.read(tmp_path, modalities=wrong)


def test_header_failure_is_no_failure(tmp_path):
    tree(tmp_path, ["p1/a.dcm", "p2/b.dcm"])

    def broken(path):
        raise AttributeError("no such tag")

    items = folder.read(tmp_path, header_reader=broken).items()
    assert [item["patient_id"] for item in items] == ["p1", "p2"]


def test_only_other_modalities(tmp_path):
    dicom(tmp_path / "1.dcm", "A", "CT")
    with pytest.raises(
        DatalistError, match=r"no chest X-ray; .* 1 file .* of another modality: 1 .CT 1.*--keep KIND .modality"
    ):
        index_folder(tmp_path)


def test_links_pipes_and_odd_names(tmp_path):
    root = tmp_path / "data"
    tree(root, ["p1/a b'\n.png", "p1/" + os.fsdecode(b"\xff.png"), "p2/a.png"])
    outside = tree(tmp_path / "outside", ["p3.png"])
    (root / "p2" / "loop").symlink_to(root)
    (root / "p3").symlink_to(outside)
    (root / "again").symlink_to(outside)
    (root / "self.png").symlink_to(root / "self.png")
    (root / "broken.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "pipe.png")
    os.mkfifo(root / "pipe")
    found = patients(root)
    # Unreadable entries with an image's name are listed, so that the reader can refuse them by name.
    names = {"self.png", "broken.png", "pipe.png", "p1/a b'\n.png", "p1/" + os.fsdecode(b"\xff.png"), "p2/a.png"}
    linked = set(found) - names
    assert set(found) >= names
    assert linked in ({"p3/p3.png"}, {"again/p3.png"})
    assert patients(root) == found


# As the tables of the data sets count them.
@pytest.mark.parametrize(
    ("name", "images", "people"), [("nih-chestxray14-subset", 517, 357), ("kermany-pediatric", 666, 529)]
)
def test_real_folders(shared_data, name, images, people):
    if not (shared_data / name).is_dir():
        pytest.skip(f"{name} not found beside the other real X-rays")
    summary = folder.read(shared_data / name).summary()
    assert (summary["images"], summary["patients"]) == (images, people)
    assert summary["patients_known_by"] == {"name": images}
