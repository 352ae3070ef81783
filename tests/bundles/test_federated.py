# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Two hospitals pretrain one encoder by MONAI's federated client, with the very code of docs/federated.md."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.fl.utils.constants import WeightType

from monai_cxrssl.data.audit.leak import training_patients_path
from monai_cxrssl.phantom import make_phantom_dataset

HOSPITALS = ("hospital_a", "hospital_b")


def copied(state):
    return {name: value.detach().clone() for name, value in state.items()}


@pytest.fixture(scope="module")
def federation(repo, tmp_path_factory):
    """The page's code after its end, and what was seen on the way: each round's start and each average."""
    folder = tmp_path_factory.mktemp("federation")
    shutil.copytree(repo / "bundles" / "simclr" / "configs", folder / "bundles" / "simclr" / "configs")
    content = json.loads(
        make_phantom_dataset(folder / "films", patients=22, size=96, images_per_patient=(1, 2)).read_text()
    )
    items = [{**item, "image": str(folder / "films" / item["image"])} for item in content["training"]]
    items = [{name: value for name, value in item.items() if "mask" not in name} for item in items]
    patients = sorted({item["patient_id"] for item in items})
    # A third and two thirds of the patients: weights of the average that differ.
    for name, own in zip(HOSPITALS, (patients[::3], patients[1::3] + patients[2::3]), strict=True):
        training = [item for item in items if item["patient_id"] in own]
        (folder / f"{name}.json").write_text(
            json.dumps({**content, "training": training, "validation": [], "test": []})
        )

    blocks = re.findall(r"```python\n(.*?)```", (repo / "docs" / "federated.md").read_text(), flags=re.DOTALL)
    code: dict = {}
    starts, averages = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(blocks[0], "docs/federated.md", "exec"), code)
        open_client, average = code["open_client"], code["average"]

        def watched_client(name):
            client = open_client(name)
            client.trainer.add_event_handler(
                Events.EPOCH_STARTED, lambda engine: starts.append((name, copied(engine.network.state_dict())))
            )
            return client

        def watched_average(weights, answers):
            averaged = average(weights, answers)
            ends = [copied(client.trainer.network.state_dict()) for client in code["clients"]]
            averages.append({"before": copied(weights), "answers": answers, "ends": ends, "after": copied(averaged)})
            return averaged

        code |= {"open_client": watched_client, "average": watched_average}
        exec(compile(blocks[1], "docs/federated.md", "exec"), code)
    return folder, code, starts, averages


@pytest.mark.slow
def test_a_client_has_the_trainer_that_monai_asks_for(federation):
    _, code, _, _ = federation
    for client in code["clients"]:
        assert isinstance(client.trainer, SupervisedTrainer)
        assert client.trainer.state.epoch == 2


def test_both_begin_each_round_with_the_same_weights(federation):
    _, _, starts, averages = federation
    assert [name for name, _ in starts] == [*HOSPITALS, *HOSPITALS]
    for (_, state), expected in zip(starts, [averages[0]["before"]] * 2 + [averages[0]["after"]] * 2, strict=True):
        assert set(state) == set(expected)
        assert all(torch.equal(state[name], value) for name, value in expected.items())


def test_the_average_is_weighted_by_films(federation):
    folder, _, _, averages = federation
    films = [len(json.loads((folder / f"{name}.json").read_text())["training"]) for name in HOSPITALS]
    assert films[0] != films[1]
    for seen in averages:
        assert [answer.statistics["data_count"] for answer in seen["answers"]] == films
        assert all(answer.weight_type == WeightType.WEIGHT_DIFF for answer in seen["answers"])
        moved = 0.0
        for name, value in seen["after"].items():
            # From what the hospitals hold, not from the differences that they sent.
            expected = np.average([end[name].double().numpy() for end in seen["ends"]], axis=0, weights=films)
            tolerance = 1e-6 if value.is_floating_point() else 0.5
            np.testing.assert_allclose(value.double().numpy(), expected, rtol=1e-6, atol=tolerance, err_msg=name)
            moved = max(moved, float((value.double() - seen["before"][name].double()).abs().max()))
        assert moved > 1e-4
        first, second = seen["ends"]
        assert not torch.equal(first["encoder.conv1.weight"], second["encoder.conv1.weight"])


def test_each_loss_is_finite_and_each_hospital_keeps_its_own_files(federation):
    folder, _, _, _ = federation
    hashes = []
    for name in HOSPITALS:
        figures = json.loads((folder / name / "run" / "metrics.json").read_text())
        assert figures["epochs"] == 2
        assert np.isfinite([figures["loss_first_epoch"], figures["loss_last_epoch"]]).all()
        assert 0 < figures["loss_last_epoch"] < 20
        hashes.append(training_patients_path(folder / name / "model.pt").read_text())
    assert hashes[0] != hashes[1]
    assert not list((folder / "bundles").rglob("*.pt"))


def test_what_is_sent_names_no_patient_and_no_film(federation):
    _, _, _, averages = federation
    allowed = {
        "rank", "current_epoch", "current_iteration", "total_epochs", "total_iterations", "data_count",
        "num_executed_iterations",
    }  # fmt: skip
    for answer in averages[-1]["answers"]:
        assert answer.optim is None
        assert answer.metrics is None
        assert {str(key) for key in answer.statistics} == allowed
        assert all(isinstance(value, int) for value in answer.statistics.values())
        assert all(name.startswith("encoder.") for name in answer.weights)


def test_the_result_fills_a_plain_encoder(federation):
    folder, _, _, averages = federation
    state = torch.load(folder / "federated.pt", weights_only=True)
    assert all(torch.equal(state[name], value) for name, value in averages[-1]["after"].items())
    model = smp.Unet("resnet18", encoder_weights=None, in_channels=1)
    result = model.load_state_dict(state, strict=False)
    assert result.unexpected_keys == []
    assert not [key for key in result.missing_keys if key.startswith("encoder.")]
    assert torch.equal(model.encoder.conv1.weight, state["encoder.conv1.weight"])
    assert json.loads((folder / "federated.json").read_text()) == {"encoder_name": "resnet18", "image_size": 64}
