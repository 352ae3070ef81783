# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ResizeCXR against area averages, OpenCV and slicing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta
from monai.transforms import Compose, Invertd
from scipy import ndimage

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import ResizeCXR, ResizeCXRd

AFFINE = np.array([[0.0, -0.2, 0, 7], [-0.3, 0, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]])


def noise(shape, dtype=np.uint8):
    values = np.random.default_rng(0).random((1, *shape))
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else (values * np.iinfo(dtype).max).astype(dtype)


def in_unit(image):
    return image[0].astype(np.float64) / (1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
def test_whole_number_reduction_is_the_block_mean(dtype, mode):
    image = noise((96, 64), dtype)
    result = ResizeCXR([24, 16], mode=mode)(image)
    assert result.shape == (1, 24, 16)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result[0], in_unit(image).reshape(24, 4, 16, 4).mean((1, 3)), atol=2e-6)


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
def test_same_size_changes_nothing(mode):
    image = noise((33, 33))
    np.testing.assert_allclose(ResizeCXR(33, mode=mode)(image)[0], in_unit(image), atol=1e-7)


@pytest.mark.parametrize(("shape", "top", "left"), [((80, 40), 0, 10), ((40, 80), 10, 0)])
def test_pad_keeps_proportions(shape, top, left):
    image = noise(shape)
    result = ResizeCXR(40, mode="pad", fill=0.5)(image)[0]
    inner = (40, 20) if left else (20, 40)
    part = result[top : top + inner[0], left : left + inner[1]]
    expected = in_unit(image).reshape(inner[0], 2, inner[1], 2).mean((1, 3))
    np.testing.assert_allclose(part, expected, atol=2e-6)
    outside = torch.ones(40, 40, dtype=torch.bool)
    outside[top : top + inner[0], left : left + inner[1]] = False
    assert (result[outside] == 0.5).all()


@pytest.mark.parametrize("shape", [(80, 40), (40, 80)])
def test_crop_takes_the_middle(shape):
    image = noise(shape)
    middle = in_unit(image)[20:60] if shape[0] == 80 else in_unit(image)[:, 20:60]
    np.testing.assert_allclose(
        ResizeCXR(20, mode="crop")(image)[0], middle.reshape(20, 2, 20, 2).mean((1, 3)), atol=2e-6
    )


def test_enlarging_interpolates():
    image = noise((20, 30), np.float32)
    expected = cv2.resize(image[0], (90, 60), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(ResizeCXR([60, 90], mode="stretch")(image)[0], expected, atol=1e-6)
    # One axis shrinks and the other grows: averages along one, interpolation along the other.
    mixed = ResizeCXR([10, 90], mode="stretch")(image)[0]
    halved = image[0].reshape(10, 2, 30).mean(1)
    np.testing.assert_allclose(mixed, cv2.resize(halved, (90, 10), interpolation=cv2.INTER_LINEAR), atol=1e-6)


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 512), (512, 5), (301, 299), (2000, 1703)])
def test_any_shape(mode, shape):
    result = ResizeCXR(64, mode=mode)(noise(shape))
    assert result.shape == (1, 64, 64)
    assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
def test_mask_stays_binary_and_aligned(mode):
    mask = np.zeros((1, 200, 150), np.uint8)
    mask[0, 50:150, 30:120] = 1
    result = ResizeCXRd("image", size=64, mode=mode, mask_keys="mask")({"image": mask.astype(np.float32), "mask": mask})
    assert result["mask"].dtype == torch.uint8
    assert set(result["mask"].unique().tolist()) == {0, 1}
    assert ((result["image"] > 0.5) == result["mask"].bool()).float().mean() > 0.97


def test_dictionary():
    item = {"image": MetaTensor(torch.from_numpy(noise((30, 40)))), "label": 2}
    result = ResizeCXRd("image", size=16, allow_missing_keys=True, mask_keys="mask")(item)
    assert isinstance(result["image"], MetaTensor)
    assert result["label"] == 2
    with pytest.raises(KeyError, match="no 'mask'"):
        ResizeCXRd("image", size=16, mask_keys="mask")(item)


@pytest.mark.parametrize("options", [{"size": -1}, {"mode": "squash"}, {"fill": -0.1}])
def test_refused_options(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ResizeCXR(**options)


def test_refused_image():
    with pytest.raises(ValueError, match="expected"):
        ResizeCXR(8)(np.zeros((8, 8), np.uint8))


def smooth(shape):
    """A blob with a soft edge, off the centre, that ends before the border of the image."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    distance = np.hypot((rows / shape[0] - 0.45) / 0.25, (columns / shape[1] - 0.55) / 0.2)
    return np.clip(2 - 2 * distance, 0, 1).astype(np.float32)[None]


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((96, 64), [48, 32]), ((200, 157), 64), ((157, 200), 64), ((50, 40), 80), ((131, 128), [64, 80])],
)
def test_what_was_resized_comes_back_in_place(mode, shape, size):
    image = smooth(shape)
    resize = ResizeCXR(size, mode=mode, fill=1.0)
    back = resize.invert(resize(image), shape)
    assert back.shape == (1, *shape)
    assert back.dtype == torch.float32
    kept = np.ones(shape, dtype=bool)
    if mode == "crop":
        height, width = resize.size
        rows, columns = min(shape[0], shape[1] * height / width), min(shape[1], shape[0] * width / height)
        row, column = np.abs(np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5 - np.array(shape)[:, None, None] / 2)
        kept = (row < rows / 2 - 1) & (column < columns / 2 - 1)
        assert (back[0].numpy()[(row > rows / 2 + 1) | (column > columns / 2 + 1)] == 0).all()
    assert np.abs(back.numpy() - image)[0, kept].max() < 0.12
    # A shift of half a pixel of the image would show in the centre of mass.
    if mode != "crop":
        for values, length in zip(np.nonzero(np.ones(shape)), shape, strict=True):
            centres = [np.average(values, weights=part[0].ravel()) for part in (back.numpy(), image)]
            assert abs(centres[0] - centres[1]) < 0.25, length


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
def test_a_plane_of_the_same_size_comes_back_as_it_is(mode):
    image = noise((33, 33), np.float32)
    resize = ResizeCXR(33, mode=mode)
    np.testing.assert_array_equal(resize.invert(resize(image), (33, 33)), image.clip(0, 1))


def test_padding_is_cut_off_as_it_was_given():
    # The margins are those of the copy that was padded, which rounding makes differ from those of the image.
    resize = ResizeCXR(40, fill=1.0)
    for decoded in ((33, 13), (13, 33)):
        drawn = resize(np.zeros((1, *decoded), np.uint8))
        shape = (decoded[0] * 8 + 3, decoded[1] * 8 + 5)
        assert (resize.invert(drawn, shape, decoded) == 0).all()
        assert resize.invert(1 - drawn, shape, decoded).min() == 1


def test_a_plane_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 3, 4\); expected \(1, 4, 3\)"):
        ResizeCXR([4, 3]).invert(torch.zeros(1, 3, 4), (8, 8))


MODES = ["pad", "stretch", "crop"]
SHAPES = [((96, 64), [48, 32]), ((200, 157), 64), ((157, 200), 64), ((50, 40), 80), ((131, 128), [64, 80])]


def with_metadata(pixels):
    meta = {"affine": torch.from_numpy(AFFINE), "spacing": np.array([0.3, 0.2]), "filename_or_obj": "film"}
    return MetaTensor(torch.as_tensor(pixels), meta=meta)


def centre_in_mm(plane, affine):
    """Where the centre of mass of a picture lies."""
    row, column = ndimage.center_of_mass(plane)
    return affine @ [row, column, 0, 1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_the_affine_is_that_of_the_new_grid(mode, shape, size):
    image = with_metadata(smooth(shape))
    resize = ResizeCXR(size, mode=mode)
    result = resize(image)
    assert torch.equal(result.as_tensor(), resize(image.as_tensor())), "metadata change no pixel"
    if mode != "crop":  # which cuts a part of the blob off
        found = centre_in_mm(result[0].numpy(), result.affine.numpy())
        # A tenth of a pixel of the image.
        np.testing.assert_allclose(found, centre_in_mm(smooth(shape)[0], AFFINE), atol=0.03)
    rows, columns = (np.array(shape) / resize.size).tolist()
    step = {"pad": max(rows, columns), "crop": min(rows, columns)}.get(mode)
    expected = [0.3 * (step or rows), 0.2 * (step or columns)]
    np.testing.assert_allclose(result.meta["spacing"], expected, rtol=0.02)
    np.testing.assert_allclose(result.pixdim[:2], expected, rtol=0.02)
    # The middle stays in the middle but for the half pixels that whole margins cost.
    middles = [
        grid @ [*((np.array(part) - 1) / 2), 0, 1]
        for grid, part in ((AFFINE, shape), (result.affine.numpy(), resize.size))
    ]
    assert np.abs(middles[0] - middles[1]).max() <= 0.51 * max(*expected, 0.3)
    assert result.meta["filename_or_obj"] == "film"
    assert image.applied_operations == []
    np.testing.assert_array_equal(image.affine, AFFINE)
    np.testing.assert_array_equal(image.meta["spacing"], [0.3, 0.2])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_invertd_brings_images_masks_and_predictions_back(mode, shape, size):
    image = smooth(shape)
    lungs = (image > 0.5).astype(np.uint8)
    chain = Compose([ResizeCXRd("image", size=size, mode=mode, mask_keys="mask", fill=0.25)])
    item = chain({"image": with_metadata(image), "mask": with_metadata(lungs)})
    item["pred"] = item["image"] > 0.5
    item["probability"] = torch.cat([item["image"], 1 - item["image"]]).half()
    back = Invertd(["pred"], chain, orig_keys="image")(item)
    back = Invertd(["probability"], chain, orig_keys="image", nearest_interp=False)(back)
    back |= chain.inverse({key: item[key] for key in ("image", "mask")})
    assert [back[key].dtype for key in ("image", "mask", "pred", "probability")] == [
        torch.float32,
        torch.uint8,
        torch.bool,
        torch.float16,
    ]
    assert back["probability"].shape == (2, *shape)
    torch.testing.assert_close(back["image"].as_tensor(), ResizeCXR(size, mode).invert(item["image"], shape))
    torch.testing.assert_close(
        back["probability"][:1].float().as_tensor(), back["image"].as_tensor(), atol=1e-3, rtol=0
    )
    kept = np.ones(shape, bool)
    if mode == "crop":
        height, width = ResizeCXR(size).size
        limits = min(shape[0], shape[1] * height / width), min(shape[1], shape[0] * width / height)
        row, column = np.abs(np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5 - np.array(shape)[:, None, None] / 2)
        kept = (row < limits[0] / 2 - 1) & (column < limits[1] / 2 - 1)
    # One pixel of the coarser of the two grids.
    reach = int(np.ceil(max(1, *(np.array(shape) / ResizeCXR(size).size))))
    square = np.ones((2 * reach + 1, 2 * reach + 1), bool)
    least, most = ndimage.binary_erosion(lungs[0], square), ndimage.binary_dilation(lungs[0], square)
    for key in ("image", "mask", "pred"):
        assert back[key].shape == (1, *shape)
        torch.testing.assert_close(back[key].affine.numpy(), AFFINE)
        np.testing.assert_allclose(back[key].meta["spacing"], [0.3, 0.2])
        assert back[key].applied_operations == []
        drawn = back[key][0].float().numpy() > 0.5
        assert not (drawn & ~most)[kept].any(), key
        assert not (least & ~drawn)[kept].any(), key


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32])
def test_masks_that_were_enlarged_come_back_exactly(mode, dtype):
    labels = np.random.default_rng(0).integers(0, 2, (1, 30, 20)).astype(np.uint8)
    resize = ResizeCXR({"pad": [90, 130], "stretch": [90, 100], "crop": [60, 40]}[mode], mode=mode)
    back = resize.inverse(resize.apply_mask(with_metadata(labels)).to(dtype))
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, labels)


def test_what_has_no_record_cannot_be_brought_back():
    resize = ResizeCXR(16)
    with pytest.raises(TypeError, match="holds no record"):
        resize.inverse(resize(smooth((20, 30))))
    with pytest.raises(ValueError, match="empty 'applied_operations'"):
        resize.inverse(with_metadata(smooth((16, 16))))
    drawn = resize(with_metadata(smooth((20, 30))))
    with pytest.raises(ValueError, match=r"\(1, 3, 16\)"):
        resize.inverse(drawn[:, :3])
    with pytest.raises(KeyError, match="no 'image'"):
        ResizeCXRd("image", size=16).inverse({})
    with pytest.raises(RuntimeError, match="ResizeCXR"):
        ResizeCXR(16).inverse(drawn)


def test_without_tracking_the_result_is_plain():
    set_track_meta(False)
    try:
        assert type(ResizeCXR(16)(with_metadata(smooth((20, 30))))) is torch.Tensor
    finally:
        set_track_meta(True)
