# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in NIfTI, MHA and NRRD: upright whatever their axes, and refused when they are volumes."""

from __future__ import annotations

import itertools

import itk
import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data import read_cxr, read_cxr_uint
from monai_cxrssl.errors import CXRReadError

FILM = np.random.default_rng(0).integers(0, 256, (19, 33), dtype=np.uint8)
DISPLAY = np.diag([-0.3, -0.2, 1.0, 1.0])  # first axis to the patient's left, second to the back: as a picture


def nifti(path, values, affine):
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


@pytest.mark.parametrize("shape", [(33, 19), (33, 19, 1), (33, 19, 1, 1)])
@pytest.mark.parametrize("name", ["film.nii", "film.nii.gz", "film.png"])
def test_picture_and_nifti_of_one_film_are_equal(tmp_path, shape, name):
    nibabel.save(nibabel.Nifti1Image(FILM.T.reshape(shape), DISPLAY), tmp_path / "film.nii.gz")
    if name != "film.nii.gz":
        nibabel.save(nibabel.Nifti1Image(FILM.T.reshape(shape), DISPLAY), tmp_path / "film.nii")
        (tmp_path / "film.nii").rename(tmp_path / name)
    Image.fromarray(FILM).save(tmp_path / "picture.png")
    film, metadata = read_cxr(tmp_path / name)
    np.testing.assert_array_equal(film, read_cxr(tmp_path / "picture.png")[0])
    np.testing.assert_allclose(metadata["spacing"], (0.2, 0.3))
    np.testing.assert_array_equal(read_cxr_uint(tmp_path / name), FILM)


@pytest.mark.parametrize("world", [(0, 1), (0, 2), (1, 2)], ids=["x-y", "x-z", "y-z"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=2)))
def test_orientation_is_honoured(tmp_path, world, order, flips):
    """However the voxels of an image are ordered and flipped, the same place in the patient is shown at the same place."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    affine[world[0], 0], affine[world[1], 1] = -0.3, -0.2
    affine[3 - sum(world), 2] = 1
    affine[:3, 3] = 11, -7, 5
    image = nibabel.Nifti1Image(FILM.T[..., None], affine)
    steps = [[axis, -1 if axis < 2 and flips[axis] else 1] for axis in range(3)]
    inverse = np.array([[order.index(axis), sign] for axis, sign in steps])
    turned = image.as_reoriented(inverse)
    film, metadata = read_cxr(nifti(tmp_path / "film.nii", np.asarray(turned.dataobj), turned.affine))
    np.testing.assert_array_equal(np.rint(film * 255), FILM)
    if world == (0, 1):  # row and column to the same RAS millimetres as before
        np.testing.assert_allclose(metadata["affine"] @ [3, 5, 0, 1], affine @ [5, 3, 0, 1])


@pytest.mark.parametrize("affine", [np.eye(4), None], ids=["identity", "no codes"])
def test_unknown_orientation_is_taken_as_a_picture(tmp_path, affine):
    film, metadata = read_cxr(nifti(tmp_path / "film.nii", FILM.T, affine))
    np.testing.assert_array_equal(np.rint(film * 255), FILM)
    assert metadata["spacing"] is None
    assert bool(metadata["warnings"]) == (affine is not None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FILM.astype(np.uint16) * 16, None),
        (FILM.astype(np.int16) - 99, None),
        (FILM.astype(np.float32) * 3, None),
        (FILM.astype(">i4"), None),
        (FILM.astype(np.float32) / 500 + 0.1, FILM / 500 + 0.1),  # intensities in [0, 1] stay
    ],
)
def test_values(tmp_path, values, expected):
    film, _ = read_cxr(nifti(tmp_path / "film.nii", values.T, DISPLAY))
    stretched = (FILM.astype(np.float64) - FILM.min()) / (FILM.max() - FILM.min())
    np.testing.assert_allclose(film, stretched if expected is None else expected, atol=3e-7)


def test_scale_factors_of_the_header(tmp_path):
    image = nibabel.Nifti1Image(FILM.T.astype(np.int16), DISPLAY)
    image.header.set_slope_inter(-2.0, 7.0)
    nibabel.save(image, tmp_path / "film.nii")
    values = np.asarray(nibabel.load(tmp_path / "film.nii").dataobj).T
    film, _ = read_cxr(tmp_path / "film.nii")
    np.testing.assert_allclose(film, (values - values.min()) / (values.max() - values.min()), atol=3e-7)


@pytest.mark.parametrize("extension", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("direction", [(1, 1), (-1, 1), (1, -1)])
def test_itk_formats(tmp_path, extension, direction):
    stored = np.ascontiguousarray(FILM[:: direction[1], :: direction[0]])
    image = itk.image_from_array(stored)
    image.SetSpacing([0.3, 0.2])
    image.SetDirection(itk.matrix_from_array(np.diag(np.array(direction, dtype=float))))
    itk.imwrite(image, str(tmp_path / f"film{extension}"), compression=extension == ".mha")
    film, metadata = read_cxr(tmp_path / f"film{extension}")
    np.testing.assert_array_equal(np.rint(film * 255), FILM)
    np.testing.assert_allclose(metadata["spacing"], (0.2, 0.3))


def test_itk_file_of_another_name(tmp_path):
    itk.imwrite(itk.image_from_array(FILM), str(tmp_path / "film.mha"))
    (tmp_path / "film.mha").rename(tmp_path / "ein fïlm.dcm")
    np.testing.assert_array_equal(read_cxr_uint(tmp_path / "ein fïlm.dcm"), FILM)


def test_volumes_are_refused(tmp_path):
    slices = np.zeros((20, 30, 3), np.uint8)
    nifti(tmp_path / "three.nii.gz", slices, DISPLAY)
    nifti(tmp_path / "time.nii", slices[:, :, None], DISPLAY)
    itk.imwrite(itk.image_from_array(slices), str(tmp_path / "three.mha"))
    itk.imwrite(itk.image_from_array(slices), str(tmp_path / "three.nrrd"))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(CXRReadError, match="is a volume of"):
            read_cxr(path)


def test_damaged_volumes_are_refused(tmp_path):
    content = nifti(tmp_path / "film.nii", FILM.T.astype(np.float32), DISPLAY).read_bytes()
    packed = nifti(tmp_path / "film.nii.gz", FILM.T.astype(np.float32), DISPLAY).read_bytes()
    itk.imwrite(itk.image_from_array(FILM), str(tmp_path / "film.mha"))
    infinite = FILM.T.astype(np.float32)
    infinite[2, 3] = np.nan
    infinite[4, :2] = np.inf
    cases = {
        "half.nii": (content[: len(content) // 2], "truncated"),
        "half.nii.gz": (packed[: len(packed) // 2], "truncated"),
        "magic.nii": (content[:344] + b"nope" + content[348:], "magic"),
        "half.mha": ((tmp_path / "film.mha").read_bytes()[:-200], "truncated or damaged"),
        "infinite.nii": (nifti(tmp_path / "i.nii", infinite, DISPLAY).read_bytes(), "1 NaN and 2 infinite"),
    }
    for name, (data, cause) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CXRReadError, match=cause):
            read_cxr(tmp_path / name)
