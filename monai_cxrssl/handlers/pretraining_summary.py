# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a pretraining run leaves behind: the encoder's weights and the figures."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import nn

from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.handlers.monitors.history import RunHistory
from monai_cxrssl.handlers.monitors.online_probe import OnlineProbe
from monai_cxrssl.handlers.run_figures import failed_during_the_run, figure_table, history_figures
from monai_cxrssl.handlers.tracked_run import TrackedRun

__all__ = ["PretrainingSummary"]

logger = logging.getLogger(__name__)


class PretrainingSummary:
    """At the end of a run, write the encoder's state dict and ``metrics.json``, and print a table.

    Beside the weights, a ``.json`` file of the same name keeps what it takes to use them again: ``encoder_name`` and
    ``image_size``, and a ``.patients.json`` file who was trained on (:mod:`monai_cxrssl.data.audit.leak`).

    Args:
        network: the encoder; its state dict becomes the file at ``model_path``.
        history: the run's epochs.
        model_path: where the weights go.
        metrics_path: where the figures go, one flat JSON object.
        data: figures of the data set (``images``, ``patients``, ``multi_image_bags`` …).
        unreadable: files that were left out, each with ``image`` and ``cause``.
        warnings: files that were read but looked odd, each with ``image`` and ``warning``.
        probe: the online probe, if any.
        settings: options of the run to record (``encoder_name``, ``seed`` …); ``source`` is the name of the data set.
        items: the datalist items trained on; without them no list of patients is written, and an old one is removed,
            since it would tell of other weights.
        pretrained: file of the weights that the run started from, whose patients count as trained on too.
    """

    def __init__(
        self,
        network: nn.Module,
        history: RunHistory,
        model_path: str | os.PathLike,
        metrics_path: str | os.PathLike,
        data: dict[str, Any],
        unreadable: Sequence[dict[str, str]] = (),
        warnings: Sequence[dict[str, str]] = (),
        probe: OnlineProbe | None = None,
        settings: dict[str, Any] | None = None,
        items: Sequence[Mapping[str, Any]] | None = None,
        pretrained: str | os.PathLike | None = None,
    ) -> None:
        self.network = network
        self.history = history
        self.model_path = Path(model_path)
        self.metrics_path = Path(metrics_path)
        self.data = dict(data)
        self.unreadable = list(unreadable)
        self.warnings = list(warnings)
        self.probe = probe
        self.settings = dict(settings or {})
        self.items = items
        self.pretrained = pretrained
        self.tracked = TrackedRun(self.settings, self.model_path, self.metrics_path.parent)

    def attach(self, engine: Engine) -> None:
        """Write when the engine completes, on the first process."""
        if idist.get_rank() == 0:
            self.tracked.attach(engine)
            engine.add_event_handler(Events.COMPLETED, self.write)

    def metrics(self) -> dict[str, Any]:
        """Return the figures of the run so far."""
        rows = self.history.rows
        figures: dict[str, Any] = {
            **self.settings,
            **self.data,
            "unreadable": self.unreadable,
            "warnings": self.warnings,
            **history_figures(rows),
        }
        for stage in dict.fromkeys(row["stage"] for row in rows):
            losses = [row["loss"] for row in rows if row["stage"] == stage]
            figures[f"{stage}_epochs"] = len(losses)
            figures[f"{stage}_loss_first_epoch"] = losses[0]
            figures[f"{stage}_loss_last_epoch"] = losses[-1]
        figures["embedding_std"] = rows[-1].get("embedding_std")
        for when in ("before", "after"):
            for kind, name in (("linear", "probe"), ("knn", "probe_knn")):
                figures[f"{name}_{when}"] = None if self.probe is None else self.probe.result(when, kind)
        return figures

    def write(self, engine: Any = None) -> None:
        """Write weights and figures, and log the figures."""
        kept = {name: value for name, value in self.settings.items() if name in ("encoder_name", "image_size")}
        name = str(self.settings.get("source") or "dataset")
        write_model(self.network, self.model_path, kept, self.items, name, self.pretrained)
        figures = self.metrics()
        figures["unreadable"] = [*self.unreadable, *failed_during_the_run(engine)]
        write_json(figures, self.metrics_path)
        self.tracked.log_results(figures, figures["epochs"])
        logger.info("The run is complete.\n%s", figure_table(figures))
        logger.info("Weights: %s. Figures: %s.", self.model_path, self.metrics_path)
