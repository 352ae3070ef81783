# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Search options of a fine-tuning on its validation split."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.data.datalists.datalist import Datalist
    from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
    from monai_cxrssl.tuning.trial_run import TrialRuns

__all__ = ["TAKES_OVERRIDES", "add_arguments", "run"]

TAKES_OVERRIDES = True

#: Options of the bundle that the search sets itself.
OWN_OPTIONS = ("config_file", "model_path", "resume", "pause_at")
#: Why a pretraining has no search.
WHY = (
    "only that has a validation split with a metric to choose by. Judge options of a pretraining by what its encoders "
    "are worth, with the command fractions."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``tune``; every other ``--OPTION VALUE`` goes to all runs of the bundle."""
    parser.add_argument("bundle", metavar="BUNDLE", help="name or folder of a fine-tuning bundle, or its train.json")
    parser.add_argument(
        "--tune", nargs="+", required=True, metavar="OPTION[=V,V,...]",
        help='options, with values or around the recipe\'s: --tune "learning_rate weight_decay=0,0.05"',
    )  # fmt: skip
    parser.add_argument("--output_dir", required=True, metavar="OUT", help="a search that was stopped goes on there")
    parser.add_argument("--reduction", type=int, default=3, metavar="N",
                        help="from rung to rung the best 1/N train N times longer; 1: all to the end")  # fmt: skip
    parser.add_argument("--max_trials", type=int, metavar="N", help="combinations, drawn at random; default: all")
    parser.epilog = "Every other --OPTION VALUE is one of the bundle, such as --dataset_dir DIR, for all trials."


def run(args: argparse.Namespace) -> int:
    """Search what is left; write and print the result."""
    import logging

    from monai_cxrssl.apps.cli.comparisons.fine_tuning_bundle import FineTuningBundle
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.label_efficiency.grid import grid_lock
    from monai_cxrssl.runs.fine_tuning import FineTuningWiring
    from monai_cxrssl.tuning.halving import plan_rungs
    from monai_cxrssl.tuning.space import combinations, search_space

    logging.getLogger("monai_cxrssl").setLevel(logging.INFO)
    bundle = FineTuningBundle.open(args.bundle, args.overrides, OWN_OPTIONS, WHY)
    config_file = bundle.config_file
    if args.max_trials is not None and args.max_trials < 1:
        raise ConfigurationError(f"--max_trials is {args.max_trials}; expected 1 or more.")
    out = Path(args.output_dir).expanduser().absolute()
    resolve = partial(bundle.options, out)
    options = resolve({})
    space = search_space(args.tune, resolve, options.names)
    usual = {name: getattr(options, name) for name in space}
    candidates = combinations(space, options, args.max_trials, options.seed)
    rungs = plan_rungs(len(candidates), args.reduction)
    with grid_lock(out) as lock:
        wiring = FineTuningWiring(options, config_file.parent.name)
        source = wiring.source()  # divided as for the training to come, whose test patients no trial may learn from
        wiring.labels(source)
        return _search(args, out, config_file, options, source, space, usual, candidates, rungs, lock)


def _search(
    args: argparse.Namespace, out: Path, config_file: Path, options: FineTuningOptions, source: Datalist,
    space: dict[str, list[Any]], usual: dict[str, Any], candidates: list[dict[str, Any]], rungs: list[Any], lock: int,
) -> int:  # fmt: skip
    """Run the trials, and report."""
    import hashlib
    from dataclasses import asdict, replace

    from tqdm import tqdm

    from monai_cxrssl.apps.cli.comparisons.fine_tuning_bundle import OF_DATA
    from monai_cxrssl.data.datalists.datalist import save_datalist
    from monai_cxrssl.data.datalists.split import manifest_hash
    from monai_cxrssl.networks.weights.header import tensors_sha256
    from monai_cxrssl.runs.words_as_written import words_without
    from monai_cxrssl.tuning.halving import successive_halving
    from monai_cxrssl.tuning.trial_run import TrialRuns

    # Whatever the trials do, they know of no test image.
    searched = replace(source, splits={**source.splits, "test": ()}, extra={**source.extra, "untested": True})
    save_datalist(searched, out / "datalist.json")
    words = ["--config_file", str(config_file), "--datalist", str(out / "datalist.json"), "--recipe", options.recipe]
    left = words_without(args.overrides, (*OF_DATA, "recipe", "cache_dir", *space))
    words += ["--cache_dir", options.cache_dir or str(out / "cache"), *left]
    identity = {
        "config": hashlib.sha256(config_file.read_bytes()).hexdigest(), "data": manifest_hash(searched.to_dict(out)),
        "options": left, "recipe": options.recipe, "rungs": [asdict(rung) for rung in rungs],
        "weights": {
            name: tensors_sha256(Path(path))
            for name in ("pretrained", "teacher")
            if (path := getattr(options, name)) is not None
        },
    }  # fmt: skip
    plan = ", ".join(f"{rung.trials} to {100 * rung.share:.0f} %" for rung in rungs)
    print(f"{len(candidates)} combinations train on {searched.name}: {plan} of the training.")
    trials = TrialRuns(out / "trials", words, lock, tqdm.write)
    try:
        rows = successive_halving(out / "study.journal", candidates, rungs, trials, identity)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on with what is left.")
        return 130
    return _report(args, out, config_file, options, searched, space, usual, candidates, rungs, rows, trials)


def _report(
    args: argparse.Namespace, out: Path, config_file: Path, options: FineTuningOptions, source: Datalist,
    space: dict[str, list[Any]], usual: dict[str, Any], candidates: list[dict[str, Any]], rungs: list[Any],
    rows: list[dict[str, Any]], trials: TrialRuns,
) -> int:  # fmt: skip
    """Write what came out, and print table and conclusion."""
    from dataclasses import asdict

    from monai_cxrssl.files import write_json
    from monai_cxrssl.tuning.report import tuning_report, write_tuning

    settings = {
        "config_file": str(config_file), "tune": args.tune, "reduction": args.reduction, "seed": options.seed,
        "max_trials": args.max_trials, "bundle_options": args.overrides,
    }  # fmt: skip
    described = [trials.described(number, candidates[number], row) for number, row in enumerate(rows)]
    rungs = [asdict(rung) for rung in rungs]
    report = tuning_report(settings, source, options.best_metric, space, usual, rungs, described)
    print(f"{write_tuning(report, out)}\nWritten: {out / 'tuning.json'}, .txt and .png")
    if report["best"] is None:
        return 1
    write_json(report["best"], out / "best.json")
    files = f"['{config_file}','{out / 'best.json'}']"
    print(f'Train with these options, and test once:  python -m monai_cxrssl run --config_file "{files}" ...')
    return 0
