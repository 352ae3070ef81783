# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The log file of a run."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError

__all__ = ["open_run_log"]

logger = logging.getLogger(__name__)


def open_run_log(output_dir: str | os.PathLike, rank: int = 0) -> Path:
    """Make the output folder and, on the first process, append what is logged from now on to its ``log.txt``.

    The first lines say which command, versions and machine the run is of.

    Args:
        output_dir: the folder of the run's results.
        rank: number of this process.

    Returns:
        The folder.

    Raises:
        ConfigurationError: when the folder cannot be made or written.
    """
    folder = Path(output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "log.txt"
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigurationError(f"--output_dir {folder} cannot be written: {error.strerror}.") from error
    root = logging.getLogger()
    opened = [h.baseFilename for h in root.handlers if isinstance(h, logging.FileHandler)]
    if rank == 0 and str(path.absolute()) not in opened:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
    packages = ("monai-cxrssl", "monai", "torch", "pytorch-ignite", "segmentation-models-pytorch", "pydicom", "numpy")
    logger.info("%s", shlex.join(sys.orig_argv))
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    logger.info("%s, Python %s, %s", versions, platform.python_version(), platform.platform())
    return folder
