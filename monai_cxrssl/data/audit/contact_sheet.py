# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Contact sheet of a datalist with lung masks and boxes.

Above each film stand its number on the sheet, its class, its view and a number that its patient has on this sheet. No
id and no hash of one: who has a list of ids could try out whose hash it is. Boxes are taken to count pixels of the film
in its file. A film that cannot be read is a cell with the cause.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.data.datalists.datalist import Datalist, is_known
from monai_cxrssl.data.datalists.datalist_schema import positive_classes
from monai_cxrssl.data.reading.display.orientation import boxes_to_upright
from monai_cxrssl.data.reading.lung_mask import film_turn, read_lung_mask
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.errors import ConfigurationError, CXRReadError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SIDE", "check_format", "draw_items", "plot_datalist", "save_figure"]

FORMATS = (".png", ".jpg", ".pdf", ".svg")
NO_LABEL = "no label"
NOTHING_POSITIVE = "none positive"
SIDE = 384
"""Longest side that films are drawn with, pixels."""
_INCHES = 2.3
_LUNG, _BOX, _FAULT = "#28c8ff", "#ffb000", "#b00020"


def plot_datalist(
    datalist: Datalist, path: str | os.PathLike | None = None, count: int = 12, seed: int = 0, mask: bool = True
) -> Figure:
    """Draw films of all splits, spread evenly over the classes, into a matplotlib figure that is not tied to a screen.

    Up to ``count`` films, one axes each, are drawn by ``seed``, with the outline of their lung masks where ``mask`` is
    set. The figure is written to ``path``, of :data:`FORMATS`, where one is given; its folder is made.

    Raises:
        ConfigurationError: count is below 1, or the path names no such picture.
    """
    check_format(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = draw_items(datalist, count, seed)
    columns = min(len(drawn), max(4, math.ceil(math.sqrt(len(drawn)))))
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(_INCHES * columns, (_INCHES + 0.35) * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{datalist.name}: {len(drawn)} of {sum(map(len, datalist.splits.values()))} films", fontsize=10)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for cell in cells:
        cell.set_axis_off()
    patients: dict[str, int] = {}
    for number, (cell, (name, item)) in enumerate(zip(cells, drawn, strict=False), start=1):
        patient = patients.setdefault(item["patient_id"], len(patients) + 1)
        positive = [other for other in _classes(item.get("label"), datalist.classes) if other != name]
        view = item.get("view_position") or "view unknown"
        words = [f"{number}: {', '.join([name, *positive])}", f"{view}, patient {patient}"]
        cell.set_title("\n".join(textwrap.shorten(line, 34, placeholder=" …") for line in words), fontsize=7)
        _draw(cell, item, mask)
    save_figure(figure, path)
    return figure


def check_format(path: str | os.PathLike | None) -> None:
    """Refuse a path that names no picture with a ConfigurationError."""
    if path is not None and Path(path).suffix.lower() not in FORMATS:
        raise ConfigurationError(f"A contact sheet cannot be written as {path}; expected {', '.join(FORMATS)}.")


def save_figure(figure: Figure, path: str | os.PathLike | None) -> None:
    """Write a sheet, where a path is given, so that ``index`` knows it for no film; its folder is made."""
    if path is None:
        return
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    software = {"Software": "monai_cxrssl"} if target.suffix.lower() == ".png" else None
    figure.savefig(target, dpi=130, metadata=software)


def draw_items(datalist: Datalist, count: int = 12, seed: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Draw at most ``count`` items evenly over the classes: one of each in turn, until there are enough or no more.

    Gives (the class it was drawn for, item with absolute paths) pairs, in the order of the classes, each item once;
    ``"none positive"`` and ``"no label"`` stand in for films of no class. Only ``seed`` and the datalist decide the
    draw.

    Raises:
        ConfigurationError: count is below 1.
    """
    if count < 1:
        raise ConfigurationError(f"count is {count}; expected how many films to draw, 1 or more.")
    items = datalist.all_items()
    groups: dict[str, list[int]] = {name: [] for name in (*datalist.classes, NOTHING_POSITIVE, NO_LABEL)}
    generator = np.random.default_rng(seed)
    for index in generator.permutation(len(items)).tolist():
        for name in _classes(items[index].get("label"), datalist.classes):
            groups[name].append(index)
    chosen: dict[int, str] = {}
    queues = {name: iter(queue) for name, queue in groups.items()}
    while queues and len(chosen) < count:
        for name in list(queues):
            index = next((n for n in queues[name] if n not in chosen), None)
            if index is None:
                del queues[name]
            elif len(chosen) < count:
                chosen[index] = name
    order = {name: number for number, name in enumerate(groups)}
    return [(name, items[index]) for index, name in sorted(chosen.items(), key=lambda pair: order[pair[1]])]


def _classes(label: Any, classes: Sequence[str]) -> list[str]:
    if not is_known(label):
        return [NO_LABEL]
    return [classes[number] for number in positive_classes(label)] or [NOTHING_POSITIVE]


def _draw(cell: Axes, item: dict[str, Any], mask: bool) -> None:
    """Fill a cell with a film and its outlines, or with the reason why there is none."""
    from matplotlib.patches import Rectangle

    try:
        film = read_film(item["image"], max_side=SIDE)
    except CXRReadError as error:
        message = "\n".join(textwrap.wrap(f"This file {error.cause}", 30)[:9])
        cell.text(0.5, 0.5, message, ha="center", va="center", fontsize=6.5, color=_FAULT, transform=cell.transAxes)
        return
    pixels = film.intensities()
    rows, columns = pixels.shape
    cell.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    if mask and item.get("lung_mask"):
        try:
            lungs = read_lung_mask(item["lung_mask"], (rows, columns), image=item["image"])[0]
        except CXRReadError as error:
            message = "\n".join(textwrap.wrap(f"mask: {error.cause}", 34)[:4])
            cell.text(0.5, 0.02, message, ha="center", fontsize=6, color=_FAULT, transform=cell.transAxes)
        else:
            for outline in cv2.findContours(lungs, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
                x, y = np.concatenate([outline, outline[:1]])[:, 0].T
                cell.plot(x, y, color=_LUNG, linewidth=0.8)
    down, across = rows / film.shape[0], columns / film.shape[1]
    boxes = item.get("boxes") or ()
    if boxes and (turn := film_turn(item["image"])):
        boxes = boxes_to_upright(np.array(boxes), turn.orientation, turn.shape)
    for x1, y1, x2, y2 in boxes:
        corner, width, height = (x1 * across - 0.5, y1 * down - 0.5), (x2 - x1) * across, (y2 - y1) * down
        cell.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=_BOX, linewidth=0.9))
    # A square around every film, so that titles stand in line.
    side, middle = max(rows, columns) / 2, ((columns - 1) / 2, (rows - 1) / 2)
    cell.set(xlim=(middle[0] - side, middle[0] + side), ylim=(middle[1] + side, middle[1] - side))
