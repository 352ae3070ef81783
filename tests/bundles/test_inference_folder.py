# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference as a person runs it, on a folder as people have them: a row for every image, whatever became of it."""

from __future__ import annotations

import csv
import os
import re
from importlib.util import find_spec
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image, ImageOps
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from monai_cxrssl.data import DecodedImages, decoded_side, load_predictions, measure_training_range
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks import MultiTaskNet

CONFIG = "bundles/multitask/configs/inference.json"
SHAPES = {
    "film.dcm": (150, 121), "lateral": (140, 150), "eight.png": (160, 130), "sixteen.png": (131, 170),
    "turned.jpg": (170, 120), "volume.nii.gz": (128, 144), "negative.png": (150, 140), "dark.png": (150, 140),
}  # fmt: skip
CAUSES = {
    "login.png": "text", "empty.png": "empty", "cut.png": "", "cut.dcm": "", "gone.png": "", "folder.png/pipe.jpg": "",
}  # fmt: skip


def installed_films() -> list[Path]:
    """Real chest X-rays that come with the package pydicom-data, if it is installed."""
    found = find_spec("data_store")
    folder = Path(found.origin).parent / "data" if found and found.origin else Path("nowhere")
    return [path for path in (folder / "RG1_UNCR.dcm", folder / "RG1_J2KR.dcm") if path.exists()]


def shape_of(path: Path) -> tuple[int, int]:
    if path.name in SHAPES:
        return SHAPES[path.name]
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return header.Rows, header.Columns


def chest(shape, seed=0) -> np.ndarray:
    """Bright body with two dark lungs between dark shoulders; ``(H, W)`` in [0, 1]."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    film = 0.7 + 0.15 * y
    for centre in (0.28, 0.72):
        film -= 0.5 * np.exp(-((((x - centre) / 0.15) ** 2 + ((y - 0.45) / 0.3) ** 2) ** 2))
    film -= 0.6 * np.exp(-((y / 0.15) ** 2)) * (np.abs(x - 0.5) > 0.25)
    film = 0.5 + generator.uniform(0.8, 1) * (film - 0.5)
    return np.clip(film + generator.normal(0, 0.02, shape) + generator.normal(0, 0.03), 0, 1)


def save_dicom(path: Path, pixels: np.ndarray, **elements) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    ds = FileDataset(str(path), {}, b"\0" * 128, meta)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "CR", "P7", "1.2.3", "1.2.4"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelSpacing, ds.PatientOrientation = [0.5, 0.6], ["L", "F"]
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = (pixels * 4095).astype("<u2").tobytes()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A network that was never trained, but knows what the images looked like that it might have been trained on."""
    folder = tmp_path_factory.mktemp("weights")
    items = []
    for number in range(60):
        Image.fromarray((chest((150, 120 + number), number) * 255).astype(np.uint8)).save(folder / f"{number}.png")
        items.append({"image": str(folder / f"{number}.png"), "patient_id": str(number), "age": 30 + number % 40})
    known = measure_training_range(DecodedImages(items, side=decoded_side(64), progress=False), image_size=64)
    torch.manual_seed(3)
    network = MultiTaskNet("resnet18", num_classes=2, decoder="Unet")
    settings = {
        "encoder_name": "resnet18", "image_size": 64, "classes": ["healthy", "sick"], "task": "multi_class",
        "decoder": "Unet", "mask": "lung", "mask_channels": 1, "training_range": known.to_dict(),
    }  # fmt: skip
    write_model(network, folder / "model.pt", settings, None)
    return folder / "model.pt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight images of four formats, six files that look like images and are none, and texts that do not."""
    top = tmp_path_factory.mktemp("in") / "some patients" / "2024"
    films = {name: chest(shape, seed) for seed, (name, shape) in enumerate(SHAPES.items(), 100)}
    top.mkdir(parents=True)
    save_dicom(top / "film.dcm", films["film.dcm"], ViewPosition="PA", PatientAge="004Y")
    (top / "disc" / "01").mkdir(parents=True)
    save_dicom(top / "disc" / "01" / "lateral", films["lateral"], ViewPosition="LL", PatientAge="050Y")
    eight = {name: (film * 255).astype(np.uint8) for name, film in films.items()}
    Image.fromarray(eight["eight.png"]).save(top / "eight.png")
    cv2.imwrite(str(top / "disc" / "sixteen.png"), (films["sixteen.png"] * 65535).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(eight["turned.jpg"]).transpose(Image.Transpose.ROTATE_90)
    lying.save(top / "turned.jpg", exif=exif, quality=95)
    nibabel.save(nibabel.Nifti1Image(eight["volume.nii.gz"].T[:, ::-1, None], np.diag([-1, 1, 1, 1])), top / "volume.nii.gz")  # fmt: skip
    Image.fromarray(255 - eight["negative.png"]).save(top / "negative.png")
    Image.fromarray(eight["dark.png"] // 4).save(top / "dark.png")
    (top / "login.png").write_text("<html><body>Please log in</body></html>\n" * 20)
    (top / "empty.png").touch()
    (top / "cut.png").write_bytes((top / "eight.png").read_bytes()[:4000])
    (top / "cut.dcm").write_bytes((top / "film.dcm").read_bytes()[:700])
    (top / "gone.png").symlink_to(top / "nowhere.png")
    (top / "folder.png").mkdir()
    os.mkfifo(top / "folder.png" / "pipe.jpg")
    for name in ("notes.txt", "labels.csv", "info.json", "README", ".hidden.png"):
        (top / name).write_text("image,label\n")
    for path in installed_films():
        (top / path.name).symlink_to(path)
    return top.parent


@pytest.fixture(scope="module")
def inferred(folder, weights, run_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    result = run_bundle(
        CONFIG, "--dataset_dir", folder, "--output_dir", out, "--model_path", weights, "--overlays", "True",
        "--dicom_results", "seg sr sc gsps",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return result, out, load_predictions(out / "predictions.csv")


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_every_film_has_one_row_and_the_rest_none(inferred, folder):
    _, out, table = inferred
    names = [path.name for path in installed_films()]
    assert sorted(Path(item["image"]).name for item in table.items) == sorted([*SHAPES, *names])
    causes = {
        Path(entry["image"]).relative_to(folder / "2024").as_posix(): entry["cause"] for entry in table.unreadable
    }
    assert set(causes) == set(CAUSES)
    assert all(cause and CAUSES[name] in cause for name, cause in causes.items()), causes
    rows = rows_of(out / "predictions.csv")
    assert len(rows) == len(SHAPES) + len(names) + len(CAUSES)
    assert {row["image"] for row in rows if row["problem"]} == {entry["image"] for entry in table.unreadable}
    assert all(not row["p:sick"] for row in rows if row["problem"])


def test_the_run_shows_its_progress_and_counts_its_failures(inferred):
    result, _, _ = inferred
    assert re.search(r"inference: .*100%", result.stderr.replace("\r", "\n")), result.stderr[-500:]
    last, films = result.stdout.strip().splitlines()[-2], len(installed_films()) + 8
    assert f"{films} images (" in last
    assert (
        f"{films} masks, {4 * (films - 6)} DICOM results, {films} overlays, 6 failures (6 unreadable files, 0 masks not written, 0 images"
        in last
    )
    assert "come without the range" not in result.stdout


def test_masks_and_overlays_are_of_their_films(inferred):
    _, out, table = inferred
    rows = rows_of(out / "masks.csv")
    assert [row["image"] for row in rows] == [item["image"] for item in table.items]
    for row in rows:
        with Image.open(out / row["mask"]) as mask:
            assert (mask.height, mask.width) == shape_of(Path(row["image"])), row["image"]
            assert mask.mode == "L"
    for row in rows_of(out / "overlays.csv"):
        height, width = shape_of(Path(row["image"]))
        with Image.open(out / row["overlay"]) as overlay:
            assert overlay.height / overlay.width == pytest.approx(height / width, abs=0.02)
        assert row["class"] in ("healthy", "sick")


def test_warnings_tell_what_is_odd(inferred):
    _, _, table = inferred
    told = {Path(item["image"]).name: str(item.get("warnings") or "") for item in table.items}
    assert told["lateral"].startswith("lateral view")
    assert told["negative.png"].startswith("inverted contrast suspected; outside training range: ")
    assert "laid out unlike 99 % of the training images" in told["negative.png"]
    assert told["dark.png"].startswith("outside training range: darker than 99 % of the training images")
    assert told["film.dcm"] == "outside training range: patient age 4 below the training images' 30 to 68.4"
    assert told["eight.png"] == told["turned.jpg"] == ""


def check_seg(seg_path: Path, film_path: Path, mask_path: Path) -> None:
    """Read a SEG by highdicom and by pydicom alone; compare it with the image's header and with the mask as PNG."""
    highdicom = pytest.importorskip("highdicom")
    film, seg = pydicom.dcmread(film_path, stop_before_pixels=True, force=True), pydicom.dcmread(seg_path)
    with Image.open(mask_path) as picture:
        mask = np.asarray(picture) > 0
    # Frame size, and each pixel.
    assert (seg.Rows, seg.Columns, seg.NumberOfFrames) == (film.Rows, film.Columns, 1) == (*mask.shape, 1)
    np.testing.assert_array_equal(seg.pixel_array, mask)
    found = highdicom.seg.segread(seg_path)
    # Referenced SOP instance, by which highdicom finds the frame.
    assert found.get_source_image_uids() == [(film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID)]
    pixels = found.get_pixels_by_source_instance([film.SOPInstanceUID])
    np.testing.assert_array_equal(pixels[0, ..., 0] > 0, mask)
    source = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert (source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID) == (film.SOPClassUID, film.SOPInstanceUID)
    # Orientation: the image's own, and pixel for pixel, neither turned nor flipped.
    assert source.SpatialLocationsPreserved == "YES"
    assert (seg.get("PatientOrientation") or None) == (film.get("PatientOrientation") or None)
    # Spacing.
    shared = seg.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0] if "PixelMeasuresSequence" in shared else seg
    assert measures.get("PixelSpacing") == (film.get("PixelSpacing") or None)
    assert seg.get("ImagerPixelSpacing") == (film.get("ImagerPixelSpacing") or None)


def results_of(out: Path) -> list[dict[str, str]]:
    """The rows of the DICOM results, each with the image's mask."""
    masks = {row["image"]: row["mask"] for row in rows_of(out / "masks.csv")}
    return [{**row, "mask": masks[row["image"]]} for row in rows_of(out / "dicom_results.csv")]


def test_dicom_seg_overlays_its_source(inferred):
    _, out, _ = inferred
    rows = results_of(out)
    assert {Path(row["image"]).name for row in rows} >= {"film.dcm", "lateral"}
    for row in rows:
        check_seg(out / row["seg"], Path(row["image"]), out / row["mask"])


def test_dicom_results_are_valid_and_of_their_film(inferred, dicom_errors):
    """Of real images too; they name the weights, and belong to the image's study."""
    _, out, table = inferred
    scores = {str(item["image"]): row for item, row in zip(table.items, table.scores, strict=True)}
    for row in results_of(out):
        film = pydicom.dcmread(row["image"], stop_before_pixels=True, force=True)
        for kind in ("seg", "sr", "sc", "gsps"):
            assert dicom_errors(out / row[kind]) == [], row
            assert pydicom.dcmread(out / row[kind]).StudyInstanceUID == film.StudyInstanceUID
        text = pydicom.dcmread(out / row["sr"]).to_json()
        assert all(words in text for words in ("weights SHA-256", "Research use only", film.SOPInstanceUID))
        assert all(str(round(100 * score, 3)) in text for score in scores[row["image"]]), row


def test_dicom_seg_overlays_real_films(inferred):
    """Chest X-rays of pydicom's own test data, compressed and not."""
    _, out, _ = inferred
    rows = [row for row in results_of(out) if Path(row["image"]).name.startswith("RG")]
    if not rows:
        pytest.skip("the package pydicom-data with RG1_UNCR.dcm is not installed")
    assert len(rows) == len(installed_films())
    for row in rows:
        check_seg(out / row["seg"], Path(row["image"]), out / row["mask"])


@pytest.mark.slow
def test_a_folder_of_real_films(weights, run_bundle, shared_data, tmp_path):
    """Mixed modes, turned and lateral images: a row for each, a mask of its own size. CT slices are left out."""
    folder = shared_data / "covid-chestxray-dataset" / "images"
    result = run_bundle(CONFIG, "--dataset_dir", folder, "--output_dir", tmp_path, "--model_path", weights)
    assert result.returncode == 0, result.stderr[-3000:]
    with open(folder.parent / "metadata.csv", newline="", encoding="utf-8") as table:
        files = sorted(row["filename"] for row in csv.DictReader(table) if row["modality"] == "X-ray")
    rows, masks = rows_of(tmp_path / "predictions.csv"), rows_of(tmp_path / "masks.csv")
    assert sorted(Path(row["image"]).name for row in rows) == files
    readable = [row["image"] for row in rows if not row["problem"]]
    assert [row["image"] for row in masks] == readable
    for row in masks:
        with Image.open(row["image"]) as film, Image.open(tmp_path / row["mask"]) as mask:
            assert mask.size == ImageOps.exif_transpose(film).size, row["image"]
    count = len(files) - len(readable)
    last = result.stdout.strip().splitlines()[-2]
    assert f"{len(readable)} masks, 0 DICOM results, 0 overlays, {count} failures ({count} unreadable files" in last
