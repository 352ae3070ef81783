# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads every format with one bit turned, and cut off, at many places: ``python -m tests.robustness.damage 200 0``.

Runs in a process of its own: it limits its address space, and a read of more than five seconds ends it. Prints one
JSON object: per format the numbers of images that loaded and that were refused, and what should not have happened.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import resource
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from monai_cxrssl.data.reading.read import read_cxr
from monai_cxrssl.errors import CXRReadError
from tests.robustness.small_files import CHECKSUMMED, small_files

__all__ = ["LIMIT_BYTES", "limit_memory", "sweep"]

LIMIT_BYTES = 2**30
SECONDS = 5


def limit_memory() -> None:
    """Let this process take ``LIMIT_BYTES`` beyond what its libraries hold by now."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES,) * 2)


def damaged(content: bytes, places: int, seed: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield kind, place and content: places spread evenly over the file, moved and with another bit by the seed."""
    generator = np.random.default_rng(seed)
    step = len(content) / places
    for number in range(places):
        place = min(len(content) - 1, int((number + generator.random()) * step))
        turned = bytearray(content)
        turned[place] ^= 1 << int(generator.integers(8))
        yield "flip", place, bytes(turned)
        yield "cut", place, content[:place]


def sweep(places: int, seed: int) -> dict[str, dict]:
    """Read all damaged files."""
    files, result = small_files(), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        originals = {}
        for name, content in files.items():
            path.write_bytes(content)
            originals[name] = read_cxr(path)[0]
        limit_memory()
        for name, content in files.items():
            told = result[name] = {"flip": [0, 0, 0], "cut": [0, 0, 0], "wrong": []}
            for kind, place, changed in damaged(content, places, seed):
                path.write_bytes(changed)
                print(f"{name} {kind} {place}", file=sys.stderr)
                faulthandler.dump_traceback_later(SECONDS, exit=True)
                try:
                    film, metadata = read_cxr(path)
                except CXRReadError as error:
                    told[kind][2] += 1
                    if not error.cause:
                        told["wrong"].append(f"{kind} at {place}: refused without a cause")
                    continue
                except BaseException as error:
                    told["wrong"].append(f"{kind} at {place}: {error!r}"[:200])
                    continue
                finally:
                    faulthandler.cancel_dump_traceback_later()
                same = np.array_equal(film, originals[name])
                told[kind][0 if same else 1] += 1
                sound = film.shape == metadata["spatial_shape"] and bool(np.isfinite(film).all())
                if not sound or film.min() < 0 or film.max() > 1:
                    told["wrong"].append(f"{kind} at {place}: no sound image")
                if not same and (kind == "cut" or name in CHECKSUMMED):
                    told["wrong"].append(f"{kind} at {place} of {len(content)}: another image is shown")
                if film.shape != originals[name].shape:
                    told["wrong"].append(f"{kind} at {place} of {len(content)}: shape {film.shape}")
    return result


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    print(json.dumps(sweep(int(sys.argv[1]), int(sys.argv[2]))))
