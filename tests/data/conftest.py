# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM images made for the tests, and their intensities by pydicom's own float64 functions: the fixture ``dicom``."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.pixels.encoders.native import _encode_segment
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

SHAPE = (31, 47)


@pytest.fixture(scope="session")
def dicom() -> ModuleType:
    """The functions of this file; pytest imports test files in a way that lets none import from another."""
    return sys.modules[__name__]


def stored_film(bits: int = 12, signed: bool = False, shape: tuple[int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    """Return stored values of every kind: the full range of ``bits`` with both ends present."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    generator = np.random.default_rng(seed)
    film = generator.integers(low, high + 1, shape)
    film[0, 0], film[-1, -1] = low, high
    size = 8 if bits <= 8 else 16
    return film.astype(f"{'int' if signed else 'uint'}{size}")


def lut_item(entries: np.ndarray, first: int, bits: int, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", vr, entries.astype("<u2").tobytes() if vr == "OW" else [int(entry) for entry in entries])
    return item


def make_dicom(
    pixels: np.ndarray,
    bits_stored: int = 12,
    photometric: str = "MONOCHROME2",
    syntax: str = ExplicitVRLittleEndian,
    frame: bytes | None = None,
    **elements: Any,
) -> FileDataset:
    """Return a computed-radiography data set; an element given as None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    big = UID(syntax) == "1.2.840.10008.1.2.2"
    implicit = UID(syntax) == "1.2.840.10008.1.2"
    ds = FileDataset("film.dcm", {}, b"\0" * 128, meta, is_implicit_VR=implicit, is_little_endian=not big)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.StudyInstanceUID = "CR", "P7", "1.2.3"
    ds.PatientName, ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "Doe^Jane", "19500101", "F", "071Y"
    ds.ViewPosition = "PA"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored, ds.HighBit = bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelSpacing = [0.2, 0.3]
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    data = ordered.tobytes()
    ds.PixelData = encapsulate([frame]) if frame is not None else data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if frame is not None else "OW"
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def coded(coding: str, words: np.ndarray) -> tuple[str, bytes | None]:
    """Return transfer syntax and frame of ``(H, W)`` words of 8 or 16 bits, all of which the stream keeps."""
    bits = 8 * words.itemsize
    if coding == "native":
        return "1.2.840.10008.1.2.1", None
    if coding == "rle":
        planes = [(words >> shift).astype(np.uint8) for shift in range(bits - 8, -1, -8)]
        segments = [bytes(_encode_segment(plane.tobytes(), words.shape[1])) for plane in planes]
        offsets = [64, 64 + len(segments[0])][: len(segments)] + [0] * (15 - len(segments))
        return str(RLELossless), struct.pack("<16I", len(segments), *offsets) + b"".join(segments)
    if coding == "jpeg lossless":
        return "1.2.840.10008.1.2.4.70", imagecodecs.ljpeg_encode(words, bitspersample=bits)
    if coding == "jpeg-ls":
        return "1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode(words)
    frame = imagecodecs.jpeg2k_encode(words, level=0, codecformat="j2k", reversible=True, bitspersample=bits)
    return "1.2.840.10008.1.2.4.90", frame


def save(ds: FileDataset, path: Path, **options: Any) -> Path:
    ds.save_as(path, **({"enforce_file_format": True} | options))
    return path


def reference(
    ds: Dataset, stored: np.ndarray, use_window: bool = True, shown_pixels: np.ndarray | None = None
) -> np.ndarray:
    """Return float64 intensities by pydicom's functions, then the output range mapped to [0, 1] and inversion."""
    values = apply_modality_lut(stored, ds)
    has_lut = "VOILUTSequence" in ds
    if use_window and (has_lut or "WindowCenter" in ds):
        shown = apply_voi_lut(values, ds).astype(np.float64)
        if has_lut:
            data = ds.VOILUTSequence[0].LUTData
            reached = np.max(np.frombuffer(data, "<u2") if isinstance(data, bytes) else data)
            unit = shown / (2 ** max(int(reached).bit_length(), 1) - 1)
        else:
            low, high = _output_range(ds)
            unit = (shown - low) / (high - low)
        values = values.astype(np.float64)
        part = np.ones(values.shape, bool) if shown_pixels is None else shown_pixels
        if part.any() and misfits(values[part], unit[part]):
            unit = own_range(values, values[part])
    else:
        values = values.astype(np.float64)
        low, high = values.min(), values.max()
        if high <= low:
            return np.zeros(values.shape)
        unit = own_range(values) if use_window else (values - low) / (high - low)
    inverted = ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE"
    return 1.0 - unit if inverted else unit


def film_values(values: np.ndarray) -> np.ndarray:
    """Return the values of an image, sorted, without burnt-in markers: lone groups of under a tenth at either end."""
    film = np.sort(values, axis=None)
    most = len(film) / 10
    while len(distinct := np.unique(film)) > 2:
        gap = np.argmax(distinct[1:] - distinct[:-1])
        low, high = film[film <= distinct[gap]], film[film > distinct[gap]]
        marker, rest = (high, low) if len(high) <= len(low) else (low, high)
        if len(marker) >= most or 2 * (distinct[gap + 1] - distinct[gap]) <= rest[-1] - rest[0]:
            break
        film = rest
    return film


def middle(film: np.ndarray) -> tuple[float, float]:
    """Return the 1st and 99th percentile by nearest rank."""
    first, last = (film[max(int(np.ceil(share * len(film))), 1) - 1] for share in (0.01, 0.99))
    return first, last


def misfits(values: np.ndarray, unit: np.ndarray) -> bool:
    """Return whether intensities ``unit`` use less than a tenth of [0, 1], or have more than 95 % at its ends."""
    film = film_values(values)
    if len(np.unique(film)) < 8:
        return False
    first, last = middle(film)
    if np.ptp(unit[(values >= first) & (values <= last)]) < 0.1:
        return True
    inside = (values >= film[0]) & (values <= film[-1])
    ends = [inside & (unit <= 0.5 / 255), inside & (unit >= 1 - 0.5 / 255)]
    return sum(end.sum() for end in ends if len(np.unique(values[end])) > 1) > 0.95 * inside.sum()


def own_range(values: np.ndarray, part: np.ndarray | None = None) -> np.ndarray:
    """Return intensities by the image's own range: without markers, or by percentiles, where either is much smaller."""
    part = values if part is None else part
    low, high = part.min(), part.max()
    film = film_values(part)
    if len(np.unique(film)) >= 8:
        first, last = middle(film)
        limit = 0.25 if len(film) < part.size else 0.1
        if first < last < first + limit * (high - low):
            is_half = 2 * (last - first) >= film[-1] - film[0]
            low, high = (film[0], film[-1]) if is_half else (first, last)
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape)


def _output_range(ds: Dataset) -> tuple[float, float]:
    """The range that pydicom gives a windowed image (its ``apply_windowing``)."""
    if "ModalityLUTSequence" in ds:
        return 0.0, float(2 ** int(ds.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    bits = int(ds.BitsStored)
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if ds.PixelRepresentation else (0.0, 2.0**bits - 1)
    if "RescaleSlope" in ds and "RescaleIntercept" in ds:
        slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
        return low * slope + intercept, high * slope + intercept
    return low, high
