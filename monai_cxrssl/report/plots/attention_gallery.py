# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Gallery of right and wrong decisions with saliency."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.report.plots.canvas import INK, canvas, draw_outlines, square_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AttentionCase", "choose_cases", "draw_attention_gallery"]

_LUNG = "#58e0ff"
_FAINT, _RIGHT, _WRONG = "#6b6b6b", "#1d6b34", "#a3271c"
#: Strongest opacity of the heatmap, so that the image can be seen through it.
_OPACITY = 0.7
#: Side of an image, and the width of the key.
_INCHES, _KEY = 2.5, 3.1


@dataclass(frozen=True)
class AttentionCase:
    """One decision to show."""

    image: np.ndarray  #: ``(H, W)`` float in [0, 1].
    saliency: np.ndarray  #: ``(H, W)``, 0 or more, of the predicted class.
    true: str  #: name of the true class.
    predicted: str  #: name of the class predicted.
    probability: float  #: of the predicted class, in [0, 1].
    right: bool  #: whether the decision is right.
    lung_mask: np.ndarray | None = None  #: ``(H, W)``, lung is what is not 0; ``None`` where there is none.
    pfs: float = float("nan")  #: positive fraction of saliency; NaN where it cannot be given.
    area: float = float("nan")  #: lung-area fraction; NaN where it cannot be given.


def choose_cases(probability: Any, right: Any, count: int = 4, patient: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Choose the right and the wrong decisions that the network was surest of, at most one of each kind per patient.

    Return the numbers of the right and of the wrong images, surest first, each ``(count,)`` or shorter.

    Args:
        probability: ``(N,)`` of the predicted class; NaN images are not chosen.
        right: ``(N,)`` of 1 (right), 0 (wrong) and NaN (label unknown, not chosen), or bool.
        patient: ``(N,)``, one id per image; ``None`` for any number per patient.

    Raises:
        DatalistError: the lengths differ.
    """
    sure, correct = (np.asarray(values, dtype=np.float64) for values in (probability, right))
    ids = np.arange(len(sure)) if patient is None else np.asarray(patient)
    if sure.ndim != 1 or not sure.shape == correct.shape == ids.shape:
        raise DatalistError(
            f"There are {sure.shape} probabilities, {correct.shape} outcomes and {ids.shape} patient ids; expected one "
            "of each per image."
        )
    chosen = []
    for outcome in (1, 0):
        films = np.flatnonzero((correct == outcome) & np.isfinite(sure))
        films = films[np.argsort(-sure[films], kind="stable")]
        first = np.unique(ids[films], return_index=True)[1]
        chosen.append(films[np.sort(first)][:count])
    return chosen[0], chosen[1]


def draw_attention_gallery(
    cases: Sequence[AttentionCase], path: str | os.PathLike, lungs_from: str = "masks of the data set", columns: int = 4
) -> Path:
    """Draw decisions as images with heatmap, lung outline and figures: right ones above, wrong ones below.

    Each heatmap is scaled to its own maximum. The lungs' share of the saliency stands beside their share of the image,
    which is chance. The key says where the outlines come from. Return the path of the PNG.

    Raises:
        DatalistError: no case, or one whose planes do not fit each other.
    """
    if not cases:
        raise DatalistError("There is no decision to show, so no gallery of attention can be drawn.")
    for case in cases:
        _check(case)
    groups = [
        (word, colour, [case for case in cases if case.right == right])
        for word, colour, right in (("right", _RIGHT, True), ("wrong", _WRONG, False))
    ]
    across = max(1, min(columns, max(len(members) for *_, members in groups)))
    rows = [max(1, -(-len(members) // across)) for *_, members in groups]
    # A group without an image takes a line of text.
    heights = [
        (_INCHES + 0.52) * row + 0.3 if members else 0.4 for row, (*_, members) in zip(rows, groups, strict=True)
    ]
    with canvas(path, max(_INCHES * across, _KEY), sum(heights) + 0.6, 130, {}) as figure:
        parts: Any = figure.subfigures(3, 1, height_ratios=[*heights, 0.6])
        for part, row, (word, colour, members) in zip(parts, rows, groups, strict=False):
            heading = f"{len(members)} {word} decision{'s' * (len(members) != 1)}" if members else f"No {word} decision"
            part.suptitle(heading, x=0.01, ha="left", fontsize=11, fontweight="bold", color=colour)
            cells = part.subplots(row, across, squeeze=False).ravel() if members else ()
            for cell in cells:
                cell.set_axis_off()
            for cell, case in zip(cells, members, strict=False):
                _draw(cell, case, colour)
        _draw_key(parts[2], lungs_from)
    return Path(path)


def _check(case: AttentionCase) -> None:
    planes = {"image": case.image, "saliency map": case.saliency, "lung mask": case.lung_mask}
    shapes = {name: np.shape(plane) for name, plane in planes.items() if plane is not None}
    if len(set(shapes.values())) > 1 or len(shapes["image"]) != 2:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DatalistError(f"The planes of a decision do not fit each other: {said}; expected (H, W) for all.")


def _draw(cell: Axes, case: AttentionCase, colour: str) -> None:
    """Fill a cell with an image, its heatmap, its lungs and its figures."""
    from matplotlib import colormaps

    cell.imshow(case.image, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    saliency = np.asarray(case.saliency, dtype=np.float64)
    highest = float(saliency.max())
    notes = []
    if np.isfinite(saliency).all() and highest > 0:
        share = saliency / highest
        # Without the pale end of the map, which turns green over black.
        overlay = colormaps["inferno"](0.25 + 0.57 * share)
        overlay[..., 3] = _OPACITY * share
        cell.imshow(overlay, interpolation="bilinear")
    else:
        notes.append("no saliency for this class")
    if case.lung_mask is None or not np.any(case.lung_mask):
        notes.append("no lung mask" if case.lung_mask is None else "the lung mask is empty")
    else:
        draw_outlines(cell, case.lung_mask, _LUNG, 0.9)
    square_cell(cell, np.shape(case.image))
    decision = [f"true: {case.true}", f"predicted: {case.predicted}{_percent(case.probability)}"]
    known = np.isfinite(case.pfs) and np.isfinite(case.area)
    figures = f"on the lungs {case.pfs:.0%}, chance {case.area:.0%}" if known else "; ".join(notes) or "not assessable"
    below = known and case.pfs <= case.area
    lines = [textwrap.shorten(line, 38, placeholder="…") for line in decision]
    text = [(figures, _WRONG if below else _FAINT), (lines[1], colour), (lines[0], INK)]
    for number, (line, ink) in enumerate(text):
        cell.annotate(
            line, (0.5, 1), (0, 4 + 11 * number), xycoords="axes fraction", textcoords="offset points", ha="center",
            fontsize=8, color=ink,
        )  # fmt: skip
    # The annotations do not count for the layout; an empty title of their height does.
    cell.set_title("\n\n\n", fontsize=8)


def _percent(probability: float) -> str:
    if not np.isfinite(probability):
        return ""
    # 99.9 % is not certainty, and is not shown as such.
    return ", >99%" if 0.995 <= probability < 1 else f", {probability:.0%}"


def _draw_key(part: Any, lungs_from: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    evidence = "evidence for the predicted class,\nbrightest where it is strongest in the image"
    handles = [
        Patch(facecolor="#f98e09", alpha=0.85, label=evidence),
        Line2D([], [], color=_LUNG, label=f"lungs ({lungs_from})"),
    ]
    part.legend(handles=handles, loc="center left", fontsize=7.5, frameon=False, ncols=1)
