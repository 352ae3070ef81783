# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Public data sets that weights go back to, also after trainings in between."""

from __future__ import annotations

import pytest
import torch
import torchvision

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks import trained_on
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.report.provenance import collect_provenance, split_audit
from monai_cxrssl.runs import FineTuningOptions, PretrainingOptions, refuse_leak
from monai_cxrssl.runs.wiring import Wiring

ITEMS = [{"image": "1.png", "patient_id": "1", "source": "CheXpert"}]


def moco_cxr(folder):
    network = torchvision.models.resnet18(num_classes=128)
    path = folder / "r8w-00001.pth.tar"
    torch.save({f"module.encoder_q.{k}": v for k, v in network.state_dict().items()}, path)
    return path


def test_of_public_weights_of_runs_and_of_nothing(tmp_path):
    public, own = moco_cxr(tmp_path), tmp_path / "model.pt"
    assert trained_on(public) == ["CheXpert"]
    torch.save(Encoder("resnet18").state_dict(), own)
    assert trained_on(own) == []
    store_description(own, {"encoder_name": "resnet18", "image_size": 64, "trained_on": ["PadChest"]})
    assert trained_on([own, public, own]) == ["PadChest", "CheXpert"]
    assert trained_on(None) == trained_on(tmp_path / "none.pt") == []


def test_an_evaluation_on_them_is_refused(tmp_path):
    path = moco_cxr(tmp_path)
    with pytest.raises(DatalistError, match="CheXpert is this evaluation's"):
        refuse_leak(ITEMS, path)
    assert len(refuse_leak(ITEMS, path, allow_leak=True)) == 1
    audit = split_audit(items=ITEMS, weights=path)
    assert audit["leaks"] == 1
    assert "CheXpert" in " ".join(audit["checked"])
    assert collect_provenance(weights=path)["weights"]["trained_on"] == ["CheXpert"]


def test_pretraining_and_fine_tuning_carry_it_on(tmp_path):
    """What each run writes is what the next one starts from, until an evaluation asks."""
    start = moco_cxr(tmp_path)
    recipes = {"full": {"encoder_name": "resnet18", "image_size": 64, "batch_size": 2, "max_epochs": 1}}
    for kind, further in (
        (PretrainingOptions, {"base_learning_rate": 0.1}),
        (FineTuningOptions, {"learning_rate": 0.1}),
    ):
        path = tmp_path / f"{kind.__name__}.pt"
        given = {"recipe": "full", "output_dir": str(tmp_path), "model_path": str(path), "pretrained": str(start)}
        options = kind.resolved({**given, **further}, recipes)
        network = Encoder(options.encoder_name, start=options.start)
        torch.save(network.state_dict(), path)
        origins = Wiring(options, "any").origins()
        assert origins["trained_on"] == ["CheXpert"]
        assert "moco-cxr-resnet18" in origins["started_from"]
        store_description(path, {**described_encoder(network), "image_size": 64, **origins})
        start = path
    with pytest.raises(DatalistError, match="CheXpert is this evaluation's"):
        refuse_leak(ITEMS, start)
    assert len(refuse_leak(ITEMS, start, allow_leak=True)) == 1
    assert refuse_leak([{**ITEMS[0], "source": "PadChest"}], start) == []
