# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantom files as DICOM, PNG and NIfTI."""

from __future__ import annotations

import gzip
import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from monai_cxrssl.phantom.anatomy import stream
from monai_cxrssl.phantom.patient import PhantomPatient
from monai_cxrssl.phantom.render import PhantomImage, render

__all__ = ["GENERATOR_VERSION", "StoredFormat", "sample_format", "store_pixels", "write_patient"]

GENERATOR_VERSION = "2"
"""Raise it when the same parameters would give other files."""

_DX = "1.2.840.10008.5.1.4.1.1.1.1"  # Digital X-Ray Image Storage - For Presentation
_CR = "1.2.840.10008.5.1.4.1.1.1"  # Computed Radiography Image Storage


@dataclass(frozen=True)
class StoredFormat:
    """How one image is laid down in its DICOM file.

    Args:
        modality: "DX" or "CR".
        bits_stored: 12 or 16, in 16 bits allocated.
        inverted: MONOCHROME1 (stored low = dense) instead of MONOCHROME2.
        windowed: WindowCenter and WindowWidth are present; then some pixels lie outside of the window.
        slope, intercept: modality rescale; 1 and 0 = identity.
        rle: RLE lossless instead of explicit little endian.
        low, high: stored values (before inversion) shown black and white.
    """

    modality: str
    bits_stored: int
    inverted: bool
    windowed: bool
    slope: float
    intercept: float
    rle: bool
    low: int
    high: int


def sample_format(seed: int) -> StoredFormat:
    """Draw how an image is stored."""
    rng = stream(seed, 50)
    modality = "DX" if rng.random() < 0.6 else "CR"
    bits = int(rng.choice([12, 16]))
    top = (1 << bits) - 1
    # The DX object allows the identity only; CR readers do rescale.
    rescaled = modality == "CR" and rng.random() < 0.45
    slope, intercept = (
        (float(rng.choice([0.5, 2.0, 4.0])), float(rng.choice([-1024, 0, 100]))) if rescaled else (1.0, 0.0)
    )
    inverted, windowed, rle = (bool(rng.random() < share) for share in (0.4, 0.6, 0.15))
    low, high = int(top * rng.uniform(0.05, 0.2)), int(top * rng.uniform(0.72, 0.92))
    return StoredFormat(modality, bits, inverted, windowed, slope, intercept, rle, low, high)


def store_pixels(image: np.ndarray, stored_format: StoredFormat) -> np.ndarray:
    """Stored values ``(H, W)`` uint16 of a display image ``(H, W)`` in [0, 1], bright = dense."""
    f = stored_format
    top = (1 << f.bits_stored) - 1
    stored = np.rint(f.low + image.astype(np.float64) * (f.high - f.low)).astype(np.int64)
    if f.windowed:
        # What is pure black or white lies outside of the window, as the open beam and lead do on real images.
        stored[image <= 0] = f.low // 2
        stored[image >= 1] = (f.high + top) // 2
    return (top - stored if f.inverted else stored).astype(np.uint16)


def _uid(*key: Any) -> str:
    """A UID under 2.25 (UUID-derived) that depends on the key alone."""
    digest = hashlib.sha256("/".join(map(str, ("monai_cxrssl phantom", *key))).encode()).digest()[:16]
    return f"2.25.{uuid.UUID(bytes=digest, version=5).int}"


def _window(f: StoredFormat) -> tuple[float, float]:
    """WindowCenter and WindowWidth of the function LINEAR, in modality units."""
    top = (1 << f.bits_stored) - 1
    low, high = (top - f.high, top - f.low) if f.inverted else (f.low, f.high)
    low_m, high_m = low * f.slope + f.intercept, high * f.slope + f.intercept
    return (low_m + high_m) / 2 + 0.5, high_m - low_m + 1


def _write_dicom(path: Path, patient: PhantomPatient, number: int, film: PhantomImage, key: tuple[int, ...]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

    q = patient.acquisitions[number]
    f = sample_format(q.seed)
    pixels = store_pixels(film.image[0], f)
    spacing = f"{film.spacing * 10:.6f}"
    day = 1 + patient.index % 28
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(_DX if f.modality == "DX" else _CR)
    meta.MediaStorageSOPInstanceUID = UID(_uid(*key, "image", number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_uid("implementation", GENERATOR_VERSION))
    meta.ImplementationVersionName = f"CXRPHANTOM_{GENERATOR_VERSION}"
    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = f"202001{day:02d}"
    ds.StudyTime = "080000"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"08{number:02d}00"
    ds.AccessionNumber = ""
    ds.Modality = f.modality
    ds.Manufacturer = "monai_cxrssl"
    ds.ManufacturerModelName = "phantom"
    ds.SoftwareVersions = GENERATOR_VERSION
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Synthetic chest phantom, no patient"
    ds.PatientName = f"Phantom^{patient.index:05d}"
    ds.PatientID = patient.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = patient.anatomy.sex
    ds.PatientAge = f"{patient.anatomy.age:03d}Y"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Synthetic image"
    ds.BodyPartExamined = "CHEST"
    ds.KVP = "120"
    ds.ImagerPixelSpacing = [spacing, spacing]
    ds.PixelSpacing = [spacing, spacing]
    ds.ViewPosition = q.view_position
    ds.StudyInstanceUID = _uid(*key, "study")
    ds.SeriesInstanceUID = _uid(*key, "series", number)
    ds.StudyID = "1"
    ds.SeriesNumber = number + 1
    ds.InstanceNumber = 1
    # Columns run to the patient's left on a frontal image; a left lateral is shown facing the viewer's left.
    ds.PatientOrientation = ["P", "F"] if q.lateral else ["L", "F"]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if f.inverted else "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = 16
    ds.BitsStored = f.bits_stored
    ds.HighBit = f.bits_stored - 1
    ds.PixelRepresentation = 0
    ds.BurnedInAnnotation = "YES" if q.marker else "NO"
    ds.LossyImageCompression = "00"
    if f.modality == "DX":
        ds.PresentationIntentType = "FOR PRESENTATION"
        ds.DetectorType = ds.PositionerType = ""
        region = Dataset()
        region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "816094009", "SCT", "Chest"
        ds.AnatomicRegionSequence, ds.AcquisitionContextSequence = [region], []
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = 1 if f.inverted else -1
        ds.ImageLaterality = "U"
        ds.PresentationLUTShape = "INVERSE" if f.inverted else "IDENTITY"
    if f.modality == "DX" or (f.slope, f.intercept) != (1.0, 0.0):
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = f"{f.intercept:g}", f"{f.slope:g}", "US"
    if f.windowed:
        centre, width = _window(f)
        ds.WindowCenter, ds.WindowWidth = f"{centre:.10g}", f"{width:.10g}"
        ds.VOILUTFunction = "LINEAR"
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    if f.rle:
        from pydicom.pixels.encoders import RLELosslessEncoder

        # The plug-ins split runs differently; a fixed order of preference keeps the bytes the same.
        plugin = "pylibjpeg" if "pylibjpeg" in RLELosslessEncoder.available_plugins else "pydicom"
        ds.compress(RLELossless, encoding_plugin=plugin, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def _write_mask(path: Path, mask: np.ndarray, spacing_mm: float) -> None:
    """Write a mask ``(H, W)`` uint8 {0, 1} as PNG (0 and 255) or, by the name, as NIfTI (0 and 1)."""
    if path.suffix == ".png":
        ok, data = cv2.imencode(".png", mask * np.uint8(255))
        if not ok:
            raise RuntimeError(f"OpenCV could not encode the mask for {path}.")
        path.write_bytes(data.tobytes())
        return
    import nibabel

    # As ITK writes a 2D image: the first axis runs along a row, and its LPS axes have RAS signs turned.
    image = nibabel.Nifti1Image(np.ascontiguousarray(mask.T), np.diag([-spacing_mm, -spacing_mm, 1.0, 1.0]))
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), 6, mtime=0))


def write_patient(folder: Path, patient: PhantomPatient, key: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
    """Render and write all images of a patient to ``images/<patient>`` and ``masks/<patient>``; return their datalist
    items.

    Paths in the items are relative to ``folder``; ``key`` are numbers that tell this data set from others in its UIDs.
    """
    images, masks = Path("images", patient.patient_id), Path("masks", patient.patient_id)
    (folder / images).mkdir(parents=True, exist_ok=True)
    (folder / masks).mkdir(parents=True, exist_ok=True)
    ending = ".png" if patient.index % 2 == 0 else ".nii.gz"
    items = []
    for number, q in enumerate(patient.acquisitions):
        film = render(patient, number)
        name = f"{patient.patient_id}_{number + 1}_{q.view_position}"
        paths = {"image": images / f"{name}.dcm", "lung_mask": masks / f"{name}_lung{ending}"}
        _write_dicom(folder / paths["image"], patient, number, film, (*key, patient.index))
        _write_mask(folder / paths["lung_mask"], film.lung_mask[0], film.spacing * 10)
        if film.opacity_mask.any():
            paths["opacity_mask"] = masks / f"{name}_opacity{ending}"
            _write_mask(folder / paths["opacity_mask"], film.opacity_mask[0], film.spacing * 10)
        items.append(
            {
                "image": paths["image"].as_posix(),
                "patient_id": patient.patient_id,
                "study_id": patient.study_id,
                "view_position": q.view_position,
                "lung_mask": paths["lung_mask"].as_posix(),
                "opacity_mask": paths["opacity_mask"].as_posix() if "opacity_mask" in paths else None,
                "label": patient.label,
                "sex": patient.anatomy.sex,
                "age": patient.anatomy.age,
                "source": "phantom",
            }
        )
    return items
