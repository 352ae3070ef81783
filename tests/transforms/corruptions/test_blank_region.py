# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scipy.ndimage import distance_transform_edt, gaussian_filter

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.transforms import BlankRegion, BlankRegiond


def film(rows: int = 60, columns: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand(1, rows, columns, generator=torch.Generator().manual_seed(seed))
    lungs = torch.zeros(1, rows, columns, dtype=torch.uint8)
    lungs[0, 15:40, 6:16] = 1
    lungs[0, 15:42, 24:34] = 1
    return image, lungs


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.121])
def test_lungs_and_the_rest_are_complements(margin):
    image, lungs = film()
    inside, outside = (BlankRegion(region, "zero", margin)(image, lungs) for region in ("lungs", "outside_lungs"))
    torch.testing.assert_close(inside + outside, image, rtol=0, atol=0)
    wide = torch.from_numpy(distance_transform_edt(lungs[0].numpy() == 0) <= margin * 60)
    assert torch.equal(inside[0] == 0, wide)
    assert torch.equal(outside[0] == 0, ~wide)


@pytest.mark.parametrize(
    ("region", "extent", "blanked"),
    [
        ("corners", None, lambda y, x: ((y < 12) | (y >= 48)) & ((x < 8) | (x >= 32))),
        ("corners", 0.1, lambda y, x: ((y < 6) | (y >= 54)) & ((x < 4) | (x >= 36))),
        ("border", None, lambda y, x: (y < 6) | (y >= 54) | (x < 4) | (x >= 36)),
        ("border", 1e-6, lambda y, x: (y < 1) | (y >= 59) | (x < 1) | (x >= 39)),
    ],
)
def test_places_of_markers(region, extent, blanked):
    image = film()[0]
    expected = blanked(*np.mgrid[:60, :40])
    np.testing.assert_array_equal(BlankRegion(region, extent=extent).blanked((60, 40)), expected)
    result = BlankRegion(region, "zero", extent=extent)(image)
    np.testing.assert_array_equal(result[0], np.where(expected, 0, image[0]))


@pytest.mark.parametrize("region", ["lungs", "outside_lungs", "corners", "border"])
def test_the_mean_tells_nothing_of_what_is_gone(region):
    image, lungs = film()
    blank = BlankRegion(region)
    gone = torch.from_numpy(blank.blanked((60, 40), lungs))
    other = torch.where(gone, torch.rand(1, 60, 40), image)
    result = blank(image, lungs)
    assert torch.equal(result, blank(other, lungs))
    assert result[0][gone].unique().item() == pytest.approx(image[0][~gone].double().mean().item(), abs=1e-7)
    assert torch.equal(result[0][~gone], image[0][~gone])


def test_blur_equals_scipy():
    image, lungs = film()
    result = BlankRegion("lungs", "blur", margin=0)(image, lungs)
    smooth = gaussian_filter(image[0].numpy().astype(float), 3.0, mode="mirror", truncate=4)
    np.testing.assert_allclose(result[0], np.where(lungs[0] != 0, smooth, image[0]), atol=2e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
def test_kinds_of_image_and_mask(kind):
    image, lungs = film()
    top = np.iinfo(kind).max if np.dtype(kind).kind == "u" else 1
    given = (image.numpy() * top).astype(kind)
    before = given.copy()
    for mask in (lungs, lungs.bool(), lungs.float() * 3, lungs.numpy()):
        result = BlankRegion()(given, mask)
        assert type(result) is torch.Tensor
        assert result.dtype == torch.float32
        assert result.shape == (1, 60, 40)
        torch.testing.assert_close(result, BlankRegion()(image, lungs), rtol=0, atol=1 / 200)
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.uint8])
def test_dictionary_keeps_metadata_and_type(dtype):
    image, lungs = film()
    image = image.to(dtype) if dtype.is_floating_point else (image * 255).to(dtype)
    affine = torch.diag(torch.tensor([2.0, 3, 1, 1], dtype=torch.float64))
    item = {"image": MetaTensor(image, affine=affine, meta={"patient": "x"}), "lung_mask": lungs, "label": 2}
    result = BlankRegiond("image", region="lungs")(item)
    assert isinstance(result["image"], MetaTensor)
    assert result["image"].meta["patient"] == "x"
    assert torch.equal(result["image"].affine, affine)
    assert result["image"].dtype == (dtype if dtype.is_floating_point else torch.float32)
    assert torch.equal(item["image"].as_tensor(), image)
    assert result["label"] == 2
    expected = BlankRegion()(image, lungs).to(result["image"].dtype)
    assert torch.equal(result["image"].as_tensor(), expected)
    array = BlankRegiond("image", region="border")({"image": image.numpy()})["image"]
    assert isinstance(array, np.ndarray)


def test_stands_in_a_config():
    config = {"_target_": "BlankRegiond", "keys": "image", "region": "corners", "fill": "zero", "extent": 0.25}
    config["_target_"] = "monai_cxrssl.transforms.BlankRegiond"
    transform = ConfigParser({"probe": json.loads(json.dumps(config))}).get_parsed_content("probe")
    assert transform({"image": torch.ones(1, 8, 8)})["image"].sum() == 64 - 16


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": "heart"}, "'heart'.*'outside_lungs'"),
        ({"fill": "noise"}, "'noise'.*'mean'"),
        ({"margin": -0.1}, "margin is -0.1"),
        ({"region": "corners", "extent": 0.5}, "extent is 0.5"),
        ({"region": "lungs", "extent": 0.2}, "'lungs' is as large as its mask"),
    ],
)
def test_options_out_of_range(options, words):
    for kind in (BlankRegion, lambda **given: BlankRegiond("image", **given)):
        with pytest.raises(ConfigurationError, match=words):
            kind(**options)


def test_input_that_does_not_fit():
    image, lungs = film()
    for region in ("lungs", "outside_lungs"):
        blank = BlankRegion(region)
        with pytest.raises(DatalistError, match="has none"):
            blank(image)
        with pytest.raises(DatalistError, match="marks no lung"):
            blank(image, torch.zeros_like(lungs))
        with pytest.raises(DatalistError, match=r"\(1, 60, 39\).*\(1, 60, 40\)"):
            blank(image, lungs[..., :39])
    with pytest.raises(DatalistError, match="leave nothing"):
        BlankRegion("lungs")(image, torch.ones_like(lungs))
    with pytest.raises(ValueError, match="NaN"):
        BlankRegion("border")(torch.full((1, 8, 8), torch.nan))
    with pytest.raises(KeyError):
        BlankRegiond("image", region="border")({})
    with pytest.raises(DatalistError, match="has none"):
        BlankRegiond("image")({"image": image})
    assert BlankRegiond("image", region="border", allow_missing_keys=True)({"label": 1}) == {"label": 1}
