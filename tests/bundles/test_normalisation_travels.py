# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuned from weights of ImageNet: equal probabilities in evaluation, inference, MONAI Label and ONNX."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from monai.bundle import ConfigParser

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import load_predictions
from monai_cxrssl.networks import find_description

from .conftest import fine_tuning_options

IMAGENET = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BUNDLE = "bundles/classification"


def succeed(result) -> str:
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def trained(run_bundle, few_films, tmp_path_factory) -> Path:
    """Folder of a run from the file of a torchvision model, which says nothing of itself."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(3)
    source = torchvision.models.resnet18(weights=None)
    torch.save(source.state_dict(), folder / "torchvision.pt")
    options = (*fine_tuning_options(folder, few_films), "--pretrained", folder / "torchvision.pt", "--max_epochs", 1)
    succeed(run_bundle(f"{BUNDLE}/train.json", *options, "--input_normalisation", "imagenet"))
    return folder


def test_a_run_says_and_records_it(trained):
    for description in (find_description(trained / "model.pt"), json.loads((trained / "metrics.json").read_text())):
        assert description["input_mean"] == [0.485, 0.456, 0.406]
        assert description["input_std"] == [0.229, 0.224, 0.225]
        assert description["input_scale"] == 1.0
    start = r"The encoder starts from .*torchvision\.pt.*\. Input normalisation: imagenet \(mean 0\.485"
    assert re.search(start, (trained / "log.txt").read_text())


def scores_of(folder: Path) -> dict[str, np.ndarray]:
    found = load_predictions(folder / "predictions.csv")
    return {Path(item["image"]).name: row for item, row in zip(found.items, found.scores, strict=True)}


@pytest.mark.slow
def test_equal_probabilities_four_ways(trained, run_bundle, few_films, repo, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = trained / "model.pt"
    common = ("--dataset_dir", few_films, "--model_path", model, "--num_workers", 0)
    evaluated, inferred = tmp_path / "evaluated", tmp_path / "inferred"
    succeed(run_bundle(f"{BUNDLE}/configs/evaluate.json", *common, "--output_dir", evaluated, "--report", "False",
                       "--resamples", 20))  # fmt: skip
    succeed(run_bundle(f"{BUNDLE}/configs/inference.json", *common, "--output_dir", inferred))
    ways = [scores_of(evaluated), scores_of(inferred)]
    assert main(["export", str(model), "--out", str(tmp_path / "model.onnx")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")

    # MONAI Label reads the parts of a bundle's inference.json, without its own loading of weights.
    bundle = tmp_path / "bundle"
    shutil.copytree(repo / BUNDLE / "configs", bundle / "configs")
    (bundle / "models").mkdir()
    for path in (model, model.with_suffix(".json")):
        shutil.copy(path, bundle / "models")
    config = ConfigParser()
    config.read_config(bundle / "configs" / "inference.json")
    config.config["bundle_root"] = str(bundle)
    before, network = (config.get_parsed_content(key, instantiate=True) for key in ("preprocessing", "network_def"))
    network.load_state_dict(torch.load(model, weights_only=True))
    network.eval()

    # And once by smp and torchvision alone.
    by_hand = smp.encoders.get_encoder("resnet18", in_channels=3, weights=None).eval()
    state = torch.load(model, weights_only=True)
    by_hand.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
    weight, bias = (state[f"classification_head.3.{name}"] for name in ("weight", "bias"))
    images = {Path(item["image"]).name: item["image"] for item in load_predictions(evaluated / "predictions.csv").items}
    assert len(images) > 3
    for name, path in images.items():
        given = before({"image": str(path)})["image"][None].as_tensor()
        with torch.no_grad():
            labelled = network(given).softmax(1)[0].numpy()
            features = by_hand(IMAGENET(given.repeat(1, 3, 1, 1)))[-1].mean((2, 3))
            wanted = (features @ weight.T + bias).softmax(1)[0].numpy()
            flat = (by_hand(given.repeat(1, 3, 1, 1))[-1].mean((2, 3)) @ weight.T + bias).softmax(1)[0].numpy()
        exported = session.run(["label"], {"image": given.numpy()})[0][0]
        assert np.abs(wanted - flat).max() > 1e-3, "the normalisation does not matter here"
        for scores in (*(way[name] for way in ways), labelled, exported):
            np.testing.assert_allclose(scores, wanted, atol=1e-4)


@pytest.mark.slow
def test_the_next_run_takes_it_from_the_weights(trained, run_bundle, few_films, tmp_path):
    """Pretraining goes on from the fine-tuned network's encoder, and leaves an encoder that says so itself."""
    said = succeed(
        run_bundle(
            "bundles/simclr/train.json", *fine_tuning_options(tmp_path, few_films), "--max_epochs", 1, "--pretrained",
            trained / "model.pt",
        )
    )  # fmt: skip
    assert "Input normalisation: imagenet" in said
    assert find_description(tmp_path / "model.pt")["input_mean"] == [0.485, 0.456, 0.406]
    assert torch.load(tmp_path / "model.pt", weights_only=True)["encoder.conv1.weight"].shape[1] == 3
