# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The training curves as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from monai_cxrssl.files import atomic_write
from monai_cxrssl.handlers.monitors.history import RunHistory
from monai_cxrssl.handlers.monitors.online_probe import OnlineProbe

__all__ = ["CurvesPlot"]

# What stands beside the loss in its panel, with its name, colour and line.
_BESIDE_LOSS = {
    "reconstruction_loss": ("reconstruction", "#0f8a8a", "-"),
    "trivial_loss": ("trivial answer", "0.45", "--"),
}
# What a validation yields, with its name, colour and line.
_VALIDATED = {"val_macro_auc": ("macro AUC", "#7a3fa0", "-"), "val_dice": ("Dice", "#0f8a8a", "--")}


class CurvesPlot:
    """Draw what is known of each epoch as a PNG, anew ``every`` so many epochs and at the end.

    Loss, with that of a trivial answer where the method knows it, and learning rate; where there are any: the embeddings' spread, the validation's macro AUC and Dice
    coefficient (``val_macro_auc``, ``val_dice``), the probe.
    """

    def __init__(
        self, history: RunHistory, path: str | os.PathLike, probe: OnlineProbe | None = None, every: int = 10
    ) -> None:
        self.history = history
        self.path = Path(path)
        self.probe = probe
        self.every = max(1, int(every))

    def attach(self, engine: Engine) -> None:
        """Draw during and after the run of an engine, on the first process."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self.draw)
            engine.add_event_handler(Events.COMPLETED, self.draw)

    def draw(self, engine: Engine | None = None) -> None:
        """Write the picture from what is known so far."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rows = self.history.rows
        if not rows:
            return
        panels = [("loss", "loss"), ("learning_rate", "learning rate")]
        if any("embedding_std" in row for row in rows):
            panels.insert(1, ("embedding_std", "spread of embeddings (1 = even)"))
        probed = self.probe.results if self.probe is not None else {}
        validated = {name: points for name in _VALIDATED if (points := _points(rows, name))}
        count = len(panels) + bool(validated) + bool(probed)
        figure = Figure(figsize=(4.2 * count, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, count, squeeze=False)[0]
        for axis, (name, label) in zip(axes, panels, strict=False):
            points = _points(rows, name)
            axis.plot(*zip(*points, strict=True), color="#1f5fa8", marker="." if len(points) < 30 else None)
            axis.set(xlabel="epoch", ylabel=label)
        for name, (label, colour, style) in _BESIDE_LOSS.items():
            if points := _points(rows, name):
                axes[0].plot(*zip(*points, strict=True), style, color=colour, label=label)
                axes[0].legend(frameon=False)
        if validated:
            axis = axes[len(panels)]
            for name, points in validated.items():
                label, colour, style = _VALIDATED[name]
                marker = "o" if len(points) < 30 else None
                axis.plot(*zip(*points, strict=True), style, color=colour, marker=marker, markersize=4, label=label)
            axis.set(xlabel="epoch", ylabel="validation")
            axis.legend(frameon=False)
        if probed:
            epochs = sorted(probed)
            for kind, colour, label in (("linear", "#b3402a", "linear"), ("knn", "#3f7f3f", "nearest neighbours")):
                values = [probed[epoch][kind]["macro_auc"] for epoch in epochs]
                axes[-1].plot(epochs, values, color=colour, marker="o", label=label)
            axes[-1].set(xlabel="epoch", ylabel="probe, macro AUC")
            axes[-1].legend(frameon=False)
        stages = list(dict.fromkeys(row["stage"] for row in rows))
        starts = [next(row["epoch"] for row in rows if row["stage"] == stage) for stage in stages]
        for axis in axes:
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
            for stage, start in zip(stages[1:], starts[1:], strict=True):
                axis.axvline(start - 0.5, color="0.6", linestyle=":")
                axis.annotate(stage, (start - 0.5, 1), (3, -3), xycoords=("data", "axes fraction"),
                              textcoords="offset points", va="top", fontsize=8, color="0.4")  # fmt: skip
        with atomic_write(self.path) as partial:
            figure.savefig(partial, dpi=110, format="png")


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """Epochs that have the figure, and its values."""
    return [(row["epoch"], row[name]) for row in rows if name in row]
