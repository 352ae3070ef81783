# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tune from several initialisations on fractions of the labels and compare."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.data.datalists.datalist import Datalist
    from monai_cxrssl.label_efficiency.grid import Cell, CellResult

__all__ = ["add_arguments", "run"]

#: Of the patients, for the splits that a data set comes without.
SHARES = (0.7, 0.1, 0.2)
#: Options of the bundle that the grid sets itself.
OWN_OPTIONS = (
    "config_file", "dataset_dir", "datalist", "output_dir", "model_path", "seed", "cache_dir", "pretrained",
)  # fmt: skip
#: Names of files and folders that say nothing of where weights come from.
_PLAIN_NAMES = frozenset(
    ("model", "models", "encoder", "weights", "checkpoint", "checkpoints", "best", "final", "runs")
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``fractions``."""
    parser.add_argument("--config_file", required=True, metavar="FILE", help="train.json of a fine-tuning bundle")
    parser.add_argument("--dataset_dir", nargs="+", metavar="DIR", help="folder of a data set; several are mixed")
    parser.add_argument(
        "--datalist", metavar="FILE", help="datalist instead; its paths start from --dataset_dir, if given"
    )
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.01, 0.1, 1.0], metavar="F",
                        help="of the training patients, in (0, 1]; the smaller lies inside the larger")  # fmt: skip
    parser.add_argument("--init", nargs="+", default=["random"], metavar="PATH",
                        help="weights to start from, or random; all are compared with the first")  # fmt: skip
    parser.add_argument("--draws", type=int, default=5, metavar="N", help="samples of patients, each with its own seed")
    parser.add_argument("--output_dir", required=True, metavar="OUT", help="a run that was stopped goes on there")
    parser.add_argument("--metric", choices=("macro_auc", "dice"), default="macro_auc")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the division, the samples and the first draw's training"
    )
    parser.add_argument("bundle_options", nargs="*", metavar="-- --OPTION VALUE",
                        help="what stands after -- goes to every run of the bundle")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run what is left of the grid; write and print the figures."""
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.label_efficiency.grid import grid_lock, run_cells

    _check_options(args)
    inits = _named_inits(args.init)
    datalist = _divided(args)
    _check_fractions(args.fractions, datalist)
    out = Path(args.output_dir).expanduser().absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".lock").touch()
    except OSError as error:
        raise ConfigurationError(f"--output_dir {out} cannot be written: {error.strerror or error}.") from error
    with grid_lock(out) as lock:
        cells, subsets = _cells(args, inits, datalist, out)
        try:
            results = run_cells(cells, lock)
        except KeyboardInterrupt:
            print("Stopped. The same command goes on with the cells that are left.")
            return 130
        return _report(args, inits, cells, results, subsets, datalist, out)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse what cannot work, before anything is read."""
    from monai_cxrssl.errors import ConfigurationError

    if not Path(args.config_file).is_file():
        raise ConfigurationError(f"--config_file {args.config_file} does not exist; give the train.json of a bundle.")
    if args.draws < 1:
        raise ConfigurationError(f"--draws is {args.draws}; expected 1 or more.")
    wrong = [fraction for fraction in args.fractions if not 0 < fraction <= 1]
    if wrong:
        raise ConfigurationError(
            f"--fractions names {wrong[0]:g}; expected more than 0 and at most 1 (1 is all labels)."
        )
    names = [_text(fraction) for fraction in args.fractions]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigurationError(f"--fractions names {twice[0]} twice; give each fraction once.")
    if args.dataset_dir is None and args.datalist is None:
        raise ConfigurationError("Neither --dataset_dir nor --datalist is given; say which labelled data set to use.")
    options = args.bundle_options
    if options and not options[0].startswith("--"):
        raise ConfigurationError(
            f"{options[0]!r} is no option; those of the bundle stand after --, as -- --max_epochs 10."
        )
    for option in options:
        name = option.removeprefix("--").split("=")[0]
        if option.startswith("--") and name in OWN_OPTIONS:
            raise ConfigurationError(f"--{name} after -- is set by this command for every run; leave it out there.")
    from monai_cxrssl.apps.cli.bundles.config_run import read_overrides
    from monai_cxrssl.runs.unknown_options import check_options

    check_options(args.config_file, read_overrides(options))


def _named_inits(inits: Sequence[str]) -> dict[str, Path | None]:
    """Short names, fit for folders, of the initialisations; ``None`` for random."""
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.networks.description import find_description, undescribed

    named: dict[str, Path | None] = {}
    for init in inits:
        path = None if init == "random" else Path(init).expanduser().absolute()
        if path in named.values():
            raise ConfigurationError(f"--init names {init} twice; give each initialisation once.")
        if path is not None and not path.exists():
            raise ConfigurationError(f"--init {init}: there is no such file of weights; give its path, or random.")
        if path is not None and find_description(path) is None and _has_label_head(path):
            # Its rows would start as those of classes that nobody has named.
            raise undescribed(path)
        named[next(name for name in _names(path) if name not in named)] = path
    return named


def _has_label_head(path: Path) -> bool:
    from monai_cxrssl.networks.weights.header import read_header

    return any("classification_head." in name for name in read_header(path)[0])


def _names(path: Path | None):
    """Candidates for the name of weights, the shortest first: folders are added in front until it is unique."""
    if path is None:
        yield "random"
        return
    parts = [re.sub(r"[^\w.-]+", "_", part) for part in (*path.parent.parts[1:], path.stem)]
    telling = [part for part in parts if part.lower() not in _PLAIN_NAMES] or parts
    for count in range(1, len(telling) + 1):
        name = "_".join(telling[-count:]).lstrip(".") or "weights"
        if name != "random":
            yield name
    number = 2
    while True:
        yield f"{telling[-1]}_{number}"
        number += 1


def _divided(args: argparse.Namespace) -> Datalist:
    """The data set in three splits, with the images that count for the metric."""
    from dataclasses import replace

    from monai_cxrssl.apps.cli.bundles.config_run import read_overrides
    from monai_cxrssl.data.audit.leak import refuse_shared_patients
    from monai_cxrssl.data.datalists.datalist import SPLITS, is_known
    from monai_cxrssl.data.datalists.findings import parse_findings, select_findings
    from monai_cxrssl.data.datalists.label_maps import load_label_map
    from monai_cxrssl.data.datalists.split import split_datalist
    from monai_cxrssl.data.sources.registry import index_folder
    from monai_cxrssl.data.stores.decoded_masks import MASK_FIELDS
    from monai_cxrssl.errors import DatalistError

    options = read_overrides(args.bundle_options)
    opened = index_folder(args.dataset_dir, args.datalist, load_label_map(options.get("collapse")))
    if options.get("findings"):
        opened = select_findings(opened, parse_findings(options["findings"]))
    auc = args.metric == "macro_auc"

    def counts(item: dict[str, Any]) -> bool:
        return is_known(item.get("label")) if auc else any(item.get(field) for field in MASK_FIELDS.values())

    splits = {split: [item for item in opened.splits[split] if counts(item)] for split in SPLITS}
    left_out = sum(len(opened.splits[split]) - len(splits[split]) for split in SPLITS)
    kind = "label" if auc else "mask"
    if not any(splits.values()) or (auc and not opened.classes):
        raise DatalistError(
            f"No image of {opened.name} has a known {kind}, which {args.metric} needs; choose other data."
        )
    if left_out:
        print(f"{left_out} images without a known {kind} are left out.")
    datalist = replace(opened, splits=splits)
    if not (splits["validation"] and splits["test"]):
        datalist = split_datalist(datalist, SHARES, args.seed)
    refuse_shared_patients(datalist)
    for split in SPLITS:
        if not datalist.splits[split]:
            raise DatalistError(
                f"{datalist.name} has too few patients with a {kind}: its {split} split is empty; bring more, or "
                "divide it with the split command and give the result as --datalist."
            )
    return datalist


def _check_fractions(fractions: Sequence[float], datalist: Datalist) -> None:
    from monai_cxrssl.errors import ConfigurationError

    patients = len({item["patient_id"] for item in datalist.splits["training"]})
    # label_fraction would keep one patient all the same, and two fractions would then be one.
    empty = [fraction for fraction in fractions if round(fraction * patients) < 1]
    if empty:
        raise ConfigurationError(
            f"The fraction {empty[0]:g} of {patients} training patients holds no patient; expected "
            f"{1 / patients:.2g} or more."
        )


def _cells(
    args: argparse.Namespace, inits: dict[str, Path | None], datalist: Datalist, out: Path
) -> tuple[list[Cell], dict[tuple[float, int], dict[str, Any]]]:
    """Write the datalists; lay out the grid, draw by draw, so that what is there early can be compared already."""
    from monai_cxrssl.data.datalists.split import label_fraction
    from monai_cxrssl.label_efficiency import grid as fraction_grid
    from monai_cxrssl.networks.weights.header import tensors_sha256

    whole = _save(
        datalist, out / "datalist.json", {"seed": args.seed, "fractions": list(SHARES), "keep_official": True}
    )
    config = Path(args.config_file).read_text(encoding="utf-8")
    # Of the tensors, for that is all that training reads of the weights it starts from.
    weights = {name: None if path is None else tensors_sha256(path) for name, path in inits.items()}
    subsets: dict[tuple[float, int], dict[str, Any]] = {}
    cells = []
    for draw in range(args.draws):
        for fraction in args.fractions:
            subset = label_fraction(datalist, fraction, draw, args.seed)
            path = out / "subsets" / f"{_text(fraction)}_draw{draw}.json"
            recipe = {"seed": args.seed, "label_fraction": fraction, "draw": draw, "of": whole}
            training = subset.splits["training"]
            patients = len({item["patient_id"] for item in training})
            digest = _save(subset, path, recipe)
            subsets[fraction, draw] = {"sha256": digest, "patients": patients, "images": len(training)}
            for name, file in inits.items():
                folder = out / "cells" / name / f"{_text(fraction)}_draw{draw}"
                seed = args.seed + draw
                words = {
                    "config_file": args.config_file, "datalist": path, "output_dir": folder,
                    "model_path": folder / "model.pt", "seed": seed, "cache_dir": out / "cache",
                    **({} if file is None else {"pretrained": file}),
                }  # fmt: skip
                command = [*fraction_grid.LAUNCH, *(w for k, v in words.items() for w in (f"--{k}", str(v)))]
                decides = [config, args.bundle_options, seed, digest, weights[name]]
                key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
                command += args.bundle_options
                cells.append(fraction_grid.Cell(name, fraction, draw, len(training), folder, tuple(command), key))
    return cells, subsets


def _save(datalist: Datalist, path: Path, recipe: dict[str, Any]) -> str:
    """Write a datalist unless the very same is there; returns its hash."""
    from monai_cxrssl.data.datalists.split import manifest_hash, save_split

    digest = manifest_hash(datalist.to_dict(path.parent))
    try:
        if manifest_hash(json.loads(path.read_bytes())) == digest:
            return digest
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # not there, or not whole
    return save_split(datalist, path, recipe)


def _report(
    args: argparse.Namespace,
    inits: dict[str, Path | None],
    cells: Sequence[Cell],
    results: Sequence[CellResult],
    subsets: dict[tuple[float, int], dict[str, Any]],
    datalist: Datalist,
    out: Path,
) -> int:
    """Write ``fractions.json``, ``.md`` and ``.png``, and print the table."""
    import platform
    import sys
    from importlib.metadata import version

    from monai_cxrssl.data.datalists.predictions import load_predictions
    from monai_cxrssl.errors import CXRSSLError
    from monai_cxrssl.files import write_json
    from monai_cxrssl.label_efficiency.analysis import label_efficiency
    from monai_cxrssl.label_efficiency.plot import plot_label_efficiency
    from monai_cxrssl.label_efficiency.table import efficiency_table

    rows: list[dict[str, Any]] = []
    predictions = {}
    for cell, result in zip(cells, results, strict=True):
        status, problem = result.status, result.problem
        if status == "finished":
            try:
                predictions[cell.init, cell.fraction, cell.draw] = load_predictions(cell.predictions)
            except CXRSSLError as error:
                status, problem = "failed", str(error)
        rows.append(
            {
                "init": cell.init, "fraction": cell.fraction, "draw": cell.draw, "status": status, "problem": problem,
                "seconds": None if result.seconds != result.seconds else round(result.seconds, 3),
                "folder": str(cell.folder.relative_to(out)), "command": list(cell.command), "key": cell.key,
            }
        )  # fmt: skip
    report = label_efficiency(predictions, list(inits), args.fractions, args.draws, args.metric)
    refused = report.pop("refused")
    for row in rows:
        told = refused.get((row["init"], row["fraction"], row["draw"]))
        if told:
            row |= {"status": "failed", "problem": told}
    packages = ("monai-cxrssl", "monai", "torch", "numpy", "scipy", "pytorch-ignite", "segmentation-models-pytorch")
    content = {
        "settings": {
            "config_file": args.config_file, "datalist": args.datalist, "dataset_dir": args.dataset_dir,
            "inits": {name: None if path is None else str(path) for name, path in inits.items()},
            "fractions": args.fractions, "draws": args.draws, "seed": args.seed, "bundle_options": args.bundle_options,
        },
        "environment": {
            **{name: version(name) for name in packages}, "python": platform.python_version(),
            "platform": platform.platform(), "command": sys.orig_argv,
        },
        "data": datalist.summary(),
        "subsets": [{"fraction": f, "draw": d, **counts} for (f, d), counts in subsets.items()],
        "cells": rows,
        **report,
    }  # fmt: skip
    write_json(content, out / "fractions.json")
    plot_label_efficiency(content, out / "fractions.png")
    (out / "fractions.md").write_text(efficiency_table(content, markdown=True) + "\n", encoding="utf-8")
    print(efficiency_table(content))
    print(f"Written: {out / 'fractions.json'}, .md and .png")
    failed = [row for row in rows if row["status"] != "finished"]
    for row in failed:
        print(f"failed: {row['init']}, fraction {row['fraction']:g}, draw {row['draw']}: {row['problem']}")
        print(f"        {out / row['folder'] / 'output.txt'}")
    return int(bool(failed))


def _text(fraction: float) -> str:
    return f"{fraction:.12g}"
