# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One file of several networks: what it holds, and what it is packed and exported as."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.export.onnx_export import ExportedNetwork, export_network, open_exported
from monai_cxrssl.apps.pack.check import BundleCheck
from monai_cxrssl.apps.pack.package import pack_bundle
from monai_cxrssl.data import refuse_leak
from monai_cxrssl.ensembles import write_ensemble
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks import MultiTaskNet, PredictionHead, load_trained_network

NAME = "chest_xray_multitask_segmentation"
CLASSES = ["no finding", "effusion"]
ABOUT = {
    "encoder_name": "mobilenet_v2", "image_size": 64, "classes": CLASSES, "task": "multi_label", "decoder": "FPN",
    "mask": "lung", "mask_channels": 1,
}  # fmt: skip
ITEMS = [{"image": f"/films/{n}.png", "patient_id": f"p{n}"} for n in range(4)]


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Weights of two members, each with what is true of it alone."""
    files = []
    for number in range(2):
        torch.manual_seed(number)
        path = tmp_path_factory.mktemp("member") / "model.pt"
        network = MultiTaskNet("mobilenet_v2", num_classes=2, decoder="FPN")
        own = {"run": {"folder": "."}, "temperature": 3.0 + number, "thresholds": {"effusion": 0.4}}
        write_model(network, path, {**ABOUT, **own}, ITEMS[number : number + 2], "films")
        files.append(path)
    return files


@pytest.fixture(scope="module")
def weights(members, tmp_path_factory):
    path = tmp_path_factory.mktemp("ensemble") / "model.pt"
    write_ensemble(members, path, ITEMS, [0.5, 2.0], "films")
    return path


def test_file_holds_all_members_and_nothing_of_one(members, weights):
    network, settings = load_trained_network(weights)
    assert settings == {**ABOUT, "members": 2}
    assert network.temperatures.tolist() == [0.5, 2.0]
    for member, path in zip(network.members, members, strict=True):
        for name, value in torch.load(path, weights_only=True).items():
            torch.testing.assert_close(member.state_dict()[name], value, rtol=0, atol=0)
    for item in ITEMS:  # the patients of every member are known again
        with pytest.raises(DatalistError):
            refuse_leak([item], weights, name="films")


def test_members_must_be_of_one_kind(members, weights, tmp_path):
    other = tmp_path / "other.pt"
    network = MultiTaskNet("mobilenet_v2", num_classes=2, decoder="FPN")
    write_model(network, other, {**ABOUT, "image_size": 96}, None)
    for files, words in (
        ([members[0], other], "differs from .* in image_size"),
        ([weights, weights], "is an ensemble itself"),
        (members[:1], "give two or more"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            write_ensemble(files, tmp_path / "model.pt", ITEMS)
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.slow
def test_ensemble_is_packed_as_one_bundle(weights, repo, tmp_path):
    packed = pack_bundle(repo / "bundles" / "multitask", NAME, tmp_path, model_path=weights).path
    (tmp_path / "scratch").mkdir()
    check = BundleCheck(packed, tmp_path / "scratch", strict=True)
    check.run()
    assert check.problems == []
    assert len(check.network.members) == 2
    config = json.loads((packed / "configs" / "inference.json").read_text())
    assert config["members"].endswith("read_members(@model_path, 2)")
    assert "| Ensemble | 2 networks" in (packed / "docs" / "README.md").read_text()
    old = tmp_path / "old"
    (old / "configs").mkdir(parents=True)
    for file in (repo / "bundles" / "multitask").rglob("*"):
        if file.is_file() and file.suffix in (".json", ".md", ".txt", ""):
            target = old / file.relative_to(repo / "bundles" / "multitask")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(line for line in file.read_text().splitlines(True) if '"members"' not in line)
            target.write_text(text)
    with pytest.raises(ConfigurationError, match="no members, and the model is an ensemble of 2"):
        pack_bundle(old, NAME, tmp_path / "out", model_path=weights)


@pytest.mark.slow
def test_ensemble_is_exported(weights, tmp_path, capsys):
    network, settings = load_trained_network(weights)
    exported = ExportedNetwork(network, PredictionHead(settings["task"], settings["classes"], 1.5))
    export_network(exported, tmp_path / "e.onnx", 64, {})
    images = np.random.default_rng(0).random((3, 1, 64, 64), dtype=np.float32)
    found, expected = open_exported(tmp_path / "e.onnx", exported.output_names)(images), exported.run(images)
    for name in ("label", "mask"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert main(["export", str(weights), "--timm", str(tmp_path / "t")]) == 2
    assert "ensemble of 2 networks, and timm takes one encoder" in capsys.readouterr().err
