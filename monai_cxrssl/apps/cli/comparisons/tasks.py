# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure one encoder on several tasks, as one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_cxrssl.apps.cli.comparisons.fractions import (
    DRIFTS,
    HOWS,
    METRICS,
    bundle_options,
    bundle_words,
    print_failed,
)

__all__ = ["TAKES_OVERRIDES", "add_arguments", "run"]

#: Of the runs of every task.
TAKES_OVERRIDES = True

#: Of a task without other words: what its bundle learns.
_METRICS = {
    "classification": ["accuracy", "macro_f1", "macro_auc"], "multitask": ["accuracy", "macro_f1", "macro_auc", "dice"],
    "lung_segmentation": ["dice"],
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A data set and what is learnt on it."""

    name: str
    place: str  #: a folder, or a datalist.
    bundle: str
    words: tuple[str, ...]  #: further options of its runs.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``tasks``."""
    parser.add_argument("encoder", metavar="[NAME=]WEIGHTS", nargs="+",
                        help="a file, timm:NAME, hf://ORG/REPO/FILE, or imagenet; several are rows")  # fmt: skip
    parser.add_argument("--task", nargs="+", required=True, metavar="NAME=DATA[:OPTION=VALUE...]",
                        help="a folder or datalist, and after colons options of its runs; bundle=NAME for another than "
                        "classification, such as lungs=DIR:bundle=lung_segmentation")  # fmt: skip
    parser.add_argument("--metrics", nargs="+", choices=METRICS, metavar="METRIC",
                        help=f"{', '.join(METRICS)} (default: those of each bundle)")  # fmt: skip
    parser.add_argument("--encoder_name", nargs="+", default=[], metavar="ENCODER", help="backbones (default: the "
                        "recipe's)")  # fmt: skip
    parser.add_argument("--how", choices=tuple(HOWS), default="finetune", help="train the network, fit a logistic "
                        "regression on the frozen encoder where a task has labels, or both")  # fmt: skip
    parser.add_argument("--drift", nargs="+", choices=DRIFTS, default=[], metavar="DRIFT",
                        help=f"also test under {', '.join(DRIFTS)}")  # fmt: skip
    parser.add_argument("--fractions", nargs="+", type=float, default=[1.0], metavar="F",
                        help="of the training patients, in (0, 1]")  # fmt: skip
    parser.add_argument("--draws", type=int, default=3, metavar="N", help="samples of patients, each with its own seed")
    parser.add_argument("--output_dir", required=True, metavar="OUT", help="a run that was stopped goes on there")
    parser.add_argument("--seed", type=int, default=0, help="of divisions, samples and the first draw's training")
    parser.add_argument("--no_baselines", action="store_true", help="leave out the rows of pixels and random encoders")


def run(args: argparse.Namespace) -> int:
    """Run what is left of every task; write and print one table."""
    from monai_cxrssl.apps.cli.bundles.command import find_config
    from monai_cxrssl.files import write_json
    from monai_cxrssl.label_efficiency.drift_table import drift_table
    from monai_cxrssl.label_efficiency.inits import read_inits
    from monai_cxrssl.label_efficiency.study import Study
    from monai_cxrssl.label_efficiency.task_table import task_table

    inits = read_inits(args.encoder)
    studies = {}
    for task in read_tasks(args.task):
        words = [*bundle_words([word for word in args.overrides if word != "--"]), *task.words]
        metrics = args.metrics or _METRICS.get(task.bundle, ["macro_auc"])
        is_file = Path(task.place).expanduser().is_file()
        # Masks are not learnt by a regression on embeddings.
        hows = ("finetune",) if metrics == ["dice"] else HOWS[args.how]
        studies[task.name] = Study.open(
            {task.bundle: find_config(task.bundle, "train")}, inits, None if is_file else [task.place],
            task.place if is_file else None, bundle_options(words), words, encoders=args.encoder_name, hows=hows,
            fractions=args.fractions, draws=args.draws, seed=args.seed, metrics=metrics, drifts=args.drift,
            baselines=not args.no_baselines,
        )  # fmt: skip
    out = Path(args.output_dir).expanduser().absolute()
    reports = {}
    for name, study in studies.items():
        print(f"Task {name}:")
        try:
            reports[name] = study.run(out / name)
        except KeyboardInterrupt:
            print("Stopped. The same command goes on with the cells that are left.")
            return 130
    write_json({"tasks": reports}, out / "tasks.json")
    for markdown in (True, False):
        drifts = {name: drift_table(report, markdown) for name, report in reports.items()}
        parts = [task_table(reports, markdown), *(f"{name}: {text}" for name, text in drifts.items() if text)]
        if markdown:
            (out / "tasks.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        else:
            print("\n\n".join(parts))
    print(f"Written: {out / 'tasks.json'} and .md")
    return max(print_failed(report, out / name) for name, report in reports.items())


def read_tasks(texts: Sequence[str]) -> list[Task]:
    """Read the words of ``--task``.

    Raises:
        ConfigurationError: a word is no task, its data are not there, or two tasks have one name.
    """
    import re

    from monai_cxrssl.errors import ConfigurationError

    tasks: list[Task] = []
    for text in texts:
        name, sign, rest = text.partition("=")
        if not sign or not re.fullmatch(r"\w[\w.-]*", name):
            raise ConfigurationError(f"--task {text} is no task; write NAME=DATA, or NAME=DATA:OPTION=VALUE.")
        # A place may hold colons; options have a name and a value.
        found = re.fullmatch(r"(.+?)((?::\w+=[^:]*)*)", rest)
        place, options = (found[1], found[2]) if found else (rest, "")
        if not Path(place).expanduser().exists():
            raise ConfigurationError(f"--task {text}: {place!r} is neither a folder nor a datalist.")
        given = dict(part.split("=", 1) for part in options.split(":") if part)
        bundle = given.pop("bundle", "classification")
        words = tuple(word for key, value in given.items() for word in (f"--{key}", value))
        if name in [task.name for task in tasks]:
            raise ConfigurationError(f"--task names {name} twice; give each task its own name.")
        tasks.append(Task(name, place, bundle, words))
    return tasks
