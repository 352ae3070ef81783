# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import zipfile

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import ClearMLLogger, TensorboardLogger, WandBLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_cxrssl.handlers import RunLogger


def run(logger, every=1) -> None:
    """Two epochs of two iterations, whose losses are 1 to 4."""
    trainer = Engine(lambda engine, batch: [{"loss": torch.tensor(float(engine.state.iteration)), "embedding": batch}])
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update(auc=engine.state.epoch / 4)
    )
    RunLogger(logger, every).attach(trainer)
    trainer.run([torch.eye(2)] * 2, max_epochs=2)


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (0, None)])
def test_steps_are_iterations(tmp_path, every, steps):
    run(TensorboardLogger(log_dir=str(tmp_path)), every)
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    assert [(point.step, point.value) for point in board.Scalars("epoch/auc")] == [(2, 0.25), (4, 0.5)]
    if steps is None:
        assert board.Tags()["scalars"] == ["epoch/auc"]
    else:
        assert [(point.step, point.value) for point in board.Scalars("train/loss")] == [(n, n) for n in steps]


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandBLogger(project="cxr", mode="offline", dir=str(tmp_path))
    logged, log = [], wandb.log
    monkeypatch.setattr(
        wandb, "log", lambda values, **options: (logged.append((options["step"], values)), log(values, **options))
    )
    run(logger)
    assert logged == [
        (1, {"train/loss": 1.0}), (2, {"train/loss": 2.0}), (2, {"epoch/auc": 0.25}), (3, {"train/loss": 3.0}),
        (4, {"train/loss": 4.0}), (4, {"epoch/auc": 0.5}),
    ]  # fmt: skip
    (written,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert (written.read_bytes().count(b"train/loss"), written.read_bytes().count(b"epoch/auc")) >= (4, 2)


def test_clear_ml_offline(tmp_path, monkeypatch):
    clearml = pytest.importorskip("clearml")
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path))
    clearml.Task.set_offline(True)
    logger = ClearMLLogger(
        project_name="cxr", task_name="run", auto_connect_frameworks=False, auto_resource_monitoring=False,
        auto_connect_arg_parser=False,
    )  # fmt: skip
    run(logger)
    (session,) = tmp_path.rglob("offline-*.zip")
    with zipfile.ZipFile(session) as archive:
        events = [event for line in archive.read("metrics.jsonl").splitlines() for event in json.loads(line)]
    found = {(event["metric"], event["variant"], event["iter"], event["value"]) for event in events if "value" in event}
    assert {("train", "loss", 4, 4.0), ("epoch", "auc", 4, 0.5)} <= found
