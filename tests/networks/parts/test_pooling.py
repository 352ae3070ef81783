# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pooling, and label heads behind it, against timm's own models and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, MultiTaskNet

VIT = "tu-vit_tiny_patch16_224"
SMALL = {"img_size": 64, "embed_dim": 48, "num_heads": 3}


@pytest.fixture
def image():
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def timm_model(network: nn.Module, **arguments) -> nn.Module:
    """timm's own model with the weights of an encoder."""
    model = timm.create_model(VIT[3:], in_chans=1, **SMALL, **arguments).eval()
    own = model.state_dict()
    given = {k: v for k, v in network.encoder.model.state_dict().items() if k in own and not k.startswith("head")}
    model.load_state_dict(given, strict=False)
    return model


@pytest.mark.parametrize(("pooling", "global_pool"), [("cls", "token"), ("mean", "avg")])
def test_embedding_is_timms(pooling, global_pool, image):
    network = Encoder(VIT, encoder_arguments=SMALL, pooling=pooling).eval()
    model = timm_model(network, num_classes=0, global_pool=global_pool, fc_norm=False, final_norm=False)
    with torch.no_grad():
        torch.testing.assert_close(network(image), model((image - 0.5) / 0.25))


@pytest.mark.parametrize("pooling", ["mean", "cls", "cls+mean", "mean+std"])
def test_label_head_is_timms_with_fc_norm(pooling, image):
    torch.manual_seed(0)
    network = MultiTaskNet(VIT, 5, None, encoder_arguments=SMALL, pooling=pooling).eval()
    norm, linear = network.classification_head[1], network.classification_head[3]
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    assert 0.01 < float(linear.weight.detach().std()) < 0.03
    if pooling in ("mean", "cls"):
        pool = {"mean": "avg", "cls": "token"}[pooling]
        model = timm_model(network, num_classes=5, global_pool=pool, fc_norm=True)
        model.fc_norm.load_state_dict(norm.state_dict())
        model.head.load_state_dict(linear.state_dict())
        expected = model((image - 0.5) / 0.25)
    else:
        model = timm_model(network, num_classes=0, global_pool="", final_norm=False)
        tokens = model((image - 0.5) / 0.25)
        first, second = {
            "cls+mean": lambda t: (t[:, 0], t[:, 1:].mean(1)), "mean+std": lambda t: (t[:, 1:].mean(1), t[:, 1:].std(1, correction=0)),
        }[pooling](tokens)  # fmt: skip
        expected = linear(nn.functional.layer_norm(torch.cat([first, second], 1), (96,), norm.weight, norm.bias, 1e-6))
    torch.testing.assert_close(network(image)["label"], expected, rtol=1e-4, atol=1e-5)


def test_of_a_convolutional_network(image):
    network = Encoder("resnet18", pooling="mean+std").eval()
    with torch.no_grad():
        found, maps = network(image).double().numpy(), network.feature_map(image).double().flatten(2).numpy()
    np.testing.assert_allclose(found, np.concatenate([maps.mean(2), maps.std(2)], 1), rtol=1e-4, atol=1e-5)
    assert (network.out_channels, network.map_channels) == (1024, 512)


def test_positions_that_are_all_alike_have_a_gradient():
    network = Encoder("resnet18", pooling="mean+std").eval()  # one position
    network(torch.rand(2, 1, 32, 32)).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        (VIT, "cls+mean"), ("tu-deit_tiny_distilled_patch16_224", "cls+mean"), ("tu-eva02_tiny_patch14_224", "cls+mean"),
        ("tu-vit_wee_patch16_reg1_gap_256", "mean"), ("resnet18", "mean"), ("tu-swin_tiny_patch4_window7_224", "mean"),
    ],
)  # fmt: skip
def test_default_goes_by_the_class_token(name, pooling):
    network = Encoder(name)
    assert network.pool.name == pooling
    assert network.out_channels == network.map_channels * (1 + pooling.count("+"))


@pytest.mark.parametrize("name", ["resnet18", "tu-vit_wee_patch16_reg1_gap_256", "tu-swin_tiny_patch4_window7_224"])
@pytest.mark.parametrize("build", [Encoder, lambda name, **options: MultiTaskNet(name, 2, None, **options)])
def test_class_token_where_there_is_none(name, build):
    with pytest.raises(ConfigurationError, match=rf"class token of a vision transformer, and {name} has none; choose"):
        build(name, pooling="cls+mean")


def test_unknown_pooling():
    with pytest.raises(ConfigurationError, match="pooling is 'max'; expected auto, mean, cls, cls\\+mean, mean\\+std"):
        Encoder("resnet18", pooling="max")
    with pytest.raises(ConfigurationError, match="norm of the label head is 'group'; expected none, layer, batch"):
        MultiTaskNet("resnet18", 2, None, head_norm="group")


def test_linear_probe_standardises_by_the_batch(image):
    network = MultiTaskNet(VIT, 2, None, encoder_arguments=SMALL, head_norm="batch").train()
    norm = network.classification_head[1]
    assert not list(norm.parameters())
    with torch.no_grad():
        network.classification_head[3].weight.copy_(torch.eye(2, 96))
        embedding = network.pool(*[features[-1] for features in network.encoder(network.normalise(image))])
        found = network(image)["label"].double().numpy()
    columns = embedding.double().numpy()[:, :2]
    np.testing.assert_allclose(
        found, (columns - columns.mean(0)) / np.sqrt(columns.var(0) + 1e-6), rtol=1e-3, atol=1e-4
    )
    assert norm.running_mean.ne(0).any()


def test_names_of_a_convolutional_label_head_are_those_of_smp(image):
    import segmentation_models_pytorch as smp

    network = MultiTaskNet("resnet18", 3, "Unet").eval()
    theirs = smp.Unet("resnet18", encoder_weights=None, in_channels=1, aux_params={"classes": 3}).eval()
    theirs.load_state_dict(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network(image)["label"], theirs(image)[1])
