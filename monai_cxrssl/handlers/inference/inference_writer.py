# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference outputs: table of probabilities, masks, overlays."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_cxrssl.data.audit.training_range import TrainingRange
from monai_cxrssl.data.datalists.predictions import Predictions, save_predictions
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.handlers.inference.film_warnings import film_warnings
from monai_cxrssl.handlers.inference.mask_files import MaskFiles, SourceFilm, write_table
from monai_cxrssl.handlers.inference.saliency_overlay import write_overlay
from monai_cxrssl.networks.prediction_head import PredictionHead
from monai_cxrssl.probing.saliency import attention_method, saliency_maps
from monai_cxrssl.transforms.io.predictions import RestoreMask
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["InferenceWriter", "mask_names"]

logger = logging.getLogger(__name__)

# File systems take 255 bytes; letters take up to four of them.
_LONGEST_NAME = 50


class InferenceWriter:
    """Write what an evaluator predicts of every image, while it runs and when it completes.

    ``predictions.csv`` (:func:`monai_cxrssl.data.save_predictions`) holds the probabilities, without labels, decisions
    where there are thresholds, warnings (:func:`~monai_cxrssl.handlers.inference.film_warnings.film_warnings`, and what
    was odd in the file), and every file that could not be read with its cause. ``masks/`` holds the lungs, where the
    probability is above 0.5, of the rows and columns of the film's file, upright, and ``dicom_seg/`` the same as DICOM
    SEG of films in DICOM; ``masks.csv`` tells which is whose: ``image``, ``mask``, ``dicom_seg`` (below the output
    folder) and ``problem``, where one could not be written. Without a segmentation branch there are neither masks nor
    ``masks.csv``. ``overlays/<name>.png`` show the saliency of the class of the highest probability over the decoded
    film, and ``overlays.csv`` tells ``image``, ``overlay``, ``class`` and ``problem``. A last line of the log counts it
    all.

    Args:
        output_dir: folder of the files; only the first process writes.
        images: that the evaluator's data set takes its images from.
        head: with the classes, none for a network that only segments; a film that reaches a class's threshold gets 1
            under ``decision:<class>``.
        transform: the resizing that the evaluator's data set applies, which is undone on the masks.
        unreadable: files that were left out, each with ``image`` and ``cause``; by default those of ``images``.
        mask_format: of ``masks/``: ``"png"`` or ``"nifti"``, see
            :class:`~monai_cxrssl.handlers.inference.mask_files.MaskFiles`.
        dicom_seg: write DICOM SEG of films in DICOM; needs highdicom.
        overlays: write overlays; the engine must have the ``network``, as evaluators of MONAI do.
        training_range: of the films that the network was trained on, as ``model.json`` holds it
            (:func:`monai_cxrssl.networks.read_training_range`), for the warning "outside training range"; without it
            there are none, which the log says once.

    Raises:
        ConfigurationError: another mask format, overlays without classes, a training range that is none; from the run:
            the network's outputs are not those of the head's classes and one mask channel.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        images: ImageStore,
        head: PredictionHead,
        transform: ResizeCXR,
        unreadable: Sequence[dict[str, str]] | None = None,
        mask_format: str = "png",
        dicom_seg: bool = True,
        overlays: bool = False,
        training_range: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.images = images
        self.head = head
        self.transform = transform
        self.restore = RestoreMask(transform, head.mask_threshold)
        self.unreadable = list(images.unreadable if unreadable is None else unreadable)
        self.names = mask_names([item["image"] for item in images.items])
        if overlays and not head.classes:
            raise ConfigurationError(
                "Overlays show the evidence for a class, and this network has none; leave them out."
            )
        self.overlays = bool(overlays)
        self.training_range = None if training_range is None else TrainingRange.from_dict(training_range)
        self.masks = MaskFiles(self.output_dir, mask_format, dicom_seg)
        self._start(None)

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose output is ``{"label": logits, "mask": logits}`` or one of both.

        Its batches hold ``index``, the numbers of the images, and for overlays ``image``.
        """
        if idist.get_rank() == 0:
            if self.training_range is None:
                logger.info(
                    "The weights come without the range of their training films (training_range in model.json), so no "
                    "film is looked at for being outside of it."
                )
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
            engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Any) -> None:
        self._items: list[dict[str, Any]] = []
        self._scores: list[torch.Tensor] = []
        self._overlays: list[tuple[str, ...]] = []
        self.masks.clear()
        self._odd: dict[str, list[str]] = defaultdict(list)
        for entry in self.images.warnings:
            self._odd[entry["image"]].append(entry["warning"])

    def _add(self, engine: Any) -> None:
        output = engine.state.output
        indices = [int(index) for index in engine.state.batch["index"]]
        probabilities = self.head.predict(output)
        films = [SourceFilm(self.images.items[index]["image"]) for index in indices]
        for index, film in zip(indices, films, strict=True):
            self._items.append({**self.images.items[index], "warnings": self._warnings(index, film)})
        if "label" in probabilities:
            self._scores.append(probabilities["label"])
        if "mask" in probabilities:
            for index, film, plane in zip(indices, films, probabilities["mask"], strict=True):
                self._write_mask(index, film, plane)
        if self.overlays:
            self._draw(engine, indices, output["label"])

    def _warnings(self, index: int, film: SourceFilm) -> str:
        known = {"age": film.header.get("age"), **self.images.items[index]}
        view = str(film.header.get("view_position") or "")
        found = film_warnings(known, self.images.image(index), view, self.training_range)
        return "; ".join(dict.fromkeys([*found, *self._odd.get(film.path, ())]))

    def _write_mask(self, index: int, film: SourceFilm, plane: torch.Tensor) -> None:
        try:
            if not bool(plane.isfinite().all()):
                raise CXRReadError(film.path, "the network gave no finite numbers for its mask")
            mask = self.restore(plane, film.shape, self.images.image(index).shape)[0].bool().numpy()
        except CXRReadError as error:
            self.masks.refuse(film, self.names[index], error)
            return
        self.masks.write(film, self.names[index], mask)

    def _draw(self, engine: Any, indices: list[int], logits: torch.Tensor) -> None:
        network = getattr(engine, "network", None)
        if network is None:
            raise ConfigurationError(f"Overlays need the network, which this {type(engine).__name__} has not.")
        image = engine.state.batch["image"].to(next(network.parameters()).device)
        chosen = logits.detach().float().argmax(1)
        maps = saliency_maps(network, image, chosen, *attention_method(network)).cpu()
        for index, number, plane in zip(indices, chosen.tolist(), maps, strict=True):
            name, place = self.images.items[index]["image"], f"overlays/{self.names[index]}.png"
            if not bool(torch.isfinite(plane).all()):
                (self.output_dir / place).unlink(missing_ok=True)
                self._overlays.append((name, "", "", "the network gave no finite numbers for its saliency"))
                continue
            film = self.images.image(index)
            saliency = self.transform.invert(plane, film.shape, film.shape)[0].numpy()
            write_overlay(film, saliency, self.output_dir / place)
            self._overlays.append((name, place, self.head.classes[number], ""))

    def _finish(self, engine: Any) -> None:
        task, classes = self.head.task, self.head.classes
        count, width = len(self._items), len(classes)
        probabilities = torch.cat(self._scores) if self._scores else torch.zeros(count, width, dtype=torch.float64)
        decided, scores = self.head.decide(probabilities).numpy(), probabilities.numpy()
        labels = np.full(count, -1) if task == "multi_class" else np.full((count, width), np.nan, np.float32)
        decisions = {name: decided[:, classes.index(name)] for name in self.head.thresholds}
        table = Predictions(classes, task, self._items, scores, labels, unreadable=self.unreadable, decisions=decisions)
        save_predictions(table, self.output_dir / "predictions.csv")
        if self._overlays:
            write_table(self.output_dir / "overlays.csv", ("image", "overlay", "class", "problem"), self._overlays)
        if not np.isfinite(scores).all():
            logger.warning(
                "The network gave no finite probabilities for %d images; theirs are left empty.",
                (~np.isfinite(scores)).any(axis=1).sum(),
            )
        written = self.masks.finish()
        failures = (len(self.unreadable), written["no_mask"], written["no_seg"])
        logger.info(
            "%d images (%d with warnings), %d masks, %d DICOM SEG, %d overlays, %d failures (%d unreadable files, "
            "%d masks not written, %d DICOM SEG not written): %s.",
            count,
            sum(bool(item["warnings"]) for item in self._items),
            written["masks"],
            written["seg"],
            sum(bool(row[1]) for row in self._overlays),
            sum(failures),
            *failures,
            self.output_dir,
        )


def mask_names(paths: Sequence[str]) -> list[str]:
    """Give each file a name of its own without folders: its path below the folder of all, ``_`` between the parts.

    The paths are all absolute or all relative, the names of letters, digits and ``._-``, without a suffix; equal ones,
    case ignored as some disks do, are numbered in order.

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
