# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference on a folder as people have them: mixed formats, nested, damaged; every file beside the table."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from monai_cxrssl.data import DecodedImages, ImageDataset, index_folder, load_predictions
from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import InferenceWriter
from monai_cxrssl.handlers.inference import dicom_files
from monai_cxrssl.networks import MultiTaskNet, PredictionHead
from monai_cxrssl.transforms import ResizeCXR

SHAPES = {"a/1.png": (130, 100), "a/b/2.jpg": (96, 140), "film.dcm": (120, 90), "c/lateral": (88, 100), "n.nii.gz": (110, 84)}  # fmt: skip


def drawing(shape) -> np.ndarray:
    """An upright mark that no flip or transposition leaves as it is."""
    mask = np.zeros(shape, bool)
    height, width = shape
    mask[height // 8 : height // 2, width // 6 : width // 3] = True
    mask[height // 2 : height * 5 // 8, width // 6 : width * 3 // 4] = True
    return mask


def film(shape) -> np.ndarray:
    """The mark on a background of many greys: a picture of two is a mask."""
    return np.where(drawing(shape), 230, np.linspace(15, 45, shape[1])[None]).astype(np.uint8)


def save_dicom(path: Path, pixels: np.ndarray, **elements) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    ds = FileDataset(str(path), {}, b"\0" * 128, meta)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "CR", "P7", "1.2.3", "1.2.4"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelSpacing = [0.5, 0.6]
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five images of five kinds, one of them lateral, and two files that are none."""
    top = tmp_path_factory.mktemp("films")
    for name, shape in SHAPES.items():
        path, pixels = top / name, film(shape)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            cv2.imwrite(str(path), pixels)
        elif name == "n.nii.gz":
            # Stored columns first, the rows upwards, off the origin: as ITK writes an image, and unlike a picture.
            affine = np.array([[-0.7, 0, 0, 11], [0, 0, 1, 5], [0, 0.8, 0, -30], [0, 0, 0, 1.0]])
            nibabel.save(nibabel.Nifti1Image(pixels.T[:, ::-1, None], affine), path)
        else:
            view = "LL" if path.name == "lateral" else "PA"
            save_dicom(path, pixels, ViewPosition=view, PatientOrientation=["L", "F"])
    (top / "a" / "broken.png").write_bytes(b"no picture")
    (top / "a" / "cut.dcm").write_bytes((top / "film.dcm").read_bytes()[:700])
    return top


@pytest.fixture(scope="module")
def images(folder):
    return DecodedImages(index_folder(folder).items(), side=64, progress=False, max_unreadable=1.0)


class BrightIsLung(MultiTaskNet):
    """Draws what is bright; its classes are those of a network that was never trained."""

    def forward(self, image):
        return {**super().forward(image), "mask": 20 * (image - 0.5)}


def infer(images, out, classes=("x", "y"), thresholds=None, **options):
    torch.manual_seed(0)
    network = BrightIsLung("resnet18", len(classes), decoder=None)
    head = PredictionHead(classes=classes, thresholds=thresholds)
    writer = InferenceWriter(out, images, head, ResizeCXR(96), **options)
    loader = torch.utils.data.DataLoader(ImageDataset(images, writer.transform, num_classes=1), batch_size=2)
    MultiTaskPredictor("cpu", loader, network, "multi_class", classes, amp=False, val_handlers=[writer]).run()
    return load_predictions(out / "predictions.csv"), rows_of(out / "masks.csv")


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_a_mixed_folder(folder, images, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        table, rows = infer(images, tmp_path, thresholds={"y": 0.0, "x": None}, overlays=True)
    names = [Path(item["image"]).relative_to(folder).as_posix() for item in table.items]
    assert sorted(names) == sorted(SHAPES)
    assert sorted(Path(entry["image"]).name for entry in table.unreadable) == ["broken.png", "cut.dcm"]
    assert all(entry["cause"] for entry in table.unreadable)
    assert [
        name for name, item in zip(names, table.items, strict=True) if "lateral view" in item.get("warnings", "")
    ] == ["c/lateral"]
    assert {name: values.tolist() for name, values in table.decisions.items()} == {"y": [1.0] * 5}
    results = {row["image"]: row for row in rows_of(tmp_path / "dicom_results.csv")}
    assert sorted(Path(image).name for image in results) == ["film.dcm", "lateral"]
    for name, row in zip(names, rows, strict=True):
        mask = cv2.imread(str(tmp_path / row["mask"]), cv2.IMREAD_UNCHANGED)
        assert mask.shape == SHAPES[name]
        assert dice(mask > 0, drawing(SHAPES[name])) > 0.95
        if name in ("film.dcm", "c/lateral"):
            result = results[row["image"]]
            seg, film = pydicom.dcmread(tmp_path / result["seg"]), pydicom.dcmread(row["image"])
            assert (result["sr"], result["sc"], result["gsps"], result["problem"]) == ("", "", "", "")
            np.testing.assert_array_equal(seg.pixel_array, mask > 0)
            assert (seg.PixelSpacing, seg.PatientOrientation) == (film.PixelSpacing, film.PatientOrientation)
            assert seg.SourceImageSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    for index, row in enumerate(rows_of(tmp_path / "overlays.csv")):
        film, overlay = images.image(index), cv2.imread(str(tmp_path / row["overlay"]), cv2.IMREAD_UNCHANGED)
        assert overlay.shape == (*film.shape, 3)
        assert row["class"] == table.classes[table.scores[index].argmax()]
        # A heatmap over the image, not instead of it: coloured, and where nothing speaks for the class the image itself.
        assert (overlay != film[..., None]).any()
        assert np.corrcoef(overlay.mean(2).ravel(), film.ravel())[0, 1] > 0.5
    words = (
        "5 images (",
        "5 masks, 2 DICOM results, 5 overlays, 2 failures (2 unreadable files, 0 masks not written",
        "3 images are no DICOM",
    )
    assert all(text in caplog.text for text in words)


def test_nifti_masks_lie_on_their_films(folder, images, tmp_path):
    _, rows = infer(images, tmp_path, mask_format="nifti", dicom_results="none")
    assert not (tmp_path / "dicom_seg").exists()
    for row in rows:
        name = Path(row["image"]).relative_to(folder).as_posix()
        mask = nibabel.load(tmp_path / row["mask"])
        assert mask.shape == (*SHAPES[name], 1)
        assert dice(np.asarray(mask.dataobj)[..., 0] > 0, drawing(SHAPES[name])) > 0.95
        if name == "film.dcm":
            np.testing.assert_allclose(mask.header.get_zooms()[:2], (0.5, 0.6), rtol=1e-6)
        if name == "n.nii.gz":
            film = nibabel.load(row["image"])
            # The image's own mark in mm, found without this package, against the mask's.
            marks = [
                nibabel.affines.apply_affine(volume.affine, np.argwhere(np.asarray(volume.dataobj) > threshold))
                for volume, threshold in ((film, 128), (mask, 0))
            ]
            for edge in (np.min, np.max, np.mean):
                np.testing.assert_allclose(edge(marks[1], axis=0), edge(marks[0], axis=0), atol=1.5)


def test_without_highdicom_and_films_that_cannot_be_referred_to(images, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dicom_files, "can_write_dicom", lambda: False)
    _, rows = infer(images, tmp_path)
    assert all(row["mask"] and not row["problem"] for row in rows)
    assert not (tmp_path / "dicom_results.csv").exists()
    assert caplog.text.count("highdicom is not installed") == 1


def test_a_film_that_a_seg_cannot_refer_to_keeps_its_mask(tmp_path, caplog):
    path = tmp_path / "in" / "film.dcm"
    path.parent.mkdir()
    # A SEG of a slice of a volume refers to it by its place in space, which no image has.
    save_dicom(path, film((70, 60)), SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    images = DecodedImages([{"image": str(path), "patient_id": "p"}], side=64, progress=False)
    with caplog.at_level(logging.INFO):
        _, rows = infer(images, tmp_path / "out")
    result = rows_of(tmp_path / "out" / "dicom_results.csv")[0]
    assert (rows[0]["mask"], rows[0]["problem"], result["seg"]) == ("masks/film.png", "", "")
    assert "a header that a DICOM SEG cannot refer to" in result["problem"]
    assert (
        "1 failures (0 unreadable files, 0 masks not written, 1 images with DICOM results not written)" in caplog.text
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask_format": "jpeg"}, "mask_format is 'jpeg'"),
        ({"overlays": True}, "this network has none"),
        ({"dicom_results": "seg sr"}, "leave sr out of dicom_results"),
        ({"dicom_results": "seg pdf"}, "dicom_results names 'pdf'; choose from seg sr sc gsps"),
        ({"dicom_results": True}, "dicom_results names 'true'"),
    ],
)
def test_impossible_options(images, tmp_path, options, words):
    with pytest.raises(ConfigurationError, match=words):
        InferenceWriter(tmp_path, images, PredictionHead(), ResizeCXR(96), **options)


def test_real_films_of_mixed_modes_and_sizes(shared_data, tmp_path):
    folder = shared_data / "covid-chestxray-dataset" / "images"
    modes: dict[tuple, Path] = {}
    for path in sorted(folder.iterdir()):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is not None and pixels.size < 4e6:
            modes.setdefault((path.suffix.lower(), pixels.ndim, pixels.shape[-1] if pixels.ndim == 3 else 1), path)
        if len(modes) == 6:
            break
    items = [{"image": str(path), "patient_id": path.stem} for path in modes.values()]
    images = DecodedImages(items, side=128, progress=False)
    table, rows = infer(images, tmp_path)
    assert len(table.items) == len(rows) == len(modes) > 3
    for row in rows:
        # OpenCV turns a picture as its EXIF orientation says.
        expected = cv2.imread(row["image"], cv2.IMREAD_GRAYSCALE).shape
        assert cv2.imread(str(tmp_path / row["mask"]), cv2.IMREAD_UNCHANGED).shape == expected
