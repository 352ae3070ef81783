# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw a contact sheet of a datalist, or of its left-out files."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``show``."""
    parser.add_argument("datalist", metavar="D.json")
    parser.add_argument("--out", required=True, metavar="FILE", help="picture to write: .png, .jpg or .pdf")
    parser.add_argument(
        "--count", type=int, default=12, help="images to draw (default 12); of --left_out, files of each reason"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one draws other images")
    parser.add_argument("--no-mask", action="store_true", help="do not outline lung masks")
    parser.add_argument("--left_out", action="store_true", help="draw what index left out, by reason, not the images")


def run(args: argparse.Namespace) -> int:
    """Write the picture, and print which images are on it."""
    from monai_cxrssl.data.audit.contact_sheet import draw_datalist, draw_items
    from monai_cxrssl.data.audit.left_out_sheet import draw_left_out, drawn_examples
    from monai_cxrssl.data.datalists.datalist import load_datalist
    from monai_cxrssl.data.datalists.left_out import RECORDS

    datalist = load_datalist(args.datalist)
    if args.left_out:
        if not any(datalist.extra.get(group) for group in RECORDS):
            print(f"{args.datalist} names nothing that was left out; no picture is written")
            return 0
        draw_left_out(datalist, args.out, args.count)
        for number, (kind, path) in enumerate(drawn_examples(datalist, args.count), start=1):
            print(f"{number:>4}  {kind:<14}  {path}")
        print(args.out)
        return 0
    draw_datalist(datalist, args.out, args.count, args.seed, not args.no_mask)
    # Which file an image is stands here and not on the sheet, which may be shown to others.
    for number, (_, item) in enumerate(draw_items(datalist, args.count, args.seed), start=1):
        print(f"{number:>4}  {item['image']}")
    print(args.out)
    return 0
