# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler, from_engine

from monai_cxrssl.handlers.tracked_run import TrackedRun

mlflow = pytest.importorskip("mlflow")


class Run:
    """A trainer of two iterations per epoch with an evaluator, both tracked as ``--tracking mlflow`` does it."""

    def __init__(self, uri, folder, epochs=2, done=0, stop=None, run_name=None, **settings) -> None:
        folder.mkdir(exist_ok=True)
        options = {"tracking_uri": uri, "run_name": run_name}
        stock = MLFlowHandler(
            **options, tag_name="train_loss", output_transform=from_engine(["loss"], first=True), close_on_complete=True
        )
        self.trainer = Engine(lambda engine, batch: [{"loss": torch.tensor(1.0 / engine.state.iteration)}])
        self.trainer.handlers = [stock]
        self.evaluator = Engine(lambda engine, batch: None)
        self.evaluator.handlers = [MLFlowHandler(**options, iteration_log=False)]
        self.tracked = TrackedRun({"seed": 3, **settings}, folder / "model.pt", folder)
        self.tracked.attach(self.trainer, [self.evaluator])
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.validate)
        self.trainer.add_event_handler(Events.EPOCH_STARTED, self.kill, stop)
        self.trainer.add_event_handler(Events.COMPLETED, self.finish)
        stock.attach(self.trainer)
        self.evaluator.handlers[0].attach(self.evaluator)
        self.folder, self.epochs, self.done = folder, epochs, done

    @staticmethod
    def kill(engine, stop) -> None:
        if stop is not None and engine.state.epoch > stop:
            raise KeyboardInterrupt

    def validate(self, engine) -> None:
        self.evaluator.state.metrics = {"auc_Nodule (left) / mass": 0.75}
        self.evaluator.handlers[0].global_epoch_transform = lambda epoch: engine.state.epoch
        self.evaluator.run([0], max_epochs=1)
        engine.state.metrics["dice"] = 0.5

    def finish(self, engine) -> None:
        (self.folder / "curves.png").write_bytes(b"png")
        (self.folder / "config_20260101_000000.json").write_text("{}")
        self.tracked.log_results({"macro_auc": 0.9, "seed": 3, "auc_(x)": 1, "task": "a", "nothing": None}, self.epochs)

    def run(self) -> None:
        if self.done:
            self.trainer.load_state_dict({"iteration": 2 * self.done, "epoch_length": 2, "max_epochs": self.epochs})
        self.trainer.run([0, 1], max_epochs=self.epochs)


def runs_of(uri) -> list:
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("monai_experiment")
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def history(uri, run, name) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in mlflow.MlflowClient(uri).get_metric_history(run.info.run_id, name)]


@pytest.fixture
def uri(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/mlruns.db"


def test_options_results_plot_config_and_model_of_a_run(uri, tmp_path):
    Run(uri, tmp_path / "a", lr=0.5).run()
    (run,) = runs_of(uri)
    assert run.info.status == "FINISHED"
    assert run.info.run_name.endswith("/a")
    assert run.data.params == {
        "seed": "3", "lr": "0.5", "model_path": str(tmp_path / "a/model.pt"), "max_epochs": "2", "epoch_length": "2",
    }  # fmt: skip
    assert history(uri, run, "train_loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3)), (4, 0.25)]
    assert history(uri, run, "dice") == [(1, 0.5), (2, 0.5)]
    assert history(uri, run, "auc_Nodule _left_ _ mass") == [(1, 0.75), (2, 0.75)]
    assert {name: value for name, value in run.data.metrics.items() if name.startswith("result/")} == {
        "result/macro_auc": 0.9, "result/auc__x_": 1.0,
    }  # fmt: skip
    names = [file.path for file in mlflow.MlflowClient(uri).list_artifacts(run.info.run_id)]
    assert sorted(names) == ["config_20260101_000000.json", "curves.png"]


def test_each_run_is_one_of_its_own_and_a_resumed_one_goes_on(uri, tmp_path):
    """MONAI's handler alone logs into the oldest run that has not ended."""
    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            Run(uri, tmp_path / name, epochs=3, stop=1, workers=1).run()
    assert [history(uri, run, "dice") for run in runs_of(uri)] == [[(1, 0.5)]] * 2
    Run(uri, tmp_path / "b", epochs=3, done=1, workers=8).run()
    first, second = runs_of(uri)
    assert (first.info.status, second.info.status) == ("RUNNING", "FINISHED")
    assert [step for step, _ in history(uri, second, "dice")] == [1, 2, 3]
    assert [step for step, _ in history(uri, second, "train_loss")] == [1, 2, 3, 4, 5, 6]
    assert second.data.params["workers"] == "1"
    assert history(uri, first, "dice") == [(1, 0.5)]
    Run(uri, tmp_path / "a", run_name="again").run()
    assert [run.info.run_name for run in runs_of(uri)][2:] == ["again"]
    assert history(uri, runs_of(uri)[0], "dice") == [(1, 0.5)]
