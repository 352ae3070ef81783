# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Stop before a loss that is not a number reaches the weights."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

from monai_cxrssl.data.sampling.replacing_loader import images_of
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.errors import TrainingError

__all__ = ["StopOnInvalidLoss"]


class StopOnInvalidLoss:
    """End the run with an error when the loss is NaN or infinite, before its gradient is taken.

    On a CPU every loss is looked at, on a GPU one every ``interval`` iterations, since each look waits for the device.

    Raises:
        TrainingError: from the engine's run, naming epoch, iteration and the samples of the batch.
    """

    def __init__(self, interval: int = 20) -> None:
        self.interval = max(1, int(interval))

    def attach(self, engine: Engine) -> None:
        """Follow an engine that fires MONAI's ``LOSS_COMPLETED`` with the loss in its output."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._check)

    def _check(self, engine: Any) -> None:
        loss = engine.state.output["loss"]
        if loss.is_cuda and engine.state.iteration % self.interval:
            return
        if torch.isfinite(loss).all():
            return
        raise TrainingError(
            f"The loss is {loss.item()} in epoch {engine.state.epoch}, iteration {engine.state.iteration}, on process "
            f"{idist.get_rank()}; the weights were not changed by it.{_named(engine)} Lower the learning rate, "
            "lengthen the warm-up, or use --amp false; then continue from the last checkpoint with --resume auto."
        )


def _named(engine: Any) -> str:
    """Name the samples of the batch, or those of them that are no numbers themselves."""
    batch = engine.state.batch
    names = _names(batch, images_of(engine.state.dataloader))
    if not names:
        return ""
    image = batch.get("image")
    if isinstance(image, torch.Tensor) and image.is_floating_point() and len(image) == len(names):
        finite = torch.isfinite(image.flatten(1)).all(1).tolist()
        spoilt = [name for name, good in zip(names, finite, strict=True) if not good]
        if spoilt:
            return f" Not finite are the pixels of the samples {_listed(spoilt)}."
    return f" The batch held the samples {_listed(names)}."


def _names(batch: Any, images: ImageStore | None) -> list[Any]:
    """The files of each sample where the data set tells them, else its number in the epoch."""
    items = None if images is None else images.items
    numbers = [batch[key].tolist() for key in ("first", "second") if key in batch]
    if items is not None and numbers:
        return [
            " and ".join(dict.fromkeys(str(items[n]["image"]) for n in pair)) for pair in zip(*numbers, strict=True)
        ]
    index = batch.get("index")
    if index is None:
        return []
    # Without a position of its own, "index" is that of the image.
    return [str(items[n]["image"]) for n in index.tolist()] if items is not None else index.tolist()


def _listed(names: list[Any], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"[{', '.join(map(str, names[:most]))}]{rest}"
