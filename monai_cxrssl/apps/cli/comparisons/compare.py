# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare orders of pretext tasks by AUC and attention on the lungs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.curricula.study import Study
    from monai_cxrssl.data.datalists.datalist import Datalist
    from monai_cxrssl.runs.pretraining_options import PretrainingOptions

__all__ = ["add_arguments", "run"]

#: Of the patients, for the splits that a data set comes without.
SHARES = (0.7, 0.1, 0.2)
#: Options of the bundles that this command sets itself.
_OWN = frozenset({"config_file", "output_dir", "model_path", "seed", "cache_dir", "resume"})
_OWN_PRETRAINING = _OWN | {"tasks", "order"}
_OWN_FINE_TUNING = _OWN | {"dataset_dir", "datalist", "pretrained", "encoder_weights", "linear_probe"}
_OTHER_DATA = frozenset({"dataset_dir", "datalist"})
#: What decides of which form an encoder is: the same for every start.
_FORM = ("encoder_name", "encoder_arguments", "image_size")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``compare``."""
    parser.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help="pretext tasks, as rotation jigsaw")
    parser.add_argument("--orders", nargs="+", default=["all", "single"], metavar="ORDER",
                        help="all: every order of the tasks; single: each alone; difficulty, greedy: one that is "
                        "found; or 'a>b>c'; default all single")  # fmt: skip
    parser.add_argument("--dataset_dir", nargs="+", metavar="DIR", help="labelled data set; several are mixed")
    parser.add_argument("--datalist", metavar="FILE", help="datalist instead; its paths start from --dataset_dir")
    parser.add_argument("--init", nargs="+", default=[], metavar="START",
                        help="further starts, beside random weights: imagenet, or files of weights")  # fmt: skip
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.1, 1.0], metavar="F",
                        help="of the labelled training patients, in (0, 1]")  # fmt: skip
    parser.add_argument("--draws", type=int, default=1, metavar="N", help="samples of patients, each with its own seed")
    parser.add_argument("--probe", action="store_true", help="the encoder stays frozen, a linear head learns")
    parser.add_argument("--output_dir", required=True, metavar="OUT", help="a run that was stopped goes on there")
    parser.add_argument("--curriculum", default="curricular", metavar="BUNDLE", help="that pretrains")
    parser.add_argument("--bundle", default="classification", metavar="BUNDLE", help="that is fine-tuned")
    parser.add_argument("--pretraining", nargs="+", default=[], metavar="OPTION=VALUE",
                        help="options of every pretraining; dataset_dir or datalist for other images than the "
                        "training split's")  # fmt: skip
    parser.add_argument("--fine_tuning", nargs="+", default=[], metavar="OPTION=VALUE", help="of every fine-tuning")
    parser.add_argument("--max_checked", type=int, default=500, metavar="N", help="images that attention is seen on")
    parser.add_argument("--seed", type=int, default=0, help="of the division, the pretrainings and the first draw")


def run(args: argparse.Namespace) -> int:
    """Run what is left; write and print the comparison."""
    from monai_cxrssl.apps.cli.bundles.command import find_config
    from monai_cxrssl.curricula.orders import expand_orders
    from monai_cxrssl.curricula.write import write_comparison
    from monai_cxrssl.label_efficiency.grid import grid_lock
    from monai_cxrssl.runs.curriculum_stages import CurriculumWiring

    _check_numbers(args)
    options = _pretraining_options(args, find_config(args.curriculum, "train"))
    tuning = _tuning_words(args, options, find_config(args.bundle, "train"))
    orders = expand_orders(args.tasks, args.orders, CurriculumWiring(options, args.curriculum).task_names)
    datalist = _divided(args)
    out = Path(args.output_dir).expanduser().absolute()
    with grid_lock(out) as lock:
        study = _study(args, options, tuning, datalist, out)
        try:
            report = study.run(orders, args.init, lock)
        except KeyboardInterrupt:
            print("Stopped. The same command goes on with what is left.")
            return 130
    settings = {name: value for name, value in vars(args).items() if name not in ("overrides", "open_ended")}
    print(write_comparison({"settings": settings, **report}, out))
    return int(bool(report["failed"]))


def _check_numbers(args: argparse.Namespace) -> None:
    """Refuse what cannot work, before anything is read."""
    from monai_cxrssl.errors import ConfigurationError

    if args.draws < 1 or args.max_checked < 1 or args.seed < 0:
        raise ConfigurationError(
            f"--draws is {args.draws}, --max_checked {args.max_checked} and --seed {args.seed}; expected 1, 1 and 0 or "
            "more."
        )
    if len(set(args.fractions)) < len(args.fractions) or not all(0 < fraction <= 1 for fraction in args.fractions):
        told = ", ".join(f"{fraction:g}" for fraction in args.fractions)
        raise ConfigurationError(f"--fractions is {told}; expected different ones, more than 0 and at most 1.")
    if args.dataset_dir is None and args.datalist is None:
        raise ConfigurationError("Neither --dataset_dir nor --datalist is given; say which labelled data set to use.")
    for start in args.init:
        if args.init.count(start) > 1:
            raise ConfigurationError(f"--init names {start} twice; give each start once.")
        if start != "imagenet" and not Path(start).expanduser().is_file():
            raise ConfigurationError(f"--init {start}: there is no such file of weights; give its path, or imagenet.")


def _pretraining_options(args: argparse.Namespace, config: Path) -> PretrainingOptions:
    from monai_cxrssl.runs.options import load_recipes
    from monai_cxrssl.runs.pretraining_options import PretrainingOptions
    from monai_cxrssl.runs.unknown_options import check_options

    given = _given("--pretraining", args.pretraining, PretrainingOptions.literal, _OWN_PRETRAINING)
    where = {} if _OTHER_DATA & given.keys() else {"datalist": "datalist.json"}
    check_options(config, {**where, **given, "tasks": args.tasks})
    fixed = {"output_dir": "", "model_path": "", "seed": args.seed}
    return PretrainingOptions.resolved({**fixed, **where, **given}, load_recipes(config.with_name("recipes.json")))


def _tuning_words(args: argparse.Namespace, options: PretrainingOptions, config: Path) -> tuple[str, ...]:
    """Words of every fine-tuning: the encoder's form as it was pretrained, unless something else is said."""
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
    from monai_cxrssl.runs.options import load_recipes
    from monai_cxrssl.runs.unknown_options import check_options

    given = _given("--fine_tuning", args.fine_tuning, FineTuningOptions.literal, _OWN_FINE_TUNING)
    form = {name: getattr(options, name) for name in _FORM if name not in given}
    form = {name: value for name, value in form.items() if value is not None}
    check_options(config, {"datalist": "datalist.json", **form, **given})
    where = {"output_dir": "", "model_path": "", "datalist": "datalist.json"}
    if not FineTuningOptions.resolved(
        {**where, **form, **given}, load_recipes(config.with_name("recipes.json"))
    ).learns_labels:
        raise ConfigurationError(f"--bundle {args.bundle} learns no labels, and models are compared by their AUC.")
    probe = ("--linear_probe=True",) if args.probe else ()
    return (*(f"--{name}={value}" for name, value in form.items()), *_words(args.fine_tuning), *probe)


def _given(option: str, words: Sequence[str], literal: frozenset[str], own: frozenset[str]) -> dict[str, Any]:
    """Values by option; text is as it was typed."""
    from monai_cxrssl.apps.cli.bundles.config_run import read_value
    from monai_cxrssl.errors import ConfigurationError

    given = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            raise ConfigurationError(f"{option} takes OPTION=VALUE, as max_epochs=20, not {word!r}.")
        if name in own:
            raise ConfigurationError(f"{option} {name}=... is set by this command for every run; leave it out there.")
        given[name] = value if name in literal else read_value(value)
    return given


def _words(pairs: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"--{pair}" for pair in pairs)


def _divided(args: argparse.Namespace) -> Datalist:
    """The labelled data set in three splits, with labelled patients in each."""
    from monai_cxrssl.data.audit.leak import refuse_shared_patients
    from monai_cxrssl.data.datalists.datalist import SPLITS, is_known
    from monai_cxrssl.data.datalists.split import split_datalist
    from monai_cxrssl.data.sources.registry import index_folder
    from monai_cxrssl.errors import DatalistError

    datalist = index_folder(args.dataset_dir, args.datalist)
    if not datalist.classes:
        raise DatalistError(f"{datalist.name} has no classes, and models are compared by their AUC; bring labels.")
    if not (datalist.splits["validation"] and datalist.splits["test"]):
        datalist = split_datalist(datalist, SHARES, args.seed)
    refuse_shared_patients(datalist)
    for split in SPLITS:
        patients = {item["patient_id"] for item in datalist.splits[split] if is_known(item.get("label"))}
        share = min(args.fractions) if split == "training" else 1.0
        if round(share * len(patients)) < 1:
            raise DatalistError(
                f"The {split} split of {datalist.name} has {len(patients)} patients with a label, {share:g} of which "
                "is none; bring more, or give a larger fraction."
            )
    return datalist


def _study(
    args: argparse.Namespace, options: PretrainingOptions, tuning: tuple[str, ...], datalist: Datalist, out: Path
) -> Study:
    """Save the data; what is pretrained on is their training split, unless other images are named."""
    from monai_cxrssl.apps.cli.bundles.command import find_config
    from monai_cxrssl.curricula.scoring import Scoring
    from monai_cxrssl.curricula.study import Study
    from monai_cxrssl.data.datalists.split import manifest_hash, save_split
    from monai_cxrssl.data.sources.registry import index_folder

    digest = save_split(datalist, out / "datalist.json", {"seed": args.seed, "fractions": list(SHARES)})
    words = _words(args.pretraining)
    if _OTHER_DATA & {word.partition("=")[0] for word in args.pretraining}:
        digest = manifest_hash(index_folder(options.dataset_dir, options.datalist).to_dict(out))
    else:
        words = (f"--datalist={out / 'datalist.json'}", *words)
    train, evaluate = (find_config(args.bundle, name) for name in ("train", "evaluate"))
    scoring = Scoring(train, evaluate, tuning, out, datalist, args.seed, args.max_checked)
    curriculum = find_config(args.curriculum, "train")
    return Study(curriculum, options, words, digest, scoring, args.fractions, args.draws)
