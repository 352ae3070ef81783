# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Options, results and plots of a run tracked by MLflow."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler

__all__ = ["TrackedRun"]

#: Others end a run with an error of MLflow's.
_NOT_IN_NAMES = re.compile(r"[^\w.\- ]")


class TrackedRun:
    """Add what MONAI's ``MLFlowHandler`` leaves out: options, results, plots, and the path of the weights.

    ``--tracking mlflow`` gives that handler to the trainer, where it logs loss, learning rate and metrics. Here the
    options become parameters of the same MLflow run when training starts, and at the end the results become metrics
    ``result/<name>``, and the plot and the config of the run its artifacts. Nothing is logged that could name a
    patient: no list of files, no datalist.

    MONAI's handler goes on with the oldest run that has not ended, whoever's it is. Here a resumed run goes on with its
    own, known by the folder of its results, and any other run is a new one.

    Args:
        settings: options of the run.
        model_path: where the weights go.
        folder: of the run's results.
    """

    def __init__(self, settings: Mapping[str, Any], model_path: str | os.PathLike, folder: str | os.PathLike) -> None:
        self.parameters = {**settings, "model_path": os.fspath(model_path)}
        self.folder = Path(folder)
        self.evaluators: list[Any] = []
        self._runs: list[tuple[Any, str]] = []

    def attach(self, engine: Engine, evaluators: Iterable[Engine] = ()) -> None:
        """Follow a trainer; attach it before the trainer's ``MLFlowHandler``.

        Args:
            engine: the trainer; its ``handlers`` are looked through.
            evaluators: engines whose metrics go to the same MLflow run.
        """
        self.evaluators = list(evaluators)
        engine.add_event_handler(Events.STARTED, self._start)

    def log_results(self, results: Mapping[str, Any], step: int) -> None:
        """Log the numbers among the results, the plot and the config; call it before the trainer has completed.

        Args:
            results: values by name; what is no finite number is left out.
            step: that the results belong to: epochs trained.
        """
        plots = [path for path in (self.folder / "curves.png",) if path.is_file()]
        # MONAI means to log the config, but takes an --output_dir that is a plain path for an expression.
        configs = sorted(self.folder.glob("config_*.json"), key=lambda path: path.stat().st_mtime_ns)[-1:]
        for tracker, run_id in self._runs:
            for name, value in results.items():
                if name in self.parameters:
                    continue
                if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                    tracker.client.log_metric(run_id, f"result/{_valid(name)}", float(value), step=step)
            for path in [*plots, *(path for path in configs if str(path) not in map(str, tracker.artifacts))]:
                tracker.client.log_artifact(run_id, str(path))

    def _start(self, engine: Any) -> None:
        fresh = not getattr(engine, "resumed", engine.state.iteration > 0)
        self._runs = []
        for tracker in _trackers(engine):
            run: Any = tracker.cur_run or self._run_of(tracker, fresh)
            tracker.cur_run = run
            run_id = run.info.run_id
            present = tracker.client.get_run(run_id).data.params
            for name, value in self.parameters.items():
                if name not in present:  # what a resumed run has been given before cannot be changed
                    tracker.client.log_param(run_id, name, value)
            _accept_all_names(tracker, run_id)
            self._runs.append((tracker, run_id))
        for evaluator in self.evaluators:
            for tracker in _trackers(evaluator):
                same = [run for other, run in self._runs if other.client.tracking_uri == tracker.client.tracking_uri]
                if same:
                    tracker.cur_run = tracker.client.get_run(same[0])
                    _accept_all_names(tracker, same[0])

    def _run_of(self, tracker: MLFlowHandler, fresh: bool) -> Any:
        """Return the MLflow run of this folder, or a new one."""
        client, place = tracker.client, str(self.folder.resolve())
        experiment = client.get_experiment_by_name(tracker.experiment_name)
        if experiment is not None:
            experiment_id = experiment.experiment_id
        else:
            experiment_id = client.create_experiment(
                tracker.experiment_name, artifact_location=tracker.artifact_location
            )
        if not fresh:
            for run in client.search_runs([experiment_id], order_by=["attributes.start_time DESC"]):
                if run.data.tags.get("output_dir") == place:
                    return run
        name = tracker.run_name or "/".join(Path(place).parts[-2:])
        return client.create_run(experiment_id, run_name=name, tags={"output_dir": place})


def _trackers(engine: Any) -> list[MLFlowHandler]:
    return [handler for handler in getattr(engine, "handlers", ()) if isinstance(handler, MLFlowHandler)]


def _accept_all_names(tracker: MLFlowHandler, run_id: str) -> None:
    """Let a handler without an epoch logger of its own log metrics of classes that are called, say, "Nodule (left)"."""
    if tracker.epoch_logger is not None or tracker.state_attributes is not None:
        return

    def log(engine: Any) -> None:
        step = tracker.global_epoch_transform(engine.state.epoch)
        for name, value in engine.state.metrics.items():
            tracker.client.log_metric(run_id, _valid(name), float(value), step=step)

    tracker.epoch_logger = log


def _valid(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:200]
