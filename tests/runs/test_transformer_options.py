# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The options ``pooling``, ``positions`` and ``drop_path``, from the command line to the description and back."""

from __future__ import annotations

import pytest
import torch
from fire.parser import DefaultParseValue
from ignite.engine import Engine
from monai.bundle import ConfigParser, ConfigWorkflow
from timm.layers import DropPath
from torch import nn

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import LoadWeights
from monai_cxrssl.networks import Encoder, MultiTaskNet, Normalisation, load_trained_model, read_start
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.networks.weights.header import put_description
from monai_cxrssl.runs.announce import announce_start

NAME = "tu-vit_tiny_patch16_224"
SMALL = {"img_size": 64, "embed_dim": 48, "num_heads": 3}
BEFORE = ("pooling", "positions", "head_norm")


def built(repo, films, folder, bundle, **given):
    made = ConfigWorkflow(
        str(repo / "bundles" / bundle / "configs" / "train.json"), logging_file=False, workflow_type="train",
        output_dir=str(folder / "out"), model_path=str(folder / "model.pt"), dataset_dir=str(films), recipe="short",
        num_workers=0, **{"encoder_name": NAME, **given},
    )  # fmt: skip
    made.initialize()
    return (made.parser.get_parsed_content(name) for name in ("network_def", "wiring"))


def stored(path, network, **about):
    description = {**described_encoder(network), "image_size": 64, **about}
    torch.save(put_description(network.state_dict(), description), path)
    return path


LABELS = {"classes": ["a", "b"], "task": "multi_label", "decoder": None, "mask": None, "mask_channels": 1}


@pytest.mark.parametrize("bundle", ["classification", "simclr"])
def test_as_they_are_typed(bundle, repo, few_films, tmp_path, caplog):
    given = {name: DefaultParseValue(value) for name, value in
             (("pooling", "mean+std"), ("positions", "learned"), ("drop_path", "0.2"))}  # fmt: skip
    network, wiring = built(repo, few_films, tmp_path, bundle, **given)
    said = wiring.settings(network, 4)
    assert (said["pooling"], said["positions"]) == ("mean+std", "learned")
    rates = [module.drop_prob for module in network.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.2)
    with caplog.at_level("INFO"):
        announce_start(None, network, wiring.options)
    assert f"The encoder is {NAME}: pooling mean+std, positions learned, drop path 0.2." in caplog.text
    assert said.get("head_norm") == ("layer" if bundle == "classification" else None)


def test_without_a_word(repo, few_films, tmp_path):
    network, wiring = built(repo, few_films, tmp_path, "classification")
    size = wiring.options.image_size
    said = wiring.settings(network, 4)
    expected = {"pooling": "cls+mean", "positions": "sincos", "head_norm": "layer", "input_mean": [0.5],
                "input_std": [0.25], "encoder_arguments": {"img_size": size}}  # fmt: skip
    assert {name: said[name] for name in expected} == expected
    assert network.encoder.model.pos_embed.shape[1] == 1 + (size // 16) ** 2
    network, wiring = built(repo, few_films, tmp_path, "classification", encoder_name="resnet18")
    said = wiring.settings(network, 4)
    assert (said["pooling"], said["head_norm"], said["input_std"]) == ("mean", "none", [1.0])
    assert "positions" not in said


@pytest.mark.parametrize("name", [NAME, "resnet18"])
def test_linear_probe_of_a_transformer_standardises(name, repo, few_films, tmp_path):
    network, _ = built(repo, few_films, tmp_path, "classification", encoder_name=name, linear_probe=True)
    norm = network.classification_head[1]
    assert isinstance(norm, nn.BatchNorm1d if name == NAME else nn.Identity)
    assert not list(norm.parameters())


@pytest.mark.parametrize(
    ("pooling", "positions", "norm"), [("cls", "sincos", "layer"), ("mean+std", "learned", "batch")]
)
@pytest.mark.parametrize("config", ["evaluate", "inference"])
def test_a_described_model_is_built_as_it_was(config, pooling, positions, norm, repo, tmp_path):
    image = torch.rand(2, 1, 64, 96)
    for bundle, network, about in (
        ("classification", MultiTaskNet(NAME, 2, None, encoder_arguments=SMALL, pooling=pooling, positions=positions,
                                        head_norm=norm), LABELS),
        ("simclr", Encoder(NAME, encoder_arguments=SMALL, pooling=pooling, positions=positions), {}),
    ):  # fmt: skip
        path = stored(tmp_path / f"{bundle}.pt", network.eval(), **about)
        parser = ConfigParser()
        parser.read_config(repo / "bundles" / bundle / "configs" / f"{config}.json")
        parser["model_path"] = str(path)
        again = parser.get_parsed_content("network_def").eval()
        engine = Engine(lambda engine, batch: None)
        LoadWeights(again, path).attach(engine)
        engine.run([0])
        with torch.no_grad():
            for other in (again, load_trained_model(path)[0]):
                expected, found = network(image), other(image)
                outputs = (each["label"] if isinstance(each, dict) else each for each in (expected, found))
                assert torch.equal(*outputs)


def test_the_next_run_pools_as_its_weights(tmp_path, caplog):
    path = stored(tmp_path / "model.pt", Encoder(NAME, encoder_arguments=SMALL, pooling="mean+std"))
    network = MultiTaskNet(NAME, 2, None, pretrained=path)
    assert (network.pool.name, network.positions, network.head_norm) == ("mean+std", "sincos", "layer")
    assert network.encoder_arguments == SMALL
    # Other arguments do not move the grid that the positions were laid on.
    again = MultiTaskNet(NAME, 2, None, pretrained=path, encoder_arguments={"embed_dim": 48, "num_heads": 3})
    assert again.encoder_arguments["img_size"] == 64
    torch.save(network.state_dict(), tmp_path / "bare.pt")
    with caplog.at_level("INFO"):
        bare = Encoder(NAME, pretrained=tmp_path / "bare.pt", encoder_arguments=SMALL)
    assert bare.pool.name == "cls+mean"
    assert "bare.pt does not say how its features are pooled; by default it is cls+mean." in caplog.text


def test_weights_of_before_are_what_they_were(tmp_path):
    network = MultiTaskNet(
        NAME, 2, None, encoder_arguments=SMALL, pooling="mean", positions="learned", head_norm="none",
        input_normalisation="none",
    ).eval()  # fmt: skip
    description = {name: value for name, value in described_encoder(network).items() if name not in BEFORE}
    description = {name: value for name, value in description.items() if not name.startswith("input_")}
    path = tmp_path / "model.pt"
    torch.save(put_description(network.state_dict(), {**description, "image_size": 64, **LABELS}), path)
    assert read_start(path) == {"pooling": "mean", "positions": "learned", "head_norm": "none"}
    again = load_trained_model(path)[0]
    assert again.normalise.normalisation == Normalisation()
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        feature_map = network.encoder(image)[0][-1]
        expected = network.classification_head[3](feature_map.mean((2, 3)))
        torch.testing.assert_close(again(image)["label"], expected)


def test_another_pooling_than_the_weights_is_refused(tmp_path):
    path = stored(tmp_path / "model.pt", Encoder(NAME, encoder_arguments=SMALL, pooling="mean"))
    engine = Engine(lambda engine, batch: None)
    LoadWeights(Encoder(NAME, encoder_arguments=SMALL), path).attach(engine)
    with pytest.raises(ConfigurationError, match="trained with the pooling mean, and the run has cls.mean; give its"):
        engine.run([0])


def test_describe_says_it(tmp_path):
    network = MultiTaskNet(NAME, 2, None, encoder_arguments=SMALL)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    words = ["describe", str(tmp_path / "model.pt"), "--encoder_name", NAME, "--encoder_arguments", str(SMALL)]
    words += ["--image_size", "64", "--classes", "a", "b", "--task", "multi_label", "--input_normalisation", "standard"]
    assert main(words) == 2  # the head of another network
    assert main([*words, "--pooling", "cls+mean", "--positions", "sincos", "--head_norm", "layer"]) == 0
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        found = load_trained_model(tmp_path / "model.pt")[0](image)["label"]
        assert torch.equal(found, network.eval()(image)["label"])
