# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Sine-cosine positions, random weights and stochastic depth against float64 formulas and timm."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import timm
import torch
from timm.layers import DropPath

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, MultiTaskNet
from monai_cxrssl.networks.parts.positions import positions_of, sincos_positions

VIT = "tu-vit_tiny_patch16_224"
SMALL = {"img_size": 64, "embed_dim": 48, "num_heads": 3}


def reference(channels: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """One number at a time, in float64: half of the channels for the column, half for the row; sines, then cosines."""
    table = np.zeros((len(rows) * len(columns), channels))
    quarter = channels // 4
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            for half, value in enumerate((column, row)):
                for i in range(quarter):
                    angle = value / 10000 ** (i / quarter)
                    place = half * 2 * quarter + i
                    table[r * len(columns) + c, place] = math.sin(angle)
                    table[r * len(columns) + c, place + quarter] = math.cos(angle)
    return table


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 7), (14, 14), (1, 1)])
def test_table_is_that_of_mae(height, width):
    found = sincos_positions(48, height, width).double().numpy()
    np.testing.assert_allclose(found, reference(48, np.arange(height), np.arange(width)), atol=1e-6)


def test_another_grid_lies_over_the_same_area():
    found = sincos_positions(16, 8, 2, reference=(4, 4)).double().numpy()
    np.testing.assert_allclose(found, reference(16, np.arange(8) / 2 - 0.25, np.array([0.5, 2.5])), atol=1e-6)


@pytest.mark.parametrize("name", [VIT, "tu-deit_tiny_distilled_patch16_224"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (48, 48)])
def test_images_of_any_grid_get_exact_ones(name, height, width):
    """timm's own transformer, whose table is set by the reference for the very grid, gives the same features."""
    encoder = Encoder(name, encoder_arguments=SMALL, positions="sincos", input_normalisation="none").eval()
    assert positions_of(encoder.encoder) == "sincos"
    model = timm.create_model(name[3:], in_chans=1, **{**SMALL, "img_size": (height, width)}).eval()
    state = encoder.encoder.model.state_dict()
    h, w = height // 16, width // 16
    table = reference(48, (np.arange(h) + 0.5) * 4 / h - 0.5, (np.arange(w) + 0.5) * 4 / w - 0.5)
    prefix = model.num_prefix_tokens
    state["pos_embed"] = torch.from_numpy(np.concatenate([np.zeros((prefix, 48)), table])).float()[None]
    model.load_state_dict(state)
    image = torch.rand(2, 1, height, width)
    with torch.no_grad():
        expected = model.forward_intermediates(image, norm=False, intermediates_only=True)[-1]
        torch.testing.assert_close(encoder.feature_map(image), expected, rtol=1e-4, atol=1e-4)


def test_they_are_not_learnt_and_travel_with_copies_and_files(tmp_path):
    encoder = Encoder(VIT, encoder_arguments=SMALL)
    assert (encoder.positions, encoder.encoder.model.pos_embed.requires_grad) == ("sincos", False)
    image = torch.rand(1, 1, 32, 48)
    twin = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        encoder.encoder.model.patch_embed.proj.weight.zero_()
        assert not torch.equal(twin(image), encoder.eval()(image))  # each looks at its own weights
    torch.save(twin.state_dict(), tmp_path / "model.pt")
    again = Encoder(VIT, encoder_arguments=SMALL, pretrained=tmp_path / "model.pt", input_normalisation="standard")
    assert again.positions == "sincos"  # by their values: nothing describes this file
    with torch.no_grad():
        assert torch.equal(again.eval()(image), twin(image))


def test_weights_with_learned_ones_keep_them(tmp_path):
    torch.save(timm.create_model(VIT[3:], in_chans=1, **SMALL).state_dict(), tmp_path / "model.pt")
    start = {"pretrained": tmp_path / "model.pt", "encoder_arguments": SMALL}
    encoder = Encoder(VIT, start=start)
    assert (encoder.positions, encoder.encoder.model.pos_embed.requires_grad) == ("learned", True)
    with pytest.raises(ConfigurationError, match=f"{VIT} starts from have learned positions.*leave --positions out"):
        Encoder(VIT, start=start, positions="sincos")


def test_a_state_dict_with_learned_ones_brings_them_back():
    encoder, image = Encoder(VIT, encoder_arguments=SMALL, input_normalisation="none").eval(), torch.rand(1, 1, 32, 48)
    model = timm.create_model(VIT[3:], in_chans=1, dynamic_img_size=True, **SMALL).eval()
    encoder.encoder.model.load_state_dict(model.state_dict())
    assert (encoder.positions, encoder.encoder.model.pos_embed.requires_grad) == ("learned", True)
    with torch.no_grad():
        expected = model.forward_intermediates(image, norm=False, intermediates_only=True)[-1]
        torch.testing.assert_close(encoder.feature_map(image), expected)


def test_learned_ones_may_start_at_sines_and_cosines(tmp_path):
    torch.save(Encoder(VIT, encoder_arguments=SMALL).state_dict(), tmp_path / "model.pt")
    encoder = Encoder(VIT, encoder_arguments=SMALL, pretrained=tmp_path / "model.pt", positions="learned")
    assert (encoder.positions, encoder.encoder.model.pos_embed.requires_grad) == ("learned", True)


@pytest.mark.parametrize("name", ["resnet18", "tu-eva02_tiny_patch14_224", "tu-swin_tiny_patch4_window7_224"])
def test_encoders_that_tell_places_in_another_way(name):
    assert Encoder(name).positions in (None, "learned")
    with pytest.raises(ConfigurationError, match=f"vision transformers.*and {name} has none; leave --positions out"):
        Encoder(name, positions="sincos")


def test_a_run_builds_the_table_for_its_images():
    encoder = Encoder(VIT, start={"image_size": 96})
    assert encoder.encoder_arguments == {"img_size": 96}
    assert encoder.encoder.model.pos_embed.shape == (1, 37, 192)
    assert Encoder(VIT, start={"image_size": 96, "positions": "learned"}).encoder_arguments == {}
    assert Encoder("resnet18", start={"image_size": 96}).encoder_arguments == {}


def test_unknown_positions():
    with pytest.raises(ConfigurationError, match="positions are 'rotary'; expected auto, learned or sincos"):
        Encoder(VIT, positions="rotary")


def test_random_weights_are_drawn_as_maes():
    torch.manual_seed(0)
    model = Encoder(VIT).encoder.model
    assert Encoder("resnet18").normalise.normalisation.name != "standard"
    for weight in (model.patch_embed.proj.weight, model.blocks[0].attn.qkv.weight, model.blocks[3].mlp.fc1.weight):
        matrix = weight.detach().flatten(1)
        bound = math.sqrt(6 / sum(matrix.shape))  # Xavier, of a uniform distribution
        assert 0.99 * bound < float(matrix.abs().max()) <= bound * (1 + 1e-6)
        assert float(matrix.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert float(model.cls_token.std()) == pytest.approx(0.02, rel=0.2)
    assert not model.blocks[0].attn.qkv.bias.any()


@pytest.mark.parametrize("name", [VIT, "tu-convnext_atto", "tu-resnet18", "tu-swin_tiny_patch4_window7_224"])
def test_stochastic_depth_is_timms(name):
    def rates(network):
        return [module.drop_prob for module in network.modules() if isinstance(module, DropPath)]

    network = Encoder(name, drop_path=0.2)
    assert rates(network.encoder) == rates(timm.create_model(name[3:], drop_path_rate=0.2))
    assert max(rates(network.encoder)) == pytest.approx(0.2)
    assert "drop_path_rate" not in network.encoder_arguments  # of this training, not of the weights
    assert not any(rates(Encoder(name, drop_path=0.0).encoder))


@pytest.mark.parametrize("name", ["resnet18", "tu-densenet121"])
def test_encoders_without_stochastic_depth(name):
    assert Encoder(name, drop_path=0.0)
    with pytest.raises(ConfigurationError, match=f"drop_path is 0.1, and {name} has no stochastic depth"):
        Encoder(name, drop_path=0.1)


def test_stochastic_depth_is_given_once():
    with pytest.raises(ConfigurationError, match="give one of them"):
        MultiTaskNet(VIT, 2, None, drop_path=0.1, encoder_arguments={"drop_path_rate": 0.2})
    with pytest.raises(ConfigurationError, match="at least 0 and below 1"):
        MultiTaskNet(VIT, 2, None, drop_path=1.0)
