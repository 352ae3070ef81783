# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import Rotation
from monai_cxrssl.networks import Encoder


def images(size: int = 5, side: int = 32) -> torch.Tensor:
    return torch.rand(size, 1, side, side, generator=torch.Generator().manual_seed(0))


def build(**options) -> Rotation:
    torch.manual_seed(0)
    return Rotation(Encoder("resnet18"), **options)


@pytest.mark.parametrize(
    ("angles", "copies", "expected"), [((0, 90, 180, 270), None, 4), ((180, 0), None, 2), ((0, 90, 270), 2, 2)]
)
def test_images_are_turned_as_their_class_says(angles, copies, expected):
    data = images()
    turned, classes = build(angles=angles, copies=copies).turn(data)
    assert turned.shape == (5 * expected, 1, 32, 32)
    classes = classes.reshape(5, expected).numpy()
    for sample, row in enumerate(classes):
        assert len(set(row)) == expected
        for copy, label in enumerate(row):
            reference = np.rot90(data[sample, 0].numpy(), angles[label] // 90)  # counter-clockwise, as announced
            np.testing.assert_array_equal(turned[sample * expected + copy, 0].numpy(), reference)


def test_one_copy_takes_every_angle_equally_often():
    _, classes = build(copies=1).turn(torch.zeros(4000, 1, 1, 1))
    counts = np.bincount(classes.numpy(), minlength=4)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)


def test_loss_and_accuracy():
    method = build().eval()
    output = method({"image": images()[:, None]})
    turned, classes = method.turn(images())
    logits = method.classifier(method.network(turned)).detach().double().numpy()
    expected = -log_softmax(logits, axis=1)[np.arange(20), classes.numpy()].mean()
    assert output["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert output["accuracy"].item() == pytest.approx(accuracy_score(classes.numpy(), logits.argmax(1)))
    assert output["embedding"].shape == (20, 512)
    assert not output["embedding"].requires_grad
    assert not output["accuracy"].requires_grad


def test_it_learns_which_way_is_up():
    method = build(copies=1).train()
    optimizer = torch.optim.AdamW(method.parameters(), 1e-3)
    up = images(16) * 0.3
    up[:, :, :12] += 0.6
    for _ in range(30):
        optimizer.zero_grad()
        output = method({"image": up[:, None]})
        output["loss"].backward()
        optimizer.step()
    assert output["accuracy"].item() > 0.9
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_a_resumed_run_draws_the_same_angles(tmp_path):
    first, again = build(copies=1), build(copies=1)
    early = first.turn(images(40))[1]
    torch.save(first.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    following = first.turn(images(40))[1]
    assert torch.equal(again.turn(images(40))[1], following)
    assert not torch.equal(early, following)
    assert torch.equal(build(copies=1).turn(images(40))[1], early)
    assert not torch.equal(build(copies=1, seed=1).turn(images(40))[1], early)


def test_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = build()({"image": images()[:, None]})
    assert output["loss"].dtype == torch.float32
    assert output["loss"].isfinite()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"angles": (0,)}, "angles is"),
        ({"angles": (0, 45)}, "angles is"),
        ({"angles": (0, 90, 90)}, "angles is"),
        ({"copies": 0}, "copies is 0"),
        ({"copies": 3, "angles": (0, 180)}, "copies is 3"),
    ],
)
def test_options_out_of_range(options, word):
    with pytest.raises(ConfigurationError, match=word):
        build(**options)


def test_views_must_be_square():
    with pytest.raises(ConfigurationError, match="32 x 40 px"):
        build()({"image": torch.zeros(2, 1, 1, 40, 32)})
