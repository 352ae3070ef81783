# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``torch.jit.script`` makes of the networks against the networks themselves, saved and loaded again."""

from __future__ import annotations

import io

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, MultiTaskNet

VIT = "tu-vit_tiny_patch16_224"
SMALL = {"embed_dim": 48, "num_heads": 3, "img_size": 64}


def loaded(network: torch.nn.Module) -> torch.jit.ScriptModule:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(network.eval()), file)
    file.seek(0)
    return torch.jit.load(file)


@pytest.mark.parametrize(
    ("name", "options", "sizes"),
    [
        ("resnet18", {"input_normalisation": "imagenet", "pooling": "mean+std"}, [(64, 64), (64, 96)]),
        pytest.param("densenet121", {}, [(64, 64)], marks=pytest.mark.slow),
        pytest.param("efficientnet-b0", {}, [(64, 64)], marks=pytest.mark.slow),
        (VIT, {"encoder_arguments": SMALL}, [(64, 64), (64, 96)]),
        (VIT, {"encoder_arguments": SMALL, "positions": "learned", "pooling": "mean"}, [(64, 64), (96, 64)]),
        (VIT, {"encoder_arguments": {**SMALL, "dynamic_img_size": False}}, [(64, 64)]),
        pytest.param("tu-deit_tiny_distilled_patch16_224", {"encoder_arguments": SMALL}, [(64, 96)],
                     marks=pytest.mark.slow),
        pytest.param("tu-vit_small_patch14_reg4_dinov2", {"encoder_arguments": {**SMALL, "img_size": 56}}, [(56, 84)],
                     marks=pytest.mark.slow),
        pytest.param("tu-eva02_tiny_patch14_224", {"encoder_arguments": {"img_size": 56}}, [(56, 84)],
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_an_encoder_gives_the_same(name, options, sizes):
    torch.manual_seed(1)
    network = Encoder(name, **options)
    form = loaded(network)
    for size in sizes:
        image = torch.rand(3, 1, *size)
        with torch.no_grad():
            expected = network(image)
            torch.testing.assert_close(form(image), expected, rtol=1e-5, atol=1e-6)
    assert type(network.encoder).__name__ != "_LastTokens"  # the network is as before


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("classes", "decoder", "encoder"), [(3, None, "resnet18"), (0, "Unet", "resnet18"), (3, "FPN", "resnet18"), (3, None, VIT)]
)  # fmt: skip
def test_branches_come_out_as_from_the_network(classes, decoder, encoder, named):
    options = {"encoder_arguments": SMALL} if encoder == VIT else {}
    network = MultiTaskNet(encoder, classes, decoder, dropout=0.3, return_dict=named, **options)
    form, image = loaded(network), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(form(image), network(image), rtol=1e-5, atol=1e-6)
    if encoder == "resnet18":
        assert set(form.state_dict()) - set(network.state_dict()) == {"normalise.mean", "normalise.std"}


def test_head_layers_are_compiled_too(tmp_path):
    described = {"layers": 1, "hidden_channels": 32, "norm": True}
    network = MultiTaskNet("resnet18", 2, None, return_dict=False, head_layers=described)
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(network)(image), network(image))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MultiTaskNet(VIT, 2, "DPT", encoder_arguments=SMALL), "the decoder DPT: trace"),
        (lambda: MultiTaskNet("resnet18", 2, "UnetPlusPlus"), "the decoder UnetPlusPlus"),
        (lambda: Encoder("dpn68"), "the encoder dpn68"),
    ],
)
def test_what_cannot_be_compiled_is_said(build, words):
    with pytest.raises(ConfigurationError, match=f"TorchScript cannot compile {words}"):
        torch.jit.script(build())
