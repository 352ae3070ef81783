# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The option ``encoder_arguments`` of a run, from the command line to the description and back."""

from __future__ import annotations

import pytest
import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_cxrssl.networks import MultiTaskNet, load_trained_network
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.networks.weights.header import put_description

NAME = "tu-vit_tiny_patch16_224"
ARGUMENTS = {"patch_size": 8, "embed_dim": 48, "num_heads": 3}


@pytest.mark.parametrize("bundle", ["classification", "simclr"])
def test_from_the_command_line_to_the_record(bundle, repo, few_films, tmp_path):
    made = ConfigWorkflow(
        str(repo / "bundles" / bundle / "configs" / "train.json"), logging_file=False, workflow_type="train",
        output_dir=str(tmp_path / "out"), model_path=str(tmp_path / "model.pt"), dataset_dir=str(few_films),
        recipe="short", encoder_name=NAME, num_workers=0,
        encoder_arguments=DefaultParseValue("{'patch_size':8,'embed_dim':48,'num_heads':3}"),
    )  # fmt: skip
    made.initialize()
    network, wiring = (made.parser.get_parsed_content(name) for name in ("network_def", "wiring"))
    built = {**ARGUMENTS, "img_size": wiring.options.image_size}  # the grid of its positions
    assert network.encoder_arguments == built
    assert network.encoder.model.patch_embed.proj.weight.shape == (48, 1, 8, 8)
    assert wiring.settings(network, 4)["encoder_arguments"] == built


@pytest.mark.parametrize("config", ["evaluate", "inference"])
def test_a_described_model_is_built_with_its_own(config, repo, tmp_path):
    network = MultiTaskNet(NAME, 2, decoder=None, encoder_arguments=ARGUMENTS).eval()
    about = {"image_size": 64, "classes": ["a", "b"], "task": "multi_label", "decoder": None, "mask": None}
    path = tmp_path / "model.pt"
    torch.save(put_description(network.state_dict(), {**described_encoder(network), **about, "mask_channels": 1}), path)
    image = torch.rand(1, 1, 64, 64)
    assert torch.equal(load_trained_network(path)[0](image)["label"], network(image)["label"])
    parser = ConfigParser()
    parser.read_config(repo / "bundles" / "classification" / "configs" / f"{config}.json")
    parser["model_path"] = str(path)
    built = parser.get_parsed_content("network_def")
    assert built.encoder_arguments == ARGUMENTS
    built.load_state_dict(network.state_dict())
