# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI, MHA and NRRD images turned upright by their affine.

The rule, for an affine to RAS mm. The two axes longer than one voxel span the image. The axis that runs along z is the
vertical; if none does, the one along y is; the other is the horizontal. Rows run towards -z (head up) or -y, columns
towards -x (the patient's right on the viewer's left) or, in a lateral image, -y. An axis stored the other way is
flipped. A file without an orientation, or with the identity matrix that programs write when they know none, is taken
as a picture: first axis = columns from the left, second = rows from the top.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.file_kind import COPY_AGAIN, refuse_damage
from monai_cxrssl.data.reading.film import Film, Note, check_size
from monai_cxrssl.data.reading.raster import check_finite, to_unit
from monai_cxrssl.data.reading.volume_integrity import check_attached_voxels, check_surplus, inflate_counted
from monai_cxrssl.errors import CXRReadError, MissingTierError
from monai_cxrssl.tiers import import_tier

__all__ = ["read_volume", "upright_axes", "upright_matrix"]

_MAX_OFFSET = 16 * 2**20


def read_volume(path: str, data: bytes, kind: str, max_pixels: int) -> Film:
    """Read a file of ``kind`` ``"nifti"``, ``"metaimage"`` (MHA, MHD) or ``"nrrd"`` that holds one image.

    Floating-point values that lie in [0, 1] are intensities already, as this package writes them, and stay; 8-bit
    values are divided by 255; all others span the image's own minimum to maximum.

    Raises:
        CXRReadError: truncated, damaged, more than ``max_pixels`` (told before memory is taken), several slices,
            volumes or channels, or values that are not finite.
    """
    notes: list[str] = []
    values, affine = _read_voxels(path, data, kind, max_pixels, notes)
    pixels, matrix = upright_axes(path, values, affine)
    spacing: tuple[float, float] | None = None
    if matrix is not None:
        row, column = np.linalg.norm(matrix[:3, 0]), np.linalg.norm(matrix[:3, 1])
        spacing = (float(row), float(column))
        # MONAI's 2D transforms need a matrix that is invertible in x and y alone.
        if abs(np.linalg.det(matrix[:2, :2])) < 1e-9 * row * column:
            matrix = None
    check_finite(path, pixels)
    if pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:
        stored, table, window = pixels.astype(np.float32), None, "0 to 1"
    else:
        stored, table = to_unit(path, pixels)
        window = "0 to 255" if pixels.dtype == np.uint8 else "min-max"
    fields = {"bits_stored": 8 * values.dtype.itemsize, "window": window}
    return Film(path, stored, table, stored.shape, spacing, matrix, fields, notes)


def upright_matrix(path: str, data: bytes, kind: str, max_pixels: int) -> np.ndarray | None:
    """Return the ``(4, 4)`` float64 matrix from (row, column, 0, 1) of the upright image to RAS mm, where there is one.

    :func:`read_volume`, of the same arguments and errors, leaves it out where MONAI's 2D transforms cannot take it, as
    that of an image that stands upright in the patient's coordinates; this one is for writing what lies on the image.
    """
    return upright_axes(path, *_read_voxels(path, data, kind, max_pixels, []))[1]


def upright_axes(path: str, values: np.ndarray, affine: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn an array of voxels, at most two of its axes longer than 1, into an upright ``(H, W)`` image.

    ``affine`` is ``(4, 4)``, voxel indices to RAS mm, or None where the file has no orientation. Returned are the image
    and the ``(4, 4)`` matrix of its (row, column, slice, 1) to RAS mm, or None. CXRReadError: more than one slice.
    """
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]
    long = [axis for axis in range(values.ndim) if values.shape[axis] > 1]
    if values.ndim != 3 or len(long) > 2:
        raise _volume_error(path, values.shape)
    normal = next(axis for axis in (2, 1, 0) if axis not in long)
    first, second = (axis for axis in range(3) if axis != normal)
    flips = {first: False, second: False}
    horizontal, vertical = first, second
    if affine is not None:
        along = {axis: int(np.argmax(np.abs(affine[:3, axis]))) for axis in (first, second)}
        # A larger world axis is the better vertical: z before y before x.
        vertical, horizontal = (first, second) if along[first] > along[second] else (second, first)
        flips = {axis: bool(affine[along[axis], axis] > 0) for axis in (first, second)}
    film = np.moveaxis(values, (vertical, horizontal, normal), (0, 1, 2))[..., 0]
    film = film[:: -1 if flips[vertical] else 1, :: -1 if flips[horizontal] else 1]
    if affine is None:
        return np.ascontiguousarray(film), None
    matrix = np.eye(4)
    matrix[:3, :3] = affine[:3, [vertical, horizontal, normal]]
    matrix[:3, 3] = affine[:3, 3]
    for column, axis in enumerate((vertical, horizontal)):
        if flips[axis]:
            matrix[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            matrix[:3, column] *= -1
    return np.ascontiguousarray(film), matrix


def _read_voxels(
    path: str, data: bytes, kind: str, max_pixels: int, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the voxels as stored, and the affine to RAS mm if the file has a valid one."""
    with refuse_damage(path, f"is a truncated or damaged {kind} file ({{}})", COPY_AGAIN):
        if kind == "nifti":
            values, affine = _read_nifti(path, data, max_pixels, notes)
        else:
            values, affine = _read_itk(path, kind, data, max_pixels)
    if affine is not None and not (np.isfinite(affine).all() and np.abs(np.linalg.det(affine[:3, :3])) > 1e-12):
        notes.append(Note("orientation", "the orientation in the header is no valid matrix and was left out"))
        affine = None
    return values, affine


def _volume_error(path: str, shape: Sequence[int]) -> CXRReadError:
    size = " x ".join(str(side) for side in shape)
    return CXRReadError(path, f"is a volume of {size} voxels, not one image", "Give a 2D image or a single slice.")


def _read_nifti(path: str, data: bytes, max_pixels: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    import nibabel

    head = zlib.decompressobj(31).decompress(data, 560) if data.startswith(b"\x1f\x8b") else data[:560]
    newer = 348 not in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
    image_class: Any = nibabel.Nifti2Image if newer else nibabel.Nifti1Image
    header = image_class.header_class(head[: 540 if newer else 348], check=False)
    shape = tuple(int(side) for side in header.get_data_shape())
    dtype = header.get_data_dtype()
    if not shape or dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise CXRReadError(path, f"holds values of type {dtype} in shape {shape}", "Give one grey-scale image.")
    if sum(side > 1 for side in shape) > 2:
        raise _volume_error(path, shape)
    shape = shape + (1,) * (2 - len(shape))
    # The header decides how much is inflated, so a gzip bomb stays small.
    sides = [side for side in shape if side != 1] or [1]
    check_size(path, min(sides), int(np.prod(sides, dtype=object)) // max(min(sides), 1), max_pixels)
    offset = int(header["vox_offset"]) or (544 if newer else 352)
    # The same holds for what lies before the voxels: header extensions, which are text.
    if not 0 <= offset <= _MAX_OFFSET:
        cause = f"says that its voxels begin at byte {offset}"
        raise CXRReadError(path, cause, "Its header is damaged; fetch it again.")
    needed = offset + int(np.prod(shape)) * dtype.itemsize
    content, surplus = inflate_counted(data, needed)
    if len(content) < needed:
        raise CXRReadError(path, f"is truncated: {len(content)} of {needed} bytes are there", COPY_AGAIN)
    check_surplus(path, surplus, shape[0] * dtype.itemsize)
    values = np.frombuffer(content, dtype, int(np.prod(shape)), offset).reshape(shape, order="F")
    values = values.astype(dtype.newbyteorder("="), copy=False)
    slope, intercept = header.get_slope_inter()
    if slope is not None and (slope, intercept or 0) != (1, 0):
        values = values.astype(np.float64) * slope + (intercept or 0)
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        return values, None
    affine = header.get_best_affine()
    if np.array_equal(affine, np.eye(4)):
        said = "the affine is the identity, so the orientation is unknown; taken as a picture, columns first"
        notes.append(Note("orientation", said))
        return values, None
    return values, affine


def _read_itk(path: str, kind: str, data: bytes, max_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        itk = import_tier("itk")
    except MissingTierError as error:
        raise CXRReadError(
            path, f"is read by {error.name}, which is not installed", f"To read it: {error.remedy}."
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        name = _itk_name(path, kind, data, folder)
        reader = itk.ImageIOFactory.CreateImageIO(name, itk.CommonEnums.IOFileMode_ReadMode)
        if reader is None:
            raise ValueError("its header is not understood")
        reader.SetFileName(name)
        reader.ReadImageInformation()
        shape = [int(reader.GetDimensions(axis)) for axis in range(reader.GetNumberOfDimensions())]
        if sum(side > 1 for side in shape) > 2 or len(shape) > 3:
            raise _volume_error(path, shape)
        channels = int(reader.GetNumberOfComponents())
        if channels != 1:
            raise CXRReadError(path, f"has {channels} channels per pixel", "Give one grey-scale image.")
        longest = max(shape)
        check_size(path, int(np.prod(shape, dtype=object)) // max(longest, 1), longest, max_pixels)
        voxel = int(reader.GetComponentSize())
        check_attached_voxels(path, kind, data, int(np.prod(shape)) * voxel, shape[0] * voxel)
        image = itk.imread(name)
        values = np.array(itk.array_view_from_image(image)).T  # ITK's arrays have the first axis last
    affine, axes = np.eye(4), len(shape)
    direction = np.asarray(itk.array_from_matrix(image.GetDirection()))
    affine[:axes, :axes] = direction @ np.diag(np.asarray(image.GetSpacing()))
    affine[:axes, 3] = np.asarray(image.GetOrigin())
    return values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK counts in LPS


def _itk_name(path: str, kind: str, data: bytes, folder: str) -> str:
    """Return a name that ITK accepts: it goes by the extension, and takes UTF-8 only."""
    extensions = {"metaimage": (".mha", ".mhd"), "nrrd": (".nrrd", ".nhdr")}[kind]
    detached = b"ElementDataFile = LOCAL" not in data[:65536] if kind == "metaimage" else b"\ndata file:" in data[:4096]
    if detached or (path.lower().endswith(extensions) and path.isascii() and path.isprintable()):
        return path  # a header that names its data file finds it beside itself only
    link = Path(folder) / f"film{extensions[0]}"
    try:
        link.symlink_to(Path(path).absolute())
    except OSError:  # Windows may forbid links
        link.write_bytes(data)
    return os.fspath(link)
