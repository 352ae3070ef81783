# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A fine-tuned network out of its two files."""

from __future__ import annotations

import json

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, MultiTaskNet, load_trained_network

SETTINGS = {
    "encoder_name": "resnet18", "image_size": 32, "classes": ["a", "b", "c"], "task": "multi_class", "decoder": None,
    "mask": None, "mask_channels": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def networks() -> dict:
    torch.manual_seed(0)
    return {
        "classify": MultiTaskNet("resnet18", 3, decoder=None),
        "segment": MultiTaskNet("resnet18", 0, decoder="FPN", mask_channels=2),
        "both": MultiTaskNet("resnet18", 3, decoder="Unet"),
    }


def saved(folder, network, **changes):
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({**SETTINGS, **changes}))
    return folder / "model.pt"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("classify", {"source": "somewhere"}),
        ("segment", {"classes": [], "decoder": "FPN", "mask": "lung", "mask_channels": 2}),
        ("both", {"decoder": "Unet", "mask": "lung"}),
    ],
)
def test_the_network_comes_back_whole(tmp_path, networks, name, changes):
    path = saved(tmp_path, networks[name], **changes)
    found, settings = load_trained_network(path)
    assert settings == {**SETTINGS, **changes}
    assert not found.training
    image = torch.rand(2, 1, 32, 32)
    expected = networks[name].eval()(image)
    for branch, value in found(image).items():
        torch.testing.assert_close(value, expected[branch], rtol=0, atol=0)
    bare = load_trained_network(path, return_dict=False)[0](image)
    assert isinstance(bare, tuple if name == "both" else torch.Tensor)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder_name": "resnet34"},
            r"does not fit the network of \d+ tensors: \d+ missing .*says resnet34, decoder None",
        ),
        ({"classes": ["a"]}, r"classification_head\.3\.weight: 3 x 512 in place of 1 x 512.*decoder None, 1 classes"),
        ({"decoder": "Unet"}, "take both from one training"),
        ({"encoder_name": 5}, "gives encoder_name as 5, which describes no network"),
        ({"classes": [1, 2]}, r"gives classes as \[1, 2\]"),
        ({"task": "segmentation"}, "gives task as 'segmentation'"),
        ({"encoder_name": "resnet999"}, "resnet999"),
    ],
)
def test_files_that_do_not_belong_together(tmp_path, networks, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        load_trained_network(saved(tmp_path, networks["classify"], **changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"model\.pt does not say what it was trained for, neither inside nor in model\.json beside it"),
        ("{", r"model\.json cannot be read as JSON"),
        ("[1]", r"holds no JSON object"),
        (
            '{"encoder_name": "resnet18", "image_size": 224}',
            r"lacks classes, task, .* pretraining bundle .*--pretrained",
        ),
    ],
)
def test_descriptions_that_are_none(tmp_path, networks, text, message):
    path = saved(tmp_path, networks["classify"])
    (tmp_path / "model.json").unlink()
    if text is not None:
        (tmp_path / "model.json").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_trained_network(path)


def test_weights_that_are_none(tmp_path):
    with pytest.raises(ConfigurationError, match="no file of weights"):
        load_trained_network(tmp_path / "model.pt")
    with pytest.raises(ConfigurationError, match="does not fit"):
        load_trained_network(saved(tmp_path, Encoder("resnet18")))
