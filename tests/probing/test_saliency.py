# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
import torch
from monai.visualize import GradCAM
from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.metrics import lung_area_fraction, pointing_game, positive_fraction_of_saliency, saliency_iou
from monai_cxrssl.networks import MultiTaskNet
from monai_cxrssl.probing import saliency_maps, saliency_method

CNNS = ["resnet18", "densenet121", "tu-convnext_atto", "tu-mobilenetv3_small_050"]
VITS = ["tu-vit_tiny_patch16_224", "tu-deit_tiny_distilled_patch16_224", "tu-vit_wee_patch16_reg1_gap_256"]


def images(count: int = 2, rows: int = 64, columns: int = 96, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, rows, columns, generator=torch.Generator().manual_seed(seed))


def squares(count: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Grey images with one square each: bright for class 1, dark for class 0, and where it is."""
    random = torch.Generator().manual_seed(seed)
    image = 0.5 + 0.02 * torch.randn(count, 1, 64, 96, generator=random)
    place = torch.zeros(count, 1, 64, 96, dtype=torch.bool)
    label = torch.arange(count) % 2
    corners = (
        torch.stack(
            [torch.randint(0, 2, (count,), generator=random), torch.randint(0, 3, (count,), generator=random)], 1
        )
        * 32
    )
    for film, (top, left) in enumerate(corners.tolist()):
        place[film, 0, top + 4 : top + 28, left + 4 : left + 28] = True
    return torch.where(place, label[:, None, None, None] * 0.8 + 0.1, image), place, label


class PooledPatches(nn.Module):
    """Hand-set evidence: brightness and darkness of patches of 8 px, read by a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Brightness()
        self.classification_head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
        with torch.no_grad():
            self.classification_head[2].weight.copy_(torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
            self.classification_head[2].bias.zero_()


class Convolutions(nn.Module):
    """Three convolutions; a position of the last map sees 15 px across."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 8, 16, 16)
        self.layers = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.ReLU()) for i, o in itertools.pairwise(widths))
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [image, self.layers(image - 0.5)]


class _Brightness(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        pooled = nn.functional.avg_pool2d(image * self.scale, 8) - 0.5
        return [image, torch.cat([(pooled - 0.1).relu(), (-pooled - 0.1).relu()], 1)]


def test_lies_on_planted_evidence():
    image, place, label = squares()
    maps = saliency_maps(PooledPatches(), image, label)
    assert (pointing_game(maps, place) == 1).all()
    assert (positive_fraction_of_saliency(maps, place) > 0.75).all()
    assert (lung_area_fraction(place) < 0.1).all()
    # What speaks for one class speaks against the other.
    assert (saliency_maps(PooledPatches(), image, 1 - label) == 0).all()


def test_finds_what_a_network_learned():
    """A small network is trained to tell bright squares from dark ones, and is then asked where it saw which."""
    torch.manual_seed(0)
    network = PooledPatches()
    network.encoder = Convolutions()
    network.classification_head[2] = nn.Linear(16, 2)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    image, _, label = squares(32)
    for _ in range(60):
        loss = nn.functional.cross_entropy(network.classification_head(network.encoder(image)[-1]), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    other, place, label = squares(16, seed=1)
    with torch.no_grad():
        predicted = network.classification_head(network.encoder(other)[-1]).argmax(1)
    assert torch.equal(predicted, label)
    maps = saliency_maps(network, other)
    assert torch.equal(maps, saliency_maps(network, other, predicted))
    assert pointing_game(maps, place).mean() > 0.9
    assert (positive_fraction_of_saliency(maps, place) > 4 * lung_area_fraction(place)).double().mean() > 0.9
    assert saliency_iou(maps, place, 0.9).mean() > 0.5


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_equals_monai_on_a_class_for_all(name):
    torch.manual_seed(0)
    network = MultiTaskNet(name, 3, decoder=None).eval()
    image = images()
    found = saliency_maps(network, image, 1)

    class Plain(nn.Module):
        """The label logits, from the last feature map as a module that hooks can be put on."""

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Identity()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network.classification_head(self.last(self.network.encoder(x)[-1]))

    cam = GradCAM(Plain(), "last", postprocessing=lambda x: x)
    torch.testing.assert_close(found, cam(image, class_idx=1).detach(), rtol=1e-4, atol=1e-6)
    assert found.max() > 0


@pytest.mark.parametrize("layer", [-2, -3])
def test_earlier_layers(layer):
    torch.manual_seed(0)
    network = MultiTaskNet("resnet18", 3, decoder=None, return_dict=False).eval()
    image = images()
    # MONAI's hooks know the stages by their names, and take one class for all images.
    cam = GradCAM(network, f"encoder.layer{5 + layer}", postprocessing=lambda x: x)
    expected = cam(image, class_idx=2).detach()
    gradient, stage = (next(iter(kept.values())) for kept in (cam.nn_module.gradients, cam.nn_module.activations))
    by_hand = (gradient * stage).sum(1, keepdim=True).relu().detach()
    network = MultiTaskNet("resnet18", 3, decoder=None)
    network.load_state_dict(cam.nn_module.model.state_dict())
    network.requires_grad_(False)
    torch.testing.assert_close(saliency_maps(network, image, 2, layer=layer), expected, rtol=1e-4, atol=1e-6)
    with torch.inference_mode():
        found = saliency_maps(network, image.clone(), 2, "hires_cam", layer)
    by_hand = nn.functional.interpolate(by_hand, (64, 96), mode="bilinear")
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-6)
    assert not found.requires_grad


@pytest.mark.parametrize("name", CNNS)
@pytest.mark.parametrize("layer", [-1, -2, -3])
def test_layers_of_every_encoder(name, layer):
    network = MultiTaskNet(name, 3, decoder=None)
    maps = saliency_maps(network, images(), 0, "hires_cam", layer)
    assert maps.shape == (2, 1, 64, 96)
    assert maps.isfinite().all()
    assert all(weight.grad is None for weight in network.parameters())
    if layer == -1:
        torch.testing.assert_close(maps, saliency_maps(network, images(), 0), rtol=1e-4, atol=1e-6)


def test_layer_without_a_gradient():
    network = PooledPatches()
    network.encoder.register_forward_hook(lambda module, given, maps: [maps[0], maps[1] * 2, maps[1]])
    with pytest.raises(ConfigurationError, match="beside its way"):
        saliency_maps(network, images(), 0, layer=-2)


@pytest.mark.parametrize("name", [*CNNS, *VITS])
def test_sum_over_positions_is_the_logit(name):
    """Before the ReLU a map adds up to the logit less its bias, which ties every encoder's grid to the head."""
    torch.manual_seed(0)
    network = MultiTaskNet(name, 3, decoder=None, pooling="mean", head_norm="none").eval()
    image = images()
    features = network.encoder(network.normalise(image))
    last = (features[0] if isinstance(features, tuple) else features)[-1]
    linear = next(module for module in network.classification_head.modules() if isinstance(module, nn.Linear))
    evidence = torch.einsum("kc,bchw->bkhw", linear.weight, last) / last[0, 0].numel()
    torch.testing.assert_close(evidence.sum((2, 3)) + linear.bias, network(image)["label"], rtol=1e-4, atol=1e-5)
    expected = nn.functional.interpolate(evidence.relu(), (64, 96), mode="bilinear")
    chosen = torch.tensor([2, 0])
    found = saliency_maps(network, image, chosen)
    torch.testing.assert_close(found[:, 0], expected[torch.arange(2), chosen].detach(), rtol=1e-4, atol=1e-6)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    if name in VITS:
        assert last.shape[-2:] == (4, 6)
        assert saliency_method(network) == "token_grad_cam"
    assert torch.equal(found, saliency_maps(network, image, [2, 0], saliency_method(network)))


def test_tokens_lie_where_their_patches_are():
    """In a transformer with attention and mixing taken out, one bright patch lights up on a grid that is not square."""
    plain = {"pooling": "mean", "positions": "learned", "head_norm": "none"}
    network = MultiTaskNet("tu-vit_tiny_patch16_224", 1, decoder=None, **plain)
    network.normalise = nn.Identity()
    model = network.encoder.model
    for block in model.blocks:
        for part in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
    nn.init.zeros_(model.pos_embed)
    nn.init.zeros_(model.patch_embed.proj.bias)
    nn.init.ones_(model.patch_embed.proj.weight)
    linear = next(module for module in network.classification_head.modules() if isinstance(module, nn.Linear))
    nn.init.ones_(linear.weight)
    image = torch.zeros(1, 1, 64, 96)
    image[0, 0, 16:32, 64:80] = 1
    maps = saliency_maps(network, image, 0)
    assert pointing_game(maps, image) == 1
    assert maps[0, 0, 40:].sum() == 0
    assert maps[0, 0, :, :56].sum() == 0


@pytest.mark.parametrize("name", VITS[:2])
@pytest.mark.parametrize("pooling", ["cls", "cls+mean"])
def test_class_token_is_shown_before_the_block_that_fills_it(name, pooling):
    """By hand: the last block, the pooling and the head run again on tokens that want a gradient."""
    torch.manual_seed(0)
    network = MultiTaskNet(name, 3, decoder=None, pooling=pooling).eval()
    model, head = network.encoder.model, network.classification_head
    image, chosen = images(), torch.tensor([2, 0])
    with torch.no_grad():
        tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(network.normalise(image)))))
        for block in model.blocks[:-1]:
            tokens = block(tokens)
    tokens.requires_grad_()
    last = model.blocks[-1](tokens)
    prefix = last.shape[1] - 24
    parts = [last[:, 0]] if pooling == "cls" else [last[:, 0], last[:, prefix:].mean(1)]
    logits = nn.functional.linear(head[1](torch.cat(parts, 1)), head[3].weight, head[3].bias)
    torch.testing.assert_close(logits, network(image)["label"], rtol=1e-4, atol=1e-5)
    slopes = torch.autograd.grad(logits[torch.arange(2), chosen].sum(), tokens)[0][:, prefix:]
    cam = (slopes.mean(1, keepdim=True) * tokens.detach()[:, prefix:]).sum(2).view(2, 1, 4, 6).relu()
    assert cam.max() > 0
    expected = nn.functional.interpolate(cam, (64, 96), mode="bilinear")
    torch.testing.assert_close(saliency_maps(network, image, chosen), expected, rtol=1e-3, atol=1e-6)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("decoder", [None, "Unet", "DeepLabV3Plus"])
def test_leaves_the_network_as_found(decoder):
    torch.manual_seed(0)
    network = MultiTaskNet("resnet18", 3, decoder=decoder, dropout=0.5).train()
    network.encoder.layer1.eval()  # frozen batch normalisation in a network that trains
    network.encoder.conv1.weight.requires_grad_(False)
    network(images())["label"].sum().backward()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    flags = [weight.requires_grad for weight in network.parameters()]
    gradients = [None if weight.grad is None else weight.grad.clone() for weight in network.parameters()]
    first = saliency_maps(network, images(), [0, 2])
    assert torch.equal(first, saliency_maps(network, images(), [0, 2]))
    assert modes == [module.training for module in network.modules()]
    assert flags == [weight.requires_grad for weight in network.parameters()]
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    for weight, gradient in zip(network.parameters(), gradients, strict=True):
        assert (weight.grad is None) is (gradient is None)
        assert gradient is None or torch.equal(weight.grad, gradient)
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    with pytest.raises(ConfigurationError):
        saliency_maps(network, images(), 3)
    assert modes == [module.training for module in network.modules()]


@pytest.mark.parametrize("name", ["resnet18", "tu-vit_tiny_patch16_224"])
def test_callers(name):
    torch.manual_seed(0)
    network = MultiTaskNet(name, 3, decoder=None)
    image = images(3)
    expected = saliency_maps(network, image, [0, 1, 2])
    for guard in (torch.no_grad, torch.inference_mode):
        with guard():
            assert torch.equal(saliency_maps(network, image.clone(), [0, 1, 2]), expected)
            assert torch.is_inference_mode_enabled() is (guard is torch.inference_mode)
    one_by_one = torch.cat([saliency_maps(network, image[k : k + 1], k) for k in range(3)])
    torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=1e-6)
    scale = expected.max().item()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(saliency_maps(network, image, [0, 1, 2]), expected, rtol=0, atol=0.1 * scale)
    network.requires_grad_(False)
    assert torch.equal(saliency_maps(network, image, torch.tensor([0, 1, 2])), expected)
    half = saliency_maps(network.bfloat16(), image, [0, 1, 2])
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=0, atol=0.1 * scale)


def test_model_of_smp():
    import segmentation_models_pytorch as smp

    model = smp.Unet("resnet18", encoder_weights=None, in_channels=1, aux_params={"classes": 2})
    assert saliency_maps(model, images()).shape == (2, 1, 64, 96)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": MultiTaskNet("resnet18", 0)}, "no label head"),
        ({"image": torch.zeros(1, 64, 64)}, r"\(1, 64, 64\)"),
        ({"image": torch.zeros(1, 1, 64, 64, dtype=torch.uint8)}, "uint8"),
        ({"network": MultiTaskNet("resnet18", 3, "FPN"), "image": torch.zeros(1, 1, 60, 64)}, "60 px"),
        ({"class_index": 3}, "classes 0 to 2"),
        ({"class_index": [0, -1]}, "from -1"),
        ({"class_index": [0, 1, 2]}, "2 images"),
        ({"class_index": 0.5}, "whole number"),
        ({"method": "token_grad_cam"}, "convolutional encoder takes auto, grad_cam, hires_cam"),
        ({"layer": 0}, "layer is 0; the encoder has -1 to -5"),
        ({"layer": -6}, "layer is -6"),
        ({"network": MultiTaskNet("tu-vit_tiny_patch16_224", 3, decoder=None), "layer": -2}, "takes -1"),
    ],
)
def test_input_that_does_not_fit(change, words):
    given = {"network": MultiTaskNet("resnet18", 3), "image": images(), **change}
    with pytest.raises(ConfigurationError, match=words):
        saliency_maps(**given)
