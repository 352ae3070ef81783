# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of a run from its history, and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_cxrssl.data.sampling.replacing_loader import ReplacingLoader

__all__ = ["failed_during_the_run", "figure_table", "history_figures"]


def failed_during_the_run(engine: Any) -> list[dict[str, str]]:
    """Return ``{"image", "cause"}`` of each file that could be read at the start of a run and no longer later.

    The loader tells (:func:`monai_cxrssl.data.training_loader`); without an engine, or with another loader, none.
    """
    loader = None if engine is None else engine.state.dataloader
    return list(loader.unreadable) if isinstance(loader, ReplacingLoader) else []


def history_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Sum up the epochs of a run from the rows of its :class:`monai_cxrssl.handlers.RunHistory`, at least one."""
    seconds = sum(row["seconds"] for row in rows)
    images = sum(row["seconds"] * row["images_per_second"] for row in rows)
    return {
        "epochs": len(rows),
        "loss_first_epoch": rows[0]["loss"],
        "loss_last_epoch": rows[-1]["loss"],
        "images_per_second": images / seconds,
        "seconds": seconds,
    }


def figure_table(figures: Mapping[str, Any]) -> str:
    """Lay figures out as aligned lines: the interval behind its figure, the length of a list, a dash for no figure.

    Example:
        >>> print(figure_table({"images": 12, "dice": 0.91234, "dice_ci_low": 0.9, "dice_ci_high": 0.95}))
          images  12
          dice    0.9123 (0.9 to 0.95)
    """
    ends = {name + end for name in figures for end in ("_ci_low", "_ci_high", "_ci_method")}
    shown = {name: _shown(value) for name, value in figures.items() if name not in ends}
    for name in shown:
        low, high = figures.get(f"{name}_ci_low"), figures.get(f"{name}_ci_high")
        if low is not None and high is not None:
            shown[name] += f" ({_shown(low)} to {_shown(high)})"
    width = max(map(len, shown), default=0)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in shown.items())


def _shown(value: Any) -> str:
    if isinstance(value, list):
        value = len(value)
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
