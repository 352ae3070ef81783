# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""List the package's bundles, or copy one to a folder of yours."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``bundle``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the bundle, such as micle; all are listed without")
    parser.add_argument("folder", nargs="?", metavar="DIR", default="bundles",
                        help="that the bundle's folder NAME is put into (default: bundles)")  # fmt: skip
    parser.add_argument("--replace", action="store_true",
                        help="overwrite the configs and pages of a copy; its runs and weights stay")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print the names, or copy a bundle and print where it is."""
    from monai_cxrssl.apps.cli.bundles.folders import bundle_names, full_name, packaged_bundles, put_bundle

    if args.name is not None:
        print(put_bundle(args.name, Path(args.folder).expanduser(), args.replace))
        return 0
    names = bundle_names(packaged_bundles())
    width = max(map(len, names), default=0)
    for name in names:
        print(f"{name:<{width}}  {full_name(packaged_bundles() / name)}")
    return 0
