# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks and thumbnails among pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.errors import DatalistError

from .archive import dicom, grey, indexed, lungs, picture


def labels(side=96):
    mask = lungs(side)
    mask[:, side // 2 :] //= 2
    return mask // 85


MASKS = {
    "masks/0.png": (lungs(), {}),
    "Lung Masks/0.png": (lungs(), {}),
    "0_mask.png": (lungs(), {}),
    "leftMask/0.png": (lungs() > 0, {}),
    "masks/0.jpg": (lungs(), {"quality": 75}),
    "masks/0.tif": (lungs(), {}),
    "masks/0.bmp": (lungs(), {}),
    "masks/sixteen.png": (lungs().astype(np.uint16) * 257, {}),
    "segmentation/labels.png": (labels(), {}),
    "masks/colours.png": (np.stack([lungs(), lungs() // 2, 0 * lungs()], 2), {}),
    "masks/empty.png": (0 * lungs(), {}),
    # Nothing in the name: the two values tell.
    "truth/0.png": (lungs(), {}),
    "truth/0.jpg": (lungs(256), {"quality": 75}),
    "truth/0.bmp": (lungs(256), {}),
    "truth/0.tif": (lungs(256), {}),
    "one.png": (lungs() > 0, {}),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(tmp_path, name):
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.png", grey(number))
    pixels, options = MASKS[name]
    picture(tmp_path / name, pixels, **options)
    films = ["images/0.png", "images/1.png", "images/2.png"]
    assert indexed(tmp_path) == (films, {"mask": 1})
    assert indexed(tmp_path, keep=["mask"])[0] == sorted([*films, name])


def test_masks_in_dicom_and_nifti(tmp_path):
    import nibabel as nib

    dicom(tmp_path / "a.dcm")
    dicom(tmp_path / "masks" / "a.dcm", lungs())
    nib.save(nib.Nifti1Image(lungs(), np.eye(4)), tmp_path / "b_seg.nii.gz")
    nib.save(nib.Nifti1Image(lungs(256), np.eye(4)), tmp_path / "c.nii")
    nib.save(nib.Nifti1Image(grey(4), np.eye(4)), tmp_path / "d.nii.gz")
    assert indexed(tmp_path) == (["a.dcm", "d.nii.gz"], {"mask": 3})


def test_films_that_are_called_masks_stay_and_are_said(tmp_path, caplog):
    films = ["labels/normal/1.png", "masked/0.png", "masks/0.png", "masks/1.jpg"]
    for number, name in enumerate(films):
        picture(tmp_path / name, grey(number))
    cut_out = np.where(lungs(), grey(9), 0).astype(np.uint8)
    picture(tmp_path / "masks" / "2.png", cut_out)
    assert indexed(tmp_path) == ([*films, "masks/2.png"], {})
    assert "ept, though called masks, because they look like images: 4" in caplog.text


def test_few_of_many_masks_are_decoded(tmp_path, monkeypatch):
    from monai_cxrssl.data.sources.chest_film import pixels, select

    for number in range(50):
        picture(tmp_path / "images" / f"{number:02}.png", grey(number))
        picture(tmp_path / "masks" / f"{number:02}.png", lungs())
    decoded = []
    monkeypatch.setattr(select, "is_mask", lambda path, *a: decoded.append(path) or pixels.is_mask(path, *a))
    films, left_out = indexed(tmp_path)
    assert (len(films), left_out) == (50, {"mask": 50})
    assert len(decoded) <= 16
    # Nor are images decoded one by one because a folder above them says segmentation.
    decoded.clear()
    for number in range(50):
        picture(tmp_path / "segmentation set" / f"{number:02}.png", grey(number))
    assert len(indexed(tmp_path)[0]) == 100
    assert len(decoded) <= 32
    # One image that is as small as a mask makes all of them be looked at.
    smooth = np.add.outer(np.arange(96), np.arange(96)).astype(np.uint8)
    picture(tmp_path / "masks" / "00.png", smooth)
    films, left_out = indexed(tmp_path)
    assert "masks/00.png" in films
    assert left_out == {"mask": 49}
    assert len(films) == 101


def test_a_bright_and_a_dark_film_are_no_masks(tmp_path):
    collimated = np.zeros((256, 256), np.uint8)
    collimated[96:160, 96:160] = grey(1, 64)
    picture(tmp_path / "collimated.png", collimated)
    picture(tmp_path / "black.png", np.zeros((96, 96), np.uint8))
    picture(tmp_path / "few_bits.png", grey(2) // 64 * 64)
    assert indexed(tmp_path) == (["black.png", "collimated.png", "few_bits.png"], {})


def test_thumbnails(tmp_path):
    for number in range(4):
        picture(tmp_path / f"p{number}" / "a.png", grey(number, 400))
        picture(tmp_path / f"p{number}" / "thumbs" / "a.jpg", grey(number, 200))
        picture(tmp_path / f"p{number}" / "@eaDir" / "a.png" / "SYNOPHOTO_THUMB_XL.jpg", grey(number, 400))
    picture(tmp_path / "p0" / "a_thumbnail.png", grey(0, 128))
    picture(tmp_path / "p1" / "tiny.png", grey(1, 64))
    picture(tmp_path / "p1" / "small.png", grey(1, 250))
    picture(tmp_path / "previews" / "large.png", grey(2, 400))
    expected = ["p0/a.png", "p1/a.png", "p1/small.png", "p2/a.png", "p3/a.png", "previews/large.png"]
    assert indexed(tmp_path) == (expected, {"thumbnail": 10})
    assert len(indexed(tmp_path, keep=["thumbnail"])[0]) == 16


def test_a_data_set_of_tiny_films_stays(tmp_path):
    for number in range(4):
        picture(tmp_path / "thumbs" / f"{number}.png", grey(number, 28))
    assert len(indexed(tmp_path)[0]) == 4


def test_nothing_but_masks(tmp_path):
    picture(tmp_path / "masks" / "a.png", lungs())
    with pytest.raises(DatalistError, match=r"holds no chest X-ray.*masks: 1.*--keep KIND .mask."):
        indexed(tmp_path)


def test_sizes_of_jpeg_files_are_found_behind_their_metadata(tmp_path):
    picture(tmp_path / "a.jpg", grey(0, 300))
    picture(tmp_path / "b.png", grey(1, 300))
    with Image.open(tmp_path / "a.jpg") as image:
        image.resize((40, 30)).save(tmp_path / "c.jpg", comment=b"x" * 300)
    assert indexed(tmp_path) == (["a.jpg", "b.png"], {"thumbnail": 1})
