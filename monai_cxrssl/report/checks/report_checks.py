# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention, blanking, distance and source checks of a report."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from torch import nn
from torch.utils.data import DataLoader

from monai_cxrssl.data.datalists.predictions import Predictions, join_predictions, save_predictions, take_predictions
from monai_cxrssl.data.sampling.fine_tuning import FineTuningImages
from monai_cxrssl.engines.evaluator import MultiTaskPredictor
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.inference.evaluator_predictions import evaluator_predictions
from monai_cxrssl.metrics.surface_distance import segmentation_measures
from monai_cxrssl.networks.evaluation_mode import in_evaluation
from monai_cxrssl.networks.prediction_head import PredictionHead
from monai_cxrssl.probing.saliency import attention_method
from monai_cxrssl.report.checks.attention_check import check_attention, decide, draw_decisions
from monai_cxrssl.report.checks.blanking_check import check_blanking
from monai_cxrssl.report.checks.checked_images import CheckedImages
from monai_cxrssl.report.checks.checked_lungs import CheckedLungs, drawn_masks
from monai_cxrssl.report.checks.network_outputs import NetworkOutputs
from monai_cxrssl.report.checks.segmentation_check import check_segmentation, draw_segmentations
from monai_cxrssl.report.checks.source_check import check_source
from monai_cxrssl.report.evaluation_files import REGIONS

__all__ = ["ReportChecks"]

logger = logging.getLogger(__name__)


#: What the report calls the methods of :func:`attention_method`.
SALIENCY_METHODS = {
    "hires_cam": "HiResCAM on the third feature map from the end",
    "token_grad_cam": "Grad-CAM on the tokens of the last block",
}


class ReportChecks:
    """When the evaluation of a test split completes, do the checks of the report that need network and images.

    Stand it after :class:`~monai_cxrssl.handlers.TestMetrics` with ``table=None``: the one ``predictions.csv`` of the
    evaluation is written here, when its columns are complete. Files are:

    - ``predictions.csv``: rows of test and validation, told apart by the column ``split``. The test rows have measures
      besides ``dice``: ``iou``, ``area_ratio``, ``hd95_mm`` or ``hd95_pixel``, ``surface_distance_mm`` or
      ``_pixel``; ``pfs``, ``lung_area``, ``pointing``, ``saliency_iou`` and ``pfs_grad_cam`` of the predicted class
      (multi-label: the class of the highest probability); ``lung_from_model``, 1 where the lungs are those that the
      network drew. A measure that no image has is left out;
    - ``blanked/<region>.csv`` of lungs, outside_lungs, corners and border: predictions of the test images with that
      region blanked, of those images where it could be;
    - ``source_prediction.json``: whether the data source can be read off the features;
    - ``galleries/attention.png`` and ``galleries/segmentation.png``;
    - ``checks.json``: what was checked, by which means, on how many images and in which time, and under
      ``not_assessable`` what was not, with the reason.

    Files of an earlier run that this one has no content for are removed. The network is left as found.

    Args:
        network: a :class:`~monai_cxrssl.networks.MultiTaskNet`, the evaluator's.
        dataset: the test images that the evaluator was run over.
        output_dir: folder of the files; only the first process writes.
        classes: names of the classes; none of a network that only segments.
        validation_dataset: the validation images, by which thresholds and temperature are chosen; ``None`` without.
        validation_predictions: a table of predictions by which they are chosen instead, for the report to read.
        amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.
        max_images: how many test images the checks look at, whole patients drawn at random; ``None`` for all. All are
            in ``predictions.csv``.
        seed: of that draw and of the source's folds.
        name: of the data set, the source of items that name none.

    Raises:
        ConfigurationError: when it runs: ``max_images`` is less than 1, or the evaluator saw other images.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: FineTuningImages,
        output_dir: str | os.PathLike,
        classes: Sequence[str],
        task: str,
        validation_dataset: FineTuningImages | None = None,
        device: torch.device | str = "cpu",
        amp: bool | str = "auto",
        batch_size: int = 32,
        max_images: int | None = 500,
        seed: int = 0,
        progress: bool = True,
        name: str | None = None,
        validation_predictions: str | os.PathLike | None = None,
    ) -> None:
        self.network = network
        self.dataset = dataset
        self.output_dir = Path(output_dir)
        self.classes = list(classes)
        self.task = task
        self.validation_dataset = validation_dataset
        self.device = torch.device(device)
        self.amp = amp
        self.batch_size = batch_size
        self.max_images = max_images
        self.seed = seed
        self.progress = progress
        self.name = name
        self.validation_predictions = validation_predictions
        self.summary: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Follow a :class:`monai_cxrssl.engines.MultiTaskPredictor`, on the first process."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Any) -> None:
        """Do the checks on what the evaluator holds, and write their files."""
        started = time.perf_counter()
        self.summary = {"seconds": {}, "not_assessable": []}
        # Predictions, also those on other data sets, come after the checks; an earlier model's are not to stand beside.
        shutil.rmtree(self.output_dir / "external", ignore_errors=True)
        (self.output_dir / "predictions.csv").unlink(missing_ok=True)
        parts = [self._predictions(engine, self.dataset, "test")]
        with in_evaluation(self.network):
            # Before the checks: an evaluator keeps the mode that it finds.
            if self.validation_dataset is not None:
                parts.append(self._validation(self.validation_dataset))
            elif self.validation_predictions is None:
                self._absent("what is chosen on validation", "no validation images were given")
            self._check(engine, parts[0])
        path = save_predictions(join_predictions(parts), self.output_dir / "predictions.csv")
        self.summary["seconds"]["all"] = round(time.perf_counter() - started, 2)
        last = {name: self.summary.pop(name) for name in ("not_assessable", "seconds")}
        self.summary |= last
        write_json(self.summary, self.output_dir / "checks.json")
        logger.info("Predictions: %s.", path)
        logger.info("Checks of %d images: %s.", self.summary["images_checked"], self.output_dir / "checks.json")
        for entry in self.summary["not_assessable"]:
            logger.warning("Not assessable: %s, since %s.", entry["figure"], entry["reason"])

    def _predictions(self, evaluator: Any, dataset: FineTuningImages, split: str) -> Predictions:
        images = dataset.images
        return evaluator_predictions(
            evaluator, images.items, self.classes, self.task, split, images.unreadable, self.name
        )

    def _validation(self, dataset: FineTuningImages) -> Predictions:
        bars = [ProgressBar(persist=True, desc="validation")] if self.progress else []
        loader = DataLoader(dataset, batch_size=self.batch_size)
        with self._timed("validation"):
            evaluator = MultiTaskPredictor(self.device, loader, self.network, self.task, self.classes, self.amp, bars)
            evaluator.run()
        return self._predictions(evaluator, dataset, "validation")

    def _check(self, engine: Any, test: Predictions) -> None:
        """Do the checks of the test images; their measures are put into ``test``."""
        checked = CheckedImages(self.dataset, self.max_images, self.seed, self.batch_size, self.progress)
        row_of = {int(number): row for row, number in enumerate(engine.indices)}
        if any(int(number) not in row_of for number in checked.numbers):
            raise ConfigurationError(
                f"The evaluator saw {len(row_of)} images, not all {len(self.dataset)} of the data set that the checks "
                "were given; give both the same."
            )
        rows = np.array([row_of[int(number)] for number in checked.numbers], dtype=np.int64)
        of_checked = take_predictions(test, rows)
        outputs = NetworkOutputs(self.network, PredictionHead(self.task, self.classes), self.device, self.amp)
        with self._timed("segmentation"):
            drawn = drawn_masks(outputs, checked)
        lungs = CheckedLungs(checked, drawn)
        self.summary |= {
            "images": len(self.dataset),
            "images_checked": len(checked),
            "patients_checked": len(set(checked.patients)),
            "max_images": self.max_images,
            "seed": self.seed,
            "lung_mask_from": lungs.origin,
            "lung_masks": {
                "mask": int((lungs.from_model == 0).sum()),
                "model": int((lungs.from_model == 1).sum()),
                "none": int((~lungs.known).sum()),
            },
            "lung_masks_drawn_by": sorted({item["lung_mask_by"] for item in checked.items if "lung_mask_by" in item}),
            "saliency_method": None,
            "blanked": {},
        }
        if lungs.reason:
            self._absent("the lungs of some images" if lungs.origin else "every figure that needs lungs", lungs.reason)
        measures = self._segmentation(drawn, checked)
        if test.scores.shape[1] and getattr(self.network, "classification_head", None) is not None:
            measures |= self._attention(outputs, checked, lungs, of_checked)
            for region in REGIONS:
                self._blanking(outputs, checked, lungs, region, of_checked)
        else:
            self._absent("attention and blanked regions", "the network has no label head")
            self._remove("galleries/attention.png", *(f"blanked/{region}.csv" for region in REGIONS))
        measures["lung_from_model"] = lungs.from_model
        for name, values in measures.items():
            if not np.isnan(values).all():
                test.measures[name] = np.full(len(test.items), np.nan)
                test.measures[name][rows] = values
        with self._timed("source_prediction"):
            source = check_source(self.network, checked, self.device, self.amp, self.seed)
        write_json(source, self.output_dir / "source_prediction.json")

    def _segmentation(self, drawn: np.ndarray | None, checked: CheckedImages) -> dict[str, np.ndarray]:
        if drawn is None or not self.dataset.has_mask[checked.positions].any():
            several = "the network draws no mask, or several"
            self._absent("the segmentation", several if drawn is None else "no image that was checked has a true mask")
            self._remove("galleries/segmentation.png")
            return {}
        with self._timed("distances"):
            figures = check_segmentation(drawn, checked)
        with self._timed("segmentation_gallery"):
            draw_segmentations(drawn, checked, figures, self.output_dir / "galleries" / "segmentation.png")
        measures = segmentation_measures(figures)
        # The evaluator's, of all images, stands there already.
        return {name: values for name, values in measures.items() if name != "dice"}

    def _attention(
        self, outputs: NetworkOutputs, checked: CheckedImages, lungs: CheckedLungs, predictions: Predictions
    ) -> dict[str, np.ndarray]:
        decisions = decide(predictions.scores, predictions.labels, self.classes)
        self.summary["saliency_method"] = SALIENCY_METHODS[attention_method(self.network)[0]]
        with self._timed("attention"):
            figures = check_attention(outputs, checked, lungs, decisions)
        path = self.output_dir / "galleries" / "attention.png"
        with self._timed("attention_gallery"):
            drawn = draw_decisions(outputs, checked, lungs, decisions, figures, self.classes, path)
        if drawn is None:
            self._absent("the gallery of decisions", "no image has a known label and finite probabilities")
            self._remove("galleries/attention.png")
        return figures

    def _blanking(
        self,
        outputs: NetworkOutputs,
        checked: CheckedImages,
        lungs: CheckedLungs,
        region: str,
        predictions: Predictions,
    ) -> None:
        with self._timed(f"blanked_{region}"):
            places, scores = check_blanking(outputs, checked, lungs, region)
        self.summary["blanked"][region] = len(places)
        if not len(places):
            self._absent(f"the score with {region.replace('_', ' ')} blanked", "no image has lungs that can be blanked")
            self._remove(f"blanked/{region}.csv")
            return
        measures = {"lung_from_model": lungs.from_model[places]}
        blanked = replace(take_predictions(predictions, places), scores=scores, measures=measures)
        save_predictions(blanked, self.output_dir / "blanked" / f"{region}.csv")

    def _remove(self, *files: str) -> None:
        """Remove files of an earlier run that this one has no content for."""
        for file in files:
            (self.output_dir / file).unlink(missing_ok=True)

    def _absent(self, figure: str, reason: str) -> None:
        self.summary["not_assessable"].append({"figure": figure, "reason": reason})

    @contextmanager
    def _timed(self, check: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.summary["seconds"][check] = round(time.perf_counter() - started, 2)
