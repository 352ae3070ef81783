# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the attacks of this folder found once, each as the smallest case that shows it."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import tifffile

from monai_cxrssl.data import read_cxr
from monai_cxrssl.errors import CXRReadError
from tests.data import conftest as dicom
from tests.robustness.small_files import small_files


class PanicException(BaseException):
    """What code in Rust raises through Python when it panics; not an ``Exception``."""


def test_panic_of_a_decoder_is_a_refusal(tmp_path, monkeypatch):
    def panic(*_: object, **__: object) -> None:
        raise PanicException("index out of bounds: the len is 1488 but the index is 1489")

    monkeypatch.setattr("monai_cxrssl.data.reading.dicom_pixels.decode_stream", panic)
    (tmp_path / "film").write_bytes(small_files()["dicom_rle"])
    with pytest.raises(CXRReadError, match="damaged RLE stream .index out of bounds"):
        read_cxr(tmp_path / "film")


def test_an_interruption_while_decoding_is_no_fault_of_the_file(tmp_path, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_cxrssl.data.reading.dicom_pixels.decode_stream", interrupt)
    (tmp_path / "film").write_bytes(small_files()["dicom_rle"])
    with pytest.raises(KeyboardInterrupt):
        read_cxr(tmp_path / "film")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_padding_value_without_pixel_representation(tmp_path, syntax):
    """In implicit VR its type depends on the missing element."""
    stored = np.array([[0, 0, 100, 200, 300]], np.uint16)
    ds = dicom.make_dicom(stored, syntax=syntax, PixelRepresentation=None)
    ds.add_new("PixelPaddingValue", "US", 0)
    film, _ = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, [[0, 0, 0, 0.5, 1]], atol=3e-7)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32"])
def test_signed_and_floating_point_tiff(tmp_path, dtype, order, compression):
    """Pillow swaps the bytes of compressed big-endian ones twice, and takes signed bytes for unsigned ones."""
    values = np.arange(-60, 60).reshape(10, 12).astype(dtype)
    tifffile.imwrite(tmp_path / "film.tif", values, byteorder=order, compression=compression, metadata=None)
    film, _ = read_cxr(tmp_path / "film.tif")
    np.testing.assert_allclose(film, (values.astype(np.float64) + 60) / 119, atol=3e-7)


@pytest.mark.parametrize("name", ["nifti_gz", "nrrd_gzip", "mha_zlib"])
def test_checksum_of_compressed_voxels(tmp_path, name):
    """The last four bytes but four (gzip) or the last four (zlib) are the checksum."""
    content = bytearray(small_files()[name])
    content[-2 if name == "mha_zlib" else -6] ^= 1
    (tmp_path / "film").write_bytes(content)
    with pytest.raises(CXRReadError, match="damaged"):
        read_cxr(tmp_path / "film")


@pytest.mark.parametrize(
    ("name", "old", "new", "cause"),
    [
        ("tiff", b"\x01\x01\x04\x00\x01\x00\x00\x00\x18\x00", b"\x01\x01\x04\x00\x01\x00\x00\x00\x18\x40", "of its 508648 pixels"),
        ("bmp", b"\x1f\x00\x00\x00\x18\x00\x00\x00", b"\x1f\x00\x00\x00\x10\x00\x00\x00", "more than its 16 rows"),
        ("nifti", b"\x1f\x00\x18\x00", b"\x1f\x00\x10\x00", "more than the size in its header"),
        ("nifti_gz", b"\x1f\x00\x18\x00", b"\x1f\x00\x10\x00", "more than the size in its header"),
        ("mha", b"DimSize = 31 24", b"DimSize = 31 14", "more than the size in its header"),
        ("mha_zlib", b"DimSize = 31 24", b"DimSize = 31 14", "more than the size in its header"),
        ("nrrd", b"sizes: 31 24", b"sizes: 31 14", "more than the size in its header"),
        ("nrrd_gzip", b"sizes: 31 24", b"sizes: 31 14", "more than the size in its header"),
    ],
)  # fmt: skip
def test_sizes_that_contradict_the_pixels(tmp_path, name, old, new, cause):
    content = small_files()[name]
    if name == "nifti_gz":
        content = gzip.decompress(content)
    assert content.count(old) == 1
    content = content.replace(old, new)
    (tmp_path / "film").write_bytes(gzip.compress(content) if name == "nifti_gz" else content)
    with pytest.raises(CXRReadError, match=cause):
        read_cxr(tmp_path / "film")
