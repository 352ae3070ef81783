# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The DICOM header: asked in one file, read once, and its faults named in one order."""

from __future__ import annotations

import ast
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import keyword_dict

from monai_cxrssl.data import read_cxr
from monai_cxrssl.data.reading import dicom_header
from monai_cxrssl.data.reading.dicom_header import read_header
from monai_cxrssl.errors import CXRReadError

ROOM = Path(dicom_header.__file__).parent
# In the order in which read_dicom goes through them; the first calls the others.
WALK = ("dicom", "dicom_header", "dicom_pixels", "dicom_lookup")
MODULES = [*WALK, "codestream", "dicom_decoders", "read", "reader"]


def tree(module: str) -> ast.Module:
    return ast.parse((ROOM / f"{module}.py").read_text(encoding="utf-8"))


def asked(module: str) -> set[str]:
    """Return the DICOM keywords that a module asks a data set for, as attribute or as text."""
    nodes = list(ast.walk(tree(module)))
    # An option of pydicom's decoders, which work without a data set.
    options = {id(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg == "pixel_keyword"}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in options}
    return (texts | {node.attr for node in nodes if isinstance(node, ast.Attribute)}) & set(keyword_dict) - {""}


@pytest.mark.parametrize("module", MODULES)
def test_one_file_asks_the_data_set(module):
    assert bool(asked(module)) == (module == "dicom_header")


@pytest.mark.parametrize("module", WALK[1:])
def test_the_walk_of_read_dicom_never_returns(module):
    imported = {node.module for node in ast.walk(tree(module)) if isinstance(node, ast.ImportFrom)}
    back = {f"monai_cxrssl.data.reading.{name}" for name in WALK if name != "dicom_header"}
    assert not imported & back


def test_header_of_a_film(tmp_path, dicom):
    stored = dicom.stored_film(12, signed=True)
    windows = {"WindowCenter": [600, 2000], "WindowWidth": [1000, 3000], "RescaleSlope": 2, "BitsStored": 0}
    ds = dicom.make_dicom(stored, photometric="MONOCHROME1", **windows, HighBit=11)
    ds.add_new("PixelPaddingValue", "SS", -2000)
    header, data = read_header(pydicom.dcmread(dicom.save(ds, tmp_path / "film.dcm")), "film", "first", 10**6)
    assert data[: stored.nbytes] == stored.tobytes()
    assert (header.rows, header.columns) == stored.shape
    assert (header.bits_allocated, header.bits_stored, header.high_bit, header.signed) == (16, 16, 15, True)
    assert header.windows == ((600, 1000), (2000, 3000))
    assert (header.rescale_slope, header.rescale_intercept, header.padding) == ((2,), (), (-2000, -2000))
    assert header.photometric_interpretation == header.fields["photometric_interpretation"] == "MONOCHROME1"
    assert header.spacing == (0.2, 0.3)
    assert header.warnings == ("BitsStored is missing, taken for 16", "HighBit 11 is impossible, taken for 15")
    with pytest.raises(dataclasses.FrozenInstanceError):
        header.rows = 5


FAULTS = [
    ({"PixelData": None}, "no pixel data"),
    ({"NumberOfFrames": 3}, "3 frames"),
    ({"Rows": None}, "no Rows"),
    ({"Rows": 60000, "Columns": 60000}, "60000 x 60000"),
    ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour image"),
    ({"BitsAllocated": 32}, "32 bits"),
    ({"PixelData": b"\0" * 40}, "truncated"),
    ({"RescaleSlope": 0, "RescaleIntercept": 5}, "slope of 0"),
    ({"WindowCenter": 600, "WindowWidth": 1000}, "number 1"),
]


PAIRS = [pair for pair in itertools.combinations(FAULTS, 2) if not set(pair[0][0]) & set(pair[1][0])]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_earlier_of_two_faults_is_named(tmp_path, dicom, first, second):
    ds = dicom.make_dicom(dicom.stored_film(), **second[0], **first[0])
    with pytest.raises(CXRReadError, match=first[1]):
        read_cxr(dicom.save(ds, tmp_path / "film.dcm"), window=1)


@pytest.mark.parametrize("window", ["none", (2048, 4096)])
def test_a_voi_lut_that_is_not_asked_for_does_no_harm(tmp_path, dicom, window):
    stored = dicom.stored_film()
    path = dicom.save(
        dicom.make_dicom(stored, VOILUTSequence=[dicom.lut_item(stored[0], 0, 12)]), tmp_path / "film.dcm"
    )
    content = path.read_bytes()
    # The descriptor becomes a value representation that pydicom cannot convert.
    (tmp_path / "odd.dcm").write_bytes(content.replace(b"\x28\x00\x02\x30US", b"\x28\x00\x02\x30ZZ"))
    with pytest.raises(CXRReadError, match="damaged DICOM header"):
        read_cxr(tmp_path / "odd.dcm")
    np.testing.assert_array_equal(read_cxr(tmp_path / "odd.dcm", window)[0], read_cxr(path, window)[0])
