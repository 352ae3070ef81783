# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of lung attention against chance."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.report.plots.canvas import ACCENT, FADED, canvas, no_plot

__all__ = ["draw_attention"]


def draw_attention(pfs: Any, area: Any, path: str | os.PathLike) -> bool:
    """Draw a point per image, and the line where both are equal: above it the model looks at lungs more than chance.

    Return whether an image had both; if none had, there is no file.

    Args:
        area: ``(N,)`` share of the image that is lung, in [0, 1], as the PFS beside it; NaN where there is none.

    Raises:
        DatalistError: the arrays differ in length.
    """
    inside, lung = np.asarray(pfs, dtype=np.float64).ravel(), np.asarray(area, dtype=np.float64).ravel()
    if len(inside) != len(lung):
        raise DatalistError(f"There are {len(inside)} PFS and {len(lung)} lung areas; expected one of each per image.")
    known = np.isfinite(inside) & np.isfinite(lung)
    inside, lung = inside[known], lung[known]
    if not len(inside):
        return no_plot(path)
    with canvas(path, 5.6, 5.4) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FADED, linewidth=1.2, linestyle="--", label="chance: saliency spread evenly")
        axes.scatter(
            lung, inside, s=22, color=ACCENT, alpha=float(np.clip(60 / len(inside), 0.15, 0.8)), linewidth=0,
            label=f"{len(inside):,} images, {100 * (inside > lung).mean():.0f} % of them above chance", clip_on=False,
        )  # fmt: skip
        axes.plot([lung.mean()], [inside.mean()], color="#d55e00", marker="D", markersize=9, markeredgecolor="white",
                  linestyle="", label=f"mean: PFS {inside.mean():.3f}, lung area {lung.mean():.3f}")  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="share of the image that is lung", ylabel="share of the saliency in the lungs (PFS)")
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower left", frameon=False)
    return True
