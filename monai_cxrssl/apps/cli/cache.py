# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Decode a datalist into a memory-mapped cache; join shards; verify checksums."""

from __future__ import annotations

import argparse
import json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``cache``."""
    parser.add_argument("datalist", metavar="D.json", nargs="?", help="not needed with --join or --verify")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the cache")
    parser.add_argument("--dataset_dir", metavar="DIR", help="folder that the datalist's paths start from")
    parser.add_argument("--side", type=int, default=384, help="shorter side kept, in pixels")
    parser.add_argument("--bits", type=int, default=8, choices=(8, 16))
    parser.add_argument("--window", type=_window, default="first", help="first, none, a number, or CENTER,WIDTH")
    parser.add_argument("--workers", type=int, help="threads; by default one per core")
    parser.add_argument("--shard", type=_shard, metavar="K/N", help="build part K of N only, such as 3/16")
    parser.add_argument("--join", action="store_true", help="verify the parts and publish the whole")
    parser.add_argument("--verify", action="store_true", help="compare a whole cache with its checksums and sources")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Build, join or verify, print the report; 1 if there is damage."""
    from monai_cxrssl.data.datalists.datalist import load_datalist
    from monai_cxrssl.data.stores.cache.build import build_cache
    from monai_cxrssl.data.stores.cache.check import join_cache, verify_cache
    from monai_cxrssl.errors import ConfigurationError

    if args.datalist is None and not (args.join or args.verify):
        raise ConfigurationError("Give a datalist to cache, or --join or --verify for a cache that is there.")
    if args.shard is not None and args.join:
        raise ConfigurationError("--join comes once, after the last --shard: give one of them.")
    shown = not args.json
    report = None
    if args.datalist is not None:
        datalist = load_datalist(args.datalist, args.dataset_dir)
        report = build_cache(
            datalist, args.out, args.side, args.bits, args.window, args.workers, args.shard, progress=shown
        )
    if args.join:
        report = join_cache(args.out, progress=shown)
    if args.verify:
        report = verify_cache(args.out, progress=shown)
    assert report is not None  # one of the three was asked for
    if args.json:
        print(json.dumps(report.to_dict(), indent=1))
    else:
        state = "complete" if report.complete else "a shard; --join publishes the whole"
        print(f"{report.folder}: {report.images} images, {report.pixel_bytes / 1e6:.1f} MB of pixels, {state}")
        print(f"decoded {report.decoded}, unreadable {len(report.unreadable)}, {report.seconds:.1f} s")
        for words, found in (("damaged", report.damaged), ("source changed or gone", report.changed)):
            for image in found[:10]:
                print(f"{words}: {image}")
            if len(found) > 10:
                print(f"{words}: {len(found) - 10} more")
    return 1 if report.damaged else 0


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard; expected K/N such as 3/16, K from 1 to N")
    return int(part), int(parts)


def _window(text: str) -> int | str | list[float]:
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        return text
    return int(text) if text.isdigit() else values
