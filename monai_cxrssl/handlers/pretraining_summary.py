# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a pretraining run leaves behind: the encoder's weights and the figures."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import nn

from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.monitors.history import RunHistory
from monai_cxrssl.handlers.monitors.online_probe import OnlineProbe
from monai_cxrssl.handlers.run_figures import failed_during_the_run, figure_table, history_figures
from monai_cxrssl.handlers.run_model import RunModel
from monai_cxrssl.handlers.tracked_run import TrackedRun
from monai_cxrssl.handlers.trivial_answer import trivial_figures, trivial_warnings
from monai_cxrssl.networks.description import ENCODER_SETTINGS

__all__ = ["PretrainingSummary"]

logger = logging.getLogger(__name__)


class PretrainingSummary:
    """At the end of a run, write the encoder's state dict and ``metrics.json``, one flat object, and print a table.

    The weights are ``model.pt`` in the run's folder. Beside them, ``model.json`` keeps what it takes to use them again:
    ``encoder_name``, ``image_size`` and how images are normalised, and ``model.patients.json`` who was trained on
    (:mod:`monai_cxrssl.data.audit.leak`). Then they are put where the bundle looks for them
    (:class:`~monai_cxrssl.handlers.run_model.RunModel`).

    Args:
        network: the encoder, whose state dict is written.
        history: the run's epochs.
        output_dir: the run's folder, which gets weights and figures, the latter as one flat JSON object.
        model_path: where the bundle looks for its weights.
        data: figures of the data set (``images``, ``patients``, ``multi_image_bags`` …).
        unreadable: files left out, each with ``image`` and ``cause``.
        warnings: files that were read but looked odd, each with ``image`` and ``warning``.
        probe: the online probe, if any.
        settings: options of the run to record (``encoder_name``, ``seed`` …); ``source`` is the name of the data set,
            ``recipe`` that of the options.
        items: the datalist items trained on; without them no list of patients is written, and an old one is removed,
            since it would tell of other weights.
        pretrained: weights that the run started from (also a teacher's), whose patients count as trained on too.
        replace: weights of the phantom may replace any.
        projection_head: of the method, which the file of weights carries for fine-tuning from its middle.
    """

    def __init__(
        self,
        network: nn.Module,
        history: RunHistory,
        output_dir: str | os.PathLike,
        model_path: str | os.PathLike,
        data: dict[str, Any],
        unreadable: Sequence[dict[str, str]] = (),
        warnings: Sequence[dict[str, str]] = (),
        probe: OnlineProbe | None = None,
        settings: dict[str, Any] | None = None,
        items: Sequence[Mapping[str, Any]] | None = None,
        pretrained: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        replace: bool = False,
        projection_head: nn.Module | None = None,
    ) -> None:
        self.network = network
        self.history = history
        self.data = dict(data)
        self.unreadable = list(unreadable)
        self.warnings = list(warnings)
        self.probe = probe
        self.settings = dict(settings or {})
        recipe, source = self.settings.get("recipe"), self.settings.get("source")
        self.model = RunModel(output_dir, model_path, recipe, source, replace)
        self.items = items
        self.pretrained = pretrained
        self.projection_head = projection_head
        self.tracked = TrackedRun(self.settings, model_path, output_dir)

    def attach(self, engine: Engine) -> None:
        """Write when the engine completes, on the first process."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self.model.announce)
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
            **trivial_figures(rows),
        }
        for stage in dict.fromkeys(row["stage"] for row in rows):
            of_stage = [row for row in rows if row["stage"] == stage]
            figures[f"{stage}_epochs"] = len(of_stage)
            figures[f"{stage}_loss_first_epoch"] = of_stage[0]["loss"]
            figures[f"{stage}_loss_last_epoch"] = of_stage[-1]["loss"]
            figures |= {f"{stage}_{name}": value for name, value in trivial_figures(of_stage).items()}
        figures["embedding_std"] = rows[-1].get("embedding_std")
        for when in ("before", "after"):
            for kind, name in (("linear", "probe"), ("knn", "probe_knn")):
                figures[f"{name}_{when}"] = None if self.probe is None else self.probe.result(when, kind)
        return figures

    def write(self, engine: Any = None) -> None:
        """Write weights and figures, and log the figures."""
        kept = {
            name: value
            for name, value in self.settings.items()
            if name in (*ENCODER_SETTINGS, "started_from", "trained_on")
        }
        self.model.write(self.network, kept, self.items, self.pretrained, self.projection_head)
        figures = self.metrics()
        figures["unreadable"] = [*self.unreadable, *failed_during_the_run(engine)]
        write_json(figures, self.model.metrics_path)
        self.tracked.log_results(figures, figures["epochs"])
        logger.info("The run is complete.\n%s", figure_table(figures))
        for sentence in trivial_warnings(self.history.rows):
            logger.warning(sentence)
        self.model.place()
