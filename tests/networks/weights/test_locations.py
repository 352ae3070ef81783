# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights by a path, a folder, timm's names and the hub's."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import errors
from safetensors.torch import load_file

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.known import recognise
from monai_cxrssl.networks.weights.locations import resolve_weights


@pytest.mark.parametrize("name", ["a b#1.pt", "timm:resnet18", "ä'\"@%.pt", "hf:x.pt"])
def test_what_exists_is_a_path_whatever_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"x")
    assert resolve_weights(name) == Path(name)
    assert resolve_weights(tmp_path / name) == tmp_path / name


def test_a_path_that_is_not_there_is_left_to_the_reader():
    assert resolve_weights("nowhere/model.pt") == Path("nowhere/model.pt")


def test_a_folder_of_hugging_face_form(tmp_path):
    with pytest.raises(ConfigurationError, match=r"without model\.safetensors or pytorch_model\.bin"):
        resolve_weights(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(ConfigurationError, match="in 2 parts; join them"):
        resolve_weights(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert resolve_weights(tmp_path) == tmp_path / "pytorch_model.bin"
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert resolve_weights(str(tmp_path)) == tmp_path / "model.safetensors"


def test_names_that_timm_does_not_have():
    with pytest.raises(ConfigurationError, match="nearest names are .*resnet18"):
        resolve_weights("timm:resnet_18")
    with pytest.raises(ConfigurationError, match=r"no weights of that name; it has .*timm:resnet18\.a1_in1k"):
        resolve_weights("timm:resnet18.none")


def test_weights_of_timm_are_kept_with_what_they_ask_for(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    create = timm.create_model
    network = create("vit_tiny_patch16_224")
    calls = []

    def without_hub(name, pretrained):
        calls.append((name, pretrained))
        return network

    monkeypatch.setattr(timm, "create_model", without_hub)
    path = resolve_weights("timm:vit_tiny_patch16_224")
    assert calls == [("vit_tiny_patch16_224", True)]
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in load_file(path).items())
    row = recognise(path)
    assert (row.encoder_name, row.normalisation.mean[0]) == ("tu-vit_tiny_patch16_224", 0.5)
    assert row.supervision == "supervised"
    assert resolve_weights("timm:vit_tiny_patch16_224") == path
    assert len(calls) == 1


def test_a_file_of_the_hub_and_its_config(tmp_path, monkeypatch):
    asked = []

    def download(repository, name, revision=None):
        asked.append((repository, name, revision))
        if name.endswith("preprocessor_config.json"):
            raise errors.EntryNotFoundError("none")
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert resolve_weights("hf://org/repo@v1/sub/model.bin") == tmp_path / "sub/model.bin"
    assert asked[:2] == [("org/repo", "sub/model.bin", "v1"), ("org/repo", "sub/config.json", "v1")]
    with pytest.raises(ConfigurationError, match="write hf://ORG/REPO/FILE"):
        resolve_weights("hf://org/model.bin")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (errors.LocalEntryNotFoundError, "cannot be reached, and the file was not downloaded before. If this machine"),
        (errors.GatedRepoError, "org/repo is gated; ask for access"),
        (errors.RepositoryNotFoundError, "there is no org/repo on the Hugging Face Hub"),
        (errors.EntryNotFoundError, "org/repo has no file model.bin"),
        (errors.RevisionNotFoundError, "no such revision"),
        (ConnectionError, "cannot be had from the Hugging Face Hub"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(monkeypatch, kind, sentence):
    def download(*args, **options):
        error = kind.__new__(kind)
        Exception.__init__(error, "said\nin lines")
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        resolve_weights("hf://org/repo/model.bin")
    assert "\n" not in str(caught.value)
