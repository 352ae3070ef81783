# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning from the middle of a projection head (SimCLRv2), from its file to every way in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.losses import MultiTaskLoss
from monai_cxrssl.methods import FineTuningMethod
from monai_cxrssl.networks import Encoder, MultiTaskNet, ProjectionHead, find_description, load_trained_network
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.optim import layer_decay_groups

LABELS = {
    "image_size": 64,
    "classes": ["a", "b"],
    "task": "multi_label",
    "decoder": None,
    "mask": None,
    "mask_channels": 1,
}


def pretrained(path, head, name="resnet18"):
    """Write an encoder as pretraining does, with a head of any batch statistics."""
    encoder = Encoder(name)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            for value in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(value, 0.5, 2)
    write_model(encoder, path, {**described_encoder(encoder), "image_size": 64}, None, projection_head=head)
    return path


def fine_tuned(path, network):
    """Write a network as fine-tuning does."""
    write_model(network, path, {**described_encoder(network), **LABELS}, None)
    return path


@pytest.fixture
def image():
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def simclr(tmp_path_factory):
    torch.manual_seed(0)
    return pretrained(tmp_path_factory.mktemp("simclr") / "model.pt", ProjectionHead(512, 24, 8, 3))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_equals_a_module_built_by_hand(number, norm, image, tmp_path):
    torch.manual_seed(number)
    path = pretrained(tmp_path / "model.pt", ProjectionHead(512, 24, 8, 3, norm=norm))
    network = MultiTaskNet("resnet18", 2, None, pretrained=path, head_layers=number).eval()
    file = torch.load(path, weights_only=False)
    state = file.monai_cxrssl_projection_head
    modules: list[nn.Module] = []
    for layer, place in enumerate(((0, 3, 6) if norm else (0, 2, 4))[:number]):
        weight = state[f"layers.{place}.weight"]
        bias = state.get(f"layers.{place}.bias")
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        linear.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
        modules.append(linear)
        if layer < 2 and norm:
            normal = nn.BatchNorm1d(24)
            normal.load_state_dict({key: state[f"layers.{place + 1}.{key}"] for key in normal.state_dict()})
            modules.append(normal)
        if layer < 2:
            modules.append(nn.ReLU())
    last = network.classification_head[-1]
    assert last.in_features == (8 if number == 3 else 24)
    by_hand = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *modules, last).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(image)["label"], by_hand(network.encoder(image)[-1]))


def test_description_rebuilds_it(simclr, image, tmp_path):
    network = MultiTaskNet("resnet18", 2, None, pretrained=simclr, head_layers=2).eval()
    path = fine_tuned(tmp_path / "model.pt", network)
    assert find_description(path)["head_layers"] == {"layers": 2, "hidden_channels": 24, "norm": True}
    with torch.no_grad():
        expected = network(image)["label"]
        assert torch.equal(load_trained_network(path)[0](image)["label"], expected)
    # Another fine-tuning goes on from these layers, of other classes too, unless told otherwise.
    for wanted, layers in ((None, 2), (1, 1)):
        again = MultiTaskNet("resnet18", 5, None, pretrained=path, head_layers=wanted)
        state = network.head_layers.state_dict()
        assert again.head_layers.described["layers"] == layers
        assert all(torch.equal(value, state[name]) for name, value in again.head_layers.state_dict().items())
    assert MultiTaskNet("resnet18", 5, None, pretrained=path, head_layers=0).head_layers is None
    assert MultiTaskNet("resnet18", 5, None, pretrained=simclr).head_layers is None


def test_layers_are_frozen_and_decayed_with_the_encoder(simclr, image):
    network = MultiTaskNet("resnet18", 2, None, pretrained=simclr, head_layers=1)
    names = [name for name, _ in network.layer_groups()]
    assert names == ["stem", "stage_1", "stage_2", "stage_3", "stage_4", "projection", "heads"]
    groups = layer_decay_groups(network, lr=1.0, decay=0.5, head_factor=3.0)
    rate_of = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    assert rate_of[id(network.classification_head[-1].weight)] == 3.0
    assert rate_of[id(network.head_layers[0].weight)] == 0.5
    assert rate_of[id(network.encoder.conv1.weight)] == 0.5**6
    method = FineTuningMethod(network, MultiTaskLoss("multi_label"))
    method.freeze_encoder(True)
    method.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([weight for weight in method.parameters() if weight.requires_grad], 0.1)
    method({"image": image, "label": torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])})["loss"].backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"classification_head.3.weight", "classification_head.3.bias"}
    method.freeze_encoder(False)
    assert all(weight.requires_grad for weight in network.head_layers.parameters())
    assert method.train().network.head_layers.training is True
    with pytest.raises(ConfigurationError, match="cannot learn from batches of one image; give --batch_size 2"):
        network(image[:1])


def test_transformer_normalises_behind_the_layers(tmp_path):
    name, small = "tu-vit_tiny_patch16_224", {"img_size": 64, "embed_dim": 48, "num_heads": 3}
    encoder = Encoder(name, encoder_arguments=small)
    path = tmp_path / "model.pt"
    about = {**described_encoder(encoder), "image_size": 64}
    write_model(encoder, path, about, None, projection_head=ProjectionHead(96, 24, 8))
    network = MultiTaskNet(name, 2, None, pretrained=path, head_layers=1)
    assert network.classification_head[2].normalized_shape == (24,)
    write_model(encoder, path, about, None, projection_head=ProjectionHead(48, 24, 8))
    with pytest.raises(ConfigurationError, match=r"reads 48 values, and the pooling cls\+mean gives 96; choose"):
        MultiTaskNet(name, 2, None, pretrained=path, head_layers=1)


@pytest.mark.parametrize(
    ("head", "number", "sentence"),
    [
        (None, 1, r"carries no projection head, as the model.pt of a SimCLR"),
        (ProjectionHead(512, 24, 8, 2), 3, r"head_layers is 3, and the projection head of .* has 2; ask for at most 2"),
        (
            nn.Sequential(nn.Linear(512, 24), nn.LayerNorm(24), nn.Linear(24, 8)),
            1,
            r"not of linear layers of one width",
        ),
    ],
)
def test_sentences(head, number, sentence, tmp_path):
    path = tmp_path / "model.pt"
    write_model(Encoder("resnet18"), path, {"encoder_name": "resnet18", "image_size": 64}, None, projection_head=head)
    with pytest.raises(ConfigurationError, match=sentence) as raised:
        MultiTaskNet("resnet18", 2, None, pretrained=path, head_layers=number)
    assert "\n" not in str(raised.value)


def test_option_of_a_run(simclr, repo, few_films, tmp_path):
    workflow = ConfigWorkflow(
        str(repo / "bundles" / "multitask" / "configs" / "train.json"), logging_file=False, workflow_type="train",
        output_dir=str(tmp_path / "out"), model_path=str(tmp_path / "model.pt"), dataset_dir=str(few_films),
        recipe="short", encoder_name="resnet18", num_workers=0, pretrained=str(simclr),
        head_layers=DefaultParseValue("2"),
    )  # fmt: skip
    workflow.initialize()
    network, wiring = (workflow.parser.get_parsed_content(name) for name in ("network_def", "wiring"))
    expected = {"layers": 2, "hidden_channels": 24, "norm": True}
    assert network.head_layers.described == wiring.settings(network, 4)["head_layers"] == expected


def test_every_way_in_gives_the_same_figures(simclr, image, repo, tmp_path):
    """Configs of evaluation and inference, by which MONAI Label goes too, and ONNX."""
    onnxruntime = pytest.importorskip("onnxruntime")
    network = MultiTaskNet("resnet18", 2, None, pretrained=simclr, head_layers=1).eval()
    path = fine_tuned(tmp_path / "model.pt", network)
    with torch.no_grad():
        expected = network(image)["label"]
        for config in ("evaluate", "inference"):
            parser = ConfigParser()
            parser.read_config(repo / "bundles" / "classification" / "configs" / f"{config}.json")
            parser.config["model_path"] = str(path)
            rebuilt = parser.get_parsed_content("network_def").eval()
            rebuilt.load_state_dict(torch.load(path, weights_only=True))
            output = rebuilt(image)
            assert torch.equal(output["label"] if isinstance(output, dict) else output, expected)
    assert main(["export", str(path)]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    found = session.run(["label"], {"image": image.numpy()})[0]
    np.testing.assert_allclose(found, expected.sigmoid().numpy(), atol=1e-4)
