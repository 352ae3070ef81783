# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The option ``input_normalisation`` of a run, from the command line to the network and its copies."""

from __future__ import annotations

import json

import pytest
import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigWorkflow

from monai_cxrssl.checkpoints.settings import refuse_other_settings
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import RunHistory
from monai_cxrssl.networks import Encoder, Normalisation

IMAGENET = Normalisation.of("imagenet")


def workflow(repo, films, folder, bundle, **given):
    made = ConfigWorkflow(
        str(repo / "bundles" / bundle / "configs" / "train.json"), logging_file=False, workflow_type="train",
        output_dir=str(folder / "out"), model_path=str(folder / "model.pt"), dataset_dir=str(films), recipe="short",
        encoder_name="resnet18", num_workers=0, **given,
    )  # fmt: skip
    made.initialize()
    return made.parser


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("imagenet", IMAGENET),
        ("EVA-X", Normalisation((0.49185243,), (0.28509309,))),
        ("none", Normalisation()),
        ("auto", Normalisation()),
        ("[0.5,0.25]", Normalisation((0.5,), (0.25,))),
        ("[[0.1,0.2,0.3],[0.4,0.5,0.6]]", Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))),
        ("{'mean':1024,'scale':2048}", Normalisation.of("xrv")),
    ],
)
def test_as_it_is_typed(typed, expected, repo, few_films, tmp_path):
    bundle = "classification" if typed.startswith("[") else "simclr"
    parser = workflow(repo, few_films, tmp_path, bundle, input_normalisation=DefaultParseValue(typed))
    network = parser.get_parsed_content("network_def")
    assert network.normalise.normalisation == expected
    assert network.encoder.conv1.weight.shape[1] == expected.channels


def test_a_run_records_it_and_its_copies_have_it(repo, few_films, tmp_path):
    torch.save(Encoder("resnet18", in_channels=3).state_dict(), tmp_path / "start.pt")
    start = {"pretrained": str(tmp_path / "start.pt")}
    with pytest.raises(Exception) as refused:  # MONAI's own
        workflow(repo, few_films, tmp_path, "moco", **start)
    assert "--input_normalisation" in str(refused.value.__cause__)
    parser = workflow(repo, few_films, tmp_path, "moco", **start, input_normalisation="imagenet")
    method, wiring = (parser.get_parsed_content(name) for name in ("train#method", "wiring"))
    copy = method.key_encoder.network[0]
    assert copy.normalise.normalisation == IMAGENET
    films = torch.rand(2, 1, 64, 64)
    assert torch.equal(copy.eval()(films), method.network.eval()(films))
    source, images = (parser.get_parsed_content(name) for name in ("source", "images"))
    summary = wiring.summary(method.network, source, images, RunHistory(parser.get_parsed_content("train#optimizer")))
    settings = wiring.all_settings(summary)
    assert {name: settings[name] for name in IMAGENET.described()} == IMAGENET.described()
    json.dumps(settings, default=str)


def test_resuming_compares_what_is_done_and_not_how_it_was_said():
    before = {"input_normalisation": "auto", **IMAGENET.described()}
    refuse_other_settings(before, {"input_normalisation": "imagenet", **IMAGENET.described()}, "here")
    with pytest.raises(ConfigurationError, match=r"input_mean \[0.485, 0.456, 0.406\], this run has \[0.0\]"):
        refuse_other_settings(before, {"input_normalisation": "auto", **Normalisation().described()}, "here")
