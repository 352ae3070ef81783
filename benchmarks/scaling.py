# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images per second of a SimCLR step in 1, 2, … processes, by how many times faster than one process alone.

    python benchmarks/scaling.py [--processes 2] [--steps 3] [--repeats 5] [--processor_time] [--out scaling.json]
    python benchmarks/scaling.py --device cuda --processes 2 4 8 --encoder resnet50 --image_size 224 --batch_size 256

For each number of processes, torch's elastic launcher starts them from this script (gloo on CPUs, NCCL on GPUs). On
CPUs each is pinned to a core of its own and computes with one thread. In each turn, process 0 first trains alone while
the others sleep at a barrier, then all train together as the bundles do it: ``data_parallel``, negatives gathered from
all processes, ``--batch_size`` images per process out of ``MultiView`` and ``training_loader``. So both figures of a
turn come from the same processes, minutes and core clocks; printed are medians over the turns, and the median of the
ratios within a turn. "alone" is one process without a wrapper. With ``--processor_time`` the times are those that
process 0 had its core, which others disturb less; what it waited for the other processes is then left out, so that the
figure is the best that the machine could give.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import judged, machine, print_targets, table, wait_for, write_json

__all__ = ["main"]

TARGETS = {2: ">= 1.7"}


class Films:
    """Synthetic images in memory, enough of an :class:`monai_cxrssl.data.ImageStore` for a loader."""

    def __init__(self, images: int, side: int) -> None:
        self.items = [{"image": str(number), "patient_id": str(number)} for number in range(images)]
        self.pixels = np.random.default_rng(0).integers(0, 256, (8, side, side), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int) -> np.ndarray:
        """Pixels ``(side, side)``."""
        return self.pixels[index % len(self.pixels)]


def epoch(settings: dict[str, Any], device: torch.device, together: bool) -> Any:
    """Return a function that trains an epoch of ``steps`` batches, in this process alone or with all others."""
    from monai_cxrssl.data import PairDataset, PairSampler, decoded_side, patient_bags, training_loader
    from monai_cxrssl.engines import MethodTrainer
    from monai_cxrssl.hardware import data_parallel
    from monai_cxrssl.methods import SimCLR
    from monai_cxrssl.networks import Encoder
    from monai_cxrssl.transforms import MultiView

    world = int(os.environ["WORLD_SIZE"]) if together else 1
    rank = int(os.environ["RANK"]) if together else 0
    films: Any = Films(settings["steps"] * settings["batch_size"] * world, decoded_side(settings["image_size"]))
    transform = MultiView(size=settings["image_size"], return_uint8=True)
    sampler = PairSampler(patient_bags(films.items), simclr_epochs=None, rank=rank, world_size=world)
    loader = training_loader(
        PairDataset(films, transform), sampler, settings["batch_size"], device, settings["num_workers"]
    )
    torch.manual_seed(0)
    method: Any = SimCLR(Encoder(settings["encoder"], in_channels=1), gather=together).to(device)
    if together:
        method = data_parallel(method, device)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9)
    return lambda: MethodTrainer(device, 1, loader, method, optimizer).run()


def work(settings: dict[str, Any]) -> dict[str, list[float]]:
    """Train in one of the launched processes; returns the seconds of each turn, alone (process 0) and together."""
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if settings["device"] == "cuda" else torch.device("cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
        if hasattr(os, "sched_setaffinity"):
            # Threads that torch made earlier keep their cores; there are none yet that compute.
            os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[local]})
    import torch.distributed as dist

    from monai_cxrssl.hardware import join_processes, leave_processes

    join_processes(device)
    alone = epoch(settings, device, together=False) if rank == 0 else None
    together = epoch(settings, device, together=True)
    clock = time.process_time if settings["processor_time"] else time.perf_counter
    seconds: dict[str, list[float]] = {"alone": [], "together": []}
    for turn in range(settings["repeats"] + 1):  # the first one warms up
        for name, call in (("alone", alone), ("together", together)):
            dist.barrier()
            started = clock()
            if call is not None:
                call()
            wait_for(device)
            dist.barrier()
            if turn:
                seconds[name].append(clock() - started)
    leave_processes()
    return seconds


def launch(processes: int, settings: dict[str, Any]) -> dict[str, list[float]]:
    """Start the processes, wait for them, and return what the first one tells."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"scaling{processes}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="spawn",
    )
    return elastic_launch(config, work)(settings)[0]


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[2])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--image_size", type=int, default=128, help="side of the views in pixels")
    parser.add_argument("--batch_size", type=int, default=32, help="images per process")
    parser.add_argument("--num_workers", default="auto", help="of the loader of each process")
    parser.add_argument("--steps", type=int, default=3, help="batches per process and turn")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns")
    parser.add_argument("--processor_time", action="store_true", help="not the wall's time: for a busy machine")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = torch.cuda.device_count() if options.device == "cuda" else cores
    if max(options.processes) > most:
        parser.error(f"--processes is {max(options.processes)}, but there are {most} cores or GPUs to give one each.")
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "processes")}

    images = options.steps * options.batch_size
    rows = []
    for processes in options.processes:
        seconds = launch(processes, settings)
        pairs = zip(seconds["alone"], seconds["together"], strict=True)
        row: dict[str, Any] = {
            "processes": processes,
            "images/s alone": images / statistics.median(seconds["alone"]),
            "images/s together": processes * images / statistics.median(seconds["together"]),
            "speed-up": statistics.median(processes * alone / together for alone, together in pairs),
        }
        rows.append(row)
    where = machine(("torchvision", "monai", "pytorch-ignite", "segmentation-models-pytorch"))
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(f"{options.encoder}, {options.image_size} px, batch {options.batch_size} per process, {options.device}\n")
    print(table(rows, ["processes", "images/s alone", "images/s together", "speed-up"]))
    targets = [
        judged(f"{row['processes']} processes, images/s over one process on one core", row["speed-up"], TARGETS[number])
        for row in rows
        if options.device == "cpu" and (number := row["processes"]) in TARGETS
    ]
    print_targets(targets)
    write_json({"settings": settings, "machine": where, "results": rows, "targets": targets}, options.out)


if __name__ == "__main__":
    main()
