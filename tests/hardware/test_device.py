# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.hardware import require_device


@pytest.fixture
def gpus(monkeypatch):
    """A machine with so many GPUs."""

    def have(count: int, built: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)

    return have


@pytest.mark.parametrize(
    ("count", "device", "expected"),
    [
        (0, "cpu", "cpu"),
        (0, torch.device("cpu"), "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
        (2, 1, "cuda:1"),
    ],
)
def test_a_device_that_is_there(gpus, count, device, expected):
    gpus(count)
    assert require_device(device) == torch.device(expected)


@pytest.mark.parametrize(
    ("count", "device", "message"),
    [
        (2, "foo", "--device is 'foo', which torch does not know; expected cpu"),
        (2, "cuda:x", "which torch does not know"),
        (2, "", "which torch does not know"),
        (2, None, "which torch does not know"),
        (0, "cuda:0", "--device is 'cuda:0', but torch finds no GPU here. Use --device cpu"),
        (0, torch.device("cuda"), "--device is 'cuda', but torch finds no GPU here"),
        (0, 0, "--device is 'cuda:0', but torch finds no GPU here"),
        (2, "cuda:2", r"torch sees 2 GPU\(s\) here, cuda:0 to cuda:1"),
        (0, "meta", "on which torch cannot compute here"),
    ],
)
def test_a_device_that_is_not_there_is_told_in_one_sentence(gpus, count, device, message):
    gpus(count)
    with pytest.raises(ConfigurationError, match=message):
        require_device(device)


def test_a_torch_without_cuda_is_told(gpus):
    gpus(0, built=False)
    with pytest.raises(ConfigurationError, match="this torch was built without CUDA"):
        require_device("cuda")


@pytest.mark.parametrize("config", ["train", "evaluate", "inference", "multi_gpu_train"])
def test_every_config_looks_first(repo, config):
    paths = sorted(repo.glob(f"bundles/*/configs/{config}.json"))
    assert paths
    for path in paths:
        initialize = json.loads(path.read_text())["initialize"]
        assert initialize[0] == "$monai_cxrssl.apps.install_clear_errors()", path
        if config == "multi_gpu_train":  # where processes must join each other before they agree on a folder
            assert initialize[1:3] == [
                "$monai_cxrssl.hardware.require_device(@device)",
                "$monai_cxrssl.hardware.join_processes(@device)",
            ], path
            initialize = initialize[2:]
        assert "refuse_unknown_options" in initialize[1], path
        # PretrainingWiring and FineTuningWiring look for the device as they prepare a run.
        looks = "$@wiring.prepare()" if "train" in config else "$monai_cxrssl.hardware.require_device(@device)"
        assert initialize[2] == looks, path


def test_a_training_looks_for_its_device_first(repo, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for bundle in ("micle", "multitask"):
        workflow = ConfigWorkflow(
            str(repo / f"bundles/{bundle}/train.json"), logging_file=False, device="cuda:7", output_dir="out"
        )  # fmt: skip
        with pytest.raises(RuntimeError) as caught:
            workflow.initialize()
        assert isinstance(caught.value.__cause__, ConfigurationError)
