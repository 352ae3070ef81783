# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The ensemble against the mean of its members' probabilities in float64; what it is refused for."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import MeanEnsemble

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks import (
    Encoder,
    EnsembleNet,
    MultiTaskNet,
    PredictionHead,
    fine_tuned_network,
    load_trained_network,
    read_members,
)
from monai_cxrssl.networks.fine_tuned.ensemble import label_logits_of, pooled_features_of
from monai_cxrssl.probing import saliency_maps

OPTIONS = {"encoder_name": "resnet18", "num_classes": 3}
TEMPERATURES = [0.5, 1.0, 3.0]


def ensemble(task="multi_class", scale=1.0, **options):
    torch.manual_seed(0)
    network = fine_tuned_network(members=3, task=task, **{**OPTIONS, **options}).eval()
    network.temperatures.copy_(torch.tensor(TEMPERATURES))
    for number, member in enumerate(network.members):  # members that disagree, some of them with certainty
        if member.classification_head is not None:
            member.classification_head[-1].weight.data.mul_(scale * (number + 1))
    return network


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_probabilities_are_the_mean_of_the_members(task, scale):
    network, image = ensemble(task, scale), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        members = [member(image) for member in network.members]
        found = PredictionHead(task, ["a", "b", "c"])(network(image))
    logits = [each["label"].double() / t for each, t in zip(members, TEMPERATURES, strict=True)]
    mean = MeanEnsemble()([x.softmax(-1) if task == "multi_class" else x.sigmoid() for x in logits])
    torch.testing.assert_close(found["label"].double(), mean, atol=1e-6, rtol=1e-4)
    masks = MeanEnsemble()([each["mask"].double().sigmoid() for each in members])
    torch.testing.assert_close(found["mask"].double(), masks, atol=1e-6, rtol=1e-4)


def test_parts_that_checks_use():
    network, image = ensemble(), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(label_logits_of(network, image), network(image)["label"])
        assert pooled_features_of(network, image).shape == (2, 3 * 512)
    maps = [saliency_maps(member, image, [2, 0], "hires_cam", -3) for member in network.members]
    torch.testing.assert_close(saliency_maps(network, image, [2, 0], "hires_cam", -3), torch.stack(maps).mean(0))
    ranked = network(image)["label"].argmax(1)
    torch.testing.assert_close(saliency_maps(network, image), saliency_maps(network, image, ranked))


def test_one_branch_and_bare_tensors():
    image = torch.rand(1, 1, 64, 64)
    assert fine_tuned_network(members=2, return_dict=False, decoder=None, **OPTIONS)(image).shape == (1, 3)
    label, mask = ensemble(return_dict=False)(image)
    assert (label.shape, mask.shape) == ((1, 3), (1, 1, 64, 64))
    segmenting = fine_tuned_network("resnet18", 2, decoder="Unet", return_dict=False).eval()
    assert segmenting(image).shape == (1, 1, 64, 64)
    assert segmenting.classification_head is None
    assert isinstance(fine_tuned_network(**OPTIONS), MultiTaskNet)


def test_weights_tell_that_they_are_an_ensemble(tmp_path):
    network, path = ensemble("multi_label"), tmp_path / "model.pt"
    described = {
        "encoder_name": "resnet18", "image_size": 64, "classes": ["a", "b", "c"], "task": "multi_label",
        "decoder": "Unet", "mask": "lung", "mask_channels": 1, "members": 3,
    }  # fmt: skip
    write_model(network, path, described, None)
    loaded, _ = load_trained_network(path)
    assert isinstance(loaded, EnsembleNet)
    assert loaded.temperatures.tolist() == TEMPERATURES
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), network(image))
    assert (read_members(path), read_members(tmp_path / "none.pt"), read_members(tmp_path / "none.pt", 5)) == (3, 1, 5)
    for start in (lambda: Encoder("resnet18", pretrained=path), lambda: MultiTaskNet(**OPTIONS, pretrained=path)):
        with pytest.raises(ConfigurationError, match="an ensemble of 3 networks, and a network starts from one"):
            start()


@pytest.mark.parametrize("members", [0, True, 2.0, "3"])
def test_wrong_numbers_of_members(members):
    with pytest.raises(ConfigurationError, match="expected 1, or more"):
        fine_tuned_network(members=members, **OPTIONS)


def test_wrong_ensembles():
    with pytest.raises(ConfigurationError, match="two or more"):
        EnsembleNet([MultiTaskNet(**OPTIONS, decoder=None)])
    with pytest.raises(ConfigurationError, match="expected multi_class or multi_label"):
        fine_tuned_network(members=2, task="regression", decoder=None, **OPTIONS)


@pytest.mark.parametrize("return_dict", [False, True])
@pytest.mark.parametrize(
    ("task", "classes", "decoder"), [("multi_label", 3, None), ("multi_class", 0, "Unet"), ("multi_class", 2, "Unet")]
)
def test_torchscript_gives_the_same(task, classes, decoder, return_dict):
    members = [MultiTaskNet("resnet18", num_classes=classes, decoder=decoder) for _ in range(2)]
    ensemble = EnsembleNet(members, task, return_dict).eval()
    ensemble.temperatures.copy_(torch.tensor([1.5, 0.5]))
    image = torch.rand(1, 1, 64, 64)
    eager, scripted = ensemble(image), torch.jit.script(ensemble)(image)
    torch.testing.assert_close(scripted, eager, rtol=0, atol=0)
