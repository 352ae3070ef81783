# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM headers that hypothesis draws, sound and unsound, and what each image must look like by pydicom in float64."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ExplicitVRLittleEndian

from tests.data import conftest as dicom

__all__ = ["DicomCase", "dicom_cases", "expected_film"]

CODINGS = ("native", "native", "native", "rle", "jpeg lossless", "jpeg-ls", "jpeg 2000")
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
GREY = ("MONOCHROME1", "MONOCHROME2")
JUNK = (None, "", "MONOCHROM2", "GREY", "monochrome1", "XX")
COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL")
NEEDED = ("Rows", "Columns", "BitsAllocated")
SPARED = ("BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel")


@dataclass
class DicomCase:
    """One drawn file.

    Args:
        words: uint8 or uint16 ``(H, W)``, the pixel data as written, with anything in the bits that are not used.
        module: BitsStored, HighBit, PixelRepresentation and further elements of the pixel module; None is left out.
        elements: all other elements; None is left out.
        syntax: transfer syntax UID of native pixels.
        coding: as :func:`tests.data.conftest.coded` names it.
        shutters: what each part of the display shutter leaves visible, bool ``(H, W)``.
    """

    words: np.ndarray
    module: dict[str, Any]
    elements: dict[str, Any] = field(default_factory=dict)
    syntax: str = SYNTAXES[1]
    coding: str = "native"
    shutters: list[np.ndarray] = field(default_factory=list)

    def data_set(self) -> FileDataset:
        """The file to write."""
        signed = self.module.get("PixelRepresentation") == 1
        pixels = self.words.view(f"int{8 * self.words.itemsize}") if signed else self.words
        syntax, frame = (self.syntax, None) if self.coding == "native" else dicom.coded(self.coding, self.words)
        ds = dicom.make_dicom(pixels, syntax=syntax, frame=frame, **self.module)
        if self.words.itemsize == 1:
            ds["PixelData"].VR = "OB"
        for keyword, value in self.elements.items():
            if keyword.startswith("PixelPadding"):
                ds.add_new(keyword, "SS" if signed else "US", value)
            elif value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        return ds


numbers = st.one_of(st.integers(-5000, 70000), st.floats(-5000, 70000).map(lambda value: round(value, 3)))


@st.composite
def lut_sequences(draw: st.DrawFn, bits: int, lowest: int, big: bool) -> list[Dataset]:
    """Draw what pydicom reads right: more than one entry, in OW of 16 bits only, whose bytes it writes unswapped."""
    count, first = draw(st.sampled_from((2, 50, 256, 300, 4096, 65536))), draw(st.integers(lowest, 3000))
    entries = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2**bits, count).astype(np.uint16)
    return [dicom.lut_item(entries, first, bits, "OW" if bits == 16 and not big and draw(st.booleans()) else "US")]


@st.composite
def shutters(draw: st.DrawFn, shape: tuple[int, int]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Draw the elements of a display shutter, and what each of its shapes leaves visible.

    Polygons have edges that lie in rows, columns and diagonals, of which every pixel lies within, on or without.
    """
    rows, columns = np.arange(1, shape[0] + 1)[:, None], np.arange(1, shape[1] + 1)
    names = draw(
        st.lists(st.sampled_from(("RECTANGULAR", "CIRCULAR", "POLYGONAL")), min_size=1, max_size=3, unique=True)
    )
    elements: dict[str, Any] = {"ShutterShape": names}
    if draw(st.booleans()):
        elements["ShutterPresentationValue"] = draw(st.sampled_from((0, 1, 40000, 65535)))
    visible = []
    for name in names:
        row, column, size = draw(st.integers(1, shape[0])), draw(st.integers(1, shape[1])), draw(st.integers(0, 8))
        if name == "RECTANGULAR":
            elements["ShutterUpperHorizontalEdge"], elements["ShutterLowerHorizontalEdge"] = row, row + size
            elements["ShutterLeftVerticalEdge"], elements["ShutterRightVerticalEdge"] = column, column + size
            visible.append((rows >= row) & (rows <= row + size) & (columns >= column) & (columns <= column + size))
        elif name == "CIRCULAR":
            elements |= {"CenterOfCircularShutter": [row, column], "RadiusOfCircularShutter": size}
            visible.append((rows - row) ** 2 + (columns - column) ** 2 <= size**2)
        else:
            elements["VerticesOfThePolygonalShutter"] = [row, column, row, column + size, row + size, column]
            visible.append((rows >= row) & (columns >= column) & (rows - row + columns - column <= size))
    return elements, visible


@st.composite
def dicom_cases(draw: st.DrawFn) -> DicomCase:
    """Draw a file whose elements agree or contradict each other in any way."""
    allocated, signed, syntax = draw(st.sampled_from((8, 16))), draw(st.booleans()), draw(st.sampled_from(SYNTAXES))
    stored = draw(st.integers(1, allocated))
    high = draw(st.one_of(st.just(stored - 1), st.integers(stored - 1, allocated - 1), st.just(allocated + 3)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    seed = draw(st.integers(0, 999))
    words = np.random.default_rng(seed).integers(0, 2**allocated, shape).astype(f"uint{allocated}")
    if draw(st.booleans()):  # clean: nothing in the unused bits, or one value throughout
        words &= np.array((1 << stored) - 1, words.dtype)
    if draw(st.integers(0, 9)) == 0:
        words[:] = words[0, 0]
    module: dict[str, Any] = {"BitsStored": stored, "HighBit": high, "PixelRepresentation": int(signed)}
    photometric = draw(st.sampled_from((*GREY, *GREY, *GREY, *JUNK, *COLOURS)))
    module["PhotometricInterpretation"] = photometric
    absent = draw(st.sampled_from((None,) * 6 + NEEDED + SPARED))
    if absent:
        module[absent] = None
    wrong = draw(st.sampled_from((None,) * 9 + ("BitsAllocated", "SamplesPerPixel", "NumberOfFrames", "Rows")))
    if wrong and wrong != absent:
        values = {"BitsAllocated": (0, 1, 12, 32), "SamplesPerPixel": (0, 2, 3), "NumberOfFrames": (2, 70000)}
        module[wrong] = draw(st.sampled_from(values.get(wrong, (0, shape[0] + 2, 65535))))
    elements: dict[str, Any] = {}
    if draw(st.booleans()):
        elements["PresentationLUTShape"] = draw(st.sampled_from(("IDENTITY", "INVERSE", "LIN OD")))
    # pydicom takes the index into a VOI LUT for whole numbers of 16 bits only.
    voi = draw(st.sampled_from(("none", "window", "window", "windows", "lut", "odd")))
    whole = voi == "lut"
    modality = draw(st.sampled_from(("none", "rescale", "rescale", "lut", "slope", "intercept", "zero")))
    if modality in ("rescale", "slope"):
        slopes = st.sampled_from((1, -1)) if whole else st.sampled_from((1, -1, 0.37, -2.5, 1e-3, 400))
        elements["RescaleSlope"] = draw(slopes)
    if modality in ("rescale", "intercept"):
        elements["RescaleIntercept"] = draw(st.integers(-2000, 0) if whole else numbers)
    if modality == "zero":
        elements |= {"RescaleSlope": 0, "RescaleIntercept": 1}
    if modality == "lut":
        elements["ModalityLUTSequence"] = draw(lut_sequences(16, -500 if signed else 0, syntax == SYNTAXES[2]))
    if voi in ("window", "windows", "odd"):
        widths = st.one_of(st.integers(1, 5000), st.floats(0.25, 5000).map(lambda value: round(value, 3)))
        if voi == "odd":
            widths = st.sampled_from((0, -1, -0.5, 0.5, 1, 1e-3))
        count = draw(st.integers(2, 3)) if voi == "windows" else 1
        elements["WindowCenter"] = [draw(numbers) for _ in range(count)]
        elements["WindowWidth"] = [draw(widths) for _ in range(count)]
        if draw(st.booleans()):
            elements["VOILUTFunction"] = draw(st.sampled_from(("LINEAR", "LINEAR_EXACT", "SIGMOID", "CUBIC")))
        if voi == "odd" and draw(st.booleans()):
            elements["WindowWidth"] = [50, 60]  # one center, two widths
    if voi == "lut":
        lowest = -500 if signed and modality != "lut" else 0
        elements["VOILUTSequence"] = draw(lut_sequences(draw(st.integers(10, 16)), lowest, syntax == SYNTAXES[2]))
    if draw(st.integers(0, 4)) == 0 and high < allocated:
        values = stored_values(words, stored, high, signed and absent != "PixelRepresentation")
        elements["PixelPaddingValue"] = int(values.flat[draw(st.integers(0, values.size - 1))])
        if draw(st.booleans()):
            elements["PixelPaddingRangeLimit"] = int(values.flat[draw(st.integers(0, values.size - 1))])
    # A stream says by itself how many samples it has.
    coding = "native" if wrong == "SamplesPerPixel" else draw(st.sampled_from(CODINGS))
    visible: list[np.ndarray] = []
    if draw(st.integers(0, 3)) == 0:
        shutter, visible = draw(shutters(shape))
        elements |= shutter
    return DicomCase(words, module, elements, syntax, coding, visible)


def stored_values(words: np.ndarray, stored: int, high: int, signed: bool) -> np.ndarray:
    """PS3.5 8.1.1, with whole numbers of Python: the ``stored`` bits of each word that end at bit ``high``."""
    values = words.astype(object) // 2 ** (high + 1 - stored) % 2**stored
    if signed:
        values = np.where(values >= 2 ** (stored - 1), values - 2**stored, values)
    return values.astype(np.int64)


def expected_film(case: DicomCase) -> np.ndarray | None:
    """float64 intensities by pydicom, after the package's rules for what is missing or odd; None: to be refused."""
    module, elements = case.module, dict(case.elements)
    if any(module.get(keyword, 1) is None for keyword in NEEDED) or module.get("Rows", case.words.shape[0]) != len(
        case.words
    ):
        return None
    if module.get("BitsAllocated", 16) not in (8, 16) or (module.get("NumberOfFrames") or 1) > 1:
        return None
    if module.get("SamplesPerPixel", 1) not in (1, None) or module["PhotometricInterpretation"] in COLOURS:
        return None
    if elements.get("RescaleSlope") == 0:
        return None
    allocated = 8 * case.words.itemsize
    stored, high = module["BitsStored"] or allocated, module["HighBit"]
    if high is None or not stored - 1 <= high < allocated:
        high = stored - 1
    signed = module["PixelRepresentation"] == 1
    values = stored_values(case.words, stored, high, signed)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.BitsStored, ds.BitsAllocated, ds.PixelRepresentation = stored, allocated, int(signed)
    inverse = elements.pop("PresentationLUTShape", None) == "INVERSE"
    photometric = (module["PhotometricInterpretation"] or "").upper()
    inverse = inverse or photometric == "MONOCHROME1"
    ds.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"
    padding = [elements.pop(f"PixelPadding{end}", None) for end in ("Value", "RangeLimit")]
    padding[1] = padding[0] if padding[1] is None else padding[1]
    if ("RescaleSlope" in elements) != ("RescaleIntercept" in elements):
        elements = {"RescaleSlope": 1, "RescaleIntercept": 0, **elements}
    if elements.get("VOILUTFunction") == "CUBIC":
        elements["VOILUTFunction"] = "LINEAR"
    if "WindowWidth" in elements and not _usable(elements):
        for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction"):
            elements.pop(keyword, None)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    shown = np.ones(values.shape, bool)
    if padding[0] is not None:
        shown = (values < min(padding)) | (values > max(padding))
    visible = np.ones(values.shape, bool)
    for part in case.shutters:
        # One that hides all is none.
        visible = visible & part if (visible & part).any() else visible
    if "WindowWidth" in elements or "VOILUTSequence" in elements:
        film = dicom.reference(ds, values, shown_pixels=shown & visible)
    else:
        film = _own_range(apply_modality_lut(values, ds).astype(np.float64), shown & visible, inverse)
    film = np.where(shown, film, 0.0)
    return np.where(visible, film, elements.get("ShutterPresentationValue", 0) / 65535)


def _usable(elements: dict[str, Any]) -> bool:
    widths = elements["WindowWidth"]
    if len(widths) != len(elements["WindowCenter"]):
        return False
    return widths[0] >= 1 if elements.get("VOILUTFunction", "LINEAR") == "LINEAR" else widths[0] > 0


def _own_range(values: np.ndarray, shown: np.ndarray, inverse: bool) -> np.ndarray:
    if not shown.any():
        return np.zeros(values.shape)
    low, high = values[shown].min(), values[shown].max()
    if high <= low:
        return np.zeros(values.shape)
    unit = (values - low) / (high - low)
    return 1 - unit if inverse else unit
