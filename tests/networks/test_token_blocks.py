# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, GMMLHead, TokenBlocks, last_half_blocks


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder("tu-vit_tiny_patch16_224").eval()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("depth", "blocks"), [(12, [6, 8, 10, 12]), (24, [12, 16, 20, 24]), (6, [3, 4, 5, 6]), (2, [1, 2]), (1, [1])]
)
def test_last_half_blocks(depth, blocks):
    assert [block + 1 for block in last_half_blocks(depth)] == blocks


def test_maps_are_the_outputs_of_the_blocks(encoder, image):
    keys = list(encoder.state_dict())
    seen: dict[int, torch.Tensor] = {}
    handles = [
        block.register_forward_hook(lambda module, inputs, output, number=number: seen.update({number: output}))
        for number, block in enumerate(encoder.encoder.model.blocks)
    ]
    maps, prefix = TokenBlocks(encoder, "The test")(image, [5, 7, 9, 11])
    for handle in handles:
        handle.remove()
    for number, found in zip([5, 7, 9, 11], maps, strict=True):
        expected = seen[number][:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(prefix, seen[11][:, :1], rtol=0, atol=0)
    torch.testing.assert_close(maps[-1], encoder.feature_map(image), rtol=0, atol=0)
    assert list(encoder.state_dict()) == keys


@pytest.mark.parametrize("name", ["tu-vit_tiny_patch16_224", "tu-vit_small_patch8_224"])
def test_masked_patches_are_invisible(name):
    network = Encoder(name).eval()
    tokens = TokenBlocks(network, "The test")
    image = torch.rand(1, 1, 64, 64)
    side = 64 // tokens.patch_size
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[0, 1, 2] = True
    patch = tokens.patch_size
    other = image.clone()
    other[:, :, patch : 2 * patch, 2 * patch : 3 * patch] = 0
    token = nn.Parameter(torch.full((tokens.channels,), 0.1))
    first, second, bare = (
        tokens(view, [tokens.depth - 1], token_mask=chosen, mask_token=token)[0][0]
        for view, chosen in ((image, mask), (other, mask), (other, None))
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.allclose(second, bare, atol=1e-3)
    assert not network.encoder.model.patch_embed._forward_hooks, "nothing is left behind"


def test_what_comes_after_the_blocks_needs_no_gradient(encoder):
    TokenBlocks(encoder, "The test")
    frozen = {name.split(".")[2] for name, value in encoder.named_parameters() if not value.requires_grad}
    assert frozen == {"norm", "head", "pos_embed"}  # sines and cosines


def test_a_convolutional_encoder_is_refused():
    with pytest.raises(ConfigurationError, match="SPCXR works on the patches .* 'resnet18' is none"):
        TokenBlocks(Encoder("resnet18"), "SPCXR")


@pytest.mark.parametrize(("layers", "patch", "channels"), [(3, 16, 1), (0, 8, 3)])
def test_head_makes_a_square_of_each_token(layers, patch, channels):
    head = GMMLHead(12, patch, channels, layers).double()
    tokens = torch.randn(2, 12, 3, 5, dtype=torch.float64)
    image = head(tokens)
    assert image.shape == (2, channels, 3 * patch, 5 * patch)
    value = tokens[1, :, 2, 4]
    value = (value - value.mean()) / (value.var(unbiased=False) + head.norm.eps).sqrt()
    for layer in head.layers:
        value = nn.functional.gelu(value) if isinstance(layer, nn.GELU) else layer.weight @ value + layer.bias
    square = torch.einsum("d,dcij->cij", value, head.to_pixels.weight) + head.to_pixels.bias[:, None, None]
    torch.testing.assert_close(image[1, :, -patch:, -patch:], square)
    with pytest.raises(ConfigurationError, match="0 or more"):
        GMMLHead(12, patch, layers=-1)
