# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""PNG, TIFF and NIfTI images of any shape and number type are read to the float64 reference, or refused."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from monai_cxrssl.data import read_cxr
from monai_cxrssl.errors import CXRReadError

# From one pixel to a line of 5,000, either way round.
SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 3), st.integers(1, 5000)),
    st.tuples(st.integers(1, 5000), st.integers(1, 3)),
    st.sampled_from([(1, 1), (1, 5000), (5000, 1), (5, 512)]),
)
CONTENTS = st.sampled_from(["full", "narrow", "constant", "black", "unit", "nan", "inf"])


def values_of(shape: tuple[int, int], dtype: str, content: str, seed: int) -> np.ndarray:
    """Values of a number type: its whole range, a part, one value, or (floating point only) not finite."""
    kind, generator = np.dtype(dtype).kind, np.random.default_rng(seed)
    if kind == "f":
        values = generator.normal(0, 1000, shape).astype(dtype)
        if content == "unit":
            values = generator.random(shape).astype(dtype)
        elif content in ("nan", "inf"):
            values[-1, -1] = np.nan if content == "nan" else -np.inf
    else:
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max) if content == "full" else (limits.max // 3, limits.max // 3 + 70)
        values = generator.integers(low, high, shape, dtype=dtype, endpoint=True)
    if content in ("constant", "black"):
        values[:] = values[0, 0] if content == "constant" else 0
    return values


def reference(values: np.ndarray, unit_stays: bool = False) -> np.ndarray | None:
    """The package's rule for files without a window, in extended precision for 64 bits; None: to be refused. Only
    volume formats keep values in [0, 1], as this package writes them."""
    if values.dtype == np.uint8:
        return values / 255.0
    wide = values.astype(np.longdouble)
    if not np.isfinite(wide).all():
        return None
    low, high = wide.min(), wide.max()
    if unit_stays and values.dtype.kind == "f" and low >= 0 and high <= 1:
        return wide.astype(np.float64)
    return ((wide - low) / (high - low)).astype(np.float64) if high > low else np.zeros(values.shape)


def check(path, expected: np.ndarray | None) -> None:
    if expected is None:
        with pytest.raises(CXRReadError, match="NaN"):
            read_cxr(path)
        return
    film, metadata = read_cxr(path)
    assert film.shape == metadata["spatial_shape"] == expected.shape
    np.testing.assert_allclose(film, expected, atol=3e-7)


@given(SHAPES, st.sampled_from(["bool", "uint8", "uint16"]), CONTENTS, st.integers(0, 99))
def test_png(tmp_path, shape, dtype, content, seed):
    values = values_of(shape, "uint8" if dtype == "bool" else dtype, content, seed)
    if dtype == "bool":
        values = values > 127
    Image.fromarray(values).save(tmp_path / "film.png")
    check(tmp_path / "film.png", values.astype(np.float64) if dtype == "bool" else reference(values))


@given(
    SHAPES,
    st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "float32"]),
    CONTENTS,
    st.sampled_from(["<", ">"]),
    st.sampled_from([None, "zlib", "lzw", "packbits"]),
    st.sampled_from(["minisblack", "miniswhite"]),
    st.integers(0, 99),
)
def test_tiff(tmp_path, shape, dtype, content, order, compression, photometric, seed):
    values = values_of(shape, dtype, content, seed)
    tifffile.imwrite(
        tmp_path / "film.tif", values, byteorder=order, compression=compression, photometric=photometric, metadata=None
    )
    expected = reference(values)
    if photometric == "miniswhite" and expected is not None:
        expected = 1.0 - expected
    try:
        check(tmp_path / "film.tif", expected)
    except CXRReadError as error:  # what Pillow does not know is refused by name, never read as something else
        assert "damaged TIFF" in error.cause  # noqa: PT017


@given(
    SHAPES,
    st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float32", "float64"]),
    CONTENTS,
    st.sampled_from(["<", ">"]),
    st.sampled_from([(1, 0), (2.5, -7), (-1, 3)]),
    st.booleans(),
    st.integers(0, 2),
    st.integers(0, 99),
)
def test_nifti(tmp_path, shape, dtype, content, order, scaling, newer, axes, seed):
    values = values_of(shape, dtype, content, seed)
    image_class = nibabel.Nifti2Image if newer else nibabel.Nifti1Image
    header = image_class.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    # A picture: the first axis holds the columns; further axes of one voxel change nothing.
    image = image_class(values.T.reshape(*shape[::-1], *(1,) * axes), None, header)
    image.header.set_slope_inter(*scaling)
    path = tmp_path / "film.nii"
    content = bytearray(image.to_bytes())
    # Written by hand: nibabel would divide the values by the slope.
    place = (176 if newer else 112, "f8" if newer else "f4")
    content[place[0] : place[0] + 2 * int(place[1][1])] = np.array(scaling, order + place[1]).tobytes()
    voxels = values.T.astype(np.dtype(dtype).newbyteorder(order)).tobytes(order="F")
    content[len(content) - len(voxels) :] = voxels
    path.write_bytes(gzip.compress(content, 1) if seed % 2 else content)
    slope, intercept = scaling
    check(path, reference(values if scaling == (1, 0) else values.astype(np.float64) * slope + intercept, True))
