# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Resumable grid of cells: row, label fraction, draw.

A cell is one run of a bundle in a process of its own, by the command that a person would type, or work that trains no
network and is done in this process. A cell is finished
when its folder holds ``done.json``, which is written last, in one step, and names what the result was made of. A folder
without it is emptied and the run started anew, so that an interrupted grid ends with the very same files.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_cxrssl.errors import ConfigurationError, CXRSSLError
from monai_cxrssl.files import lock, sha256, write_json

__all__ = ["LAUNCH", "Cell", "CellResult", "cell_state", "estimate_seconds", "grid_lock", "last_clear_line",
           "run_cells", "run_command", "run_process"]  # fmt: skip

#: How a bundle is run.
LAUNCH = (sys.executable, "-m", "monai.bundle", "run")
#: Seconds that a grid waits for the last process of one that was killed.
_LOCK_PATIENCE = 20.0
_ERROR_LINE = re.compile(r"^(error: |[\w.]*(Error|Exception|Interrupt)\b)")


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    row: str  #: name of the row.
    fraction: float  #: of the training patients, in (0, 1].
    draw: int  #: number of the sample of patients.
    images: int  #: training images of the subset.
    folder: Path  #: where the run's results go; nothing else is in it.
    command: tuple[str, ...]  #: the words to run; none for work of this process.
    key: str  #: hash of all that decides the result.
    work: Callable[[Path], None] | None = None  #: fills the folder, where there is no command.

    @property
    def predictions(self) -> Path:
        """The test predictions that the run writes."""
        return self.folder / "predictions.csv"

    @property
    def output(self) -> Path:
        """What the run printed."""
        return self.folder / "output.txt"

    def __str__(self) -> str:
        return f"{self.row}, {100 * self.fraction:.6g} %, draw {self.draw}"


@dataclass(frozen=True)
class CellResult:
    """How a cell ended."""

    status: str  #: ``"finished"`` or ``"failed"``.
    seconds: float = math.nan  #: how long it took; NaN where that is not known.
    problem: str = ""  #: why it failed, one line.


def cell_state(cell: Cell) -> tuple[str, float]:
    """Tell what is there of a cell, and how many seconds a finished one took.

    It is ``"finished"``, ``"changed"`` (finished once, with other settings or data, or its results were touched since)
    or ``"left"``.
    """
    try:
        marker = json.loads((cell.folder / "done.json").read_bytes())
        key, told, seconds = marker["key"], marker["predictions_sha256"], float(marker["seconds"])
    except FileNotFoundError:
        return "left", math.nan
    except (ValueError, KeyError, TypeError):
        return "changed", math.nan
    if key != cell.key or not cell.predictions.is_file() or sha256(cell.predictions) != told:
        return "changed", math.nan
    return "finished", seconds


def run_cells(
    cells: Sequence[Cell], lock: int | None = None, say: Callable[[str], None] | None = None, progress: bool = True
) -> list[CellResult]:
    """Run the cells that are not finished, in order; return one result each. One that fails does not stop the others.

    Args:
        lock: file descriptor that every run inherits, see :func:`grid_lock`.
        say: takes each message; by default it is printed above the progress bar.
    """
    from tqdm import tqdm

    say = say or tqdm.write
    states = [cell_state(cell) for cell in cells]
    done = [(c, seconds) for c, (state, seconds) in zip(cells, states, strict=True) if state == "finished"]
    # What this process does takes no time beside a run.
    known = [(c.images, seconds) for c, seconds in done if c.work is None]
    say(f"{len(cells)} cell{'s' * (len(cells) != 1)}: {len(done)} finished, {len(cells) - len(done)} left to run.")
    results: list[CellResult] = []
    told = False
    with tqdm(total=len(cells), initial=len(done), desc="cells", unit="cell", disable=not progress) as bar:
        for number, (cell, (state, seconds)) in enumerate(zip(cells, states, strict=True)):
            if state == "finished":
                results.append(CellResult("finished", seconds))
                continue
            if state == "changed":
                say(f"{cell}: its settings or files changed since it was finished; it is run anew.")
            bar.set_postfix_str(str(cell))
            result = _run(cell, lock)
            results.append(result)
            bar.update()
            if result.status == "failed":
                say(f"{cell}: failed: {result.problem} (see {cell.output})")
                continue
            if cell.work is not None:
                continue
            known.append((cell.images, result.seconds))
            rest = [
                c.images for c, (s, _) in zip(cells[number + 1 :], states[number + 1 :], strict=True)
                if s != "finished" and c.work is None
            ]  # fmt: skip
            if rest and not told:
                low, high = (_duration(seconds) for seconds in estimate_seconds(known, rest))
                left = low if low == high else f"{low} to {high}"
                say(f"The first run took {_duration(result.seconds)}; the {len(rest)} left will take about {left}.")
                told = True
    return results


def estimate_seconds(known: Sequence[tuple[int, float]], left: Sequence[int]) -> tuple[float, float]:
    """Estimate the seconds that runs will take together, lower and upper, from those that are known.

    A run costs something whatever its size (start, validation, test) and something per training image. Runs of one size
    cannot tell the two apart: then the estimate is a range, from all the former to all the latter. ``known`` holds
    training images and seconds of finished runs, ``left`` the training images of those to come.

    Example:
        >>> estimate_seconds([(10, 5.0)], [10, 20])
        (10.0, 15.0)
        >>> low, high = estimate_seconds([(10, 5.0), (20, 6.0)], [40])
        >>> round(low, 3) == round(high, 3) == 8.0
        True
    """
    images, seconds = np.array(known, dtype=np.float64).T
    rest = np.array(left, dtype=np.float64)
    if len(np.unique(images)) == 1:
        ends = sorted((float(seconds.mean() * len(rest)), float(seconds.mean() * (rest / images[0]).sum())))
        return ends[0], ends[1]
    from scipy.optimize import nnls

    fixed, per_image = nnls(np.stack([np.ones_like(images), images], axis=1), seconds)[0]
    total = float((fixed + per_image * rest).sum())
    return total, total


@contextlib.contextmanager
def grid_lock(folder: Path) -> Iterator[int]:
    """Make a folder and keep a second grid out of it, also while a run of a killed one is still at work there.

    Yields:
        A descriptor for the runs to inherit, which holds the lock on.

    Raises:
        ConfigurationError: the folder cannot be written, or somebody else holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as error:
        raise ConfigurationError(f"--output_dir {folder} cannot be written: {error.strerror or error}.") from error
    busy = f"Another run of this command is at work in {folder}; wait for it, or give another --output_dir."
    with lock(folder / ".lock", busy, _LOCK_PATIENCE) as handle:
        # A copy: a forked child gives the lock itself up before the run begins in it.
        inherited = os.dup(handle)
        try:
            yield inherited
        finally:
            os.close(inherited)


def run_process(command: Sequence[str], output: Path, lock: int | None = None) -> tuple[int, str]:
    """Run a command to its end; return its exit status and, if that is not 0, the line that best says why.

    Args:
        output: file of what it prints; its folder is made.
        lock: as for :func:`run_cells`.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "wb") as stream:
        status = run_command(command, stream.fileno(), lock)
    return status, last_clear_line(output) if status else ""


def _run(cell: Cell, lock: int | None) -> CellResult:
    """Run one cell in an emptied folder and leave its marker."""
    shutil.rmtree(cell.folder, ignore_errors=True)
    cell.folder.mkdir(parents=True)
    started = time.monotonic()
    problem = _ran(cell, lock) if cell.work is None else _worked(cell)
    seconds = time.monotonic() - started
    if problem:
        return CellResult("failed", seconds, problem)
    if not cell.predictions.is_file():
        return CellResult("failed", seconds, f"the run ended well but left no {cell.predictions.name}")
    # A cell never goes on from them, and with the optimiser's state they are several times as large as its weights.
    shutil.rmtree(cell.folder / "checkpoints", ignore_errors=True)
    marker = {
        "key": cell.key,
        "predictions_sha256": sha256(cell.predictions),
        "seconds": round(seconds, 3),
        "command": list(cell.command),
    }
    write_json(marker, cell.folder / "done.json", indent=None)
    return CellResult("finished", seconds)


def _ran(cell: Cell, lock: int | None) -> str:
    """Run the command of a cell; return why it failed, or nothing."""
    (cell.folder / "command.txt").write_text(shlex.join(cell.command) + "\n", encoding="utf-8")
    status, problem = run_process(cell.command, cell.output, lock)
    return (problem or f"the run ended with status {status}") if status else ""


def _worked(cell: Cell) -> str:
    """Do the work of a cell in this process; return why it failed, or nothing."""
    try:
        cell.work(cell.folder)  # type: ignore[misc]
    except CXRSSLError as error:
        cell.output.write_text(f"error: {error}\n", encoding="utf-8")
        return str(error)
    return ""


def run_command(command: Sequence[str], output: int, lock: int | None) -> int:
    """Run a command to its end and return its exit status; it does not outlive this process.

    Args:
        output: file descriptor that takes what it says.
        lock: file descriptor that it inherits, see :func:`grid_lock`.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Loaded before the fork: little is safe between fork and exec.
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None

    def die_with_parent() -> None:
        if prctl is not None:
            prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed grid must not leave a run that goes on writing

    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=() if lock is None or sys.platform == "win32" else (lock,),
        preexec_fn=die_with_parent if prctl is not None else None,
    )
    try:
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def last_clear_line(path: Path) -> str:
    """Return the line of a run's output that best says why it failed: its last error, or else its last line."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.match(line)]
    line = errors[-1] if errors else lines[-1] if lines else ""
    return line.removeprefix("error: ")[:500]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
