# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Which values an encoder is fine-tuned by, and who says so."""

from __future__ import annotations

import pytest

from monai_cxrssl.errors import OptionError
from monai_cxrssl.runs import FineTuningOptions, load_recipes
from monai_cxrssl.runs.recipes.family import EncoderFamily, family_recipe

PLACES = {"output_dir": "out", "model_path": "model.pt"}
VIT = "tu-vit_small_patch16_224"
NARROW = {"embed_dim": 192, "num_heads": 3}


@pytest.fixture
def recipes(repo):
    return load_recipes(repo / "bundles/classification/configs/recipes.json")


@pytest.mark.parametrize(
    ("given", "family", "expected"),
    [
        ({"encoder_name": "resnet18"}, "cnn, from scratch", (1e-3, 3.0, 1.0, 0.0)),
        ({"encoder_name": "densenet121", "encoder_weights": "imagenet"}, "cnn, pretrained", (3e-4, 10.0, 1.0, 0.2)),
        ({"encoder_name": "tu-convnext_tiny", "pretrained": "w.pt"}, "cnn, pretrained", (3e-4, 10.0, 1.0, 0.2)),
        ({"encoder_name": VIT}, "vision transformer, from scratch", (5e-4, 2.0, 1.0, 0.0)),
        ({"encoder_name": VIT, "pretrained": "w.pt"}, "vision transformer, pretrained", (1e-4, 10.0, 0.75, 0.2)),
        ({"encoder_name": "mit_b0", "encoder_weights": "imagenet"}, "transformer, pretrained", (1e-4, 10.0, 0.75, 0.2)),
        ({"encoder_name": "tu-swin_tiny_patch4_window7_224"}, "transformer, from scratch", (5e-4, 2.0, 1.0, 0.0)),
        (
            {"encoder_name": "tu-vit_base_patch16_224", "encoder_weights": "imagenet"},
            "large vision transformer, pretrained", (1e-4, 10.0, 0.55, 0.2),
        ),
        (
            {"encoder_name": "tu-vit_base_patch16_224", "encoder_arguments": NARROW, "pretrained": "w.pt"},
            "vision transformer, pretrained", (1e-4, 10.0, 0.75, 0.2),
        ),
    ],
)  # fmt: skip
def test_recipe_of_an_encoder(recipes, given, family, expected):
    options = FineTuningOptions.resolved({**PLACES, "decoder": "Unet", **given}, recipes)
    assert str(options.family) == family
    names = ("learning_rate", "head_factor", "layer_decay", "linear_probe_first")
    assert tuple(getattr(options, name) for name in names) == expected
    assert (options.optimizer, options.weight_decay, options.clip_grad_norm) == ("adamw", 0.05, 1.0)
    assert options.head_start == ("probe" if options.family.pretrained else "random")
    resolved = options.resolved_recipe
    assert resolved.keys() == family_recipe(options.family).keys()
    assert {origin for _, origin in resolved.values()} == {family}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("probe", 0.0)),
        ({"decoder": "Unet"}, ("probe", 0.2)),
        ({"linear_probe_first": 0.1}, ("random", 0.1)),
        ({"linear_probe_first": 0}, ("probe", 0.0)),
        ({"head_start": "random"}, ("random", 0.2)),
        ({"decoder": "Unet", "learns_labels": False}, ("random", 0.2)),
    ],
)
def test_a_head_is_probed_once(recipes, given, expected):
    """By a regression, or by the steps in which heads learn alone, which are for the decoder where there is one."""
    options = FineTuningOptions.resolved({**PLACES, "encoder_name": VIT, "pretrained": "w.pt", **given}, recipes)
    assert (options.head_start, options.linear_probe_first) == expected


def test_two_probes_of_one_head_are_refused(recipes):
    given = {**PLACES, "encoder_name": VIT, "head_start": "probe", "linear_probe_first": 0.1}
    with pytest.raises(OptionError, match=r"--linear_probe_first 0.1 and --head_start probe both .* leave one out"):
        FineTuningOptions.resolved(given, recipes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"encoder_name": VIT}, 0.1),
        ({"encoder_name": VIT, "pretrained": "w.pt"}, 0.2),
        ({"encoder_name": VIT, "drop_path": 0}, 0.0),
        ({"encoder_name": VIT, "encoder_arguments": {"drop_path_rate": 0.3}}, None),
        ({"encoder_name": "mit_b0", "encoder_weights": "imagenet"}, None),
        ({"encoder_name": "resnet18"}, None),
    ],
)
def test_depth_is_stochastic_where_the_encoder_has_it(recipes, given, expected):
    options = FineTuningOptions.resolved({**PLACES, **given}, recipes)
    assert options.drop_path == expected
    assert options.start["drop_path"] == expected


def test_what_is_typed_wins_and_is_said(recipes):
    given = {**PLACES, "encoder_name": VIT, "pretrained": "w.pt", "learning_rate": 3e-4, "linear_probe_first": 0}
    of_recipe = {"full": {**recipes["full"], "jitter": 0.4}, "short": {**recipes["short"], "jitter": 0.1}}
    options = FineTuningOptions.resolved(given, of_recipe)
    resolved = options.resolved_recipe
    assert resolved["learning_rate"] == (3e-4, "given")
    assert resolved["linear_probe_first"] == (0.0, "given")
    assert resolved["jitter"] == (0.1, "short recipe")
    assert resolved["layer_decay"] == (0.75, "vision transformer, pretrained")


def test_the_width_of_weights_of_their_own_arguments_counts(tmp_path):
    from monai_cxrssl.handlers.model_files import write_model
    from monai_cxrssl.networks import Encoder
    from monai_cxrssl.networks.description import described_encoder

    name = "tu-vit_base_patch16_224"
    network = Encoder(name, encoder_arguments=NARROW)
    write_model(network, tmp_path / "model.pt", {**described_encoder(network), "image_size": 64}, None)
    assert not EncoderFamily.of(name, weights=str(tmp_path / "model.pt")).large
    assert EncoderFamily.of(name, weights=str(tmp_path / "no.pt")).large


def test_what_no_network_is_built_of_is_left_to_the_network():
    assert not EncoderFamily.of("tu-vit_base_patch16_224", {"patch_size": "x"}).large
    assert EncoderFamily.of("resnet19").architecture == "cnn"


def test_steps_and_epochs_are_one_too_many(recipes):
    with pytest.raises(OptionError, match="--max_steps 9 and --max_epochs 3 both say how long"):
        FineTuningOptions.resolved({**PLACES, "max_steps": 9, "max_epochs": 3}, recipes)
