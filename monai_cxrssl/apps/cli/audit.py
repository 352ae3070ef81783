# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Look for leaks, duplicates and bad images; exit status 1 on leaks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``audit``."""
    parser.add_argument(
        "datalists",
        nargs="+",
        metavar="D.json",
        help="looked at together: a patient or picture in training of one and test of another is a leak (a pretraining "
        "corpus beside a test set). Fold files of one `split --folds` are alternatives, so that training of one and "
        "validation of another may share patients",
    )
    parser.add_argument("--json", metavar="FILE", help="write the findings as JSON")
    parser.add_argument(
        "--phi",
        action="store_true",
        help="list identifying DICOM tags, and images that seem to have text in their pixels",
    )
    pixels = parser.add_mutually_exclusive_group()
    pixels.add_argument("--no-pixels", action="store_true", help="look at the datalists only, read no image")
    pixels.add_argument(
        "--cache_dir", metavar="DIR", help="look at the images of this cache, made of these datalists, and decode none"
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings."""
    from monai_cxrssl.data.audit.audit import audit_datalists
    from monai_cxrssl.data.datalists.datalist import load_datalist

    pixels = not args.no_pixels
    datalists = [load_datalist(path, check_files=pixels) for path in args.datalists]
    result = audit_datalists(datalists, args.phi, pixels, cache_dir=args.cache_dir)
    print(result.table())
    if args.json:
        Path(args.json).write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    return int(result.has_leak)
