# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One of several processes over which NT-Xent gathers: ``python -m tests.losses.gathered_nt_xent FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from monai_cxrssl.losses import NTXentLoss

GROUP = torch.tensor([0, 1, 2, 3, 3, 2, 4, 5])


def main(folder: Path) -> None:
    """Write the loss and the gradients of this process's part of the pairs, without groups and with them."""
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    pairs = torch.load(folder / "pairs.pt", weights_only=True)
    part = slice(rank * len(GROUP) // world, (rank + 1) * len(GROUP) // world)
    answers = []
    for group in (None, GROUP[part]):
        a, b = (z[part].clone().requires_grad_() for z in pairs)
        loss = NTXentLoss(0.1, gather=True)(a, b, group)
        loss.backward()
        answers.append((loss.item(), a.grad / world, b.grad / world))
    torch.save(answers, folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
