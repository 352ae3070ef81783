# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What an encoder starts with: its file, its arguments and its normalisation, each found once."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, MultiTaskNet, Normalisation, find_description

from .weights.formats.source import SMALL, seeded, timm_transformer

VIT = "tu-vit_tiny_patch16_224"
EVA = "tu-eva02_tiny_patch14_224"


@pytest.fixture(scope="module")
def eva_x(tmp_path_factory):
    """A file with the names and shapes of EVA-X Ti, whose patches are not those of timm's name."""
    path = tmp_path_factory.mktemp("weights") / "downloaded.pt"
    model = seeded(timm.create_model(EVA[3:], patch_size=16, img_size=224, num_classes=0))
    torch.save({"model": model.state_dict()}, path)
    return path, model.eval()


@pytest.mark.parametrize("name", ["eva-x", "medical-mae", "rad-dino"])
def test_one_value_for_three_channels_is_one_channel_summed(name, tmp_path):
    model = timm_transformer("vit_tiny_patch16_224")[0].eval()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    encoder = Encoder(VIT, 1, pretrained=tmp_path / "model.pt", encoder_arguments=SMALL, input_normalisation=name)
    stem = encoder.encoder.model.patch_embed.proj.weight
    assert torch.equal(stem, model.patch_embed.proj.weight.sum(1, keepdim=True))
    normalisation, image = Normalisation.of(name), torch.rand(2, 1, 64, 64)
    given = (image * normalisation.scale - normalisation.mean[0]) / normalisation.std[0]
    with torch.no_grad():
        expected = model.forward_intermediates(given.expand(-1, 3, -1, -1), norm=False, intermediates_only=True)[-1]
        found = encoder.eval().feature_map(image)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_known_weights_bring_their_arguments(eva_x, caplog):
    path, model = eva_x
    with caplog.at_level("INFO"):
        encoder = Encoder(EVA, pretrained=path).eval()
    assert encoder.encoder_arguments == {"patch_size": 16, "img_size": 224}
    assert encoder.normalise.normalisation == Normalisation.of("eva-x")
    assert "built with patch_size=16, img_size=224, as these weights want it" in caplog.text
    assert "resampled" not in caplog.text
    image = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        given = encoder.normalise(image).expand(-1, 3, -1, -1)
        expected = model.forward_intermediates(given, norm=False, intermediates_only=True)[-1]
        found = encoder.feature_map(image)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_what_the_user_gives_comes_first(eva_x):
    encoder = Encoder(EVA, pretrained=eva_x[0], encoder_arguments={"patch_size": 8, "img_size": 64})
    assert encoder.encoder_arguments == {"patch_size": 8, "img_size": 64}
    assert Encoder(EVA, pretrained=eva_x[0], encoder_arguments={}).encoder_arguments == {}


def test_another_encoder_than_the_recognised_one_is_said(eva_x):
    with pytest.raises(ConfigurationError, match=rf"another --encoder_name\? It is the file of {EVA} \(eva-x-tiny\)"):
        Encoder("resnet18", pretrained=eva_x[0])


def test_our_own_file_brings_its_arguments(tmp_path, eva_x):
    path = tmp_path / "model.pt"
    torch.save(Encoder(VIT, encoder_arguments=SMALL).state_dict(), path)
    words = ["describe", str(path), "--encoder_name", VIT, "--image_size", "64", "--input_normalisation", "none"]
    assert main([*words, "--encoder_arguments", "8"]) == 2
    assert main([*words, "--encoder_arguments", str(SMALL)]) == 0
    assert find_description(path)["encoder_arguments"] == SMALL
    assert Encoder(VIT, pretrained=path).encoder_arguments == SMALL
    assert MultiTaskNet(VIT, 2, None, pretrained=path).encoder_arguments == SMALL


@pytest.mark.parametrize("build", [Encoder, lambda *a, **k: MultiTaskNet(*a, num_classes=2, decoder=None, **k)])
def test_locations_are_those_of_the_option(build, tmp_path):
    source = seeded(timm.create_model("resnet18", num_classes=0))
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": {
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "tag": "a1_in1k"}}))  # fmt: skip
    network = build("resnet18", pretrained=tmp_path)
    assert network.normalise.normalisation == Normalisation.of("imagenet")
    assert torch.equal(network.encoder.conv1.weight, source.conv1.weight)
    for text, words in (("timm:resnet_18", "names no model of timm"), ("hf://org/model.bin", "hf://ORG/REPO/FILE")):
        with pytest.raises(ConfigurationError, match=words):
            build("resnet18", pretrained=text)


def test_one_mapping_gives_what_is_not_given_by_itself(tmp_path):
    start = {"encoder_weights": None, "pretrained": None, "encoder_arguments": SMALL, "input_normalisation": "eva-x"}
    assert Encoder(VIT, start=start).encoder_arguments == SMALL
    assert Encoder(VIT, start=start, input_normalisation="xrv").normalise.normalisation == Normalisation.of("xrv")
    with pytest.raises(ConfigurationError, match=r"start names weights; it takes encoder_weights, pretrained"):
        Encoder(VIT, start={"weights": "x"})
