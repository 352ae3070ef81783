# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of record: pretext methods on real X-rays, each task within one source.

    python benchmarks/real_cxr.py --work DIR [--data ../shared/data] [--corpus ../shared/corpus] [--jobs 2]

Kermany, ChestX-ray14 and covid-chestxray are divided by patient into training, validation and test before anything is
trained. Each row pretrains an encoder by its bundle, without labels or masks, on the training images of these and on
further sources (``record/sources.py``); its linear probe on validation patients and its loss are followed on the way.
The encoder is then probed and fine-tuned by the package's own recipes on shares of the labels and on few masks, and
scored on the test images, beside random encoders, ImageNet and the pixels themselves.

Each cell (row, seed, task, protocol, amount) leaves a JSON file in ``--work``/cells, the most important ones first: a
run that was stopped, or that ``--minutes`` ended, goes on where it was, on any machine that has those files (without
the weights, which are trained again where a missing cell asks for them). Everything is seeded and computed with one
thread per process, so that the same command gives the same figures on the same machine; ``--check OLD.json`` says
whether it did.
What the whole costs, and what is left, is computed from measured rates and printed first and after each group of cells;
``--estimate`` prints it and ends.

The tables are printed, and written with JSON and plots to ``--out``; ``--page docs/real_cxr.md`` and ``--readme
README.md`` put them into these pages, between their marks. ``--report_only`` does that from the cells that are there,
without the images.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from measure import machine
from page_marks import into_page
from record.budget import Budget
from record.described import described
from record.figures import Results
from record.plot import plot_curves, plot_rows
from record.pretraining import ROOT
from record.report import differing, report_of
from record.rows import ROWS, units_of
from record.schedule import Place, compute_all, jobs_of, loaded
from record.table import page_text, readme_text

from monai_cxrssl.data import Datalist, save_datalist
from monai_cxrssl.files import write_json

__all__ = ["main"]

#: What figures depend on, and its defaults; a work folder belongs to one choice of these.
SETTINGS = {
    "image_size": (112, "side of what networks see, pixels"),
    "pretraining_batch": (64, "images per step of pretraining"),
    "epochs_share": (1.0, "factor on the epochs of every pretraining"),
    "steps": (400, "of fine-tuning on labels"),
    "mask_steps": (250, "of fine-tuning on masks"),
    "batch": (16, "images per step of fine-tuning"),
    "split_seed": (1, "of the division by patient"),
}


def keep(content: dict[str, Any], file: Path, what: str) -> None:
    """Write what a work folder was made with, or leave where it was made with something else."""
    if not file.is_file():
        write_json(content, file)
    found = json.loads(file.read_text(encoding="utf-8"))
    other = [f"{name} {found.get(name)} (now {value})" for name, value in content.items() if found.get(name) != value]
    if other:
        shown = ", ".join(text[:80] for text in other[:3])
        sys.exit(f"{file.parent} holds cells of other {what}: {shown}. Give these, or another --work.")


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--data", type=Path, default=shared / "data", help="ChestX-ray14 subset and covid-chestxray")
    parser.add_argument("--corpus", type=Path, default=shared / "corpus", help="the other sources, masks and labels")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything in between")
    parser.add_argument("--out", type=Path, help="folder for tables, JSON and plots, by default --work")
    parser.add_argument("--page", type=Path, help="page to put the tables into")
    parser.add_argument("--readme", type=Path, help="page to put the short table into, between its marks real_cxr")
    parser.add_argument("--image", type=Path, help="where else the plot goes; that of the curves gets _curves behind")
    parser.add_argument("--check", type=Path, help="JSON of an earlier run whose figures must be equal")
    parser.add_argument("--report_only", action="store_true", help="compute nothing, show the cells that are there")
    parser.add_argument("--estimate", action="store_true", help="compute nothing, say what is left")
    parser.add_argument("--jobs", type=int, default=1, help="units that are worked on at a time, a core each")
    parser.add_argument("--minutes", type=float, help="start no further cell after so many minutes")
    parser.add_argument("--only", nargs="+", help="names of the rows to compute, by default all")
    for name, (value, text) in SETTINGS.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{text} ({value})")
    options = parser.parse_args(words)
    names = [row.name for row in ROWS]
    if unknown := sorted(set(options.only or ()) - set(names)):
        parser.error(f"--only names {', '.join(unknown)}; the rows are {', '.join(names)}.")
    if options.jobs < 1:
        parser.error("--jobs is 1 or more.")
    return options


def compute(options: argparse.Namespace, settings: dict[str, Any], work: Path) -> None:
    """Compute what is missing, or only say how much that is."""
    place = Place(options.data.resolve(), options.corpus.resolve(), work)
    deadline = float("inf") if options.minutes is None else time.time() + 60 * options.minutes
    tasks, _ = loaded(place, settings["image_size"], settings["split_seed"])
    keep(described(tasks), work / "tasks.json", "films")
    save_datalist(Datalist("real X-rays, unlabelled", splits={"training": tasks.corpus}), work / "corpus.json")
    jobs = jobs_of(units_of(options.only), list(tasks.further))

    def say() -> None:
        print(Budget(work, settings, len(tasks.corpus), jobs).sentence(options.jobs), flush=True)

    say()
    if not options.estimate:
        compute_all(jobs, place, settings, options.jobs, deadline, say)


def main(words: list[str] | None = None) -> None:
    """Compute what is missing, then show and write the tables and the plots."""
    options = arguments(words)
    work, out = options.work.resolve(), (options.out or options.work).resolve()
    for folder in (work, out):
        folder.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(options, name) for name in SETTINGS}
    keep(settings, work / "settings.json", "settings")
    if not options.report_only:
        compute(options, settings, work)
    if options.estimate:
        return
    if not (work / "tasks.json").is_file():
        sys.exit(f"{work} has no tasks.json, and with it no cell to report; run without --report_only first.")
    results = Results(work, json.loads((work / "tasks.json").read_text(encoding="utf-8")))
    report = report_of(results, settings)
    report["cost"] |= {"date": time.strftime("%Y-%m-%d"), "machine": machine(("monai", "timm"))}
    write_json(report, out / "real_cxr.json")
    text = page_text(report)
    (out / "real_cxr.md").write_text(text, encoding="utf-8")
    print(text)
    for path in filter(None, (out / "real_cxr.png", options.image)):
        plot_rows(report, path)
        plot_curves(report, path.with_stem(f"{path.stem}_curves"))
    if options.page:
        into_page(options.page, text)
    if options.readme:
        into_page(options.readme, readme_text(report), "real_cxr")
    if options.check:
        if told := differing(json.loads(options.check.read_text(encoding="utf-8")), report):
            sys.exit(told)
        print(f"The figures are those of {options.check}.")


if __name__ == "__main__":
    main()
