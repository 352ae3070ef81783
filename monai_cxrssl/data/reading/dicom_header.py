# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM header elements of one radiograph, read once into a frozen dataclass."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from monai_cxrssl.data.reading.display.frame import lift_functional_groups
from monai_cxrssl.data.reading.display.lut import Lut, make_lut
from monai_cxrssl.data.reading.display.shutter import Shutter
from monai_cxrssl.data.reading.file_kind import REFETCH
from monai_cxrssl.data.reading.film import Note, check_size
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    *("Header", "Window", "describe", "numbers", "patient_orientation", "person_digest", "read_header"),
    *("refuse_colour", "text", "transfer_syntax"),
]

# The option that chooses the VOI transform: see ``monai_cxrssl.data.reading.read.read_cxr``.
Window = int | str | Sequence[float] | None

_DIGEST_KEY = secrets.token_bytes(32)
_RETIRED_COLOURS = ("ARGB", "CMYK", "HSV")
_THREE = ("RGB", "YBR")  # of three samples per pixel
# Overlay Bit Position of every group.
_OVERLAYS = frozenset(group << 16 | 0x0102 for group in range(0x6000, 0x6020, 2))
_EDGES = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_VIEWS = {
    "PA": ("postero-anterior", "posteroanterior", "posterior-anterior"),
    "AP": ("antero-posterior", "anteroposterior", "anterior-posterior"),
    "LL": ("left lateral",),
    "RL": ("right lateral",),
    "LATERAL": ("lateral",),
}


@dataclass(frozen=True)
class Header:
    """Header of one frame, its description of the pixels checked.

    What only the lookup needs is as stored, since its faults are named after those of the pixels. Tuples of numbers
    are empty where the file has none, and None where one is no number.
    """

    path: str
    transfer_syntax: str  # UID, "" where missing
    little_endian: bool
    swapped_words: bool  # 8-bit pixels in big-endian words, which pydicom leaves swapped
    rows: int
    columns: int
    samples: int  # per pixel: 1, or 3 of an image that may be grey all the same
    planar: bool  # whether one sample of all pixels comes before the next sample
    palette: np.ndarray | None  # colours of all stored values, (N, 3) of uint8 or uint16
    bits_allocated: int  # 8 or 16
    bits_stored: int  # 1 to bits_allocated
    high_bit: int  # counted from 0
    signed: bool
    has_overlay: bool  # in bits of the pixels that are not stored ones
    photometric_interpretation: str  # in capitals, "" where missing, as the next
    presentation_lut_shape: str
    modality_lut: Lut | None
    rescale_slope: tuple[float, ...] | None  # not read where the modality LUT is complete, as the next
    rescale_intercept: tuple[float, ...] | None
    padding: tuple[int, int] | None  # first and last stored value of pixels without image
    windows: tuple[tuple[float, float], ...] | None  # pairs of center and width in modality values
    voi_lut_function: str  # in capitals
    voi_lut_count: int
    voi_lut: Lut | None  # the one asked for
    shutter: Shutter | None
    patient_orientation: tuple[str, ...]  # first letters of the directions of rows and columns, or empty
    spacing: tuple[float, float] | None  # of rows and columns, in mm
    fields: dict[str, Any]  # the metadata that may be shown
    warnings: tuple[str, ...]  # what is odd in the description of the pixels


def read_header(ds: Dataset, path: str, window: Window, max_pixels: int) -> tuple[Header, bytes]:
    """Read and check what decoding and lookup need, and return it with the pixel data, undecoded.

    VOI elements that ``window``, a checked option, does not ask for are not read, so damage in them does no harm.

    Raises:
        CXRReadError: it is no image, does not describe one frame of 8 or 16 bits, or exceeds ``max_pixels``.
    """
    _check_is_image(ds, path)
    lift_functional_groups(ds)
    warnings: list[str] = []
    module = _pixel_module(ds, path, max_pixels, warnings)
    data = ds.get("PixelData")
    if not data:
        raise CXRReadError(path, "has empty pixel data", "Export or download the file again.")
    little_endian = ds.original_encoding[1] is not False
    sequence = ds.get("ModalityLUTSequence")
    modality_lut = _lut(sequence[0], little_endian) if sequence else None
    has_modality_lut = modality_lut is not None and modality_lut.entries.size > 0
    palette = _palette(ds, path, module) if module["photometric_interpretation"] == "PALETTE COLOR" else None
    header = Header(
        path=path,
        transfer_syntax=transfer_syntax(getattr(ds, "file_meta", {})),
        little_endian=little_endian,
        swapped_words=not little_endian and ds["PixelData"].VR == "OW",
        **module,
        palette=palette,
        has_overlay=not _OVERLAYS.isdisjoint(ds.keys()),
        modality_lut=modality_lut,
        rescale_slope=() if has_modality_lut else numbers(ds, "RescaleSlope"),
        rescale_intercept=() if has_modality_lut else numbers(ds, "RescaleIntercept"),
        padding=_padding(ds),
        presentation_lut_shape=text(ds, "PresentationLUTShape").upper(),
        **_voi(ds, window, little_endian),
        shutter=_shutter(ds, warnings),
        patient_orientation=patient_orientation(ds),
        spacing=_spacing(ds),
        fields=_identity(ds) | {name: module[name] for name in ("photometric_interpretation", "bits_stored")},
        warnings=tuple(warnings),
    )
    return header, data


def describe(ds: Dataset) -> dict[str, Any]:
    """Return who, what and which view: all of ``read_dicom_header`` but ``has_pixels``."""
    age = re.fullmatch(r"0*(\d{1,3})([DWMY])", text(ds, "PatientAge").upper())
    rows, columns = numbers(ds, "Rows"), numbers(ds, "Columns")
    return {
        **_identity(ds),
        "sex": text(ds, "PatientSex").upper()[:1],
        "age": int(age[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[age[2]] if age else None,
        "rows": int(rows[0]) if rows else None,
        "columns": int(columns[0]) if columns else None,
        "patient_orientation": patient_orientation(ds),
        "sop_class": _sop_class(ds),
        "name_digest": person_digest(text(ds, "PatientName")),
        "birth_date_digest": person_digest(text(ds, "PatientBirthDate")),
    }


def text(ds: Dataset, keyword: str) -> str:
    """Return an element as text without blanks around it, ``""`` where it is missing."""
    return str(ds.get(keyword) or "").strip()


def person_digest(name: str) -> str:
    """Return 16 hexadecimal digits that stand for the letters and digits of a text, ``""`` where it has none.

    The key is drawn anew by each process and kept nowhere: digests of names and birth dates can be compared with each
    other, and nobody can try out names on them afterwards.
    """
    plain = "".join(filter(str.isalnum, name.casefold())).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, key=_DIGEST_KEY, digest_size=8).hexdigest() if plain else ""


def numbers(ds: Dataset, keyword: str) -> tuple[float, ...] | None:
    """Return the finite or infinite numbers of an element: empty when it is absent, None when one is no number."""
    try:
        value = ds.get(keyword)
        if value is None or value == "":
            return ()
        several = (isinstance(value, Sequence) and not isinstance(value, (str, bytes))) or hasattr(value, "__iter__")
        parts = tuple(map(float, value)) if several and not isinstance(value, str) else (float(str(value)),)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if any(math.isnan(number) for number in parts) else parts


def refuse_colour(
    path: str, photometric: str, samples: int, more: str = "", error: Exception | None = None
) -> NoReturn:
    """Refuse a picture in colour, which is no image; ``more`` is half a sentence on it."""
    what = f"is a colour image ({photometric or 'unnamed'}, {samples} sample(s) per pixel)"
    cause = f"{what} {more or 'that shows colour'}, not a radiograph"
    raise CXRReadError(path, cause, "Give the grey-scale original, not a screenshot or an annotated copy.") from error


def transfer_syntax(meta: Any) -> str:
    """Return the transfer syntax UID of a file's meta information, ``""`` where it is missing."""
    return str(meta.get("TransferSyntaxUID", ""))


def _check_is_image(ds: Dataset, path: str) -> None:
    what = _sop_class(ds)
    if not any(keyword in ds for keyword in _PIXELS):
        if "DirectoryRecordSequence" in ds:
            what = "Media Storage Directory (DICOMDIR)"
        if not len(ds):
            raise CXRReadError(path, "is DICOM that breaks off before its first image", REFETCH)
        cause = f"holds no pixel data: it is {what}"
        raise CXRReadError(path, cause, "Give the image itself; if it should be one, it was cut.")
    if any(word in what for word in ("Segmentation", "RT Dose", "Parametric Map", "Surface")) or "PixelData" not in ds:
        raise CXRReadError(path, f"is {what}, not an X-ray image", "Give the radiograph itself.")


def _sop_class(ds: Dataset) -> str:
    uid = ds.get("SOPClassUID") or getattr(ds, "file_meta", {}).get("MediaStorageSOPClassUID")
    return f"a DICOM {uid.name}" if uid else "a DICOM file of no stated class"


def _pixel_module(ds: Dataset, path: str, max_pixels: int, warnings: list[str]) -> dict[str, Any]:
    """Return size, bits and sign, in the order in which their faults are named."""

    def whole(keyword: str, default: int | None = None) -> int:
        values = numbers(ds, keyword)
        if values == () and default is not None:
            return default
        if not values or values[0] != int(values[0]):
            what = "has no" if values == () else "has no whole number as"
            raise CXRReadError(path, f"{what} {keyword} in its header", "Export the image again.")
        return int(values[0])

    if ds.get("PixelRepresentation") is None:
        # Without it pydicom leaves the padding value and LUT descriptors of implicit VR as bytes that nothing can use.
        ds.PixelRepresentation = 0
    frames = whole("NumberOfFrames", 1)
    if frames > 1:
        cause = f"holds {frames} frames, not one image"
        raise CXRReadError(path, cause, "Split it and keep the single frame that is the X-ray.")
    samples, photometric = whole("SamplesPerPixel", 1), text(ds, "PhotometricInterpretation").upper()
    if samples not in (1, 3) or photometric in _RETIRED_COLOURS or (samples == 1 and photometric.startswith(_THREE)):
        refuse_colour(path, photometric, samples)
    rows, columns, allocated = whole("Rows"), whole("Columns"), whole("BitsAllocated")
    stored, high_bit, signed = whole("BitsStored", 0), whole("HighBit", -1), whole("PixelRepresentation", 0) == 1
    check_size(path, rows, columns, max_pixels)
    if allocated not in (8, 16) and samples == 3:
        refuse_colour(path, photometric, samples, f"of {allocated} bits each")
    if allocated not in (8, 16):
        cause = f"has {allocated} bits per pixel; a radiograph has 8 or 16"
        raise CXRReadError(path, cause, "It is probably a mask, a dose map or a derived image; give the X-ray itself.")
    if not 1 <= stored <= allocated:
        warnings.append(Note("bits", f"BitsStored is {stored or 'missing'}, taken for {allocated}"))
        stored = allocated
    if not stored - 1 <= high_bit < allocated:
        if high_bit >= 0:
            warnings.append(Note("bits", f"HighBit {high_bit} is impossible, taken for {stored - 1}"))
        high_bit = stored - 1
    bits = {"bits_allocated": allocated, "bits_stored": stored, "high_bit": high_bit, "signed": signed}
    layout = {"rows": rows, "columns": columns, "samples": samples, "planar": whole("PlanarConfiguration", 0) == 1}
    return {**layout, "photometric_interpretation": photometric, **bits}


def _lut(item: Dataset, little_endian: bool) -> Lut:
    """Read an item of a LUT sequence; without entries where it is incomplete."""
    return make_lut(numbers(item, "LUTDescriptor"), item.get("LUTData"), little_endian)


def _palette(ds: Dataset, path: str, module: dict[str, Any]) -> np.ndarray:
    """Return the colours of all stored values."""
    from pydicom.pixels import apply_color_lut

    stored = module["bits_stored"]
    try:
        palette = apply_color_lut(np.arange(1 << stored, dtype=np.uint8 if stored <= 8 else np.uint16), ds)
        # pydicom takes the bytes of the entries for little-endian ones.
        return palette.byteswap() if ds.original_encoding[1] is False else palette
    except Exception as error:  # a palette that is missing or incomplete
        refuse_colour(path, module["photometric_interpretation"], 1, "whose palette cannot be read", error)


def _shutter(ds: Dataset, warnings: list[str]) -> Shutter | None:
    """Read the display shutters of the image; a bitmap shutter, of presentation states, is noted only."""
    shapes = ds.get("ShutterShape")
    if not shapes:
        if "ShutterOverlayGroup" in ds:
            warnings.append(Note("shutter", "the display shutter BITMAP was left out"))
        return None
    shapes = [shapes] if isinstance(shapes, str) else [str(shape) for shape in shapes]
    edges = [numbers(ds, f"Shutter{side}Edge") for side in _EDGES]
    center, radius = numbers(ds, "CenterOfCircularShutter"), numbers(ds, "RadiusOfCircularShutter")
    vertices = numbers(ds, "VerticesOfThePolygonalShutter") or ()
    value = numbers(ds, "ShutterPresentationValue") or (0.0,)
    return Shutter(
        tuple(shape.strip().upper() for shape in shapes if shape.strip()),
        tuple(edge[0] for edge in edges if edge) if all(edges) else None,  # type: ignore[arg-type]
        (center[0], center[1], radius[0]) if center and len(center) == 2 and radius else None,
        tuple(zip(vertices[::2], vertices[1::2], strict=False)) or None,
        min(max(value[0] / 65535, 0.0), 1.0),
    )


def _padding(ds: Dataset) -> tuple[int, int] | None:
    first = numbers(ds, "PixelPaddingValue")
    if not first:
        return None
    last = numbers(ds, "PixelPaddingRangeLimit") or first
    return int(first[0]), int(last[0])


def _voi(ds: Dataset, window: Window, little_endian: bool) -> dict[str, Any]:
    """Return the windows, and of the VOI LUTs the one asked for."""
    if window is None or isinstance(window, tuple):
        return {"windows": (), "voi_lut_function": "LINEAR", "voi_lut_count": 0, "voi_lut": None}
    centers, widths = numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth")
    windows = None
    if centers is not None and widths is not None and len(centers) == len(widths):
        windows = tuple(zip(centers, widths, strict=True))
    items = list(ds.get("VOILUTSequence") or [])
    index = 0 if window == "first" else int(str(window))
    use_lut = index < len(items) and (window == "first" or not windows)
    return {
        "windows": windows,
        "voi_lut_function": str(ds.get("VOILUTFunction") or "LINEAR").strip().upper() if windows else "LINEAR",
        "voi_lut_count": len(items),
        "voi_lut": _lut(items[index], little_endian) if use_lut else None,
    }


def patient_orientation(ds: Dataset) -> tuple[str, ...]:
    """Return the first letters of the directions of rows and columns, or nothing."""
    orientation = ds.get("PatientOrientation")
    if orientation is None or isinstance(orientation, str) or len(orientation) != 2:
        return ()
    return tuple(str(direction).upper()[:1] for direction in orientation)


def _identity(ds: Dataset) -> dict[str, Any]:
    return {
        "patient_id": text(ds, "PatientID"),
        "study_id": text(ds, "StudyInstanceUID"),
        "view_position": _view_position(ds),
        "modality": text(ds, "Modality").upper(),
    }


def _view_position(ds: Dataset) -> str:
    if view := text(ds, "ViewPosition").upper():
        return view
    sequence = ds.get("ViewCodeSequence") or []
    meaning = str(sequence[0].get("CodeMeaning") or "").lower() if len(sequence) else ""
    return next((view for view, terms in _VIEWS.items() if any(term in meaning for term in terms)), "")


def _spacing(ds: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = numbers(ds, keyword)
        if spacing and len(spacing) == 2 and min(spacing) > 0 and np.isfinite(spacing).all():
            return spacing[0], spacing[1]
    return None
