# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tune from several initialisations on fractions of the labels and compare."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["DRIFTS", "HOWS", "METRICS", "add_arguments", "bundle_options", "bundle_words", "print_failed", "run"]

METRICS = ("macro_auc", "macro_ap", "macro_f1", "accuracy", "dice", "lung_attention")
DRIFTS = ("contrast", "noise", "blur")
HOWS = {"finetune": ("finetune",), "probe": ("probe",), "both": ("probe", "finetune")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``fractions``."""
    bundles = parser.add_mutually_exclusive_group(required=True)
    bundles.add_argument("--bundle", nargs="+", metavar="NAME", help="fine-tuning bundles, such as classification")
    bundles.add_argument("--config_file", nargs="+", metavar="FILE", help="train.json of fine-tuning bundles instead")
    parser.add_argument("--dataset_dir", nargs="+", metavar="DIR", help="folder of a data set; several are mixed")
    parser.add_argument(
        "--datalist", metavar="FILE", help="datalist instead; its paths start from --dataset_dir, if given"
    )
    parser.add_argument("--test_dataset_dir", nargs="+", metavar="DIR",
                        help="test on all images of another data set, its labels on the same classes")  # fmt: skip
    parser.add_argument("--test_datalist", metavar="FILE", help="or of a datalist")
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.01, 0.1, 1.0], metavar="F",
                        help="of the training patients, in (0, 1]; the smaller lies inside the larger")  # fmt: skip
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=["macro_auc"], metavar="METRIC",
                        help=f"{', '.join(METRICS)} (default: macro_auc)")  # fmt: skip
    _add_rows(parser)
    parser.add_argument("--reference", metavar="ROW", help="the row that all are compared with (default: the first "
                        "initialisation's)")  # fmt: skip
    parser.add_argument("--draws", type=int, default=5, metavar="N", help="samples of patients, each with its own seed")
    parser.add_argument("--output_dir", required=True, metavar="OUT", help="a run that was stopped goes on there")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the division, the samples and the first draw's training"
    )
    parser.add_argument("bundle_options", nargs="*", metavar="-- --OPTION VALUE",
                        help="what stands after -- goes to every run of the bundle")  # fmt: skip


def _add_rows(parser: argparse.ArgumentParser) -> None:
    """Declare what makes rows beside bundles and initialisations named as words."""
    parser.add_argument("--init", nargs="+", default=["random"], metavar="[NAME=]WEIGHTS",
                        help="random, imagenet, or weights: a file, timm:NAME, hf://ORG/REPO/FILE; NAME=A,B: several "
                        "pretrainings, one per draw in turn")  # fmt: skip
    parser.add_argument("--encoder_name", nargs="+", default=[], metavar="ENCODER", help="backbones, each with every "
                        "initialisation that fits it (default: the recipe's)")  # fmt: skip
    parser.add_argument("--how", choices=tuple(HOWS), default="finetune",
                        help="train the network, fit a logistic regression on the frozen encoder, or both")  # fmt: skip
    parser.add_argument("--drift", nargs="+", choices=DRIFTS, default=[], metavar="DRIFT",
                        help=f"also test under {', '.join(DRIFTS)}")  # fmt: skip
    parser.add_argument("--no_baselines", action="store_true",
                        help="leave out the rows of pixels and of random encoders that were not asked for")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run what is left of the grid; write and print the figures."""
    from monai_cxrssl.files import write_json
    from monai_cxrssl.label_efficiency.drift_table import drift_table
    from monai_cxrssl.label_efficiency.inits import read_inits
    from monai_cxrssl.label_efficiency.plot import plot_label_efficiency
    from monai_cxrssl.label_efficiency.study import Study
    from monai_cxrssl.label_efficiency.table import efficiency_table

    words = [*_other_data(args), *bundle_words(args.bundle_options)]
    study = Study.open(
        _bundles(args), read_inits(args.init), args.dataset_dir, args.datalist, bundle_options(words), words,
        encoders=args.encoder_name, hows=HOWS[args.how], fractions=args.fractions, draws=args.draws, seed=args.seed,
        metrics=list(dict.fromkeys(args.metrics)), drifts=list(dict.fromkeys(args.drift)), reference=args.reference,
        baselines=not args.no_baselines,
    )  # fmt: skip
    out = Path(args.output_dir).expanduser().absolute()
    try:
        content = study.run(out)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on with the cells that are left.")
        return 130
    content["settings"] |= {"dataset_dir": args.dataset_dir, "datalist": args.datalist}
    write_json(content, out / "fractions.json")
    plot_label_efficiency(content, out / "fractions.png")
    texts = [[efficiency_table(content, markdown), drift_table(content, markdown)] for markdown in (True, False)]
    written, shown = ("\n\n".join(filter(None, parts)) for parts in texts)
    (out / "fractions.md").write_text(written + "\n", encoding="utf-8")
    print(shown)
    print(f"Written: {out / 'fractions.json'}, .md and .png")
    return print_failed(content, out)


def print_failed(content: Mapping[str, Any], out: Path) -> int:
    """Print why cells have no result; return the exit status."""
    failed = [cell for cell in content["cells"] if cell["status"] != "finished"]
    for cell in failed:
        print(f"failed: {cell['row']}, fraction {cell['fraction']:g}, draw {cell['draw']}: {cell['problem']}")
        print(f"        {out / cell['folder'] / 'output.txt'}")
    return int(bool(failed))


def _bundles(args: argparse.Namespace) -> dict[str, Path]:
    """Return ``train.json`` of each bundle by its name."""
    from monai_cxrssl.apps.cli.bundles.command import find_config
    from monai_cxrssl.errors import ConfigurationError

    if args.bundle:
        found = [(Path(name).resolve().name, find_config(name, "train")) for name in args.bundle]
    else:
        for file in args.config_file:
            if not Path(file).is_file():
                raise ConfigurationError(f"--config_file {file} does not exist; give the train.json of a bundle.")
        found = [(_bundle_name(Path(file)), Path(file)) for file in args.config_file]
    bundles = dict(found)
    if len(bundles) < len(found):
        raise ConfigurationError(f"Two of the bundles are called {found[-1][0]}; give each once.")
    return bundles


def _bundle_name(config: Path) -> str:
    folder = config.resolve().parent
    return (folder.parent if folder.name == "configs" else folder).name


def _other_data(args: argparse.Namespace) -> list[str]:
    """Return the options of a run that test on another data set."""
    words = []
    if args.test_dataset_dir is not None:
        folders = [str(Path(path).expanduser().absolute()) for path in args.test_dataset_dir]
        words += ["--test_dataset_dir", folders[0] if len(folders) == 1 else repr(folders)]
    if args.test_datalist is not None:
        words += ["--test_datalist", str(Path(args.test_datalist).expanduser().absolute())]
    return words


def bundle_words(words: Sequence[str]) -> list[str]:
    """Return what stands after ``--``; a ConfigurationError where it begins with no option."""
    from monai_cxrssl.errors import ConfigurationError

    if words and not words[0].startswith("--"):
        raise ConfigurationError(
            f"{words[0]!r} is no option; those of the bundle stand after --, as -- --max_epochs 10."
        )
    return list(words)


def bundle_options(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a bundle's options by name; text is as it was typed."""
    from monai_cxrssl.apps.cli.bundles.config_run import read_overrides
    from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
    from monai_cxrssl.runs.words_as_written import command_words, words_as_written

    with command_words(words):
        return words_as_written(read_overrides(words), FineTuningOptions.literal)
