# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What does not fit an encoder ends in one sentence; what was fitted is said."""

from __future__ import annotations

import re

import pytest
import timm
import torch
import torchvision

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, MultiTaskNet, build_encoder, load_encoder_weights
from monai_cxrssl.networks.weights.loading import stem_channels

from .formats.source import SMALL, behind, seeded, timm_transformer


def resnet(**changes):
    state = {**torchvision.models.resnet18().state_dict(), **changes}
    return {name: value for name, value in state.items() if value is not None}


def vit(name="vit_tiny_patch16_224", **arguments):
    return timm_transformer(name, **arguments)[0].state_dict()


SMALL_VIT = ("tu-vit_tiny_patch16_224", SMALL)


@pytest.mark.parametrize(
    ("encoder", "weights", "words"),
    [
        (("resnet18", None), lambda: resnet(**{"conv1.weight": None}), "has no conv1.weight, .* random first step"),
        (("resnet18", None), lambda: resnet(**{"conv1.weight": torch.zeros(64, 3, 3, 3)}),
         "has conv1.weight of 64 x 3 x 3 x 3 where .* 64 x 1 x 7 x 7"),
        (("resnet18", None), lambda: resnet(**{"conv1.weight": torch.zeros(64, 2, 7, 7)}),
         "a stem conv1.weight for images of 2 channels and .* takes 1; build it with in_channels=2"),
        (("resnet18", None), lambda: torchvision.models.resnet34().state_dict(),
         r"holds \d+ tensors inside the encoder .* \(such as layer1\.2"),
        (("resnet34", None), resnet, "At most 5% may be missing; .* another --encoder_name"),
        (("tu-vit_small_patch14_dinov2", {**SMALL, "img_size": 56}),
         lambda: vit("vit_small_patch14_reg4_dinov2", img_size=56), r"\(such as reg_token\)"),
        (("tu-vit_small_patch14_reg4_dinov2", {**SMALL, "img_size": 56}),
         lambda: vit("vit_small_patch14_dinov2", img_size=56), "has no model.reg_token"),
        (SMALL_VIT, lambda: vit("vit_small_patch14_dinov2", img_size=64, patch_size=16),
         r"\(such as blocks\.0\.ls1\.gamma\)"),
        (("tu-vit_small_patch14_dinov2", {**SMALL, "img_size": 64, "patch_size": 16}), vit,
         r"has none of the 12 tensors model\.blocks\.#\.ls#\.gamma|has none of the 24 tensors"),
        (SMALL_VIT, lambda: {k: v for k, v in vit().items() if k != "pos_embed"}, "has no model.pos_embed"),
        (SMALL_VIT, lambda: {**vit(), "pos_embed": torch.zeros(1, 20, 48)}, "1 x 20 x 48 .* --encoder_arguments"),
        (SMALL_VIT, lambda: {k: v for k, v in vit().items() if "patch_embed" not in k}, "has no model.patch_embed"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(encoder, weights, words):
    name, arguments = encoder
    network = build_encoder(name, encoder_arguments=arguments)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ConfigurationError, match=words) as raised:
        load_encoder_weights(network, weights(), name="moco.pth")
    assert str(raised.value).startswith("moco.pth")
    assert not re.search(r"\x1b|\n", str(raised.value))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_grey_file_in_an_encoder_of_three_channels():
    weights = Encoder("resnet18").state_dict()
    with pytest.raises(ConfigurationError, match="1 channel and .* takes 3; build it with in_channels=1"):
        load_encoder_weights(build_encoder("resnet18", 3), weights)


@pytest.mark.parametrize(("channels", "weights"), [(3, resnet), (1, lambda: Encoder("resnet18").state_dict())])
def test_channels_of_a_file(channels, weights):
    content = weights()
    assert stem_channels(behind("encoder.", content), build_encoder("resnet18")) == channels
    assert stem_channels(content, build_encoder("tu-vit_tiny_patch16_224", encoder_arguments=SMALL)) is None


def test_patches_of_another_size_are_said():
    account = load_encoder_weights(build_encoder("tu-vit_tiny_patch16_224", encoder_arguments=SMALL),
                                   vit(patch_size=8, img_size=64))  # fmt: skip
    said = account.reshaped["model.patch_embed.proj.weight"]
    assert said == "48 x 3 x 8 x 8 resampled to 48 x 3 x 16 x 16, 3 channels summed"
    assert account.reshaped["model.pos_embed"] == "1 x 65 x 48 resampled to 1 x 17 x 48"
    assert said in account.sentence


def test_relative_positions_of_another_window():
    """timm's function is what fits them, and the file of this package has smp's flattened names."""
    arguments = {"embed_dim": 24, "num_heads": (1, 2, 4, 8)}
    name = "tu-swin_tiny_patch4_window7_224"
    donor = seeded(build_encoder(name, encoder_arguments=arguments))
    encoder = build_encoder(name, encoder_arguments={**arguments, "window_size": 14, "img_size": 448})
    account = load_encoder_weights(encoder, donor.state_dict())
    assert account.missing == ()
    table = "model.layers_0.blocks.0.attn.relative_position_bias_table"
    assert account.reshaped[table] == "169 relative positions resampled to 729"


def test_arguments_reach_every_network(tmp_path):
    arguments = {**SMALL, "patch_size": 32}
    network = MultiTaskNet("tu-vit_tiny_patch16_224", 2, decoder="DPT", encoder_arguments=arguments)
    assert network(torch.zeros(1, 1, 64, 64))["mask"].shape == (1, 1, 64, 64)
    encoder = Encoder("tu-vit_tiny_patch16_224", encoder_arguments=arguments)
    assert encoder.feature_map(torch.zeros(1, 1, 64, 64)).shape == (1, 48, 2, 2)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    again = MultiTaskNet(
        "tu-vit_tiny_patch16_224", 2, decoder="DPT", encoder_arguments=arguments, pretrained=tmp_path / "model.pt"
    )
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in network.state_dict().items())


def test_a_windowed_transformer_takes_its_arguments():
    network = MultiTaskNet("tu-swin_tiny_patch4_window7_224", 2, decoder=None, encoder_arguments={"img_size": 112})
    assert network(torch.zeros(1, 1, 112, 112))["label"].shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnet18", {"patch_size": 8}, "'resnet18' takes no encoder_arguments .patch_size."),
        ("tu-vit_tiny_patch16_224", {"patchsize": 8}, "cannot be built with encoder_arguments .*unexpected keyword"),
        ("tu-vit_tiny_patch16_224", {"embed_dim": 50, "num_heads": 3}, "cannot be built with encoder_arguments"),
        ("tu-vit_tiny_patch16_224", {"depth": 2, "in_chans": 3}, "gives depth, in_chans, which is set elsewhere"),
        ("tu-vit_tiny_patch16_224", "patch_size=8", "encoder_arguments is 'patch_size=8'; expected names and values"),
    ],
)
def test_wrong_arguments_are_one_sentence(name, arguments, words):
    with pytest.raises(ConfigurationError, match=words) as raised:
        build_encoder(name, encoder_arguments=arguments)
    assert "\n" not in str(raised.value)


def test_all_names_of_timm_find_their_conversion():
    """A change of timm's own names would leave files unread."""
    from monai_cxrssl.networks.weights.target import Target

    for name in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto", "eva02_tiny_patch14_224"):
        assert Target(build_encoder(f"tu-{name}")).convert is not None
    assert set(Target(build_encoder("tu-convnext_atto")).names.values()) <= set(
        timm.create_model("convnext_atto").state_dict()
    )
