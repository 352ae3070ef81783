# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Find the layout of folders and write their datalist."""

from __future__ import annotations

import argparse
import json
import os

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``index``."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of a data set; several are mixed")
    parser.add_argument("--out", required=True, metavar="FILE", help="datalist file to write")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--no-check", action="store_true", help="do not look whether every listed file exists")


def run(args: argparse.Namespace) -> int:
    """Write the datalist and print its counts."""
    from tqdm import tqdm

    from monai_cxrssl.apps.commands.counts import counts_table
    from monai_cxrssl.data import open_dataset, save_datalist
    from monai_cxrssl.errors import DatalistError

    datalist = open_dataset(args.folders[0] if len(args.folders) == 1 else args.folders)
    if not args.no_check:
        items = tqdm(datalist.all_items(), desc="checking files", disable=args.json)
        absent = [item["image"] for item in items if not os.path.lexists(item["image"])]
        if absent:
            raise DatalistError(
                f"{len(absent)} listed images do not exist, the first is {absent[0]}; complete the data set, or give "
                "--no-check."
            )
    save_datalist(datalist, args.out)
    print(json.dumps(datalist.summary(), indent=1) if args.json else counts_table(datalist.summary()))
    return 0
