# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every DICOM file that pydicom and pydicom-data install: loaded to pydicom's values or refused for a stated reason."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_cxrssl.data import read_cxr
from monai_cxrssl.errors import CXRReadError

TOLERANCE = 3e-7  # one float32 rounding of a value below 1


def installed_files() -> list[Path]:
    """The test files of pydicom and pydicom-data that lie on this disk; nothing is downloaded."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    store = importlib.util.find_spec("data_store")
    if store is not None and store.origin:
        folders.append(Path(store.origin).parent / "data")
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


# Everything else in the two packages must load to pydicom's values.
REFUSED = {
    "colour": "is a colour image",
    "frames": r"holds \d+ frames",
    "no pixels": "holds no pixel data|breaks off|has no Rows",
    "not an image": "Segmentation|RT Dose",
    "damaged": "truncated|damaged|stream of",
    "no image": "text file|no known image format|gzip",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", installed_files(), ids=lambda path: path.name)
def test_installed_files_load_right_or_are_refused(path, dicom):
    ds = pydicom.dcmread(path, force=True)
    grey = (
        "PixelData" in ds
        and ds.get("SamplesPerPixel") == 1
        and str(ds.get("PhotometricInterpretation")).startswith("MONOCHROME")
        and str(ds.get("NumberOfFrames") or 1) == "1"
        and ds.get("BitsAllocated") in (8, 16)
    )
    cause = ""
    try:
        film, _ = read_cxr(path)
    except CXRReadError as error:
        cause = error.cause
    if cause:
        kinds = [kind for kind, pattern in REFUSED.items() if re.search(pattern, cause)]
        assert kinds == ["damaged"] if grey else kinds, cause
        return
    stored = ds.pixel_array  # JPEG lossless and 12-bit JPEG by the plug-in that the read registered
    expected = dicom.reference(ds, stored)
    padding = ds.get("PixelPaddingValue")
    shown = np.ones(stored.shape, bool) if padding is None else stored != padding
    if padding is not None and "WindowCenter" not in ds:
        values = stored[shown].astype(np.float64)
        expected = (stored.astype(np.float64) - values.min()) / (values.max() - values.min())
    if ds.get("PatientOrientation") == ["R", "F"]:  # stored mirrored
        film = film[:, ::-1]
    np.testing.assert_allclose(film[shown], expected[shown], atol=TOLERANCE)
    assert not film[~shown].any()


def film_of_pydicom_data(name: str) -> Path:
    found = [path for path in installed_files() if path.name == name]
    if not found:
        pytest.skip(f"the package pydicom-data with {name} is not installed")
    return found[0]


@pytest.mark.parametrize(
    ("raw", "coded"),
    [("RG1_UNCR.dcm", "RG1_J2KR.dcm"), ("RG1_UNCI.dcm", "RG1_J2KI.dcm"), ("RG3_UNCR.dcm", "RG3_J2KR.dcm")],
)
def test_raw_and_jpeg_2000_of_one_film_are_equal(raw, coded):
    first, second = (read_cxr(film_of_pydicom_data(name)) for name in (raw, coded))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1]["inverted"]
    assert first[1]["photometric_interpretation"] == "MONOCHROME1"


def test_pa_chest_film_is_bright_where_it_is_dense():
    film, metadata = read_cxr(film_of_pydicom_data("RG1_UNCR.dcm"))
    rows, columns = film.shape
    assert (rows, columns) == (1955, 1841)
    assert metadata["bits_stored"] == 15
    spine = film[rows // 3 : rows // 2, int(0.46 * columns) : int(0.54 * columns)].mean()
    lungs = film[int(0.25 * rows) : int(0.4 * rows), int(0.25 * columns) : int(0.35 * columns)].mean()
    abdomen = film[int(0.85 * rows) : int(0.95 * rows), int(0.3 * columns) : int(0.7 * columns)].mean()
    assert spine > lungs + 0.1
    assert abdomen > lungs + 0.1
