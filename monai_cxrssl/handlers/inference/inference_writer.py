# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuned network says of new films: probabilities as a table, masks as pictures of the films' own size."""

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
from monai_cxrssl.probing.saliency import attention_method, saliency_maps
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
    film, and ``overlays.csv`` tells ``image``, ``overlay``, ``class`` and ``problem``. A last line of the log counts
    it all.

    Args:
        output_dir: folder of the files; only the first process writes.
        images: that the evaluator's data set takes its images from.
        classes: names of the classes; none for a network that only segments.
        task: ``"multi_class"`` (softmax) or ``"multi_label"`` (sigmoid).
        transform: the resizing that the evaluator's data set applies, which is undone on the masks.
        unreadable: files that were left out, each with ``image`` and ``cause``; by default those of ``images``.
        temperature: that the logits are divided by (:func:`monai_cxrssl.metrics.fit_temperature`); 1 leaves them.
        mask_format: of ``masks/``: ``"png"`` (uint8, 0 and 255) or ``"nifti"``, see
            :class:`~monai_cxrssl.handlers.inference.mask_files.MaskFiles`.
        dicom_seg: write DICOM SEG of films in DICOM; needs highdicom.
        overlays: write overlays; the engine must have the ``network``, as evaluators of MONAI do.
        thresholds: the chosen operating point by class, of the probabilities written here: a film that reaches it gets
            1 under ``decision:<class>``. Classes that are left out, or have None or NaN, get no decision.
        training_range: of the films that the network was trained on, as ``model.json`` holds it
            (:func:`monai_cxrssl.networks.read_training_range`), for the warning "outside training range"; without it
            there are none, which the log says once.

    Raises:
        ConfigurationError: thresholds of other classes or outside [0, 1], another mask format, overlays without
            classes, a training range that is none; from the run: the network's outputs are not those of ``classes`` and
            one mask channel.
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
        mask_format: str = "png",
        dicom_seg: bool = True,
        overlays: bool = False,
        thresholds: Mapping[str, float | None] | None = None,
        training_range: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.images = images
        self.classes = list(classes)
        self.task = task
        self.transform = transform
        self.temperature = float(temperature)
        self.unreadable = list(images.unreadable if unreadable is None else unreadable)
        self.names = mask_names([item["image"] for item in images.items])
        if overlays and not self.classes:
            raise ConfigurationError(
                "Overlays show the evidence for a class, and this network has none; leave them out."
            )
        self.overlays = bool(overlays)
        self.thresholds = _checked_thresholds(thresholds, self.classes)
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
        self._scores: list[np.ndarray] = []
        self._overlays: list[tuple[str, ...]] = []
        self.masks.clear()
        self._odd: dict[str, list[str]] = defaultdict(list)
        for entry in self.images.warnings:
            self._odd[entry["image"]].append(entry["warning"])

    def _add(self, engine: Any) -> None:
        output = engine.state.output
        indices = [int(index) for index in engine.state.batch["index"]]
        width = output["label"].shape[1] if "label" in output else 0
        if width != len(self.classes):
            raise ConfigurationError(
                f"The network gives {width} values per image for {len(self.classes)} classes; give the classes that it "
                "was trained on."
            )
        films = [SourceFilm(self.images.items[index]["image"]) for index in indices]
        for index, film in zip(indices, films, strict=True):
            self._items.append({**self.images.items[index], "warnings": self._warnings(index, film)})
        if width:
            logits = output["label"].detach().double().cpu() / self.temperature
            self._scores.append((logits.softmax(1) if self.task == "multi_class" else logits.sigmoid()).numpy())
        if "mask" in output:
            if output["mask"].shape[1] != 1:
                raise ConfigurationError(
                    f"The network draws {output['mask'].shape[1]} masks per image; one can be written."
                )
            drawn = output["mask"].detach().float().sigmoid().cpu().numpy()
            for index, film, plane in zip(indices, films, drawn, strict=True):
                self._write_mask(index, film, plane)
        if self.overlays:
            self._draw(engine, indices, output["label"])

    def _warnings(self, index: int, film: SourceFilm) -> str:
        known = {"age": film.header.get("age"), **self.images.items[index]}
        view = str(film.header.get("view_position") or "")
        found = film_warnings(known, self.images.image(index), view, self.training_range)
        return "; ".join(dict.fromkeys([*found, *self._odd.get(film.path, ())]))

    def _write_mask(self, index: int, film: SourceFilm, plane: np.ndarray) -> None:
        try:
            if not np.isfinite(plane).all():
                raise CXRReadError(film.path, "the network gave no finite numbers for its mask")
            mask = self.transform.invert(plane, film.shape, self.images.image(index).shape)[0].numpy() > 0.5
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
            self._overlays.append((name, place, self.classes[number], ""))

    def _finish(self, engine: Any) -> None:
        count, width = len(self._items), len(self.classes)
        scores = np.concatenate(self._scores) if self._scores else np.zeros((count, width))
        labels = np.full(count, -1) if self.task == "multi_class" else np.full((count, width), np.nan, np.float32)
        decisions = {}
        for name, threshold in self.thresholds.items():
            of_class = scores[:, self.classes.index(name)]
            decisions[name] = np.where(np.isnan(of_class), np.nan, (of_class >= threshold).astype(np.float64))
        table = Predictions(
            self.classes, self.task, self._items, scores, labels, unreadable=self.unreadable, decisions=decisions
        )
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


def _checked_thresholds(thresholds: Mapping[str, float | None] | None, classes: Sequence[str]) -> dict[str, float]:
    """The thresholds that are numbers, by class.

    Raises:
        ConfigurationError: one of another class, or outside [0, 1].
    """
    # NaN is what choose_threshold gives where no threshold serves.
    given = {name: float(value) for name, value in (thresholds or {}).items() if value is not None and value == value}
    unknown = [name for name in thresholds or {} if name not in classes]
    if unknown:
        raise ConfigurationError(f"There is a threshold of {unknown[0]!r}; the classes are {', '.join(classes)}.")
    odd = [name for name, value in given.items() if not 0 <= value <= 1]
    if odd:
        raise ConfigurationError(
            f"The threshold of {odd[0]} is {given[odd[0]]:g}; expected a probability, from 0 to 1."
        )
    return given


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
