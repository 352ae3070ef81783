# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights and test metrics of a fine-tuning run."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from monai_cxrssl.data.audit.audit import patient_of
from monai_cxrssl.data.audit.training_range import measure_training_range
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.errors import ConfigurationError, TrainingError
from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.best_checkpoint import BestCheckpoint
from monai_cxrssl.handlers.monitors.history import RunHistory
from monai_cxrssl.handlers.run_figures import failed_during_the_run, figure_table, history_figures
from monai_cxrssl.handlers.run_model import RunModel
from monai_cxrssl.handlers.test_metrics import TestMetrics
from monai_cxrssl.handlers.tracked_run import TrackedRun

__all__ = ["FineTuningSummary"]

logger = logging.getLogger(__name__)

_COUNTS = ("images", "patients", "labelled", "masked")


class FineTuningSummary:
    """At the end of training, write the best weights, measure them once on the test split, and write the figures.

    The weights are ``model.pt`` in the run's folder. Beside them, ``model.json`` holds ``settings_of_model`` and
    ``model.patients.json`` who was trained on (:mod:`monai_cxrssl.data.audit.leak`): the patients of the training and
    of the validation split, since both chose the weights. When they are measured, they are put where the bundle looks
    for them (:class:`~monai_cxrssl.handlers.run_model.RunModel`). ``metrics.json`` is one flat object: the settings,
    ``training_images``, ``training_patients`` and so on of each split, the epochs, ``best_epoch``, the validation's
    figures of that epoch (``val_macro_auc`` …), and the figures of the :class:`~monai_cxrssl.handlers.TestMetrics`.

    Args:
        history: the run's epochs.
        best: chose the weights, and knows their file and their network, which is left with them.
        output_dir: the run's folder, which gets weights and figures.
        model_path: where the bundle looks for its weights.
        settings_of_model: what it takes to use the weights again: ``encoder_name``, ``image_size``, ``classes``,
            ``task``, ``decoder``, ``mask``, ``mask_channels``, ``input_mean``, ``input_std``, ``input_scale``.
        training: datalist items that were trained on; ``validation`` those that the weights were chosen by.
        evaluator: over the test split, of the network of ``best``; ``None`` when there are no test images.
        assessment: is attached to ``evaluator``.
        settings: options of the run to record (``seed`` …); ``source`` is the name of the data set, ``recipe`` that of
            the options.
        unreadable: files that were left out, each with ``image`` and ``cause``.
        warnings: files that were read but looked odd, each with ``image`` and ``warning``.
        pretrained: weights that training started from (also a teacher's), whose patients count as trained on too.
        images: that the training split took its images from; what they look like is kept beside the weights as
            ``training_range`` (:func:`monai_cxrssl.data.measure_training_range`), by which inference tells images that
            are unlike them. Without images, or of fewer than 30, there is none.
        replace: weights of the phantom may replace any.

    Raises:
        ConfigurationError: an evaluator without an assessment, or of another network.
        TrainingError: from the run: no weights were kept, or their file is gone or damaged.
    """

    def __init__(
        self,
        history: RunHistory,
        best: BestCheckpoint,
        output_dir: str | os.PathLike,
        model_path: str | os.PathLike,
        settings_of_model: Mapping[str, Any],
        training: Sequence[Mapping[str, Any]],
        validation: Sequence[Mapping[str, Any]],
        evaluator: Any | None = None,
        assessment: TestMetrics | None = None,
        settings: Mapping[str, Any] | None = None,
        unreadable: Sequence[dict[str, str]] = (),
        warnings: Sequence[dict[str, str]] = (),
        pretrained: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        images: ImageStore | None = None,
        replace: bool = False,
    ) -> None:
        if evaluator is not None and assessment is None:
            raise ConfigurationError("There is an evaluator of the test split, but no assessment; give it one.")
        if evaluator is not None and evaluator.network is not best.network:
            raise ConfigurationError(
                "The evaluator of the test split has another network than the one whose best weights are kept; give "
                "both the same."
            )
        self.history = history
        self.best = best
        self.settings_of_model = dict(settings_of_model)
        self.items = {"training": training, "validation": validation}
        self.evaluator = evaluator
        self.assessment = assessment
        self.settings = dict(settings or {})
        recipe, source = self.settings.get("recipe"), self.settings.get("source")
        self.model = RunModel(output_dir, model_path, recipe, source, replace)
        self.unreadable = list(unreadable)
        self.warnings = list(warnings)
        self.pretrained = pretrained
        self.images = images
        self.tracked = TrackedRun(self.settings, model_path, output_dir)

    def attach(self, engine: Engine) -> None:
        """Write when the trainer completes, on the first process."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self.model.announce)
            self.tracked.attach(engine, [self.best.validation.evaluator])
            engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Any = None) -> None:
        """Write weights and figures, and log the figures; raises as the class says."""
        self._load_best()
        items = [item for part in self.items.values() for item in part]
        settings = {**self.settings_of_model, **self._training_range()}
        self.model.write(self.best.network, settings, items, self.pretrained)
        if self.evaluator is None:
            logger.info("There are no test images, so the weights are not measured on images that chose nothing.")
        else:
            self.evaluator.run()
        figures = self.metrics()
        method: Any = getattr(engine, "unwrapped_method", None)
        figures |= {"steps": method.steps} if hasattr(method, "steps") else {}
        figures["unreadable"] = [*self.unreadable, *failed_during_the_run(engine)]
        write_json(figures, self.model.metrics_path)
        self.tracked.log_results(figures, figures["epochs"])
        logger.info("The run is complete.\n%s", figure_table(figures))
        self.model.place()

    def metrics(self) -> dict[str, Any]:
        """Return the figures of the run so far."""
        figures: dict[str, Any] = dict(self.settings)
        for split, items in self.items.items():
            figures[f"{split}_images"] = len(items)
            figures[f"{split}_patients"] = len({patient_of("", item) for item in items})
        tested = {} if self.assessment is None or self.evaluator is None else dict(self.assessment.figures)
        figures |= {f"test_{name}": tested.pop(name, 0) for name in _COUNTS}
        figures |= {"unreadable": self.unreadable, "warnings": self.warnings, **history_figures(self.history.rows)}
        epoch = self.best.best_epoch
        chosen = next((row for row in self.best.validation.rows if row["epoch"] == epoch), {})
        validated = {name: value for name, value in chosen.items() if name != "epoch"}
        return {**figures, "best_epoch": epoch, **validated, self.best.metric: self.best.best, **tested}

    def _training_range(self) -> dict[str, Any]:
        if self.images is None:
            return {}
        # Images without label and mask are in the store, too, but were not trained on.
        trained = {item["image"] for item in self.items["training"]}
        numbers = [number for number, item in enumerate(self.images.items) if item["image"] in trained]
        found = measure_training_range(self.images, numbers, self.settings_of_model.get("image_size"))
        return {} if found is None else {"training_range": found.to_dict()}

    def _load_best(self) -> None:
        path, metric = self.best.path, self.best.metric
        if self.best.best is None:
            raise TrainingError(
                f"No weights were kept: {metric} was never a finite number in any validation. Lower the learning rate, "
                "or look at the validation split and the loss in the log."
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.best.network.load_state_dict(state)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrainingError(
                f"The best weights, of epoch {self.best.best_epoch}, cannot be read back from {path}: {reason}. Train "
                "again, or resume from an earlier checkpoint."
            ) from error
