# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_cxrssl weights``: the list, one entry, and the account of a file."""

from __future__ import annotations

import json

import pytest
import torch
import torchvision

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks import known_weights
from monai_cxrssl.networks.encoder import Encoder


def told(capsys, *words: str):
    assert main(["weights", *words]) == 0
    return capsys.readouterr().out


def test_the_list_is_aligned_and_whole(capsys):
    lines = told(capsys).splitlines()
    column = lines[0].index("encoder")
    rows = known_weights()
    assert [line[: column - 2].rstrip() for line in lines[1 : len(rows) + 1]] == [row.name for row in rows]
    assert all(line[column - 1] == " " and line[column] != " " for line in lines[: len(rows) + 1])
    listed = json.loads(told(capsys, "--json"))
    assert [row["name"] for row in listed] == [row.name for row in rows]
    assert {row["supervision"] for row in listed} == {"supervised", "self-supervised", "vision-language"}


def test_one_entry_says_how_to_get_it(capsys):
    text = told(capsys, "rad-dino")
    assert "hf://microsoft/rad-dino/model.safetensors" in text
    assert "mean 0.5307, sd 0.2583" in text


def test_a_known_file(capsys, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    facts = json.loads(told(capsys, str(path), "--json"))
    assert (facts["name"], facts["encoder_name"], facts["trained_on"]) == (
        "imagenet-resnet18", "resnet18", ["ImageNet-1k"],
    )  # fmt: skip
    assert (facts["missing"], facts["unused"]) == ([], ["fc.weight", "fc.bias"])
    assert facts["normalisation"]["input_mean"] == [0.485, 0.456, 0.406]
    # A grey image becomes three normalised channels, so the stem stays as it is.
    assert facts["reshaped"] == {}


def test_an_unknown_file_asks(capsys, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), path)
    text = told(capsys, str(path))
    assert "give --input_normalisation" in text
    assert "moco-cxr-resnet18" in text
    assert "not tried: give --encoder_name" in text
    facts = json.loads(told(capsys, str(path), "--encoder_name", "resnet18", "--json"))
    assert facts["missing"] == []
    assert "summed" in facts["reshaped"]["conv1.weight"]
    assert main(["weights", str(path), "--encoder_name", "resnet50"]) == 2
    assert "another --encoder_name" in capsys.readouterr().err


def test_weights_of_this_package(capsys, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(Encoder("resnet18").state_dict(), path)
    description = {"encoder_name": "resnet18", "image_size": 64, "trained_on": ["PadChest"], "input_mean": [0.4]}
    store_description(path, {**description, "input_std": [0.2], "input_scale": 1.0})
    text = told(capsys, str(path))
    assert "weights of this package" in text
    assert "mean 0.4, sd 0.2" in text
    assert "PadChest" in text


@pytest.mark.parametrize("text", ["nowhere.pt", "timm:nonsense", "hf://one"])
def test_what_is_not_there_is_one_sentence(capsys, text):
    assert main(["weights", text]) == 2
    assert capsys.readouterr().err.startswith("error: ")
