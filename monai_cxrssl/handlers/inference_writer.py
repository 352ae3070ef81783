# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuned network says of new films: probabilities as a table, masks as pictures of the films' own size."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from monai_cxrssl.data.image_store import ImageStore
from monai_cxrssl.data.predictions import Predictions, save_predictions
from monai_cxrssl.data.reader import read_film
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.transforms.spatial import ResizeCXR

__all__ = ["InferenceWriter", "mask_names"]

logger = logging.getLogger(__name__)

# File systems take 255 bytes; letters take up to four of them.
_LONGEST_NAME = 50


class InferenceWriter:
    """Write what an evaluator predicts of every image, while it runs and when it completes.

    ``predictions.csv`` (:func:`monai_cxrssl.data.save_predictions`) holds the probabilities, without labels, and every
    file that could not be read with its cause. ``masks/<name>.png`` are uint8, 255 where the probability is above 0.5,
    of the rows and columns of the film's file, upright; ``masks.csv`` tells which is whose: ``image``, ``mask`` (below
    the output folder) and ``problem``, where a mask could not be written. Without a segmentation branch there are
    neither masks nor ``masks.csv``.

    Args:
        output_dir: folder of the files; only the first process writes.
        images: that the evaluator's data set takes its images from.
        classes: names of the classes; none for a network that only segments.
        task: ``"multi_class"`` (softmax) or ``"multi_label"`` (sigmoid).
        transform: the resizing that the evaluator's data set applies, which is undone on the masks.
        unreadable: files that were left out, each with ``image`` and ``cause``; by default those of ``images``.
        temperature: that the logits are divided by (:func:`monai_cxrssl.metrics.fit_temperature`); 1 leaves them.

    Raises:
        ConfigurationError: from the run: the network's outputs are not those of ``classes`` and one mask channel.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        images: ImageStore,
        classes: Sequence[str],
        task: str,
        transform: ResizeCXR,
        unreadable: Sequence[dict[str, str]] | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.images = images
        self.classes = list(classes)
        self.task = task
        self.transform = transform
        self.temperature = float(temperature)
        self.unreadable = list(images.unreadable if unreadable is None else unreadable)
        self.names = mask_names([item["image"] for item in images.items])
        self._indices: list[int] = []
        self._scores: list[np.ndarray] = []
        self._masks: list[tuple[str, str, str]] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose output is ``{"label": logits, "mask": logits}`` or one of both.

        Its batches hold ``index``, the numbers of the images.
        """
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
            engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Any) -> None:
        self._indices, self._scores, self._masks = [], [], []

    def _add(self, engine: Any) -> None:
        output = engine.state.output
        indices = [int(index) for index in engine.state.batch["index"]]
        self._indices += indices
        width = output["label"].shape[1] if "label" in output else 0
        if width != len(self.classes):
            raise ConfigurationError(
                f"The network gives {width} values per image for {len(self.classes)} classes; give the classes that it "
                "was trained on."
            )
        if width:
            logits = output["label"].detach().double().cpu() / self.temperature
            self._scores.append((logits.softmax(1) if self.task == "multi_class" else logits.sigmoid()).numpy())
        if "mask" in output:
            if output["mask"].shape[1] != 1:
                raise ConfigurationError(
                    f"The network draws {output['mask'].shape[1]} masks per image; one can be written."
                )
            drawn = output["mask"].detach().float().sigmoid().cpu().numpy()
            for index, plane in zip(indices, drawn, strict=True):
                self._write_mask(index, plane)

    def _write_mask(self, index: int, plane: np.ndarray) -> None:
        image, place = self.images.items[index]["image"], f"masks/{self.names[index]}.png"
        path = self.output_dir / place
        try:
            if not np.isfinite(plane).all():
                raise CXRReadError(image, "the network gave no finite numbers for its mask")
            shape = read_film(image, max_side=64).shape
            rows, columns = self.images.image(index).shape
            mask = self.transform.invert(plane, shape, (rows, columns))[0].numpy() > 0.5
        except CXRReadError as error:
            logger.warning("no mask was written: %s", error)
            # One of an earlier run would be taken for this run's.
            path.unlink(missing_ok=True)
            self._masks.append((image, "", error.cause or str(error)))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())
        partial.replace(path)
        self._masks.append((image, place, ""))

    def _finish(self, engine: Any) -> None:
        count, width = len(self._indices), len(self.classes)
        scores = np.concatenate(self._scores) if self._scores else np.zeros((count, width))
        labels = np.full(count, -1) if self.task == "multi_class" else np.full((count, width), np.nan, np.float32)
        items = [dict(self.images.items[index]) for index in self._indices]
        table = Predictions(self.classes, self.task, items, scores, labels, unreadable=self.unreadable)
        save_predictions(table, self.output_dir / "predictions.csv")
        written = sum(not problem for _, _, problem in self._masks)
        if self._masks:
            self._write_table()
        if not np.isfinite(scores).all():
            logger.warning(
                "The network gave no finite probabilities for %d images; theirs are left empty.",
                (~np.isfinite(scores)).any(axis=1).sum(),
            )
        logger.info(
            "%d images, %d masks, %d failures (%d unreadable files, %d masks not written): %s.",
            count,
            written,
            len(self.unreadable) + len(self._masks) - written,
            len(self.unreadable),
            len(self._masks) - written,
            self.output_dir,
        )

    def _write_table(self) -> None:
        partial = self.output_dir / ".masks.csv.partial"
        with open(partial, "w", newline="", encoding="utf-8", errors="surrogatepass") as file:
            csv.writer(file).writerows([("image", "mask", "problem"), *self._masks])
        partial.replace(self.output_dir / "masks.csv")


def mask_names(paths: Sequence[str]) -> list[str]:
    """Give each file a name of its own without folders: its path below the folder of all, ``_`` between the parts.

    Args:
        paths: of the images, all absolute or all relative.

    Returns:
        Names of letters, digits and ``._-``, without a suffix; equal ones are numbered in the order of the paths, upper
        and lower case taken as equal, as some disks take them.

    Example:
        >>> mask_names(["/x/a/1.png", "/x/b/1.png", "/x/a_1.dcm"])
        ['a_1', 'b_1', 'a_1_2']
    """
    if not paths:
        return []
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 (texts: 400,000 of them)
    used: set[str] = set()
    latest: dict[str, int] = {}
    names = []
    for path in paths:
        stem = os.path.splitext(os.path.relpath(path, folder or "."))[0]  # noqa: PTH122
        # The end of a long path tells more than its beginning.
        plain = re.sub(r"[^\w.-]+", "_", stem)[-_LONGEST_NAME:].strip("._-") or "image"
        name = plain
        while name.casefold() in used:
            latest[plain.casefold()] = number = latest.get(plain.casefold(), 1) + 1
            name = f"{plain}_{number}"
        used.add(name.casefold())
        names.append(name)
    return names
