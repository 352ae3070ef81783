# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A training step of MethodTrainer against the same step in a plain loop, and what the ways to make it faster bring.

    python benchmarks/step.py [--encoder resnet18] [--size 96] [--batch 32] [--device cpu] [--compile]
        [--processor_time] [--out step.json]

SimCLR on random images in memory, the optimiser AdamW. First the engine: the plain loop, MethodTrainer alone, and
MethodTrainer with the handlers of a bundle's run; all in the precision, memory format and with the optimiser that a
bundle takes on this machine. The engine's own time is also measured by a method that computes next to nothing, which
the noise of a busy machine does not drown. Then the plain loop with one thing changed at a time. Runs of ``--steps``
steps take turns; times are medians per step, ratios are medians over turns of the ratio within a turn. With
``--processor_time`` the times are those that this process had a processor, which other processes disturb less.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import (
    in_turns,
    judged,
    machine,
    print_targets,
    ratio,
    table,
    take_processor_time,
    wait_for,
    write_json,
)
from monai.handlers import LrScheduleHandler
from torch import Tensor, nn

from monai_cxrssl.engines import MethodTrainer, prepare_views
from monai_cxrssl.handlers import CollapseMonitor, LoaderThroughput, RunHistory, RunProgressBar, StopOnInvalidLoss
from monai_cxrssl.hardware import autocast_dtype
from monai_cxrssl.hardware.compile import compile_network
from monai_cxrssl.methods import SimCLR
from monai_cxrssl.networks import Encoder
from monai_cxrssl.optim import StagedWarmupCosine, create_optimizer

__all__ = ["main"]

_RATE = 1e-4


class Idle(nn.Module):
    """A method whose step costs next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a loss that does not depend on the batch."""
        return {"loss": self.weight.square(), "embedding": batch["image"].flatten(1)[:, :8].float()}

    def after_step(self, progress: float) -> None:
        """Do nothing."""


def batches(count: int, size: int, batch: int) -> list[dict[str, Tensor]]:
    """Random views as a loader gives them."""
    return [
        {
            "image": torch.randint(0, 256, (batch, 2, 1, size, size), dtype=torch.uint8),
            "patient": torch.arange(batch),
            "index": torch.arange(batch),
        }
        for _ in range(count)
    ]


def plain_loop(
    method: nn.Module, optimizer: torch.optim.Optimizer, data: list[dict[str, Tensor]], device: torch.device, dtype: Any
) -> Callable[[], None]:
    """Return a call that trains on the data once, by torch alone."""

    def run() -> None:
        method.train()
        for batch in data:
            moved = prepare_views(batch, device)
            with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
                loss = method(moved)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def engine_runs(
    method: nn.Module, optimizer: torch.optim.Optimizer, data: Any, device: torch.device, count: int, handlers: bool
) -> Callable[[], None]:
    """Return a call that trains on the data once, by a trainer that was made before; it can be called ``count`` times.

    Args:
        method: the method.
        optimizer: over its parameters.
        data: batches.
        device: where to compute.
        count: calls.
        handlers: with the handlers of a bundle's run.
    """
    trainers = []
    for _ in range(count):
        attached: list[Any] = []
        if handlers:
            schedule = StagedWarmupCosine(optimizer, [1], len(data), 0)
            follow = LrScheduleHandler(schedule, print_lr=False, epoch_level=False)  # type: ignore[arg-type]
            attached = [
                follow,
                StopOnInvalidLoss(),
                CollapseMonitor(patience=10),
                LoaderThroughput(),
                RunHistory(optimizer),
            ]
            attached.append(RunProgressBar())
        trainers.append(MethodTrainer(device, 1, data, method, optimizer, train_handlers=attached))
    turn = iter(trainers)
    return lambda: next(turn).run()


def overhead_us(device: torch.device, repeats: int, batch: int) -> dict[str, float]:
    """Microseconds per iteration that the engine adds to a plain loop, alone and with a bundle's handlers."""
    data, method = batches(20, 8, batch) * 10, Idle().to(device)
    optimizer = create_optimizer(method.parameters(), "adamw", lr=_RATE)
    calls = {"plain": plain_loop(method, optimizer, data, device, autocast_dtype(device))}
    calls |= {
        name: engine_runs(method, optimizer, data, device, repeats + 1, handlers)
        for name, handlers in (("MethodTrainer", False), ("MethodTrainer and handlers", True))
    }
    seconds = in_turns(calls, repeats, device)
    return {
        name: 1e6 * statistics.median(a - b for a, b in zip(times, seconds["plain"], strict=True)) / len(data)
        for name, times in seconds.items()
        if name != "plain"
    }


def engine(start: nn.Module, data: Any, device: torch.device, repeats: int) -> list[dict[str, Any]]:
    """The plain loop and the engine around the same step."""
    calls: dict[str, Callable[[], None]] = {}
    for name in ("plain loop", "MethodTrainer", "MethodTrainer and handlers"):
        method = copy.deepcopy(start)
        method = method.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = create_optimizer(method, "adamw", lr=_RATE, weight_decay=1e-4)
        if name == "plain loop":
            calls[name] = plain_loop(method, optimizer, data, device, autocast_dtype(device))
        else:
            calls[name] = engine_runs(method, optimizer, data, device, repeats + 1, "handlers" in name)
    seconds = in_turns(calls, repeats, device)
    return rows_of(seconds, "plain loop", len(data))


def rows_of(seconds: dict[str, list[float]], base: str, steps: int) -> list[dict[str, Any]]:
    """Lay the times of runs out as milliseconds per step and ratios."""
    return [
        {"what": name, "ms/step": 1e3 * statistics.median(times) / steps, "x time": ratio(seconds, name, base)}
        for name, times in seconds.items()
    ]


def ways(
    start: nn.Module, data: Any, device: torch.device, repeats: int, compiled: bool
) -> tuple[list[dict[str, Any]], float | None]:
    """The plain loop with one thing changed at a time, and the seconds of the first compiled step."""
    chosen = autocast_dtype(device)
    bf16 = torch.bfloat16
    settings: dict[str, tuple[bool, Any, bool, bool]] = {
        "float32": (False, None, True, False),
        "float32, channels_last": (True, None, True, False),
        "bfloat16": (False, bf16, True, False),
        "bfloat16, channels_last": (True, bf16, True, False),
        "bfloat16, channels_last, optimiser not fused": (True, bf16, False, False),
    }
    if compiled:
        settings["bfloat16, channels_last, compiled"] = (True, bf16, True, True)
    calls: dict[str, Callable[[], None]] = {}
    first = None
    for name, (channels_last, dtype, fused, compiling) in settings.items():
        method = copy.deepcopy(start).to(device)
        if channels_last:
            method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = create_optimizer(method, "adamw", lr=_RATE, weight_decay=1e-4, fused=fused)
        if compiling:
            compile_network(method, device)
            started = time.perf_counter()
            plain_loop(method, optimizer, data[:1], device, dtype)()
            wait_for(device)
            first = time.perf_counter() - started
        calls[name] = plain_loop(method, optimizer, data, device, dtype)
    print(f"amp='auto' takes {str(chosen or torch.float32).removeprefix('torch.')} on this device")
    return rows_of(in_turns(calls, repeats, device), "float32", len(data)), first


def optimizers(encoder: str, device: torch.device, repeats: int) -> list[dict[str, Any]]:
    """The optimiser's step alone, fused and not."""
    calls = {}
    for opt in ("adamw", "sgd"):
        for fused in (False, True):
            network = Encoder(encoder).to(device)
            for parameter in network.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer = create_optimizer(network, opt, lr=_RATE, fused=fused)
            calls[f"{opt}, {'fused' if fused else 'not fused'}"] = optimizer.step
    seconds = in_turns(calls, repeats, device, warm_up=2)
    return [
        {
            "what": name,
            "ms/step": 1e3 * statistics.median(times),
            "x time": ratio(seconds, name, f"{name.split(',')[0]}, not fused"),
        }
        for name, times in seconds.items()
    ]


def main() -> None:
    """Run the comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--size", type=int, default=96, help="side of the views, in pixels")
    parser.add_argument("--batch", type=int, default=32, help="images per batch, of two views each")
    parser.add_argument("--steps", type=int, default=2, help="steps per turn")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="also the compiled network, with its warm-up")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--processor_time", action="store_true", help="not the wall's time: for a busy machine")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.processor_time:
        take_processor_time()
    logging.disable(logging.WARNING)
    empty = tempfile.TemporaryDirectory()  # removed with the process
    # The warm-up is to be that of a first run, not what an earlier one left of its compilation.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty.name
    torch.manual_seed(0)
    device, data = options.device, batches(options.steps, options.size, options.batch)
    start = SimCLR(Encoder(options.encoder))

    overhead = overhead_us(device, options.repeats, options.batch)
    around = engine(start, data, device, options.repeats)
    step_us = 1e3 * around[0]["ms/step"]
    columns = ("what", "ms/step", "x time")
    print(f"SimCLR, {options.encoder}, {options.batch} pairs of {options.size} px on {device}\n")
    print(table(around, columns) + "\n")
    for name, added in overhead.items():
        print(f"{name}: {added:.0f} us per iteration beyond a plain loop, {100 * added / step_us:.3f} % of this step")
    print()
    changed, first = ways(start, data, device, options.repeats, options.compile)
    print(table(changed, columns))
    if first is not None:
        print(f"the first compiled step took {first:.1f} s")
    alone = optimizers(options.encoder, device, 5 * options.repeats)
    print(f"\nthe optimiser's step alone, {options.encoder}\n{table(alone, columns)}")
    handlers = "MethodTrainer and handlers"
    whole = next(row["x time"] for row in around if row["what"] == handlers)
    targets = [
        judged(f"{handlers}, % over a plain loop", 100 * (whole - 1), "<= 3"),
        judged(f"{handlers}, own time, % of the step", 100 * overhead[handlers] / step_us, "<= 3"),
    ]
    print_targets(targets)
    where = machine(("monai", "timm", "pytorch-ignite"))
    print("\n" + ", ".join(f"{name} {value}" for name, value in where.items()))
    settings = {name: str(value) for name, value in vars(options).items() if name != "out"}
    report = {"machine": where, "settings": settings, "engine": around, "overhead_us": overhead, "ways": changed}
    report["targets"] = targets
    write_json(report | {"first_compiled_step_s": first, "optimizers": alone}, options.out)


if __name__ == "__main__":
    main()
