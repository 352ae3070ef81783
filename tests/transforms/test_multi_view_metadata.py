# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MultiViewd on MetaTensors: each view's affine and the way back to the image, against SciPy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor, decollate_batch
from monai.transforms import Compose, Invertd
from scipy import ndimage

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import MultiViewd

AFFINE = np.array([[0.0, -0.2, 0, 7], [-0.3, 0, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]])
#: Views of pure geometry, since SciPy shall compute the same.
PLAIN = {"jitter_prob": 0.0, "scale": [0.5, 1.0]}


def film(shape=(80, 72), name="film"):
    pixels = cv2.GaussianBlur(np.random.default_rng(0).random(shape), (0, 0), 3)
    pixels = cv2.normalize(pixels, None, 0.05, 0.95, cv2.NORM_MINMAX).astype(np.float32)[None]
    meta = {"affine": torch.from_numpy(AFFINE), "spacing": np.array([0.3, 0.2]), "filename_or_obj": name}
    return MetaTensor(torch.from_numpy(pixels), meta=meta)


def index_map(view):
    """(row, column, 0, 1) of the view to those of the image, by their places in millimetres."""
    return np.linalg.inv(AFFINE) @ view.affine.numpy()


def resampled(image, view):
    matrix = index_map(view)
    return ndimage.affine_transform(image[0].numpy(), matrix[:2, :2], matrix[:2, 3], view.shape[-2:], order=1)


def test_every_view_lies_where_its_affine_says():
    image = film()
    views = MultiViewd("image", size=[60, 50], num_views=8, **PLAIN).set_random_state(0)({"image": image})["image"]
    assert views.shape == (8, 1, 60, 50)
    assert views.affine.shape == (8, 4, 4)
    flips = set()
    for view in views:
        assert isinstance(view, MetaTensor)
        expected = resampled(image, view)
        # OpenCV rounds the place of a sample to 1/32 of a pixel; SciPy leaves out the half pixel beyond the border.
        inside = ndimage.minimum_filter(expected, 3) > 0
        np.testing.assert_allclose(view[0].numpy()[inside], expected[inside], atol=0.01)
        assert inside.mean() > 0.5
        sides = np.linalg.norm(view.affine.numpy()[:3, :2], axis=0)
        np.testing.assert_allclose(view.meta["spacing"], sides)
        flips.add(bool(np.linalg.det(index_map(view)[:2, :2]) < 0))
    assert flips == {True, False}
    assert image.applied_operations == []
    np.testing.assert_array_equal(image.affine, AFFINE)


def test_views_collate_and_come_apart_again():
    chain = Compose([MultiViewd("image", size=16)]).set_random_state(0)
    items = [chain({"image": film(name=name)}) for name in "abc"]
    batch = next(iter(DataLoader(items, batch_size=3, num_workers=0)))
    assert batch["image"].shape == (3, 2, 1, 16, 16)
    assert batch["image"].affine.shape == (3, 2, 4, 4)
    for item, part in zip(items, decollate_batch(batch), strict=True):
        torch.testing.assert_close(part["image"].as_tensor(), item["image"].as_tensor())
        torch.testing.assert_close(part["image"].affine, item["image"].affine)
        assert part["image"].meta["filename_or_obj"] == item["image"].meta["filename_or_obj"]


@pytest.mark.parametrize("seed", range(4))
def test_one_view_comes_back_to_the_film(seed):
    image = film()
    mask = (ndimage.gaussian_filter(image[0].numpy(), 4) > 0.5)[None]
    chain = Compose([MultiViewd("image", mask_keys="mask", size=160, num_views=1, view_axis=False, **PLAIN)])
    item = chain.set_random_state(seed)(
        {"image": image, "mask": MetaTensor(torch.from_numpy(mask), affine=image.affine)}
    )
    assert item["image"].shape == item["mask"].shape == (1, 160, 160)
    item["pred"] = torch.cat([item["mask"], 1 - item["mask"]]).long()
    item["seen"] = MetaTensor(torch.ones_like(item["mask"].as_tensor()))
    # Where the image lies within the view; a pixel of the view is at most half of one of the image's.
    matrix = np.linalg.inv(index_map(item["image"]))
    row, column = np.mgrid[0:80, 0:72]
    y, x = (matrix[k, 0] * row + matrix[k, 1] * column + matrix[k, 3] for k in (0, 1))
    well = (y > 2) & (y < 157) & (x > 2) & (x < 157)
    out = (y < -1) | (y > 160) | (x < -1) | (x > 160)
    back = Invertd(["pred", "seen"], chain, orig_keys="image")(item) | chain.inverse(
        {key: item[key] for key in ("image", "mask")}
    )
    assert back["pred"].shape == (2, 80, 72)
    assert back["pred"].dtype == torch.int64
    inner = well & ndimage.binary_erosion(np.ones((80, 72), bool), iterations=1)
    np.testing.assert_allclose(back["image"][0].numpy()[inner], image[0].numpy()[inner], atol=0.03)
    # To one pixel of the image.
    square = np.ones((3, 3), bool)
    least, most = ndimage.binary_erosion(mask[0], square), ndimage.binary_dilation(mask[0], square)
    for drawn in (back["mask"][0].numpy() > 0, back["pred"][0].numpy() > 0):
        assert not (drawn & ~most).any()
        assert not (least & ~drawn)[inner].any()
    assert back["seen"][0].numpy()[well].all()
    assert not back["seen"][0].numpy()[out].any()
    for key in ("image", "mask", "pred"):
        torch.testing.assert_close(back[key].affine.numpy(), AFFINE)
        assert back[key].applied_operations == []
    np.testing.assert_allclose(back["image"].meta["spacing"], [0.3, 0.2])


@pytest.mark.parametrize(("angle", "flip"), [(0.0, 0.0), (0.0, 1.0)])
def test_a_whole_view_comes_back_exactly(angle, flip):
    image = film((64, 64))
    options = {"scale": [1, 1], "ratio": [1, 1], "rotation": angle, "flip_prob": flip, "jitter_prob": 0.0}
    chain = Compose([MultiViewd("image", size=64, num_views=1, view_axis=False, **options)])
    for nearest in (True, False):
        back = Invertd("image", chain, nearest_interp=nearest)(chain({"image": image}))["image"]
        torch.testing.assert_close(back.as_tensor(), image.as_tensor(), atol=1e-6, rtol=0)


def test_refused():
    with pytest.raises(ConfigurationError, match="view_axis is off with 2 views"):
        MultiViewd("image", view_axis=False)
    several = MultiViewd("image", size=16)
    with pytest.raises(ConfigurationError, match="no inverse"):
        several.inverse(several({"image": film()}))
    one = MultiViewd("image", size=16, num_views=1, view_axis=False)
    with pytest.raises(TypeError, match="holds no record"):
        one.inverse(one({"image": film().as_tensor()}))
    with pytest.raises(ValueError, match="the view had"):
        one.inverse({"image": one({"image": film()})["image"][:, :4]})
    with pytest.raises(KeyError, match="no 'image'"):
        one.inverse({"other": 1})
