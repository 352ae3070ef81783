# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The JSRT layout and its raw images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.data.reading.read import read_cxr, read_cxr_uint
from monai_cxrssl.data.sources.layouts import jsrt
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import CXRReadError, DatalistError


@pytest.fixture(scope="module")
def values():
    """A ramp over the whole range, with a white border as scanned images have."""
    film = np.linspace(0, 4095, 2048 * 2048).astype(np.uint16).reshape(2048, 2048)
    film[:5] = 0
    return film


@pytest.fixture
def film(tmp_path, values):
    path = tmp_path / "JPCLN001.IMG"
    path.write_bytes(values.astype(">u2").tobytes())
    return path


def sized(path, size=8_388_608):
    """A file of this size that takes no space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def test_raw_film(film, values):
    pixels, metadata = read_cxr(film)
    assert pixels.shape == (2048, 2048)
    np.testing.assert_allclose(pixels, 1 - values.astype(np.float64) / 4095, atol=1e-6)
    assert metadata["spacing"] == (0.175, 0.175)
    assert (metadata["bits_stored"], metadata["inverted"]) == (12, True)
    assert np.array_equal(read_cxr_uint(film), np.rint((4095.0 - values) / 4095 * 255).astype(np.uint8))
    assert read_cxr(film, max_side=64)[0].shape == (64, 64)


@pytest.mark.parametrize("fault", ["name", "size", "bits", "order", "pair", "zeros", "pixels"])
def test_anything_else_is_no_raw_film(film, values, fault):
    limit = {}
    if fault == "name":
        film = film.rename(film.with_suffix(".bin"))
    elif fault == "size":
        film.write_bytes(film.read_bytes()[:-2])
    elif fault == "bits":
        film.write_bytes((values * 2).astype(">u2").tobytes())
    elif fault == "order":
        film.write_bytes(values.astype("<u2").tobytes())
    elif fault == "pair":
        film.with_suffix(".hdr").touch()
    elif fault == "zeros":
        film.write_bytes(bytes(8_388_608))
    else:
        limit = {"max_pixels": 1_000_000}
    with pytest.raises(CXRReadError, match="1,000,000" if limit else "known image format|zero bytes"):
        read_cxr(film, **limit)


def test_png_with_that_name_is_a_png(tmp_path):
    path = tmp_path / "JPCLN001.IMG"
    encoded = cv2.imencode(".png", np.arange(64, dtype=np.uint8).reshape(8, 8))[1].tobytes()
    path.write_bytes(encoded + bytes(8_388_608 - len(encoded)))
    assert read_cxr(path)[0].shape == (8, 8)


@pytest.mark.parametrize("films", ["All247images", "."])
def test_items(tmp_path, films):
    for name in ("JPCNN002.IMG", "JPCLN001.IMG", "JPCLN003.IMG"):
        sized(tmp_path / films / name)
    for fold, stem, ending in (("scratch/fold1", "JPCLN001", "png"), ("fold2", "JPCNN002", "gif")):
        for number, side in enumerate(("left lung", "right lung")):
            mask = np.zeros((16, 16), np.uint8)
            mask[4:12, 2 + 7 * number : 7 + 7 * number] = 255
            path = tmp_path / fold / "masks" / side / f"{stem}.{ending}"
            path.parent.mkdir(parents=True)
            Image.fromarray(mask).save(path)
    assert find_layout(tmp_path) == "jsrt"
    datalist = index_folder(tmp_path)
    assert (datalist.classes, datalist.task) == (("Nodule",), "multi_label")
    items = datalist.items()
    assert [Path(item["image"]) for item in items] == [
        (tmp_path / films / f"{stem}.IMG") for stem in ("JPCLN001", "JPCLN003", "JPCNN002")
    ]
    assert [item["label"] for item in items] == [[1], [1], [0]]
    assert [item["patient_id"] for item in items] == ["JPCLN001", "JPCLN003", "JPCNN002"]
    assert [Path(path).parent.name for path in items[0]["lung_mask"]] == ["left lung", "right lung"]
    for item in (items[0], items[2]):
        merged = np.zeros((16, 16), np.uint8)
        merged[4:12, 2:7] = merged[4:12, 9:14] = 1
        np.testing.assert_array_equal(read_lung_mask(item["lung_mask"])[0], merged)
    assert read_lung_mask(items[2]["lung_mask"], (32, 32))[0].sum() == 4 * merged.sum()
    assert "lung_mask" not in items[1]


def test_a_converted_mask_wins_over_the_published_one(tmp_path):
    sized(tmp_path / "JPCLN001.IMG")
    for name in ("left lung/JPCLN001.GIF", "left lung/JPCLN001.png", "right lung/JPCLN001.gif"):
        sized(tmp_path / "scr" / "fold1" / "masks" / name, 9)
    mask = jsrt.read(tmp_path).items()[0]["lung_mask"]
    assert [Path(path).suffix for path in mask] == [".png", ".gif"]


def test_faults(tmp_path):
    with pytest.raises(DatalistError, match=r"holds no image such as JPCLN001.IMG"):
        jsrt.read(tmp_path)
    sized(tmp_path / "All247images" / "JPCLN001.IMG")
    short = sized(tmp_path / "All247images" / "JPCNN001.IMG", 100)
    with pytest.raises(DatalistError, match=r"1 of 2 images do not have the 8,388,608 bytes .*JPCNN001.IMG with 100"):
        jsrt.read(tmp_path)
    short.unlink()
    mask = sized(tmp_path / "scr" / "scratch" / "fold1" / "masks" / "left lung" / "JPCLN001.png", 9)
    with pytest.raises(DatalistError, match="JPCLN001.IMG has a mask of the left lung only"):
        jsrt.read(tmp_path)
    mask.unlink()
    sized(tmp_path / "Nodule154images" / "JPCLN001.IMG")
    with pytest.raises(
        DatalistError, match=r"Nodule154images/JPCLN001.IMG is there a second time, as .*All247images/JPCLN001"
    ):
        jsrt.read(tmp_path)
