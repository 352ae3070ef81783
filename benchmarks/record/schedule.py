# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Computing of what is missing, several units at a time, by importance."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch

from record.cells import Cell, cells_of, rank
from record.films import Films
from record.fine_tuning import fine_tune
from record.pretraining import pretrain
from record.probes import Probes
from record.rows import Unit
from record.stored import write_cell
from record.tasks import Tasks, make_tasks

__all__ = ["Job", "Place", "compute_all", "jobs_of", "loaded"]

#: A unit and some of its cells.
Job = tuple[Unit, tuple[Cell, ...]]


class Place(NamedTuple):
    """Where images are, and where results go."""

    data: Path
    corpus: Path
    work: Path


def jobs_of(units: Sequence[Unit], further: Sequence[str] = ()) -> list[Job]:
    """Return the cells of all units in groups, the most important first; further tasks are probed."""
    groups: dict[tuple[int, int, Unit], list[Cell]] = {}
    for number, unit in enumerate(units):
        for level, cell in cells_of(unit, further):
            groups.setdefault((rank(unit, level), number, unit), []).append(cell)
    return [(unit, tuple(cells)) for (_, _, unit), cells in sorted(groups.items(), key=lambda pair: pair[0][:2])]


@lru_cache(1)
def loaded(place: Place, size: int, seed: int) -> tuple[Tasks, Films]:
    """Return tasks and images, once per process."""
    tasks = make_tasks(place.data, place.corpus, place.work / "cache", size, seed)
    return tasks, Films(tasks.films(), size, place.work / "cache")


def compute(job: Job, place: Place, settings: Mapping[str, Any], deadline: float) -> None:
    """Make the cells of a job that are not there, until the deadline, pretraining first where it is needed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.use_deterministic_algorithms(True)
    unit, cells = job
    folder = place.work / "cells" / unit.folder
    missing = [cell for cell in cells if not (folder / cell.file).is_file()]
    if not missing or time.time() > deadline:
        return
    tasks, films = loaded(place, settings["image_size"], settings["split_seed"])
    weights = pretrain(unit, place.work, settings, len(tasks.corpus))
    probes: Probes | None = None
    for cell in missing:
        if time.time() > deadline:
            return
        started = time.process_time()
        if cell.protocol in ("fine-tuned", "with-lungs"):
            seconds, found = fine_tune(unit, cell, weights, tasks, films, place.work, settings)
        else:
            seconds = 0.0
            probes = probes or Probes(unit, weights, tasks, films)
            if cell.protocol == "curve":
                snapshots = place.work / "pretraining" / unit.folder / "snapshots"
                found = {"curve": probes.curve(snapshots), "tasks": list(tasks.labelled)}
            else:
                found = {"scores": probes.scores(cell) if cell.protocol == "probe" else probes.shifted(cell)}
        write_cell(folder / cell.file, seconds + time.process_time() - started, **found)
        if cell.protocol == "curve":
            shutil.rmtree(snapshots)  # gigabytes, of which nothing else is asked


def compute_all(
    jobs: Sequence[Job],
    place: Place,
    settings: Mapping[str, Any],
    processes: int,
    deadline: float,
    say: Callable[[], None],
) -> None:
    """Compute jobs, never two of one unit at once; say how far it is after each."""
    if processes == 1:
        for job in jobs:
            if time.time() > deadline:
                return
            compute(job, place, settings, deadline)
            say()
        return
    waiting, running = list(jobs), dict[Future[None], Unit]()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        while waiting or running:
            if time.time() > deadline:
                waiting.clear()
            for job in list(waiting):
                if len(running) < processes and job[0] not in running.values():
                    waiting.remove(job)
                    running[pool.submit(compute, job, place, settings, deadline)] = job[0]
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                if future.exception() is not None:
                    waiting.clear()
                future.result()
                say()
