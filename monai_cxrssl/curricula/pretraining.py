# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Resumable pretrainings that share the stages they begin with.

A stage's weights depend on the seed, on its place, name and epochs, and on the stages before it. So a run that begins
as a finished one did is given those stages' folders, and goes on from them as a run does that was stopped there; its
weights are those of a run on its own. A pretraining is finished when its folder holds ``done.json``, written last.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_cxrssl.curricula.orders import Order, StagePlan, shared_stages
from monai_cxrssl.files import write_json
from monai_cxrssl.label_efficiency.grid import last_clear_line, run_command
from monai_cxrssl.networks.weights.header import tensors_sha256

__all__ = ["Pretraining", "PretrainingResult", "run_pretrainings"]

#: What a finished stage is taken up from; the last one says that it is finished.
_STAGE_FILES = ("encoder.pt", "curves.png", "metrics.json")


@dataclass(frozen=True)
class Pretraining:
    """One run of a curriculum's bundle."""

    order: Order  #: of its tasks.
    folder: Path  #: of the run; nothing else is in it.
    command: tuple[str, ...]  #: the words to run; they go on where the run was stopped.
    key: str  #: hash of all that decides the result.
    plan: StagePlan | None  #: its stages; ``None`` where the run finds their order.

    @property
    def weights(self) -> Path:
        """The encoder that the run leaves."""
        return self.folder / "model.pt"


@dataclass(frozen=True)
class PretrainingResult:
    """How a pretraining ended."""

    problem: str = ""  #: why it failed, one line; empty where it did not.
    shared: int = 0  #: stages that it took from another run.
    seconds: float = 0.0  #: that it took itself.


def run_pretrainings(
    pretrainings: Sequence[Pretraining], lock: int | None = None, say: Callable[[str], None] = print
) -> list[PretrainingResult]:
    """Run the pretrainings that are not finished, in order; one that fails does not stop the others.

    Args:
        lock: file descriptor that every run inherits, see :func:`~monai_cxrssl.label_efficiency.grid.grid_lock`.
        say: takes each message.
    """
    done = [_finished(each) for each in pretrainings]
    say(f"{len(pretrainings)} pretrainings: {sum(result is not None for result in done)} finished.")
    results: list[PretrainingResult] = []
    for number, (each, before) in enumerate(zip(pretrainings, done, strict=True)):
        if before is not None:
            results.append(before)
            continue
        complete = [other for other, result in zip(pretrainings, results, strict=False) if not result.problem]
        complete += [other for other, result in zip(pretrainings[number:], done[number:], strict=True) if result]
        result = _run(each, complete, lock, say)
        results.append(result)
        if result.problem:
            say(f"{each.order}: failed: {result.problem} (see {each.folder / 'output.txt'})")
    return results


def _finished(pretraining: Pretraining) -> PretrainingResult | None:
    try:
        marker = json.loads((pretraining.folder / "done.json").read_bytes())
        if marker["key"] != pretraining.key or tensors_sha256(pretraining.weights) != marker["weights_sha256"]:
            return None
        return PretrainingResult(shared=marker["shared"], seconds=marker["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _run(
    pretraining: Pretraining, complete: Sequence[Pretraining], lock: int | None, say: Callable[[str], None]
) -> PretrainingResult:
    folder, started = pretraining.folder, time.monotonic()
    begun = folder / "begun.json"
    try:
        same = json.loads(begun.read_bytes())["key"] == pretraining.key and not (folder / "done.json").exists()
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json({"key": pretraining.key, "command": list(pretraining.command)}, begun)
        (folder / "command.txt").write_text(shlex.join(pretraining.command) + "\n", encoding="utf-8")
    shared = _take_stages(pretraining, complete)
    said = f", the first {shared} of {len(pretraining.plan or ())} stages shared with another order" if shared else ""
    say(f"{pretraining.order}: {'goes on' if same else 'pretrains'}{said}.")
    with open(folder / "output.txt", "ab") as stream:
        status = run_command(pretraining.command, stream.fileno(), lock)
    seconds = round(time.monotonic() - started, 3)
    if status:
        problem = last_clear_line(folder / "output.txt") or f"the run ended with status {status}"
        return PretrainingResult(problem, shared, seconds)
    if not pretraining.weights.is_file():
        return PretrainingResult(f"the run ended well but left no {pretraining.weights.name}", shared, seconds)
    marker = {"key": pretraining.key, "weights_sha256": tensors_sha256(pretraining.weights)}
    write_json({**marker, "shared": shared, "seconds": seconds}, folder / "done.json")
    return PretrainingResult("", shared, seconds)


def _take_stages(pretraining: Pretraining, complete: Sequence[Pretraining]) -> int:
    """Copy the finished stages that the run has in common with one of others; return how many it begins with."""
    if pretraining.plan is None:
        return 0
    counts = [shared_stages(pretraining.plan, other.plan) if other.plan else 0 for other in complete]
    shared = max(counts, default=0)
    if not shared:
        return 0
    source = complete[counts.index(shared)].folder
    for place, (name, _) in enumerate(pretraining.plan[:shared], 1):
        stage, target = (folder / "stages" / f"{place}_{name}" for folder in (source, pretraining.folder))
        if (target / "metrics.json").exists():
            continue
        # What a stopped run left of a stage that another one finished is not gone on with.
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in _STAGE_FILES:
            shutil.copy2(stage / file, target / file)
    return shared
