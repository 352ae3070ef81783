# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A pretraining run of seconds that uses every random generator; as a script, one that can be killed.

``python -m tests.reliability.tiny_run FOLDER RESUME EPOCHS [SECONDS [WORKERS]]``: each step takes at least SECONDS.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from monai.handlers import LrScheduleHandler
from torch import nn

from monai_cxrssl.checkpoints import RunCheckpoint, save_atomically
from monai_cxrssl.data import PairDataset, PairSampler, patient_bags, training_loader
from monai_cxrssl.engines import MethodTrainer
from monai_cxrssl.handlers import CollapseMonitor, RunHistory
from monai_cxrssl.optim import StagedWarmupCosine

BATCHES = 6


class TinyFilms:
    """Noise of 8 x 8 pixels instead of images."""

    in_memory = False  # noise has no contrast to look at

    def __init__(self, count: int = 24) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)
        self.items = [{"image": f"{n}.png", "patient_id": f"p{n // 2}"} for n in range(count)]

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int) -> np.ndarray:
        return self.pixels[index]


def two_views(image: np.ndarray, key: tuple[int, int], views: tuple[int, ...] | None = None) -> torch.Tensor:
    noise = np.random.default_rng(key).integers(0, 20, (2, 1, 8, 8), dtype=np.uint8)
    drawn = torch.from_numpy(np.minimum(image[None] // 2 + noise, 255))
    return drawn if views is None else drawn[list(views)]


class TinyMethod(nn.Module):
    """Draws from torch, numpy and Python in every step, and keeps a queue."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
        self.register_buffer("queue", torch.zeros(8))

    def forward(self, batch):
        embedding = self.network(batch["image"].flatten(0, 1))
        drawn = torch.randn(()) + float(np.random.rand()) + random.random()  # noqa: NPY002
        self.queue.lerp_(embedding.detach().mean(0), 0.1)
        loss = (embedding - self.queue).square().mean() + 0.1 * drawn * embedding.mean()
        return {"loss": loss, "embedding": embedding}

    def after_step(self, progress: float) -> None:
        self.queue.mul_(1 - 0.01 * progress)


class Slow:
    """Make every step last, so that a kill may come anywhere."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def attach(self, engine) -> None:
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: time.sleep(self.seconds))


def tiny_run(
    folder: Path, epochs: int = 3, resume=False, minutes: float = 1e-9, workers: int = 0, more=(), rank: int = 0,
    world_size: int = 1, wrap=lambda method: method, **options,
) -> MethodTrainer:  # fmt: skip
    """A run of ``BATCHES`` iterations per epoch with everything that a checkpoint must hold."""
    torch.manual_seed(1 + rank)
    np.random.seed(1 + rank)  # noqa: NPY002
    random.seed(1 + rank)
    films = TinyFilms(24 * world_size)
    method = TinyMethod()
    trained = wrap(method)
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.01)
    sampler = PairSampler(patient_bags(films.items), seed=3, rank=rank, world_size=world_size)
    loader = training_loader(PairDataset(films, two_views), sampler, 4, num_workers=workers)
    assert len(loader) == BATCHES
    schedule = StagedWarmupCosine(optimizer, [epochs], len(loader), 1)
    history = RunHistory(optimizer)
    parts = {"method": method, "optimizer": optimizer, "lr_scheduler": schedule, "history": history}
    checkpoint = RunCheckpoint(folder, parts, every_minutes=minutes, resume=resume)
    follow = LrScheduleHandler(schedule, print_lr=False, epoch_level=False)
    handlers = [follow, CollapseMonitor(), history, *more, checkpoint]
    run = MethodTrainer("cpu", epochs, loader, trained, optimizer, amp=False, train_handlers=handlers, **options)
    run.history = history
    return run


def main(arguments: list[str]) -> None:
    from monai_cxrssl.apps import install_clear_errors

    install_clear_errors()
    torch.set_num_threads(1)
    folder = Path(arguments[0])
    seconds = float(arguments[3]) if len(arguments) > 3 else 0.0
    workers = int(arguments[4]) if len(arguments) > 4 else 0
    run = tiny_run(folder, int(arguments[2]), arguments[1], workers=workers, more=[Slow(seconds)])
    print("started", flush=True)
    run.run()
    save_atomically(run.method.state_dict(), folder / "final.pt")


if __name__ == "__main__":
    main(sys.argv[1:])
