# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of record: every pretext method and the curriculum on real X-rays, each task within one source.

    python benchmarks/real_cxr.py --work DIR [--data ../shared/data] [--jobs 2]

Three sources are divided by patient, 60 to 40, before anything is trained. Each method pretrains one encoder, from its
bundle and without labels or masks, on the films of the 60 % of all sources, for the same number of epochs. The encoder
then serves every task of the same patients: three classes of the paediatric films of Kermany et al., pneumonia in the
ChestX-ray14 subset, COVID-19 against other pneumonia in covid-chestxray (macro AUC of a linear probe and of a short
fine-tuning with the labels of 1, 10 and 100 % of the patients), and lungs in covid-chestxray from 5, 10 and 50 masks
(Dice). Of the networks fine-tuned on all labels of covid-chestxray it is asked how much of their attention lies on the
lungs of the test films, beside chance. Everything is scored on films of the 40 %.

Each cell (task, protocol, share of the labels, draw) leaves a file in ``--work``: a run that was stopped goes on where
it was. Random encoders are measured in the same cells. Intervals are 95 % percentile intervals over test patients and
draws, paired for the difference from the random encoder of the same architecture; each method is pretrained once, so
they do not hold the spread between pretraining runs. Everything is seeded and computed with one thread per process:
the same command gives the same ``figures`` in ``real_cxr.json`` on the same machine, and ``--check OLD.json`` says
whether it did. What differs from run to run stands under ``cost``.

The table is printed, and written with its JSON and the plot to ``--out``; ``--page docs/real_cxr.md`` and ``--readme
README.md`` put it into these pages, between their marks. ``--report_only`` does that from the cells that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import torch
from measure import machine
from page_marks import into_page
from pretraining_runs import CNN, ROOT, RUNS, VIT, Run, file_name, pretrain, write_corpus
from real_cells import CellMaker, Films, cells_of
from real_figures import differing, figures_of
from real_plot import plot
from real_table import page_text, readme_text
from real_tasks import make_tasks
from tqdm import tqdm

from monai_cxrssl.files import write_json

__all__ = ["main"]

#: Encoders that nothing was pretrained for, the first two rows.
RANDOM = [Run(f"random {encoder}", "", encoder, {}) for encoder in (CNN, VIT)]
#: What figures depend on; a work folder belongs to one choice of these.
SETTINGS = ("image_size", "batch_size", "epochs", "steps", "full_steps", "mask_steps", "split_seed")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def compute(run: Run, settings: dict[str, Any], work: Path, data: Path, bar: Any = None) -> None:
    """Pretrain one encoder, where there is something to pretrain, and make its cells; what is there is kept."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.use_deterministic_algorithms(True)
    size = settings["image_size"]
    tasks = make_tasks(data, settings["split_seed"])
    wanted = cells_of(tasks, settings["draws"], settings["full_draws"])
    folder = work / "cells" / file_name(run.name)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [cell for cell in wanted if not (folder / cell.file).is_file()]
    if not missing and bar is None:
        return
    weights = None
    if run.bundle:
        environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "CUDA_VISIBLE_DEVICES": ""}
        log = work / f"{file_name(run.name)}.log"
        where = work / "pretraining" / file_name(run.name)
        weights = pretrain(
            run, where, work, size, settings["batch_size"], settings["epochs"], environment, log, num_workers=0
        )
        _tick(bar, 1)
    _tick(bar, len(wanted) - len(missing))
    if not missing:
        return
    steps = (settings["steps"], settings["full_steps"])
    films = Films(tasks, size, work / "cache")
    maker = CellMaker(run.encoder, weights, tasks, films, size, steps, settings["mask_steps"])
    for cell in missing:
        maker.make(cell, folder / cell.file)
        _tick(bar, 1)


def _tick(bar: Any, count: int) -> None:
    if bar is not None:
        bar.update(count)


def compute_all(runs: list[Run], settings: dict[str, Any], work: Path, data: Path, jobs: int) -> None:
    """Compute every run, several at a time where wanted, under one progress bar that counts files."""
    tasks = make_tasks(data, settings["split_seed"])
    write_corpus(tasks.corpus, work / "corpus.json")
    # Before any process starts, so that none waits for another one's.
    Films(tasks, settings["image_size"], work / "cache")
    count = len(cells_of(tasks, settings["draws"], settings["full_draws"]))
    total = sum(count + bool(run.bundle) for run in runs)
    with tqdm(total=total, desc="cells and pretrainings", unit="file", smoothing=0.05) as bar:
        if jobs == 1:
            for run in runs:
                bar.set_postfix_str(run.name)
                compute(run, settings, work, data, bar)
            return
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            waiting: list[Future[None]] = [pool.submit(compute, run, settings, work, data) for run in runs]
            while waiting:
                time.sleep(1)
                for future in [future for future in waiting if future.done()]:
                    waiting.remove(future)
                    if future.exception() is not None:
                        pool.shutdown(cancel_futures=True)
                    future.result()
                names = [file_name(run.name) for run in runs]
                done = sum(len(list((work / "cells" / name).glob("*.npz"))) for name in names)
                done += sum((work / "pretraining" / name / "cost.json").is_file() for name in names)
                bar.update(done - bar.n)


def keep_settings(settings: dict[str, Any], work: Path) -> None:
    """Remember what a work folder was made with.

    Raises:
        SystemExit: it was made with something else.
    """
    file = work / "settings.json"
    fixed = {name: settings[name] for name in SETTINGS}
    if not file.is_file():
        write_json(fixed, file)
    found = json.loads(file.read_text(encoding="utf-8"))
    other = [f"{name} {found.get(name)} (now {value})" for name, value in fixed.items() if found.get(name) != value]
    if other:
        sys.exit(f"{work} holds cells of other settings: {', '.join(other)}. Give these, or another --work.")


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="holds the three sources")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything in between")
    parser.add_argument("--out", type=Path, help="folder for table, JSON and plot, by default --work")
    parser.add_argument("--page", type=Path, help="page to put the tables into")
    parser.add_argument("--readme", type=Path, help="page to put the short table into, between its marks real_cxr")
    parser.add_argument("--image", type=Path, help="where else the plot goes, such as docs/images/real_cxr.png")
    parser.add_argument("--check", type=Path, help="JSON of an earlier run whose figures must be equal")
    parser.add_argument("--report_only", action="store_true", help="compute nothing, show the cells that are there")
    parser.add_argument("--jobs", type=int, default=1, help="encoders that are worked on at a time")
    parser.add_argument("--only", nargs="+", help="names of the rows to compute and show, by default all")
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=64, help="films per step of pretraining")
    parser.add_argument("--epochs", type=int, default=15, help="of every pretraining")
    parser.add_argument("--draws", type=int, default=3, help="draws of labels")
    parser.add_argument("--full_draws", type=int, default=2, help="runs of fine-tuning on all labels or 50 masks")
    parser.add_argument(
        "--steps", type=int, default=30, help="of fine-tuning on 1 and 10 % of the labels".replace("%", "%%")
    )
    parser.add_argument("--full_steps", type=int, default=60, help="of fine-tuning on all labels")
    parser.add_argument("--mask_steps", type=int, default=30, help="of fine-tuning on masks")
    parser.add_argument("--split_seed", type=int, default=1, help="of the division by patient")
    options = parser.parse_args(words)
    names = [run.name for run in (*RANDOM, *RUNS)]
    unknown = sorted(set(options.only or ()) - set(names))
    if unknown:
        parser.error(f"--only names {', '.join(unknown)}; the rows are {', '.join(names)}.")
    if min(options.jobs, options.draws, options.full_draws) < 1:
        parser.error("--jobs, --draws and --full_draws are 1 or more.")
    return options


def main(words: list[str] | None = None) -> None:
    """Compute what is missing, then show and write the tables and the plot."""
    options = arguments(words)
    work, data = options.work.resolve(), options.data.resolve()
    out = (options.out or options.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(options, name) for name in (*SETTINGS, "draws", "full_draws")}
    keep_settings(settings, work)
    runs = [run for run in (*RANDOM, *RUNS) if not options.only or run.name in options.only]
    if not options.report_only:
        compute_all(runs, settings, work, data, options.jobs)
    report = {
        "settings": settings,
        **figures_of(runs, settings, work, make_tasks(data, settings["split_seed"])),
    }
    report["cost"] |= {"date": time.strftime("%Y-%m-%d"), "machine": machine(("monai", "timm"))}
    write_json(report, out / "real_cxr.json")
    text = page_text(report)
    (out / "real_cxr.md").write_text(text, encoding="utf-8")
    print(text)
    for path in filter(None, (out / "real_cxr.png", options.image)):
        plot(report, path)
    if options.page:
        into_page(options.page, text)
    if options.readme:
        into_page(options.readme, readme_text(report), "real_cxr")
    if options.check:
        told = differing(json.loads(options.check.read_text(encoding="utf-8")), report)
        if told:
            sys.exit(told)
        print(f"The figures are those of {options.check}.")


if __name__ == "__main__":
    main()
