# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The reader inside MONAI: loading, batches, and writing back without a transposition."""

from __future__ import annotations

import pickle

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, LoadImage, LoadImaged, Resized, SaveImage, SaveImaged
from PIL import Image

from monai_cxrssl.data import CXRReader, read_cxr
from monai_cxrssl.errors import ConfigurationError, CXRReadError

FILM = np.random.default_rng(0).integers(10, 240, (37, 61), dtype=np.uint8)


@pytest.fixture
def png(tmp_path):
    Image.fromarray(FILM).save(tmp_path / "film.png")
    return tmp_path / "film.png"


@pytest.fixture
def dcm(tmp_path, dicom):
    stored = dicom.stored_film(12, shape=FILM.shape)
    return dicom.save(dicom.make_dicom(stored, 12, "MONOCHROME1"), tmp_path / "film.dcm")


@pytest.mark.parametrize("ensure_channel_first", [False, True])
@pytest.mark.parametrize("kind", ["png", "dcm"])
def test_load_image(request, kind, ensure_channel_first):
    path = request.getfixturevalue(kind)
    expected, _ = read_cxr(path)
    named = LoadImaged(
        keys="image", reader="monai_cxrssl.data.CXRReader", ensure_channel_first=ensure_channel_first, window="none"
    )({"image": str(path)})["image"]
    given = LoadImage(reader=CXRReader(), ensure_channel_first=ensure_channel_first)(path)
    for image in (named, given):
        assert isinstance(image, MetaTensor)
        assert image.shape == (1, *FILM.shape)
        assert image.dtype == torch.float32
        np.testing.assert_array_equal(image[0].numpy(), expected)
        assert tuple(image.meta["spatial_shape"]) == FILM.shape
        assert image.meta["filename_or_obj"] == str(path)
    pickle.loads(pickle.dumps(given))


def test_refused_files_do_not_fall_through_to_stock_readers(tmp_path):
    Image.fromarray(FILM).save(tmp_path / "film.gif")
    with pytest.raises(CXRReadError, match="GIF"):
        LoadImage(reader=CXRReader())(tmp_path / "film.gif")


def test_options_are_checked():
    for options in ({"window": "best"}, {"max_side": 0}, {"max_pixels": 0}, {"converter": None}):
        with pytest.raises(ConfigurationError):
            CXRReader(**options)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_collate(png, dcm, workers):
    data = Dataset([{"image": str(path)} for path in (png, dcm, png)], LoadImaged("image", reader=CXRReader()))
    batch = next(iter(DataLoader(data, batch_size=3, num_workers=workers)))["image"]
    assert batch.shape == (3, 1, *FILM.shape)
    assert batch.meta["patient_id"] == ["", "P7", ""]
    assert [bool(torch.isnan(spacing).all()) for spacing in batch.meta["spacing"]] == [True, False, True]
    one = decollate_batch({"image": batch})[1]["image"]
    assert one.meta["filename_or_obj"] == str(dcm)


@pytest.mark.parametrize("kind", ["png", "dcm"])
@pytest.mark.parametrize("ensure_channel_first", [False, True])
@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("extension", [".png", ".nii.gz", ".nii", ".bmp", ".nrrd", ".mha"])
def test_save_image_writes_untransposed(request, tmp_path, kind, ensure_channel_first, resample, extension):
    path = request.getfixturevalue(kind)
    picture = extension in (".png", ".bmp")
    save = {"scale": 255, "output_dtype": np.uint8} if picture else {}
    chain = Compose(
        [
            LoadImaged("image", reader="monai_cxrssl.data.CXRReader", ensure_channel_first=ensure_channel_first),
            SaveImaged(
                "image",
                output_dir=tmp_path,
                output_postfix="back",
                output_ext=extension,
                separate_folder=False,
                resample=resample,
                print_log=False,
                **save,
            ),
        ]
    )
    image = chain({"image": str(path)})["image"][0].numpy()
    written = tmp_path / f"film_back{extension}"
    if picture:
        with Image.open(written) as back:
            assert back.size == (FILM.shape[1], FILM.shape[0])
            np.testing.assert_array_equal(np.asarray(back), np.rint(image * 255))
    elif ".nii" in extension:
        back = nibabel.load(written)
        assert back.shape == FILM.shape
        np.testing.assert_allclose(back.get_fdata(), image, atol=1e-7)
        # To the patient's left along a row, downwards along a column: upright in a viewer.
        assert nibabel.aff2axcodes(back.affine)[:2] == ("P", "L")
    again, _ = read_cxr(written)
    np.testing.assert_allclose(again, np.rint(image * 255) / 255 if picture else image, atol=1e-6)


def test_a_resized_prediction_is_written_at_the_size_of_its_film(png, tmp_path):
    load = LoadImage(reader=CXRReader())
    item = Resized("image", (20, 20))({"image": load(png)})
    for extension in (".png", ".nii.gz"):
        save = SaveImage(
            tmp_path, "whole", extension, resample=True, separate_folder=False, scale=None, print_log=False
        )
        save((item["image"] > 0.5).to(torch.uint8))
    with Image.open(tmp_path / "film_whole.png") as image:
        assert image.size == (FILM.shape[1], FILM.shape[0])
    assert nibabel.load(tmp_path / "film_whole.nii.gz").shape == FILM.shape


def test_images_of_other_readers_are_written_as_before(png, tmp_path):
    image = LoadImage(ensure_channel_first=True)(png)
    SaveImage(tmp_path, "stock", ".png", separate_folder=False, print_log=False)(image)
    with Image.open(tmp_path / "film_stock.png") as back:
        np.testing.assert_array_equal(np.asarray(back), FILM)
