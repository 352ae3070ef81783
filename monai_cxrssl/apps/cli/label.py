# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Join the labels of a table with a datalist."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai_cxrssl.data.sources.label_table import LabelJoin

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``label``."""
    parser.add_argument("datalist", metavar="D.json", help="its splits, if it has any, stay as they are")
    parser.add_argument("table", metavar="TABLE", help="csv file (UTF-8, or UTF-16 with its mark) or workbook (.xlsx)")
    parser.add_argument("--out", required=True, metavar="L.json", help="datalist file to write")
    parser.add_argument(
        "--match",
        required=True,
        metavar="COLUMN=WHAT",
        help="the column that names images, and what it holds: file (name of the image file), path, an entry of the "
        "datalist's items such as study_id, or a DICOM keyword such as AccessionNumber or PatientID, whose values are "
        "read from the images' headers and not kept",
    )
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--label_column", metavar="COLUMN", help="one class name per row, blank where unknown")
    kinds.add_argument(
        "--label_columns",
        nargs="+",
        metavar="COLUMN",
        help="a column per class: 1, 0, -1 (uncertain) or blank",
    )
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="order of the classes of --label_column (sorted)")
    parser.add_argument(
        "--policy",
        default="ignore",
        help="what uncertain labels of --label_columns become: ignore (default), ones, zeros, lsr, chexpert, a number, "
        "a range or a dictionary as JSON",
    )
    parser.add_argument("--blanks", default="null", choices=("null", "zero"), help="what blanks of --label_columns are")
    parser.add_argument("--seed", type=int, default=0, help="of labels that the policy draws")
    parser.add_argument(
        "--strict_labels", action="store_true", help="refuse labels that nobody foresaw, and doubtful ones"
    )
    parser.add_argument("--replace", action="store_true", help="drop the labels that D.json has")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the labelled datalist and print what the join came to."""
    from monai_cxrssl.data.datalists.counts import counts_table
    from monai_cxrssl.data.datalists.datalist import load_datalist, save_datalist
    from monai_cxrssl.data.datalists.split import save_split
    from monai_cxrssl.data.sources.label_table import label_datalist
    from monai_cxrssl.errors import ConfigurationError

    column, sign, what = args.match.rpartition("=")
    if not (sign and column and what):
        raise ConfigurationError(
            f"--match is {args.match!r}; expected COLUMN=WHAT, such as film=file or accession=AccessionNumber."
        )
    idle = {"--policy": args.policy != "ignore", "--blanks": args.blanks != "null", "--seed": args.seed != 0}
    if args.label_columns:
        idle = {"--classes": bool(args.classes)}
    for option in (name for name, given in idle.items() if given):
        other = "--label_column" if args.label_columns else "--label_columns"
        raise ConfigurationError(f"{option} is for {other}; leave it out.")
    try:
        policy = json.loads(args.policy)
    except json.JSONDecodeError:
        policy = args.policy
    # Only headers are read, and only where they are matched by.
    datalist = load_datalist(args.datalist, check_files=False)
    labelled, join = label_datalist(
        datalist,
        args.table,
        (column, what),
        label_column=args.label_column,
        label_columns=args.label_columns,
        classes=args.classes,
        policy=policy,
        blanks=args.blanks,
        seed=args.seed,
        replace_labels=args.replace,
        strict_labels=args.strict_labels,
        progress=not args.json,
    )
    manifest = datalist.extra.get("manifest")
    if manifest:
        save_split(labelled, args.out, {"labels": Path(args.table).name, "of": manifest.get("sha256")})
    else:
        save_datalist(labelled, args.out)
    summary = labelled.summary()
    if args.json:
        print(json.dumps({"join": asdict(join), **summary}, indent=1))
    else:
        print(f"{_join_table(join, what)}\n{counts_table(summary)}")
    return 0


def _join_table(join: LabelJoin, what: str) -> str:
    lines = [
        ("rows of the table", join.rows),
        ("  that name no image", len(join.rows_without_film)),
        ("images", join.films),
        (f"  without {what}", join.films_without_name),
        ("  that no row names", join.films_without_row),
        ("  labelled", join.labelled),
    ]
    width = max(len(text) for text, _ in lines)
    return "\n".join(f"{text:<{width}}{count:>9}" for text, count in lines)
