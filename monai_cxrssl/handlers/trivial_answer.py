# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of a run's loss with that of a trivial answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["trivial_figures", "trivial_warnings"]


def trivial_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return ``trivial_loss`` of the last epoch that has one, and ``reconstruction_loss`` where the loss has others.

    Args:
        rows: of a :class:`monai_cxrssl.handlers.RunHistory`.
    """
    last: Mapping[str, Any] = next((row for row in reversed(rows) if "trivial_loss" in row), {})
    return {name: last[name] for name in ("reconstruction_loss", "trivial_loss") if name in last}


def trivial_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each stage whose last epoch is no better than the trivial answer."""
    last = {row["stage"]: row for row in rows}
    sentences = []
    for stage, row in last.items():
        loss = row.get("reconstruction_loss", row["loss"])
        if "trivial_loss" in row and not loss < row["trivial_loss"]:
            sentences.append(
                f"{stage} ended with a loss of {loss:.4f}, not below the {row['trivial_loss']:.4f} of a trivial answer "
                "that nobody had to learn (trivial_loss): the encoder has hardly learned to look at the images. Train "
                "longer (--max_epochs), or raise --base_learning_rate."
            )
    return sentences
