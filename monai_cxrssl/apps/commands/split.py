# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Divide a datalist by patient into training, validation and test, or into folds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``split``."""
    parser.add_argument("datalist", metavar="D.json")
    parser.add_argument("--out", required=True, metavar="S.json", help="with --folds: S_fold0.json, S_fold1.json ...")
    shares = {"nargs": 3, "type": float, "metavar": ("TRAIN", "VAL", "TEST")}
    parser.add_argument("--fractions", default=(0.7, 0.1, 0.2), **shares)  # type: ignore[arg-type]
    parser.add_argument("--folds", type=int, metavar="K", help="K folds instead of fractions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ignore_official", action="store_true", help="divide official validation and test sets too")
    parser.add_argument("--previous", metavar="FILE", help="an earlier split, whose patients stay where they were")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the split and print its counts."""
    from monai_cxrssl.apps.commands.counts import counts_table
    from monai_cxrssl.data.datalist import load_datalist
    from monai_cxrssl.data.split import fold_datalists, save_split, split_datalist
    from monai_cxrssl.errors import ConfigurationError

    if args.folds is not None and args.previous:
        raise ConfigurationError("--previous works with fractions, not with --folds.")
    datalist, keep, out = load_datalist(args.datalist), not args.ignore_official, Path(args.out)
    if args.folds is None:
        previous = load_datalist(args.previous) if args.previous else None
        parts = [split_datalist(datalist, args.fractions, args.seed, keep, previous)]
        recipes = [{"seed": args.seed, "fractions": list(args.fractions), "keep_official": keep}]
        paths = [out]
    else:
        parts = fold_datalists(datalist, args.folds, args.seed, keep)
        recipes = [
            {"seed": args.seed, "folds": args.folds, "fold": n, "keep_official": keep} for n in range(len(parts))
        ]
        paths = [out.with_name(f"{out.stem}_fold{n}{out.suffix}") for n in range(len(parts))]
    told = []
    for part, recipe, path in zip(parts, recipes, paths, strict=True):
        digest = save_split(part, path, recipe)
        told.append({"file": str(path), "sha256": digest, **part.summary()})
        if not args.json:
            print(f"{path}  sha256 {digest}\n{counts_table(part.summary())}")
    if args.json:
        print(json.dumps(told, indent=1))
    return 0
