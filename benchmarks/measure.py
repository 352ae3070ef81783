# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of the training step share: turns of timed calls, peak memory, the machine, tables, JSON."""

from __future__ import annotations

import json
import operator
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "holds",
    "in_turns",
    "judged",
    "machine",
    "now",
    "order_of",
    "peak_mib",
    "print_targets",
    "ratio",
    "table",
    "take_processor_time",
    "wait_for",
    "write_json",
]

_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


_clock: Callable[[], float] = time.perf_counter


def take_processor_time() -> None:
    """Let :func:`in_turns` and :func:`now` count the time that this process had a processor: others disturb it less."""
    global _clock
    _clock = time.process_time


def now() -> float:
    """Seconds of the clock that :func:`in_turns` takes."""
    return _clock()


def wait_for(device: torch.device | str) -> None:
    """Wait until a GPU has done what it was told."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def order_of(names: Sequence[str], turn: int) -> list[str]:
    """Return the order of a turn: over enough turns each name comes as often in each place and after each other name.

    What comes after a large call finds colder caches and other free memory. In a Williams design (E. J. Williams 1949,
    Aust. J. Sci. Res. 2:149) that is nobody's advantage after as many turns as there are names, or twice as many where
    their number is odd.
    """
    count = len(names)
    # 0, 1, n - 1, 2, n - 2 …: the steps between neighbours are all different.
    zigzag = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(count)]
    if count % 2 and turn // count % 2:
        zigzag.reverse()
    return [names[(place + turn) % count] for place in zigzag]


def in_turns(
    calls: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: torch.device | str = "cpu",
    warm_up: int = 1,
) -> dict[str, list[float]]:
    """Time calls in turns, so that a busy machine slows all of them alike.

    Args:
        calls: by name.
        repeats: timed calls of each.
        device: where they compute.
        warm_up: calls of each before the first timed one.

    Returns:
        Seconds of each call, by name, turn by turn.
    """
    for call in calls.values():
        for _ in range(warm_up):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name in order_of(list(calls), turn):
            wait_for(device)
            started = _clock()
            calls[name]()
            wait_for(device)
            seconds[name].append(_clock() - started)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], name: str, base: str) -> float:
    """Return the median over turns of one call's time over another's, both of the same turn."""
    return statistics.median(ours / theirs for ours, theirs in zip(seconds[name], seconds[base], strict=True))


def peak_mib(call: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Return the most memory that torch held during a call beyond what it held before, in MiB.

    On a CPU every allocation and release that torch's profiler saw is added up, which sees small tensors where the
    resident set, of pages that the allocator keeps, does not.
    """
    call()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest / 2**20


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return processor, cores, threads, GPU and the versions of Python, torch and other packages."""
    found: dict[str, Any] = {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    found["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found["python"] = platform.python_version()
    for name in ("torch", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Lay rows out as aligned columns, numbers to the right, a dash for what a row lacks."""

    def shown(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    cells = [list(columns)] + [[shown(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def holds(value: float, target: str) -> bool:
    """Say whether a figure meets a target such as ``"<= 1.2"``."""
    comparison, limit = target.split()
    return bool(_COMPARISONS[comparison](value, float(limit)))


def judged(figure: str, value: float, target: str) -> dict[str, Any]:
    """Return a figure beside its target, as the ``targets`` of a report hold it.

    Args:
        figure: what was measured, with its unit unless it is a ratio.
        value: what came out.
        target: a comparison and a number, ``"<= 1.2"``.
    """
    return {"figure": figure, "target": target, "value": value, "holds": holds(value, target)}


def print_targets(targets: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each target: what, the target, the figure, yes or no."""
    print()
    for row in targets:
        print(f"{row['figure']}: target {row['target']}: {row['value']:.4g} {'yes' if row['holds'] else 'no'}")


def write_json(report: Mapping[str, Any], path: Path | None) -> None:
    """Write a report to a JSON file where one is wanted, and say so."""
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"written: {path}")
