# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung outlines, areas and thoracic width of inference."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from monai_cxrssl.data.audit.lung_doubts import expected_dice, lung_doubts
from monai_cxrssl.data.reading.spacing import film_spacing
from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.errors import CXRReadError
from monai_cxrssl.files import atomic_write
from monai_cxrssl.handlers.inference.inference_writer import InferenceWriter
from monai_cxrssl.handlers.inference.mask_files import write_table, writing_cause
from monai_cxrssl.metrics.lung_extent import lung_extent

__all__ = ["LungFiles"]

logger = logging.getLogger(__name__)

_COLUMNS = (
    "image", "row_spacing_mm", "column_spacing_mm", "area_px", "area_mm2", "image_left_area_mm2",
    "image_right_area_mm2", "thoracic_width_px", "thoracic_width_mm", "height_px", "height_mm", "expected_dice",
    "doubts", "outline",
)  # fmt: skip
_OUTLINE = (0, 200, 255)  # of OpenCV's blue, green, red


class LungFiles:
    """Write what the lungs of each image measure, and their outlines over it.

    ``lungs.csv`` tells per image the spacing of its file, areas, thoracic width and height
    (:class:`monai_cxrssl.metrics.LungExtent`) in pixels of the file and, where the file says its spacing, in mm at the
    detector or in the patient, as the file has it; the Dice coefficient that the network expects of its mask, and what
    speaks against it (:func:`monai_cxrssl.data.audit.lung_doubts.lung_doubts`). ``outlines/<name>.png`` shows the
    outline over the decoded image.

    Args:
        writer: of the same inference, attached before this, whose images, names and folder are taken.
        outlines: write them.
    """

    def __init__(self, writer: InferenceWriter, outlines: bool = True) -> None:
        self.writer = writer
        self.outlines = bool(outlines)
        self.rows: list[tuple[str, ...]] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose output holds ``mask`` logits and whose batches hold ``index``."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
            engine.add_event_handler(Events.COMPLETED, self._finish)

    def _add(self, engine: Any) -> None:
        batch = engine.state.batch
        planes = self.writer.head.predict(engine.state.output)["mask"]
        indices = [int(index) for index in batch["index"]]
        sources = batch.get("film") or map(self.writer.source_film, indices)
        for index, source, plane in zip(indices, sources, planes, strict=True):
            if isinstance(source, SourceFilm):  # else unreadable, which the writer tells
                shape = source.pixels.shape
                probability = self.writer.transform.invert(plane.nan_to_num(), shape, shape)[0].numpy()
                self.rows.append(self._row(index, source, probability))

    def _row(self, index: int, source: SourceFilm, probability: np.ndarray) -> tuple[str, ...]:
        path, film = source.path, source.pixels
        mask = probability > self.writer.head.mask_threshold
        numbers = [""] * 10
        try:
            shape, spacing = source.shape, film_spacing(path)
            extent = lung_extent(mask, (shape[0] / film.shape[0], shape[1] / film.shape[1]))
        except CXRReadError as error:  # gone since it was decoded: of an unknown size nothing is measured
            logger.warning("the lungs were not measured: %s", error)
            extent = None
        if extent is not None:
            row, column = spacing or (np.nan, np.nan)
            area = row * column
            # Measured once, in pixels: rows and columns each have a spacing of their own.
            values = (
                row, column, extent.area, extent.area * area, extent.left_area * area, extent.right_area * area,
                extent.thoracic_width, extent.thoracic_width * column, extent.height, extent.height * row,
            )  # fmt: skip
            numbers = ["" if np.isnan(value) else f"{value:.6g}" for value in values]
        place = f"outlines/{self.writer.names[index]}.png" if self.outlines else ""
        if place:
            try:
                with self.writer.files.write(place) as target:
                    _write_outline(film, mask, target)
            except OSError as error:
                logger.warning("no outline was written of %s: %s", path, writing_cause(error))
                place = ""
        doubts = "; ".join(lung_doubts(probability))
        return (path, *numbers, f"{expected_dice(probability):.3f}", doubts, place)

    def _finish(self, engine: Engine) -> None:
        with self.writer.files.write("lungs.csv") as path:
            write_table(path, _COLUMNS, self.rows)
        doubtful = sum(bool(row[-2]) for row in self.rows)
        known = sum(bool(row[4]) for row in self.rows)
        logger.info(
            "Lungs of %d images measured, %d of them in mm; the lungs of %d are in doubt (column doubts of %s).",
            len(self.rows), known, doubtful, self.writer.output_dir / "lungs.csv",
        )  # fmt: skip


def _write_outline(film: np.ndarray, mask: np.ndarray, path: Path) -> None:
    grey = (film if film.dtype == np.uint8 else film // 257).astype(np.uint8)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, lines, -1, _OUTLINE, max(1, min(film.shape) // 200))
    with atomic_write(path) as partial:
        partial.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
