# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainer of a pretext method as one client of a federation."""

from __future__ import annotations

from typing import Any

from monai.engines import SupervisedTrainer, Trainer
from monai.fl.utils.constants import FlStatistics

from monai_cxrssl.engines.trainer import MethodTrainer

__all__ = ["FederatedTrainer"]


class _KindOfSupervisedTrainer(SupervisedTrainer):
    """Pass for a ``SupervisedTrainer`` without its construction, which wants a loss of predictions and labels."""

    def __init__(self, **options: Any) -> None:
        Trainer.__init__(self, **options)


class FederatedTrainer(MethodTrainer, _KindOfSupervisedTrainer):  # type: ignore[override, misc]
    """An :class:`MethodTrainer` that ``monai.fl.client.MonaiAlgo`` accepts, which takes ``SupervisedTrainer`` only.

    What is exchanged is ``network``, the encoder. The method's other parts (projection head, momentum twin, queue of
    embeddings) and the optimiser stay where they are and go on from round to round. Each round is one ``run()``.
    """

    def get_stats(self, *names: str) -> dict[str, Any]:
        """Return MONAI's statistics, ``names`` of ``state``, and ``data_count`` of images, which weights averages."""
        return {**super().get_stats(*names), FlStatistics.DATA_COUNT.value: len(self.data_loader.dataset)}  # type: ignore[union-attr, arg-type]
