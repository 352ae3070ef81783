# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference outputs: table of probabilities, masks, overlays."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.audit.training_range import TrainingRange
from monai_cxrssl.data.datalists.predictions import Predictions, save_predictions
from monai_cxrssl.data.dicom_results.results import result_kinds
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.small_film import refuse_unreadable
from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import OrderedCalls
from monai_cxrssl.handlers.inference.dicom_files import DicomResultFiles, DicomRow
from monai_cxrssl.handlers.inference.film_warnings import film_warnings
from monai_cxrssl.handlers.inference.mask_files import MaskFiles, MaskRow, write_table, writing_cause
from monai_cxrssl.handlers.inference.mask_names import mask_names
from monai_cxrssl.handlers.inference.saliency_overlay import write_overlay
from monai_cxrssl.handlers.inference.unreadable_files import unreadable_entries
from monai_cxrssl.handlers.inference.written_files import WrittenFiles
from monai_cxrssl.networks.prediction_head import PredictionHead
from monai_cxrssl.probing.saliency import attention_method, saliency_maps
from monai_cxrssl.transforms.io.predictions import RestoreMask
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["InferenceWriter"]

logger = logging.getLogger(__name__)

_MOST_THREADS = 4


class InferenceWriter:
    """Write what an evaluator predicts of every image, while it runs and when it completes.

    ``predictions.csv`` (:func:`monai_cxrssl.data.save_predictions`) holds the probabilities, without labels, decisions
    where there are thresholds, warnings (:func:`~monai_cxrssl.handlers.inference.film_warnings.film_warnings`, and what
    was odd in the file), and every file that could not be read with its cause. ``masks/`` holds the lungs, where the
    probability is above 0.5, of the rows and columns of the image's file, upright; ``masks.csv`` tells which is whose:
    ``image``, ``mask`` (below the output folder) and ``problem``, where one could not be written; ``predictions.csv``
    repeats ``mask``. Without a segmentation branch there are neither masks nor ``masks.csv``. ``overlays/<name>.png``
    show the saliency of the class of the highest probability over the decoded image, and ``overlays.csv`` tells
    ``image``, ``overlay``, ``class`` and ``problem``. ``dicom_seg/``, ``dicom_sr/``, ``dicom_sc/`` and ``dicom_gsps/``
    hold the DICOM results of images in DICOM, and ``dicom_results.csv`` tells which is whose
    (:class:`~monai_cxrssl.handlers.inference.dicom_files.DicomResultFiles`). A line of the log counts it all.
    What is of one image is written by threads while the network computes, at most two batches behind it; a file that
    cannot be written is that image's ``problem``. Files are named after their images
    (:func:`~monai_cxrssl.handlers.inference.mask_names.mask_names`). Those of an earlier inference into the folder are
    removed with the first prediction
    (:class:`~monai_cxrssl.handlers.inference.written_files.WrittenFiles`).

    Args:
        output_dir: folder of the files; only the first process writes.
        images: that the evaluator's data set takes its images from. Batches of an
            :class:`~monai_cxrssl.data.InferenceLoader` bring their images, of which those that could not be read are
            then ``unreadable`` too; of other batches the images are asked for once more.
        head: with the classes, none for a network that only segments; an image that reaches a class's threshold gets 1
            under ``decision:<class>``.
        transform: the resizing that the evaluator's data set applies, which is undone on the masks.
        unreadable: files that were left out, each with ``image`` and ``cause``; by default those of ``images``.
        mask_format: of ``masks/``: ``"png"`` or ``"nifti"``, see
            :class:`~monai_cxrssl.handlers.inference.mask_files.MaskFiles`.
        dicom_results: of images in DICOM, with spaces between: ``"seg"`` (masks), ``"sr"`` (structured report of the
            probabilities), ``"sc"`` (secondary capture of overlay and scores), ``"gsps"`` (outlines); needs highdicom.
        overlays: write overlays; they and ``"sc"`` need the engine's ``network``, as evaluators of MONAI have it.
        training_range: of the images that the network was trained on, as ``model.json`` holds it
            (:func:`monai_cxrssl.networks.read_training_range`), for the warning "outside training range"; without it
            there are none, which the log says once.
        model_path: the weights, by which DICOM results name the algorithm, and what its mask shows.

    Raises:
        DatalistError: from the run: no image could be read.
        ConfigurationError: another mask format or kind of result, overlays or ``"sr"`` without classes, a training
            range that is none; from the run: the network's outputs are not those of the head's classes and one mask
            channel, or the folder holds a user's files where masks or overlays go.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        images: ImageStore,
        head: PredictionHead,
        transform: ResizeCXR,
        unreadable: Sequence[dict[str, str]] | None = None,
        mask_format: str = "png",
        dicom_results: str | Sequence[str] | None = "seg",
        overlays: bool = False,
        training_range: Mapping[str, Any] | None = None,
        model_path: str | os.PathLike | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.images = images
        self.head = head
        self.transform = transform
        self.restore = RestoreMask(transform, head.mask_threshold)
        self.unreadable = list(images.unreadable if unreadable is None else unreadable)
        self.names = mask_names([item["image"] for item in images.items])
        kinds = result_kinds(dicom_results)
        if overlays and not head.classes:
            raise ConfigurationError(
                "Overlays show the evidence for a class, and this network has none; leave them out."
            )
        if "sr" in kinds and not head.classes:
            raise ConfigurationError(
                "A structured report holds probabilities of classes, and this network has none; leave sr out of "
                "dicom_results."
            )
        self.overlays = bool(overlays)
        self.training_range = None if training_range is None else TrainingRange.from_dict(training_range)
        self.files = WrittenFiles(self.output_dir)
        self.masks = MaskFiles(self.files, mask_format)
        self.dicom = DicomResultFiles(self.files, kinds, head, model_path)
        self._left_out = self.unreadable
        self._calls: OrderedCalls[_Written] | None = None
        self._clear()

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose output is ``{"label": logits, "mask": logits}`` or one of both.

        Its batches hold ``index``, the numbers of the images, for overlays ``image``, and may hold ``film``.
        """
        if idist.get_rank() == 0:
            if self.training_range is None:
                logger.info(
                    "The weights come without the range of their training images (training_range in model.json), so no "
                    "image is looked at for being outside of it."
                )
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
            engine.add_event_handler(Events.COMPLETED, self._finish)
            engine.add_event_handler(Events.EXCEPTION_RAISED, self._stop)

    def _start(self, engine: Any) -> None:
        places = [place for name in self.names for place in (self.masks.place(name), *self.dicom.places(name))]
        self.files.refuse_foreign([*places, *map(_overlay_place, self.names)] if self.overlays else places)
        self._clear()

    def _clear(self) -> None:
        self._begun = False
        self._items: list[dict[str, Any]] = []
        self._scores: list[torch.Tensor] = []
        self._mask_rows: list[MaskRow] = []
        self._dicom_rows: list[DicomRow] = []
        self._overlays: list[tuple[str, ...]] = []
        self.unreadable = list(self._left_out)
        self._odd: dict[str, list[str]] = defaultdict(list)
        for entry in self.images.warnings:
            self._odd[entry["image"]].append(entry["warning"])

    def _add(self, engine: Any) -> None:
        output, batch = engine.state.output, engine.state.batch
        indices = [int(index) for index in batch["index"]]
        probabilities = self.head.predict(output)
        films = batch.get("film") or [self.source_film(index) for index in indices]
        readable = [place for place, film in enumerate(films) if isinstance(film, SourceFilm)]
        self.unreadable += unreadable_entries(batch.get("unreadable", ()))
        if not readable:
            return
        self._remove_earlier()
        saliency = self.overlays or ("sc" in self.dicom.kinds and bool(self.head.classes))
        masks, maps = probabilities.get("mask"), self._saliency(engine, output) if saliency else None
        if "label" in probabilities:
            self._scores.append(probabilities["label"][readable])
        scores = probabilities.get("label", torch.zeros(len(films), 0)).tolist()
        if self._calls is None:
            self._calls = OrderedCalls(max(1, min(_MOST_THREADS, usable_cores() - 1)), "writing")
        # The batch before this one may still be written: more would fill the memory where writing is the slower.
        self._collect(self._calls.take(len(readable)))
        for place in readable:
            mask = None if masks is None else masks[place].numpy()
            evidence = None if maps is None else (maps[0][place], maps[1][place].numpy())
            self._calls.begin(self._write, indices[place], films[place], scores[place], mask, evidence)

    def source_film(self, index: int) -> SourceFilm:
        """Return the image that the store has at this index."""
        path = self.images.items[index]["image"]
        return SourceFilm(path, self.images.image(index), self._odd.get(path, []))

    def _remove_earlier(self) -> None:
        """Make room when the run has something to put in its place, once."""
        if not self._begun:
            self.files.remove_earlier()
            self._begun = True

    def _saliency(self, engine: Any, output: Mapping[str, torch.Tensor]) -> tuple[list[int], torch.Tensor]:
        """Numbers of the most probable classes of a batch, and their maps ``(B, 1, h, w)``."""
        network = getattr(engine, "network", None)
        if network is None:
            raise ConfigurationError(
                f"Overlays and secondary captures need the network, which this {type(engine).__name__} has not."
            )
        image = engine.state.batch["image"].to(next(network.parameters()).device)
        chosen = output["label"].detach().float().argmax(1)
        return chosen.tolist(), saliency_maps(network, image, chosen, *attention_method(network)).cpu()

    def _write(
        self,
        index: int,
        film: SourceFilm,
        scores: list[float],
        plane: np.ndarray | None,
        evidence: tuple[int, np.ndarray] | None,
    ) -> _Written:
        """Write what belongs to one image; in a thread, where torch would start threads of its own for large arrays."""
        item = {**self.images.items[index], "warnings": self._warnings(index, film)}
        mask, saliency = None, None
        if plane is not None:
            row, mask = self._write_mask(index, film, plane)
            item["mask"] = row[1]
        if evidence is not None and np.isfinite(evidence[1]).all():
            shape = film.pixels.shape
            saliency = self.transform.invert(evidence[1], shape, shape)[0].numpy()
        overlay = self._write_overlay(index, film, evidence[0], saliency) if evidence and self.overlays else None
        dicom = self.dicom.write(film, self.names[index], scores, mask, saliency, item["warnings"])
        return item, None if plane is None else row, overlay, dicom

    def _warnings(self, index: int, film: SourceFilm) -> str:
        known = {"age": film.header.get("age"), **self.images.items[index]}
        view = str(film.header.get("view_position") or "")
        found = film_warnings(known, film.pixels, view, self.training_range)
        return "; ".join(dict.fromkeys([*found, *film.warnings]))

    def _write_mask(self, index: int, film: SourceFilm, plane: np.ndarray) -> tuple[MaskRow, np.ndarray | None]:
        """Write the mask of an image; return its row, and the mask ``(H, W)`` bool where there is one."""
        try:
            if not np.isfinite(plane).all():
                raise CXRReadError(film.path, "the network gave no finite numbers for its mask")
            mask = self.restore(plane, film.shape, film.pixels.shape)[0].numpy().view(bool)
        except CXRReadError as error:
            return self.masks.refuse(film, error), None
        return self.masks.write(film, self.names[index], mask), mask

    def _write_overlay(self, index: int, film: SourceFilm, number: int, saliency: np.ndarray | None) -> tuple[str, ...]:
        place = _overlay_place(self.names[index])
        if saliency is None:
            return film.path, "", "", "the network gave no finite numbers for its saliency"
        try:
            with self.files.write(place) as path:
                write_overlay(film.pixels, saliency, path)
        except OSError as error:
            logger.warning("no overlay was written of %s: %s", film.path, writing_cause(error))
            return film.path, "", "", writing_cause(error)
        return film.path, place, self.head.classes[number], ""

    def _collect(self, written: Iterable[_Written]) -> None:
        for item, mask, overlay, dicom in written:
            self._items.append(item)
            if mask is not None:
                self._mask_rows.append(mask)
            if overlay is not None:
                self._overlays.append(overlay)
            if dicom is not None:
                self._dicom_rows.append(dicom)

    def _close(self) -> None:
        if self._calls is not None:
            self._calls.close()
            self._calls = None

    def _stop(self, engine: Any, error: BaseException) -> None:
        self._close()
        raise error

    def _finish(self, engine: Any) -> None:
        if self._calls is not None:
            self._collect(self._calls.take())
        self._close()
        refuse_unreadable(self.unreadable, len(self._items) + len(self.unreadable), 1.0)
        self._remove_earlier()
        task, classes = self.head.task, self.head.classes
        count, width = len(self._items), len(classes)
        probabilities = torch.cat(self._scores) if self._scores else torch.zeros(count, width, dtype=torch.float64)
        decided, scores = self.head.decide(probabilities).numpy(), probabilities.numpy()
        labels = np.full(count, -1) if task == "multi_class" else np.full((count, width), np.nan, np.float32)
        decisions = {name: decided[:, classes.index(name)] for name in self.head.thresholds}
        table = Predictions(classes, task, self._items, scores, labels, unreadable=self.unreadable, decisions=decisions)
        with self.files.write("predictions.csv") as path:
            save_predictions(table, path)
        if self._overlays:
            with self.files.write("overlays.csv") as path:
                write_table(path, ("image", "overlay", "class", "problem"), self._overlays)
        if not np.isfinite(scores).all():
            logger.warning(
                "The network gave no finite probabilities for %d images; theirs are left empty.",
                (~np.isfinite(scores)).any(axis=1).sum(),
            )
        written, dicom = self.masks.finish(self._mask_rows), self.dicom.finish(self._dicom_rows)
        failures = (len(self.unreadable), written["no_mask"], dicom["failures"])
        logger.info(
            "%d images (%d with warnings), %d masks, %d DICOM results, %d overlays, %d failures (%d unreadable files, "
            "%d masks not written, %d images with DICOM results not written): %s.",
            count,
            sum(bool(item["warnings"]) for item in self._items),
            written["masks"],
            dicom["files"],
            sum(bool(row[1]) for row in self._overlays),
            sum(failures),
            *failures,
            self.output_dir,
        )


# An item with its warnings and mask, and the rows of its mask, its overlay and its DICOM results.
_Written = tuple[dict[str, Any], MaskRow | None, tuple[str, ...] | None, DicomRow | None]


def _overlay_place(name: str) -> str:
    return f"overlays/{name}.png"
