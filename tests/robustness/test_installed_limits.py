# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""All of pydicom's test data on this disk, read in one process with a limit: the reference image, or a refusal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import data_manager, get_testdata_files
from pydicom.data.download import get_data_dir

from tests.data import conftest as dicom
from tests.robustness.test_dicom_properties import UPRIGHT


def installed_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ``get_testdata_files`` lists, less what it would have to download first."""

    def cached(name: str, *_: object) -> Path:
        path = get_data_dir() / name
        if not path.is_file():
            raise FileNotFoundError(name)
        return path

    monkeypatch.setattr(data_manager, "data_path_with_download", cached)
    return sorted(path for path in get_testdata_files() if Path(path).is_file())


def expected(path: str) -> np.ndarray | None:
    """Intensities by pydicom in float64; None for what is no single grey-scale image, or cannot be decoded."""
    ds = pydicom.dcmread(path, force=True)
    if "PixelData" not in ds or ds.get("SamplesPerPixel") != 1 or str(ds.get("NumberOfFrames") or 1) != "1":
        return None
    if not str(ds.get("PhotometricInterpretation")).startswith("MONOCHROME") or ds.get("BitsAllocated") not in (8, 16):
        return None
    try:
        stored = ds.pixel_array
    except Exception:  # damaged on purpose, or a coding that pydicom has no decoder for
        return None
    padding = ds.get("PixelPaddingValue")
    if padding is None or "WindowCenter" in ds:
        film = dicom.reference(ds, stored)
    else:
        shown = stored[stored != padding].astype(np.float64)
        film = (stored.astype(np.float64) - shown.min()) / (shown.max() - shown.min())
    film = film if padding is None else np.where(stored == padding, 0.0, film)
    return UPRIGHT.get(tuple(ds.get("PatientOrientation") or ()), np.asarray)(film)


# The values alone are compared in every run, by tests/data/reading/test_reader_installed.py.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_installed_files_within_limits(tmp_path, monkeypatch, repo):
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs the address-space limit of Linux")
    paths = installed_files(monkeypatch)
    assert len(paths) > 100
    command = [sys.executable, "-m", "tests.robustness.read_with_limits", str(tmp_path), *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repo)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = compared = 0
    for number, path in enumerate(paths):
        cause = tmp_path / f"{number}.txt"
        if cause.exists():
            assert cause.read_text()
            continue
        film, loaded = np.load(tmp_path / f"{number}.npy"), loaded + 1
        wanted = expected(path)
        if wanted is not None:
            np.testing.assert_allclose(film, wanted, atol=3e-7, err_msg=path)
            compared += 1
    print(f"{len(paths)} files: {loaded} loaded, {compared} of them compared")
    assert compared > 25
