# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""How well a network of fine-tuning classifies and segments a split."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Evaluator
from monai.networks.utils import eval_mode
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_cxrssl.engines.trainer import prepare_views
from monai_cxrssl.hardware.precision import autocast_dtype
from monai_cxrssl.metrics.ranking import roc_auc
from monai_cxrssl.metrics.segmentation import overlap_per_image
from monai_cxrssl.networks.parts.named_logits import named_logits
from monai_cxrssl.networks.prediction_head import PredictionHead

__all__ = ["MultiTaskPredictor"]

logger = logging.getLogger(__name__)


class MultiTaskPredictor(Evaluator):
    """Run a network over labelled images and publish, as ``state.metrics``, what can be assessed.

    ``auc_<class>`` is the area under the ROC curve of the class against the rest, over the images whose label is known,
    and ``macro_auc`` the mean over the classes. A class of which the split lacks positive or negative images has no
    AUC: a warning names it once, and the mean is over the others. ``dice`` is the mean, over the images with a mask and
    their channels, of the Dice coefficient at a probability of 0.5; it is 1 where neither marks anything. ``score`` is
    the mean of ``macro_auc`` and ``dice``, or the one that there is: one figure by which a network of both branches can
    be chosen. What has no value, for want of classes or masks, is absent; after scores that are no finite numbers
    ``macro_auc`` is NaN.

    Args:
        val_data_loader: batches of :class:`monai_cxrssl.data.FineTuningImages` without augmentation.
        network: returns ``{"label": logits}``, ``{"mask": logits}`` or both, or is a
            :class:`~monai_cxrssl.networks.MultiTaskNet`.
        task: ``"multi_class"`` or ``"multi_label"``; ConfigurationError for another.
        amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.

    Attributes:
        scores: ``(N, C)`` float32 probabilities of the latest run, in the order of the loader; C is 0 without labels.
        labels: ``(N,)`` int64 or ``(N, C)`` float32, as in the data set.
        indices: ``(N,)`` int64, numbers of the images.
        dice: ``(N,)`` float64, NaN where an image has no mask.
        handlers: the ``val_handlers``, attached.

    Raises:
        ConfigurationError: an unknown task.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Iterable | DataLoader,
        network: nn.Module,
        task: str = "multi_class",
        classes: Sequence[str] = (),
        amp: bool | str = "auto",
        val_handlers: Sequence | None = None,
    ) -> None:
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            non_blocking=torch.device(device).type == "cuda",
            prepare_batch=prepare_views,
            decollate=False,
        )
        self.logger.setLevel(logging.WARNING)
        self.network = network.to(device)
        self.classes = list(classes)
        self.head = PredictionHead(task, classes)
        self.autocast_dtype = autocast_dtype(device, amp)
        self.scores: np.ndarray = np.zeros((0, 0), dtype=np.float32)
        self.labels: np.ndarray = np.zeros(0, dtype=np.int64)
        self.indices: np.ndarray = np.zeros(0, dtype=np.int64)
        self.dice: np.ndarray = np.zeros(0)
        self._parts: list[dict[str, np.ndarray]] = []
        self._named: set[str] = set()
        self.add_event_handler(Events.EPOCH_STARTED, lambda engine: self._parts.clear())
        self.add_event_handler(Events.EPOCH_COMPLETED, self._publish)
        self.handlers = list(val_handlers or [])
        self._register_handlers(self.handlers)

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Tensor]:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        enabled = self.autocast_dtype is not None
        with eval_mode(self.network), torch.autocast(self.state.device.type, self.autocast_dtype, enabled):
            output = named_logits(self.network, self.network(batch["image"]))
        output = {name: logits.float() for name, logits in output.items()}
        self._parts.append({name: value.cpu().numpy() for name, value in self._judged(output, batch).items()})
        return output

    def _judged(self, output: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Scores, labels, numbers and Dice coefficients of a batch."""
        size = len(batch["image"])
        scores = torch.zeros(size, 0)
        if "label" in output and self.classes:
            scores = self.head({"label": output["label"]})["label"]
        dice = torch.full((size,), float("nan"), dtype=torch.float64)
        if "mask" in output and "mask" in batch:
            found = overlap_per_image(self.head.mark(output["mask"]), batch["mask"]).mean(1)
            dice = torch.where(batch["has_mask"].cpu(), found.cpu(), dice)
        return {"scores": scores, "labels": batch["label"], "indices": batch["index"], "dice": dice}

    def _publish(self, engine: Any) -> None:
        for name in ("scores", "labels", "indices", "dice"):
            setattr(self, name, np.concatenate([part[name] for part in self._parts]))
        metrics: dict[str, float] = {}
        if self.scores.shape[1] and not np.isfinite(self.scores).all():
            # No ranking can be made of them; the weights cannot be chosen by this epoch, but the run can go on.
            broken = int((~np.isfinite(self.scores)).any(axis=1).sum())
            logger.warning("The network gave no finite scores for %d of %d images: no AUC.", broken, len(self.scores))
            metrics["macro_auc"] = float("nan")
        elif self.scores.shape[1]:
            areas = dict(zip(self.classes, roc_auc(self.scores, self.labels).tolist(), strict=True))
            metrics = {f"auc_{name}": area for name, area in areas.items() if not np.isnan(area)}
            if metrics:
                metrics["macro_auc"] = float(np.mean(list(metrics.values())))
            self._warn([name for name, area in areas.items() if np.isnan(area)])
        if not np.isnan(self.dice).all():
            metrics["dice"] = float(np.nanmean(self.dice))
        judged = [metrics[name] for name in ("macro_auc", "dice") if name in metrics]
        if judged:
            metrics["score"] = float(np.mean(judged))
        engine.state.metrics.update(metrics)

    def _warn(self, absent: list[str]) -> None:
        new = [name for name in absent if name not in self._named]
        if new:
            self._named.update(new)
            logger.warning(
                "The evaluated split has no image with, or none without, %s: no AUC can be given for it, and the macro "
                "AUC is the mean over the other %d classes.",
                ", ".join(new),
                len(self.classes) - len(absent),
            )
