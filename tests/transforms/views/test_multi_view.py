# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MultiView against slicing, flips, quarter turns, scikit-image, scipy and a float64 intensity formula."""

from __future__ import annotations

import json
import math
import pickle

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import MultiView, ViewParameters, stack_views
from monai_cxrssl.transforms.views.cpu import intensity_table

CPU_AND_BATCH = ["cpu", "batch"]
TYPES = [np.uint8, np.uint16, np.float32]
SHAPES = [(384, 384), (512, 400), (333, 507), (100, 131), (900, 1201)]


def film(shape: tuple[int, int], dtype=np.uint8, texture: float = 0.1) -> np.ndarray:
    """An image-like image (1, H, W): two dark lungs on a bright body, ribs, and fine texture of given strength."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    y, x = rows / shape[0] - 0.5, columns / shape[1] - 0.5
    body = 0.75 * np.exp(-((y / 0.6) ** 4 + (x / 0.45) ** 4))
    lungs = sum(np.exp(-((((x - side) / 0.13) ** 2 + (y / 0.3) ** 2) ** 2)) for side in (-0.2, 0.22))
    picture = body * (1 - 0.7 * lungs) * (1 + 0.1 * np.sin(40 * (y + x * x)))
    noise = np.random.default_rng(1).standard_normal(shape)
    picture = (picture + texture * cv2.GaussianBlur(noise, (0, 0), 1.0)).clip(0, 1)
    picture = picture if dtype == np.float32 else np.rint(picture * np.iinfo(dtype).max)
    return picture.astype(dtype)[None]


def in_unit(image: np.ndarray) -> np.ndarray:
    full = 1.0 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
    return image[0].astype(np.float64) / full


def render(how: str, transform: MultiView, image: np.ndarray, view: ViewParameters) -> np.ndarray:
    """One view through the chosen twin, (h, w)."""
    if how == "cpu":
        return transform.apply(image, view)[0, 0].numpy()
    return transform.apply_batch(torch.from_numpy(image)[None], [view])[0, 0, 0].numpy()


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (ViewParameters(), lambda x: x),
        (ViewParameters(flip=True), np.fliplr),
        (ViewParameters(angle=180), lambda x: np.rot90(x, 2)),
        (ViewParameters(angle=180, flip=True), np.flipud),
    ],
    ids=["identity", "flip", "half-turn", "half-turn-and-flip"],
)
def test_moves_without_interpolation(how, dtype, view, expected):
    image = film((90, 70), dtype)
    result = render(how, MultiView(size=[90, 70]), image, view)
    np.testing.assert_allclose(result, expected(in_unit(image)), atol=2e-5)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (-90, 3), (270, 3), (450, 1)])
def test_quarter_turn_is_rot90(how, angle, turns):
    image = film((81, 81))
    result = render(how, MultiView(size=81), image, ViewParameters(angle=angle))
    np.testing.assert_allclose(result, np.rot90(in_unit(image), turns), atol=2e-5)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
def test_turn_comes_before_flip(how):
    image = film((64, 64))
    result = render(how, MultiView(size=64), image, ViewParameters(angle=90, flip=True))
    np.testing.assert_allclose(result, np.fliplr(np.rot90(in_unit(image))), atol=2e-5)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("top", "left", "height", "width"), [(0, 0, 50, 50), (17, 40, 60, 33), (60, 67, 40, 53)])
def test_crop_is_slicing(how, dtype, top, left, height, width):
    image = film((100, 120), dtype)
    view = ViewParameters((top + height / 2) / 100, (left + width / 2) / 120, height / 100, width / 120)
    result = render(how, MultiView(size=[height, width]), image, view)
    np.testing.assert_allclose(result, in_unit(image)[top : top + height, left : left + width], atol=2e-5)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize(("shape", "size"), [((100, 100), (150, 150)), ((64, 90), (64, 160)), ((300, 260), (224, 224))])
def test_scaling_is_that_of_opencv_and_scikit_image(how, shape, size):
    from skimage.transform import resize

    image = film(shape, np.float32)
    result = render(how, MultiView(size=size), image, ViewParameters())
    inner = slice(2, -2), slice(2, -2)  # at the border those repeat the edge, where a view shows what lies outside
    np.testing.assert_allclose(
        result[inner], cv2.resize(image[0], size[::-1], interpolation=cv2.INTER_LINEAR)[inner], atol=6e-3
    )
    np.testing.assert_allclose(result[inner], resize(image[0], size, order=1, anti_aliasing=False)[inner], atol=6e-3)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize("angle", [12.5, -37.0])
def test_rotation_is_that_of_scikit_image(how, angle):
    from skimage.transform import rotate

    image = film((128, 128), np.float32, texture=0.02)
    result = render(how, MultiView(size=128), image, ViewParameters(angle=angle))
    np.testing.assert_allclose(result, rotate(image[0], angle, order=1, mode="constant"), atol=0.02)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize(
    ("shape", "size", "factor"), [((250, 240), 100, 2), ((403, 390), 100, 4), ((897, 899), 112, 8)]
)
def test_strong_reduction_averages_areas(how, shape, size, factor):
    """Fine noise must average out; plain bilinear sampling at this step keeps most of it."""
    noise = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    result = render(how, MultiView(size=size), noise, ViewParameters())
    plain = cv2.resize(noise[0], (size, size), interpolation=cv2.INTER_LINEAR)
    assert result[4:-4, 4:-4].std() < plain.std() * 1.25 / factor * 2
    np.testing.assert_allclose(result[4:-4, 4:-4].mean(), 0.5, atol=0.01)
    reference = cv2.resize(noise[0], (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(result - reference)[4:-4, 4:-4].mean() < np.abs(plain - reference)[4:-4, 4:-4].mean() / 2


@pytest.mark.parametrize("how", CPU_AND_BATCH)
def test_reduced_view_has_no_shift(how):
    """The reduced source must line up with the full one: compare a turned, off-centre crop with its fine rendering."""
    image = film((1003, 905), np.float32, texture=0.0)
    view = ViewParameters(0.55, 0.47, 0.8, 0.7, angle=23.0, flip=True)
    coarse = render(how, MultiView(size=64), image, view)
    fine = render(how, MultiView(size=512), image, view)
    fine = cv2.resize(fine, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(coarse - fine).mean() < 2e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [224, [96, 150]])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("blur_prob", "fill"), [(0.0, 0.0), (0.5, 0.25)])
def test_cpu_and_batch_agree(shape, size, dtype, blur_prob, fill):
    image = film(shape, dtype)
    transform = MultiView(size=size, num_views=6, blur_prob=blur_prob, fill=fill)
    views = transform.sample(shape, key=(0, 3))
    one = transform.apply(image, views)
    batch = transform.apply_batch(torch.from_numpy(image)[None], [views])
    assert batch.shape == (1, *one.shape)
    difference = (one - batch[0]).abs().flatten()
    assert difference.mean() < 0.005
    assert difference.quantile(0.99) < 0.02


def test_cpu_and_batch_agree_on_real_films(shared_data):
    files = sorted((shared_data / "covid-chestxray-dataset" / "images").iterdir())[::60]
    transform = MultiView(num_views=4, blur_prob=0.3)
    for number, file in enumerate(files):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)[None]
        views = transform.sample(image.shape[1:], key=(1, number))
        difference = (
            transform.apply(image, views) - transform.apply_batch(torch.from_numpy(image)[None], [views])[0]
        ).abs()
        assert difference.mean() < 0.005
        assert difference.flatten()[::3].quantile(0.99) < 0.02


def test_batch_rows_are_independent():
    """Row b of a batch is what the image alone would give, whatever its neighbours."""
    images = np.stack([film((120, 100)), film((120, 100), texture=0.4), film((120, 100))[:, ::-1].copy()])
    transform = MultiView(size=48, num_views=3, blur_prob=0.5)
    views = transform.sample_batch((120, 100), epoch=2, indices=[5, 9, 4])
    assert views.shape == (3, 3, 10)
    together = transform.apply_batch(torch.from_numpy(images), views)
    for row in range(3):
        alone = transform.apply_batch(torch.from_numpy(images[row : row + 1]), views[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)
    # (B, 10): one view for each image.
    torch.testing.assert_close(transform.apply_batch(torch.from_numpy(images), views[:, 1]), together[:, 1:2])


def test_batch_is_exact_under_autocast():
    images = torch.from_numpy(np.stack([film((384, 384))] * 2))
    transform = MultiView(num_views=2, blur_prob=1.0)
    views = transform.sample_batch((384, 384), 0, [0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = transform.apply_batch(images, views)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, transform.apply_batch(images, views))


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("brightness", "contrast", "gamma"),
    [(1, 1, 1), (1.4, 1, 1), (1, 0.6, 1), (1, 1, 0.8), (0.6, 1.4, 1.25), (1.3, 0, 2)],
)
def test_intensity_formula(how, dtype, brightness, contrast, gamma):
    image = film((64, 64), dtype)
    view = ViewParameters(brightness=brightness, contrast=contrast, gamma=gamma)
    expected = np.clip(contrast * (brightness * in_unit(image) ** gamma - 0.5) + 0.5, 0, 1)
    np.testing.assert_allclose(render(how, MultiView(size=64), image, view), expected, atol=3e-6)


@pytest.mark.parametrize("count", [256, 65536])
def test_table_covers_every_value(count):
    view = ViewParameters(brightness=1.2, contrast=0.9, gamma=0.85)
    levels = np.arange(count, dtype=np.float64) / (count - 1)
    expected = np.clip(0.9 * (1.2 * levels**0.85 - 0.5) + 0.5, 0, 1)
    np.testing.assert_allclose(intensity_table(view, count), expected, atol=2e-6)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_is_gaussian(how, sigma):
    from scipy.ndimage import gaussian_filter

    image = film((60, 60), np.float32)
    result = render(how, MultiView(size=60, blur_prob=1.0), image, ViewParameters(blur_sigma=sigma))
    np.testing.assert_allclose(result, gaussian_filter(image[0], sigma, mode="nearest", truncate=4), atol=3e-3)


@pytest.mark.parametrize("how", CPU_AND_BATCH)
@pytest.mark.parametrize("dtype", TYPES)
def test_outside_is_filled(how, dtype):
    image = film((50, 50), dtype)
    view = ViewParameters(center_x=0.0, brightness=0.5)
    result = render(how, MultiView(size=50, fill=0.4), image, view)
    np.testing.assert_allclose(result[:, :24], 0.2, atol=2e-3)  # 0.4, halved with the rest of the image


@pytest.mark.parametrize("view", [ViewParameters(5.0, 5.0), ViewParameters(-3.0, 0.5), ViewParameters(0.5, -9.0)])
@pytest.mark.parametrize("size", [16, 50, 200])
def test_view_beside_the_image_is_fill(view, size):
    image = film((101, 103))
    transform = MultiView(size=size)
    assert not transform.apply(image, view).any()
    assert not transform.apply_batch(torch.from_numpy(image)[None], [view]).any()


@pytest.mark.parametrize("dtype", TYPES)
def test_uint8_output_rounds_the_float_output(dtype):
    image = film((120, 110), dtype)
    options = {"size": 64, "num_views": 3, "blur_prob": 0.0}
    exact, rounded = MultiView(**options), MultiView(**options, return_uint8=True)
    views = exact.sample((120, 110), key=(0, 0))
    for one, other in (
        (exact.apply(image, views), rounded.apply(image, views)),
        (
            exact.apply_batch(torch.from_numpy(image)[None], [views]),
            rounded.apply_batch(torch.from_numpy(image)[None], [views]),
        ),
    ):
        assert other.dtype == torch.uint8
        assert ((one * 255).round() - other).abs().max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
def test_mask_follows_its_image(dtype):
    shape = (240, 200)
    mask = np.zeros((1, *shape), dtype=dtype)
    mask[0, 60:180, 30:90] = 1
    mask[0, 80:200, 110:170] = 1
    transform = MultiView(size=128, num_views=8, jitter_prob=0.0)
    views = transform.sample(shape, key=(0, 0))
    warped = transform.apply_mask(mask, views)
    assert warped.dtype == torch.uint8
    assert warped.shape == (8, 1, 128, 128)
    assert set(warped.unique().tolist()) <= {0, 1}
    as_image = transform.apply(mask.astype(np.float32), views) > 0.5
    assert (warped.bool() == as_image).float().mean() > 0.995
    batch = transform.apply_mask_batch(torch.from_numpy(mask.astype(np.uint8))[None], [views])[0]
    assert batch.dtype == torch.uint8
    assert (warped == batch).float().mean() > 0.998


@pytest.mark.parametrize(
    "kind", ["array", "tensor", "metatensor", "strided", "read-only", "big-endian", "double", "half", "bfloat16"]
)
def test_input_kinds(kind):
    image = film((80, 72))
    scaled = (image / 255.0).astype(np.float64)
    given = {
        "array": image,
        "tensor": torch.from_numpy(image),
        "metatensor": MetaTensor(torch.from_numpy(image.copy())),
        "strided": np.asfortranarray(image),
        "read-only": np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
        "big-endian": (image.astype(np.uint16) * 257).astype(">u2"),
        "double": scaled,
        "half": torch.from_numpy(scaled).half(),
        "bfloat16": torch.from_numpy(scaled).bfloat16(),
    }[kind]
    transform = MultiView(size=32)
    result = transform(given, key=(0, 0))
    assert type(result) is torch.Tensor
    assert result.shape == (2, 1, 32, 32)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, transform(image, key=(0, 0)), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("image", "error", "says"),
    [
        (np.zeros((10, 10), np.uint8), ValueError, r"\(1, H, W\)"),
        (np.zeros((3, 10, 10), np.uint8), ValueError, r"\(3, 10, 10\)"),
        (np.zeros((1, 0, 10), np.uint8), ValueError, "no pixels"),
        (np.full((1, 4, 4), np.nan, np.float32), ValueError, "16 NaN or infinite pixels of 16"),
        (np.full((1, 4, 4), np.inf, np.float32), ValueError, "16 NaN or infinite"),
        (np.full((1, 4, 4), 200.0, np.float32), ValueError, r"expected \[0, 1\]"),
        (np.zeros((1, 4, 4), np.int16), TypeError, "int16"),
        ([[1]], TypeError, "list"),
    ],
)
def test_refused_images(image, error, says):
    with pytest.raises(error, match=says):
        MultiView(size=8)(image)


@pytest.mark.parametrize(
    ("mask", "says"), [(np.full((1, 4, 4), 0.5), "whole labels"), (np.full((1, 4, 4), 300), "0 to 255")]
)
def test_refused_masks(mask, says):
    with pytest.raises(ValueError, match=says):
        MultiView(size=8).apply_mask(mask, ViewParameters())


@pytest.mark.parametrize(
    ("images", "views", "error"),
    [
        (torch.zeros(1, 8, 8), [ViewParameters()], ValueError),
        (torch.zeros(2, 3, 8, 8), [ViewParameters()] * 2, ValueError),
        (torch.zeros(2, 1, 8, 8), [ViewParameters()], ValueError),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 9), ValueError),
        (torch.zeros(1, 1, 8, 8, dtype=torch.int32), [ViewParameters()], TypeError),
    ],
)
def test_refused_batches(images, views, error):
    with pytest.raises(error):
        MultiView(size=8).apply_batch(images, views)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": [10]},
        {"size": "224"},
        {"num_views": 0},
        {"scale": [0, 1]},
        {"scale": [0.5, 1.2]},
        {"scale": 0.5},
        {"ratio": [2, 1]},
        {"rotation": -5},
        {"flip_prob": 1.5},
        {"brightness": [0, 1]},
        {"gamma": [1, math.nan]},
        {"blur_prob": -1},
        {"fill": 2},
        {"seed": -1},
    ],
)
def test_refused_options(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        MultiView(**options)


def test_options_are_plain_json():
    options = json.loads(json.dumps({"size": [96, 128], "scale": [0.3, 1], "ratio": [1, 1], "num_views": 1}))
    assert MultiView(**options)(film((50, 50))).shape == (1, 1, 96, 128)


def test_parameters_are_frozen_and_stack():
    view = ViewParameters(angle=3.0, flip=True)
    with pytest.raises(AttributeError):
        view.angle = 4.0
    assert stack_views(view).shape == (10,)
    assert stack_views([view] * 3).shape == (3, 10)
    stacked = stack_views([[view, view]] * 3)
    assert stacked.shape == (3, 2, 10)
    assert stacked[0, 0].tolist() == list(view.values())


def test_pickle_keeps_everything():
    transform = MultiView(size=40, num_views=3, seed=5)
    transform.set_random_state(3)
    copy = pickle.loads(pickle.dumps(transform))
    image = film((60, 60))
    assert torch.equal(transform(image, key=(1, 2)), copy(image, key=(1, 2)))
    assert torch.equal(transform(image), copy(image))
