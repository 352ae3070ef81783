# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a synthetic chest X-ray data set."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``phantom``."""
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument("--patients", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="longer side of an image, pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="processes that draw (default: one per core); same files for any")


def run(args: argparse.Namespace) -> int:
    """Write the data set and print the path of its datalist."""
    from monai_cxrssl.phantom.dataset import make_phantom_dataset

    print(make_phantom_dataset(args.out, args.patients, args.seed, args.size, workers=args.workers))
    return 0
