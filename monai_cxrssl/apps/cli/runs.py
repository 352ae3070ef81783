# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""List the runs of a bundle: data, changed options, metrics, time."""

from __future__ import annotations

import argparse
import json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``runs``."""
    parser.add_argument(
        "bundle", metavar="BUNDLE", help="folder of a bundle; or a folder of runs, such as one given by --output_dir"
    )
    parser.add_argument("--json", action="store_true", help="print whole records as JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Print the runs, the oldest first."""
    from monai_cxrssl.runs.run_record import list_runs, runs_table

    records = list_runs(args.bundle)
    if args.json:
        print(json.dumps(records, indent=2, ensure_ascii=False))
    elif records:
        print(runs_table(records))
    else:
        print(f"There are no runs in {args.bundle}.")
    return 0
