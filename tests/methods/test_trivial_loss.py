# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import MaskedReconstructionLoss
from monai_cxrssl.methods import RunningMean, TrivialReconstruction


def batches(channels: int = 1, size: tuple[int, int] = (6, 10)) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    images = [torch.rand(count, channels, *size, generator=generator) for count in (5, 3, 7)]
    masks = [torch.rand(len(image), 1, *size, generator=generator) < 0.6 for image in images]
    return images, masks


def reference(seen: np.ndarray, images: np.ndarray, masks: np.ndarray, power: int) -> float:
    """In float64, image by image: the mean of all seen, plus how much brighter the intact pixels are."""
    mean, errors = seen.mean(0), []
    for image, mask in zip(images, np.broadcast_to(masks, images.shape), strict=True):
        brightness = (image - mean)[~mask].mean() if (~mask).any() else 0.0
        errors += list(np.abs(mean + brightness - image)[mask] ** power)
    return float(np.mean(errors))


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_a_float64_reference_over_the_run(norm, power, channels):
    trivial = TrivialReconstruction(MaskedReconstructionLoss(norm)).train()
    images, masks = batches(channels)
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        seen = torch.cat(images[: number + 1]).double().numpy()
        expected = reference(seen, image.double().numpy(), mask.numpy(), power)
        assert trivial(image, mask).item() == pytest.approx(expected, rel=1e-5)


def test_a_brighter_copy_of_the_mean_costs_nothing_and_all_masked_is_the_mean():
    trivial = TrivialReconstruction(MaskedReconstructionLoss()).train()
    image = torch.rand(1, 1, 8, 8) / 2
    mask = torch.rand(2, 1, 8, 8) < 0.5
    assert trivial(torch.cat([image - 0.1, image + 0.1]), mask).item() == pytest.approx(0, abs=1e-6)
    assert trivial.eval()(image + 0.3, torch.ones(1, 1, 8, 8)).item() == pytest.approx(0.3, abs=1e-6)


def test_intact_pixels_alone_say_the_brightness():
    """What is under the mask cannot leak into the answer."""
    trivial = TrivialReconstruction(lambda answer, images, mask: answer).train()
    images, masks = batches()
    trivial(images[0], masks[0])
    changed = torch.where(masks[1], torch.rand(images[1].shape), images[1])
    torch.testing.assert_close(trivial.eval()(images[1], masks[1]), trivial(changed, masks[1]))


def test_the_mean_travels_with_the_state_and_stays_in_evaluation_mode():
    mean, values = RunningMean().train(), torch.rand(9, 2, 4, dtype=torch.float64)
    mean(values[:4])
    again = RunningMean().train()
    again.load_state_dict(mean.state_dict())
    for one in (mean, again):
        torch.testing.assert_close(one(values[4:]).double(), values.mean(0), rtol=0, atol=1e-6)
    assert torch.equal(again.eval()(torch.zeros(3, 2, 4)), mean.mean)
    assert again.count == 9
    torch.testing.assert_close(RunningMean().eval()(values).double(), values.mean(0), rtol=0, atol=1e-6)
    with pytest.raises(ConfigurationError, match="one size"):
        again(torch.zeros(3, 2, 5))
