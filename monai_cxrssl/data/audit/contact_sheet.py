# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Contact sheet of a datalist with lung masks and boxes.

Above each image stand its number on the sheet, its class, its view and a number that its patient has on this sheet. No
id and no hash of one: who has a list of ids could try out whose hash it is. Boxes are taken to count pixels of the
image in its file. An image that cannot be read is a cell with the cause.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.data.audit.sheet import Cell, check_format, draw_sheet, save_sheet
from monai_cxrssl.data.datalists.datalist import Datalist, is_known
from monai_cxrssl.data.datalists.datalist_schema import positive_classes
from monai_cxrssl.data.reading.display.orientation import boxes_to_upright
from monai_cxrssl.data.reading.lung_mask import film_turn, read_lung_mask
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.errors import ConfigurationError, CXRReadError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SIDE", "datalist_cells", "draw_datalist", "draw_items"]

NO_LABEL = "no label"
NOTHING_POSITIVE = "none positive"
SIDE = 384
"""Longest side that images are read with, pixels."""
_CELL = 300


def draw_datalist(
    datalist: Datalist, path: str | os.PathLike | None = None, count: int = 12, seed: int = 0, mask: bool = True
) -> Image:
    """Draw images of all splits, spread evenly over the classes.

    The sheet, an RGB image, is written to ``path``, ``.png``, ``.jpg`` or ``.pdf``, where one is given; its folder is
    made. Other arguments and errors are those of :func:`datalist_cells`.

    Raises:
        ConfigurationError: the path names no such picture.
    """
    check_format(path)
    cells = datalist_cells(datalist, count, seed, mask)
    columns = min(len(cells), max(4, math.ceil(math.sqrt(len(cells)))))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)] if cells else []
    heading = f"{datalist.name}: {len(cells)} of {sum(map(len, datalist.splits.values()))} images"
    sheet = draw_sheet(rows, heading, _CELL)
    save_sheet(sheet, path)
    return sheet


def datalist_cells(datalist: Datalist, count: int = 12, seed: int = 0, mask: bool = True) -> list[Cell]:
    """Return a cell for each of up to ``count`` images, drawn by ``seed``; with ``mask``, with their lungs outlined.

    Raises:
        ConfigurationError: count is below 1.
    """
    cells = []
    patients: dict[str, int] = {}
    for number, (name, item) in enumerate(draw_items(datalist, count, seed), start=1):
        patient = patients.setdefault(item["patient_id"], len(patients) + 1)
        positive = [other for other in _classes(item.get("label"), datalist.classes) if other != name]
        view = item.get("view_position") or "view unknown"
        words = [f"{number}: {', '.join([name, *positive])}", f"{view}, patient {patient}"]
        cell = Cell("\n".join(textwrap.shorten(line, 34, placeholder=" …") for line in words))
        _fill(cell, item, mask)
        cells.append(cell)
    return cells


def draw_items(datalist: Datalist, count: int = 12, seed: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Draw at most ``count`` items evenly over the classes: one of each in turn, until there are enough or no more.

    Gives (the class it was drawn for, item with absolute paths) pairs, in the order of the classes, each item once;
    ``"none positive"`` and ``"no label"`` stand in for images of no class. Only ``seed`` and the datalist decide the
    draw.

    Raises:
        ConfigurationError: count is below 1.
    """
    if count < 1:
        raise ConfigurationError(f"count is {count}; expected how many images to draw, 1 or more.")
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


def _fill(cell: Cell, item: dict[str, Any], mask: bool) -> None:
    """Put an image and its outlines into a cell, or the reason why there is none."""
    try:
        film = read_film(item["image"], max_side=SIDE)
    except CXRReadError as error:
        cell.fault = f"This file {error.cause}"
        return
    cell.picture = film.intensities()
    rows, columns = cell.picture.shape
    if mask and item.get("lung_mask"):
        try:
            lungs = read_lung_mask(item["lung_mask"], (rows, columns), image=item["image"])[0]
        except CXRReadError as error:
            cell.fault = f"mask: {error.cause}"
        else:
            outlines = cv2.findContours(lungs, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
            cell.outlines = [outline[:, 0] for outline in outlines]
    down, across = rows / film.shape[0], columns / film.shape[1]
    boxes = item.get("boxes") or ()
    if boxes and (turn := film_turn(item["image"])):
        boxes = boxes_to_upright(np.array(boxes), turn.orientation, turn.shape)
    cell.boxes = [(x1 * across - 0.5, y1 * down - 0.5, x2 * across - 0.5, y2 * down - 0.5) for x1, y1, x2, y2 in boxes]
