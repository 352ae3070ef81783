# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads files in a process with a limit of memory and of time: ``python -m tests.robustness.read_with_limits OUT FILE...``.

Writes image ``n`` to ``OUT/n.npy`` or the cause of its refusal to ``OUT/n.txt``; anything else ends the process, whose
last line on the standard error names the file.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import sys
import warnings
from pathlib import Path

import numpy as np

from monai_cxrssl.data.reading.read import read_cxr
from monai_cxrssl.errors import CXRReadError
from tests.robustness.damage import limit_memory

__all__ = ["main"]

# A large JPEG 2000 image takes a second; this is for a machine that does much else.
SECONDS = 30


def main(out: Path, paths: list[str]) -> None:
    """Read all files, one after the other."""
    for name in ("pydicom.pixels", "pydicom.encaps", "imagecodecs", "openjpeg", "rle", "PIL.Image"):
        importlib.import_module(name)
    limit_memory()
    for number, path in enumerate(paths):
        print(path, file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            np.save(out / f"{number}.npy", read_cxr(path)[0])
        except CXRReadError as error:
            (out / f"{number}.txt").write_text(error.cause)
        finally:
            faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    main(Path(sys.argv[1]), sys.argv[2:])
