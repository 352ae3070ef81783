# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tune on folds of the patients, and evaluate the ensemble."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["TAKES_OVERRIDES", "add_arguments", "run"]

TAKES_OVERRIDES = True

METRICS = ("macro_auc", "macro_ap", "macro_f1", "accuracy", "dice")
#: Options of the bundle that the command sets itself.
OWN_OPTIONS = ("config_file", "model_path", "resume", "pause_at", "replace")
#: Those that name another data set to test on.
OTHER_TEST = ("test_dataset_dir", "test_datalist", "class_map")
WHY = "only that is tested. Give a fine-tuning bundle, and the pretraining's weights as --pretrained."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``folds``; every other ``--OPTION VALUE`` goes to all trainings of the bundle."""
    bundle = parser.add_mutually_exclusive_group(required=True)
    bundle.add_argument("--bundle", metavar="NAME", help="fine-tuning bundle, by name or folder")
    bundle.add_argument("--config", "--config_file", dest="config_file", metavar="FILE", help="its train.json instead")
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="of the patients outside of test (default 5)")
    parser.add_argument("--output_dir", required=True, metavar="OUT", help="a run that was stopped goes on there")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=[], metavar="METRIC",
                        help=f"{', '.join(METRICS)} (default: macro_auc, dice, of what it learns)")  # fmt: skip
    parser.epilog = "Every other --OPTION VALUE is one of the bundle, such as --dataset_dir DIR, for all trainings."


def run(args: argparse.Namespace) -> int:
    """Run what is left; write and print the figures."""
    import logging

    from monai_cxrssl.apps.cli.comparisons.fine_tuning_bundle import OF_DATA, FineTuningBundle
    from monai_cxrssl.ensembles.study import FoldStudy
    from monai_cxrssl.label_efficiency.grid import grid_lock
    from monai_cxrssl.runs.words_as_written import words_without

    logging.getLogger("monai_cxrssl").setLevel(logging.INFO)
    bundle = FineTuningBundle.open(args.bundle or args.config_file, args.overrides, OWN_OPTIONS, WHY)
    _refuse_other_test(bundle.given, bundle.name)
    out = Path(args.output_dir).expanduser().absolute()
    cache = None if bundle.given.get("cache_dir") else {"cache_dir": str(out / "cache")}
    words = words_without(args.overrides, (*OF_DATA, "recipe", "cache_dir", "seed"))
    study = FoldStudy(
        bundle.config_file.absolute(), _evaluation(bundle.config_file), bundle.name, bundle.options(out, cache),
        bundle.given, words, args.folds, list(dict.fromkeys(args.metrics)),
    )  # fmt: skip
    try:
        with grid_lock(out) as lock:
            report = study.run(out, lock)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on with what is left.")
        return 130
    return _report(report, out, bundle.config_file)


def _evaluation(config_file: Path) -> Path:
    """Return the config that evaluates what a training config trains."""
    from monai_cxrssl.errors import ConfigurationError

    folder = config_file.absolute().parent
    path = (folder if folder.name == "configs" else folder / "configs") / "evaluate.json"
    if not path.is_file():
        raise ConfigurationError(f"There is no {path}, by which the ensemble would be evaluated; add it to the bundle.")
    return path


def _refuse_other_test(given: Mapping[str, Any], bundle: str) -> None:
    from monai_cxrssl.errors import ConfigurationError

    for name in OTHER_TEST:
        if name in given:
            raise ConfigurationError(
                f"--{name} is for one model: members and ensemble are measured on the test split. For other data, "
                f"evaluate the ensemble afterwards: python -m monai_cxrssl evaluate {bundle} --model_path OUT/model.pt."
            )


def _report(report: Mapping[str, Any], out: Path, config_file: Path) -> int:
    """Write what came out, and print tables and what failed; return the exit status."""
    from monai_cxrssl.ensembles.table import folds_table
    from monai_cxrssl.files import write_json

    write_json(report, out / "folds.json")
    (out / "folds.md").write_text(folds_table(report, markdown=True) + "\n", encoding="utf-8")
    print(f"{folds_table(report)}\nWritten: {out / 'folds.json'} and .md")
    failed = [row for row in report["folds"] if row["status"] != "finished"]
    for row in failed:
        print(f"failed: {row['member']}: {row['problem']}\n        {out / row['folder'] / 'output.txt'}")
    ensemble = report["ensemble"]
    if ensemble["status"] != "finished":
        print(f"There is no ensemble: {ensemble['problem']}. The same command goes on with what is left.")
        return 1
    folder = config_file.absolute().parent
    bundle = folder.parent if folder.name == "configs" else folder
    print(f"Ensemble: {out / 'model.pt'}, its report {out / ensemble['report']}")
    print(f"Pack it:  python -m monai_cxrssl pack {bundle} --model_path {out / 'model.pt'} --report "
          f"{out / 'evaluation' / 'report'} --name NAME --out DIR")  # fmt: skip
    return 0
