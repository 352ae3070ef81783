# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Trivial losses against counts by hand, and the order that they give."""

from __future__ import annotations

import math

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import Jigsaw, MICLe, MoCo, Rotation, SimCLR, easiest_first, task_difficulty
from monai_cxrssl.networks import Encoder
from tests.methods.small_encoder import SmallEncoder, views


def test_a_classifier_that_knows_nothing_has_the_log_of_the_classes():
    batch = {"image": torch.rand(4, 1, 1, 64, 64)}
    assert Rotation(SmallEncoder())(batch)["trivial_loss"].item() == pytest.approx(math.log(4))
    assert Rotation(SmallEncoder(), angles=(0, 180))(batch)["trivial_loss"].item() == pytest.approx(math.log(2))
    puzzles = Jigsaw(Encoder("resnet18"), permutations=30)(batch)
    assert puzzles["trivial_loss"].item() == pytest.approx(math.log(30))
    assert not puzzles["trivial_loss"].requires_grad


@pytest.mark.parametrize("kind", [SimCLR, MICLe])
def test_of_images_that_look_alike_each_candidate_is_as_good(kind):
    """Patients 0, 0, 1, 2: six views of others and the own twin for the first two, one more each for the rest."""
    batch = {**views(4, 0), "patient": torch.tensor([0, 0, 1, 2])}
    expected = (2 * math.log(1 + 4) + 2 * math.log(1 + 6)) / 4
    assert kind(SmallEncoder())(batch)["trivial_loss"].item() == pytest.approx(expected)
    unmasked = kind(SmallEncoder(), mask_same_patient=False)(batch)["trivial_loss"].item()
    assert unmasked == pytest.approx(math.log(2 * 4 - 1))


def test_of_a_queue_only_filled_places_of_others_count():
    method = MoCo(SmallEncoder(), queue_length=10, projection_channels=4, projection_layers=1).train()
    method({**views(3, 0), "patient": torch.tensor([0, 1, 5])})
    method.after_step(0.5)
    output = method({**views(2, 1), "patient": torch.tensor([0, 9])})
    assert output["trivial_loss"].item() == pytest.approx((math.log(1 + 2) + math.log(1 + 3)) / 2)


def test_difficulty_is_the_share_of_the_trivial_loss():
    assert task_difficulty("a", {"loss": 0.3, "trivial_loss": 1.5}) == pytest.approx(0.2)
    mixed = {"loss": 3.0, "reconstruction_loss": 0.1, "trivial_loss": 0.125}
    assert task_difficulty("spcxr", mixed) == pytest.approx(0.8)
    assert easiest_first({"moco": 0.9, "rotation": 0.4, "jigsaw": 0.9}) == ["rotation", "moco", "jigsaw"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"loss": 1.0}, "'byol' says no loss of a trivial answer"),
        ({"loss": 1.0, "trivial_loss": 0.0}, "Raise --batch_size"),
        ({"loss": 1.0, "trivial_loss": math.nan}, "is nan"),
    ],
)
def test_what_cannot_be_compared_is_refused(row, message):
    with pytest.raises(ConfigurationError, match=message):
        task_difficulty("byol", row)
