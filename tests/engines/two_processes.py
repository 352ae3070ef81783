# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What test_distributed.py starts in two processes, as torchrun would; also imported there for the single process."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from monai_cxrssl.engines import MethodTrainer
from monai_cxrssl.hardware import data_parallel, join_processes
from monai_cxrssl.methods import MICLe, MoCo, SimCLR
from tests.methods.small_encoder import SmallEncoder, views

METHODS = {"simclr": SimCLR, "micle": MICLe, "moco": MoCo}


def build(name: str):
    queue = {"queue_length": 37} if name == "moco" else {}
    return METHODS[name](SmallEncoder(), gather=True, projection_channels=4, projection_layers=1, **queue)


def batch_of(step: int, rank: int, world: int) -> dict[str, torch.Tensor]:
    whole = {**views(16, step), "patient": torch.arange(16) // 3 + 5 * step}
    share = 16 // world
    return {name: value[rank * share : (rank + 1) * share] for name, value in whole.items()}


def gradients(method, rank: int, world: int) -> dict:
    """Three forward and backward passes; the loss and the gradient of the last."""
    bare = getattr(method, "module", method)
    for step in range(3):
        method.zero_grad()
        output = method.train()(batch_of(step, rank, world))
        output["loss"].backward()
        bare.after_step(0.5)
    grads = {name: value.grad for name, value in bare.named_parameters() if value.requires_grad}
    return {"loss": output["loss"].detach(), "grads": grads, "state": bare.state_dict()}


def trained(method, rank: int, world: int, chunk: int | None = None, accumulation: int = 1) -> dict:
    bare = getattr(method, "module", method)
    data = [batch_of(step, rank, world) for step in range(4)]
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.2)
    MethodTrainer(
        "cpu", 2, data, method, optimizer, amp=False, channels_last=False,
        gradient_cache_chunk=chunk, accumulation_steps=accumulation,
    ).run()  # fmt: skip
    return bare.state_dict()


RUNS = [(name, chunk, accumulation) for name in METHODS for chunk, accumulation in ((None, 1), (3, 1), (3, 2))]


def main(folder: str) -> None:
    torch.set_num_threads(1)
    join_processes("cpu", timeout_minutes=3)
    rank, world = dist.get_rank(), dist.get_world_size()
    found = {name: gradients(data_parallel(build(name), "cpu"), rank, world) for name in METHODS}
    runs = {run: trained(data_parallel(build(run[0]), "cpu"), rank, world, *run[1:]) for run in RUNS}
    torch.save({"gradients": found, "runs": runs}, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
