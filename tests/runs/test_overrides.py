# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI's ids of a bundle can be overridden, one by one or by further config files, JSON or YAML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigWorkflow
from monai.inferers import SlidingWindowInferer

from monai_cxrssl.handlers import StopOnInvalidLoss
from monai_cxrssl.methods import SimCLR

SMALL = {"encoder_name": "resnet18", "image_size": 64, "batch_size": 4, "recipe": "short", "num_workers": 0}


@pytest.fixture
def workflow(repo, few_films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(bundle, *files, **options):
        config = [str(repo / "bundles" / bundle / "configs" / "train.json"), *map(str, files)]
        made = ConfigWorkflow(
            config, workflow_type="train", logging_file=False, dataset_dir=str(few_films), output_dir="out",
            **SMALL | options,
        )  # fmt: skip
        made.initialize()
        return made

    return make


@pytest.mark.parametrize("bundle", ["micle", "multitask"])
def test_on_the_command_line(workflow, bundle):
    made = workflow(bundle, **{"train#trainer#max_epochs": 2, "network_def#encoder_name": "resnet34"})
    assert made.max_epochs == 2
    assert made.trainer.state.max_epochs == 2
    assert made.network_def.encoder_name == "resnet34"
    assert made.trainer.network is made.network_def
    assert made.check_properties() == []


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["mine.json", "mine.yaml"])
@pytest.mark.parametrize("bundle", ["micle", "multitask"])
def test_by_another_file(workflow, bundle, write, tmp_path, request):
    mine = {
        "my_scale": [0.9, 1.0],
        "train#preprocessing": {
            "_target_": "monai_cxrssl.transforms.MultiView",
            "size": "$@options.image_size",
            "num_views": 2 if bundle == "micle" else 1,
            "scale": "@my_scale",
        },
        "train#inferer": {"_target_": "SlidingWindowInferer", "roi_size": [64, 64]},
        "train#handlers": [{"_target_": "monai_cxrssl.handlers.StopOnInvalidLoss"}],
    }
    file = Path(tmp_path / ("mine.json" if write is json.dumps else "mine.yaml"))
    file.write_text(write(mine))
    made = workflow(bundle, file)
    dataset, views = made.train_dataset, made.train_preprocessing
    assert views.sampler.scale == (0.9, 1.0)
    assert (dataset.transform if bundle == "micle" else dataset.augment) is views
    assert isinstance(made.trainer.inferer, SlidingWindowInferer)
    assert [type(handler) for handler in made.train_handlers] == [StopOnInvalidLoss]


def test_of_validation(workflow):
    made = workflow("multitask", **{"validate#preprocessing#size": 32})
    assert made.val_dataset[0]["image"].shape[-2:] == (32, 32)
    assert made.train_dataset[0]["image"].shape[-2:] == (64, 64)


def test_a_stage_of_ones_own(workflow, tmp_path):
    mine = {
        "own_stages#mine": {
            "_target_": "monai_cxrssl.runs.PretextStage",
            "name": "mine",
            "method": {"_target_": "monai_cxrssl.methods.SimCLR", "_mode_": "callable", "temperature": 0.3},
            "images": "@images",
            "transform": "@train#preprocessing",
            "optimizer": "$@wiring.optimizer_factory()",
            "batch_size": "$@options.batch_size",
        }
    }
    (tmp_path / "mine.json").write_text(json.dumps(mine))
    made = workflow("curricular", tmp_path / "mine.json", tasks=["rotation", "mine"], max_epochs=2)
    assert list(made.trainer.stages) == ["rotation", "mine"]
    run = made.trainer.stages["mine"].build(made.network_def, 1, "cpu")
    assert type(run.method) is SimCLR
