# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw a contact sheet of a datalist: films of every class, with lung masks and boxes."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``show``."""
    parser.add_argument("datalist", metavar="D.json")
    parser.add_argument("--out", required=True, metavar="FILE", help="picture to write: .png, .pdf or .svg")
    parser.add_argument("--count", type=int, default=12, help="films to draw (default 12)")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other films")
    parser.add_argument("--no-mask", action="store_true", help="do not outline lung masks")


def run(args: argparse.Namespace) -> int:
    """Write the picture."""
    from monai_cxrssl.data.contact_sheet import plot_datalist
    from monai_cxrssl.data.datalist import load_datalist

    plot_datalist(load_datalist(args.datalist), args.out, args.count, args.seed, not args.no_mask)
    print(args.out)
    return 0
