# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Probe the encoder on labels before, during and after pretraining."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.utils.data import Dataset, Subset

from monai_cxrssl.errors import CXRReadError, DatalistError
from monai_cxrssl.probing.embedding import embed
from monai_cxrssl.probing.linear_probe import one_hot_labels, probe

__all__ = ["OnlineProbe"]

logger = logging.getLogger(__name__)


class OnlineProbe:
    """Score frozen embeddings with a linear and a nearest-neighbour probe; no label reaches the training.

    The probes are cross-validated with no patient in two folds, see :func:`monai_cxrssl.probing.probe`. Where there are
    no labels to probe, the results stay ``None`` and the log says so once. An image that cannot be read any more is
    left out from then on, with a warning.

    Args:
        network: the encoder; the very object that is being trained.
        dataset: images, each ``{"image": (1, H, W)}``, in the order of ``patients`` and ``labels`` (as in a datalist).
        every: also probe after every so many epochs; 0 for before and after only.
        max_images: probe at most so many images, drawn once.
        amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.
        seed: of folds and the draw of images.

    Attributes:
        results: by epoch (0 before training), ``linear`` and ``knn``, each with ``macro_auc`` and ``auc_<class>``.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: Dataset,
        labels: Sequence[Any],
        patients: Sequence[str],
        classes: Sequence[str],
        device: torch.device | str,
        every: int = 0,
        max_images: int = 5000,
        batch_size: int = 64,
        amp: bool | str = "auto",
        seed: int = 0,
    ) -> None:
        self.network = network
        table = one_hot_labels(labels, len(classes))
        chosen = np.flatnonzero(~np.isnan(table).all(axis=1))
        if len(chosen) > max_images:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, max_images, replace=False))
        self.dataset: Subset = Subset(dataset, chosen.tolist())
        self.labels = table[chosen]
        self.patients = [patients[index] for index in chosen.tolist()]
        self.classes = list(classes)
        self.device = device
        self.every = every
        self.batch_size = batch_size
        self.amp = amp
        self.seed = seed
        self.results: dict[int, dict[str, dict[str, float]]] = {}
        self._possible = True

    def attach(self, engine: Engine) -> None:
        """Probe before the first and after the last epoch of an engine, and in between as asked."""
        engine.add_event_handler(Events.STARTED, self._probe)
        if self.every > 0:
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self._probe)
        engine.add_event_handler(Events.COMPLETED, self._probe)

    def result(self, when: str, kind: str = "linear") -> float | None:
        """Return the macro AUC ``"before"`` or ``"after"`` training, or ``None`` where nothing was probed."""
        if not self.results or (when == "after" and len(self.results) < 2):
            return None
        epoch = min(self.results) if when == "before" else max(self.results)
        return self.results[epoch][kind]["macro_auc"]

    def state_dict(self) -> dict[str, Any]:
        """Return the results, as plain containers."""
        return {"results": self.results}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the results of a checkpoint."""
        self.results = {int(epoch): result for epoch, result in state["results"].items()}

    def _probe(self, engine: Any) -> None:
        self.record(engine.state.epoch)

    def record(self, epoch: int) -> None:
        """Probe on the first process and keep the result under an epoch, unless it is there already."""
        if self._possible and epoch not in self.results and idist.get_rank() == 0:
            try:
                self.results[epoch] = self.score(f"probe, epoch {epoch}")
            except DatalistError as error:
                self._possible = False
                logger.info("No probe: %s", error)
            else:
                logger.info(
                    "probe after epoch %d: linear macro AUC %.4f, nearest neighbours %.4f (%d images, %d patients)",
                    epoch,
                    self.results[epoch]["linear"]["macro_auc"],
                    self.results[epoch]["knn"]["macro_auc"],
                    len(self.labels),
                    len(set(self.patients)),
                )
        idist.barrier()

    def score(self, progress: str | bool = False) -> dict[str, dict[str, float]]:
        """Return the scores of the encoder as it is now: ``linear`` and ``knn``, each ``macro_auc`` and per class.

        Args:
            progress: words beside the progress bar, or whether there is one.

        Raises:
            DatalistError: when there is nothing to probe.
        """
        if len(self.dataset) == 0:
            raise DatalistError("No image has a label, so nothing can be probed.")
        try:
            embeddings = self._embeddings(progress)
        except CXRReadError:
            self._leave_out_unreadable()
            embeddings = self._embeddings(progress)
        return {
            kind: probe(embeddings, self.labels, self.patients, self.classes, kind, seed=self.seed)
            for kind in ("linear", "knn")
        }

    def _embeddings(self, progress: str | bool) -> np.ndarray:
        return embed(self.network, self.dataset, self.device, self.batch_size, amp=self.amp, progress=progress)

    def _leave_out_unreadable(self) -> None:
        """Keep the images that can be read now; an embedding pass that met another had to be given up."""
        kept = []
        for position in range(len(self.dataset)):
            try:
                self.dataset[position]
            except CXRReadError as error:
                logger.warning("The probe leaves out an image from now on: %s %s", error.path, error.cause or error)
            else:
                kept.append(position)
        if not kept:
            raise DatalistError("None of the labelled images can be read any more, so nothing can be probed.")
        self.dataset = Subset(self.dataset.dataset, [self.dataset.indices[position] for position in kept])
        self.labels = self.labels[kept]
        self.patients = [self.patients[position] for position in kept]
