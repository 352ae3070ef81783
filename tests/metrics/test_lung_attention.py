# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from sklearn.metrics import jaccard_score

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics import (
    ResamplingPlan,
    attention_above_chance,
    lung_area_fraction,
    pointing_game,
    positive_fraction_of_saliency,
    saliency_iou,
)

FIGURES = [positive_fraction_of_saliency, pointing_game, saliency_iou]


def maps(films: int = 5, rows: int = 11, columns: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (films, 1, rows, columns)
    return random.exponential(size=shape), random.random(shape) < 0.3


@pytest.mark.parametrize("height", [1.0, 1e-300, 1e300, 7])
def test_share_of_a_constant_map_is_the_lung_area(height):
    lungs = maps()[1]
    share = positive_fraction_of_saliency(np.full(lungs.shape, height), lungs)
    np.testing.assert_allclose(share, lung_area_fraction(lungs), rtol=1e-12)
    np.testing.assert_allclose(share, lungs.reshape(5, -1).mean(1), rtol=1e-12)


def test_equal_float64_references():
    saliency, lungs = maps()
    share, points = positive_fraction_of_saliency(saliency, lungs), pointing_game(saliency, lungs)
    overlap = saliency_iou(saliency, lungs, 0.7)
    for film in range(5):
        flat, lung = saliency[film].ravel(), lungs[film].ravel()
        assert share[film] == pytest.approx(flat[lung].sum() / flat.sum(), rel=1e-12)
        assert points[film] == lung[flat.argmax()]
        assert overlap[film] == pytest.approx(jaccard_score(lung, flat > np.quantile(flat, 0.7)), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.uint8])
@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.uint8, torch.float32])
def test_kinds_of_input(dtype, mask_dtype):
    saliency = torch.randint(0, 100, (3, 1, 6, 5), generator=torch.Generator().manual_seed(0))
    lungs = torch.arange(30).reshape(1, 1, 6, 5).expand(3, 1, 6, 5) % 3 == 0
    for figure in FIGURES:
        expected = figure(saliency.numpy(), lungs.numpy())
        for given in (saliency.to(dtype), MetaTensor(saliency.to(dtype))):
            found = figure(given, lungs.to(mask_dtype) * 2)
            assert type(found) is torch.Tensor
            assert found.dtype == torch.float64
            assert found.shape == (3,)
            np.testing.assert_array_equal(found, expected)


def test_without_an_answer():
    saliency, lungs = maps(6)
    saliency[0] = 0
    lungs[1] = False
    saliency[2, 0, 3, 3] = np.nan
    saliency[3, 0, 3, 3] = np.inf
    saliency[4] = 0.5
    for figure in FIGURES:
        unknown = [True, True, True, True, figure is not positive_fraction_of_saliency, False]
        np.testing.assert_array_equal(np.isnan(figure(saliency, lungs)), unknown)
    np.testing.assert_array_equal(np.isnan(lung_area_fraction(lungs)), [False, True, *[False] * 4])


def test_ties():
    lungs = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]).reshape(1, 1, 2, 5)
    shared = np.array([9, 9, 0, 9, 9, 0, 0, 0, 0, 0]).reshape(1, 1, 2, 5)
    assert pointing_game(shared, lungs)[0] == 0.5
    # The top plateau (four of ten) is larger than a tenth, and is taken whole.
    assert saliency_iou(shared, lungs, 0.9)[0] == pytest.approx(2 / 5)
    # Three quarters are 0: no pixel of 0 counts as salient, whatever the quantile.
    assert saliency_iou(shared, lungs, 0.1)[0] == pytest.approx(2 / 5)


def test_input_that_does_not_fit():
    saliency, lungs = maps()
    with pytest.raises(DatalistError, match=r"down to -2.*ReLU"):
        positive_fraction_of_saliency(np.where(lungs, -2.0, saliency), lungs)
    with pytest.raises(DatalistError, match=r"\(5, 1, 11, 7\).*\(5, 1, 11, 6\)"):
        pointing_game(saliency, lungs[..., :6])
    with pytest.raises(DatalistError, match=r"\(5, 11, 7\)"):
        lung_area_fraction(lungs[:, 0])
    with pytest.raises(ConfigurationError, match="quantile is 1.5"):
        saliency_iou(saliency, lungs, 1.5)


@pytest.mark.parametrize(
    ("shift", "above", "words"),
    [(0.1, True, "is above chance"), (0.0, False, "is not above chance:"), (-0.1, False, "looks elsewhere")],
)
def test_verdict(shift, above, words):
    random = np.random.default_rng(1)
    area = random.uniform(0.2, 0.3, 60)
    patient = np.arange(60) // 2
    pfs = area + shift + 0.01 * random.normal(size=60)
    pfs[:10] = np.nan
    if not shift:
        pfs[10:] -= np.mean(pfs[10:] - area[10:])
    found = attention_above_chance(pfs, area, patient, plan=ResamplingPlan(200))
    assert found.above_chance is above
    assert words in found.text
    assert (found.images, found.patients) == (50, 25)
    assert found.difference.value == pytest.approx(found.pfs - found.area)
    assert found.difference.ci_low < found.difference.value < found.difference.ci_high
    assert f"{found.pfs:.0%}" in found.text


@pytest.mark.parametrize(
    ("pfs", "patients", "words"),
    [([np.nan] * 12, 12, "no image has one"), ([0.5] * 12, 1, "only 1 patients"), ([0.5] * 12, 5, "only 5 patients"), ([], 0, "no image")],
)  # fmt: skip
def test_not_assessable(pfs, patients, words):
    found = attention_above_chance(pfs, [0.2] * len(pfs), [f"p{n % patients}" for n in range(len(pfs))])
    assert found.above_chance is None
    assert found.text.startswith("Not assessable")
    assert words in found.text
    assert np.isnan(found.difference.ci_low)


def test_verdict_of_unequal_lengths():
    with pytest.raises(DatalistError, match=r"\(2,\).*\(1,\)"):
        attention_above_chance([0.1, 0.2], [0.1], ["a", "b"])


def test_chance_is_rarely_called_attention():
    """Maps without a preference pass for attention on the lungs in about 2.5 % of studies, one tail of 5 %."""
    random = np.random.default_rng(0)
    called = 0
    for _ in range(200):
        of_patient = np.repeat(random.normal(scale=0.05, size=25), 2)
        pfs = 0.3 + of_patient + random.normal(scale=0.02, size=50)
        called += attention_above_chance(
            pfs, np.full(50, 0.3), np.arange(50) // 2, plan=ResamplingPlan(200)
        ).above_chance
    assert called <= 15
