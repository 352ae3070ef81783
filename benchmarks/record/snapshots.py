# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of an encoder and its loss while a bundle pretrains it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_cxrssl.checkpoints import save_atomically
from monai_cxrssl.files import write_json

__all__ = ["follow"]


def follow(trainer: Engine, network: nn.Module, folder: str, steps: Sequence[int]) -> None:
    """Write ``<step>.pt`` before the first and after some iterations, and the mean losses between in ``losses.json``.

    Args:
        trainer: of the run, be it of one stage or a curriculum.
        network: whose state dict to write.
        folder: where to; a resumed run leaves what is there.
        steps: numbers of iterations.
    """
    losses: list[tuple[int, float]] = []
    sums: list[torch.Tensor] = []

    def write(number: int) -> None:
        path = Path(folder) / f"{number:06}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            save_atomically({name: value.detach().cpu() for name, value in network.state_dict().items()}, path)

    def add(engine: Any) -> None:
        sums.append(engine.state.output[0]["loss"].detach().float().cpu())
        if engine.state.iteration in steps:
            write(engine.state.iteration)
        if engine.state.iteration in steps or len(sums) >= max(steps[0], 1):
            losses.append((engine.state.iteration, float(torch.stack(sums).mean())))
            sums.clear()
            write_json({"losses": losses}, Path(folder) / "losses.json")

    trainer.add_event_handler(Events.STARTED, lambda: write(0))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, add)
