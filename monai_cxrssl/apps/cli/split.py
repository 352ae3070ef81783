# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Divide a datalist by patient into splits, folds or label fractions."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.data.datalists.datalist import Datalist

__all__ = ["add_arguments", "run"]

FRACTIONS = (0.7, 0.1, 0.2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``split``."""
    parser.add_argument("datalist", metavar="D.json", help="its image files need not exist")
    parser.add_argument(
        "--out",
        required=True,
        metavar="S.json",
        help="with --folds: S_fold0.json, S_fold1.json ...; with --draws: S_draw0.json ...",
    )
    shares = {"nargs": 3, "type": float, "metavar": ("TRAIN", "VAL", "TEST")}
    parser.add_argument("--fractions", help="default: 0.7 0.1 0.2", **shares)  # type: ignore[arg-type]
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--folds", type=int, metavar="K", help="K folds instead of fractions")
    kinds.add_argument(
        "--label_fraction",
        type=float,
        metavar="F",
        help="D.json is split already: keep this share of its training patients (0.01 lies inside 0.1) and all of "
        "validation and test",
    )
    parser.add_argument("--draws", type=int, metavar="N", help="with --label_fraction: N samples, a file each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ignore_official", action="store_true", help="divide official validation and test sets too")
    parser.add_argument("--previous", metavar="FILE", help="an earlier split, whose patients stay where they were")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the split and print its counts."""
    from monai_cxrssl.data.datalists.counts import counts_table
    from monai_cxrssl.data.datalists.split import save_split

    _check(args)
    told = []
    for part, recipe, path in _parts(args):
        digest = save_split(part, path, recipe)
        summary = part.summary()
        told.append({"file": str(path), "sha256": digest, **summary})
        if not args.json:
            print(f"{path}  sha256 {digest}\n{counts_table(summary)}")
    if args.json:
        print(json.dumps(told, indent=1))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do nothing together, before anything is read."""
    from monai_cxrssl.errors import ConfigurationError

    kind = "--folds" if args.folds is not None else "--label_fraction" if args.label_fraction is not None else None
    given = {"--fractions": args.fractions, "--previous": args.previous}
    if kind == "--label_fraction":
        given["--ignore_official"] = args.ignore_official
    idle = [name for name, value in given.items() if value]
    if kind and idle:
        raise ConfigurationError(f"{idle[0]} does nothing with {kind}; give one of the two.")
    if args.draws is not None and kind != "--label_fraction":
        raise ConfigurationError("--draws is for --label_fraction; give that too, or leave --draws out.")
    if args.draws is not None and args.draws < 1:
        raise ConfigurationError(f"--draws is {args.draws}; expected 1 or more.")


def _parts(args: argparse.Namespace) -> list[tuple[Datalist, dict[str, Any], Path]]:
    """What to write: the datalist, how it was made, and the file."""
    from monai_cxrssl.data.datalists.datalist import load_datalist
    from monai_cxrssl.data.datalists.split import fold_datalists, label_fraction, split_datalist

    # A split is made of ids and labels: it is the same where the images are not, such as on a login node.
    datalist = load_datalist(args.datalist, check_files=False)
    keep, out, seed = not args.ignore_official, Path(args.out).expanduser(), {"seed": args.seed}
    if args.folds is not None:
        folds = enumerate(fold_datalists(datalist, args.folds, args.seed, keep))
        recipe = {**seed, "folds": args.folds, "keep_official": keep}
        return [(part, {**recipe, "fold": n}, out.with_name(f"{out.stem}_fold{n}{out.suffix}")) for n, part in folds]
    if args.label_fraction is not None:
        of = (datalist.extra.get("manifest") or {}).get("sha256")
        recipe = {**seed, "label_fraction": args.label_fraction, **({"of": of} if of else {})}
        paths = (
            [out]
            if args.draws is None
            else [out.with_name(f"{out.stem}_draw{n}{out.suffix}") for n in range(args.draws)]
        )
        parts = [label_fraction(datalist, args.label_fraction, n, args.seed) for n in range(len(paths))]
        return [(part, {**recipe, "draw": n}, path) for n, (part, path) in enumerate(zip(parts, paths, strict=True))]
    fractions = args.fractions or FRACTIONS
    previous = load_datalist(args.previous, check_files=False) if args.previous else None
    part = split_datalist(datalist, fractions, args.seed, keep, previous)
    return [(part, {**seed, "fractions": list(fractions), "keep_official": keep}, out)]
