# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files of a folder: names, order, newest sound one."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from monai_cxrssl.checkpoints.file import read_checked, save_atomically
from monai_cxrssl.errors import ConfigurationError, TrainingError
from monai_cxrssl.files import lock

__all__ = ["CheckpointFolder"]

logger = logging.getLogger(__name__)

# Epochs completed and, in the middle of one, the iterations of it that are.
_NAME = re.compile(r"checkpoint_epoch=(\d+)(?:_iteration=(\d+))?\.pt$")
#: Folders that this process holds, each with process and inode, and what lets it go.
_held: dict[Path, tuple[tuple[int, int], contextlib.ExitStack]] = {}
_CONTENT = {"parts", "epoch", "iteration", "epoch_length", "random"}


class CheckpointFolder:
    """The files ``checkpoint_epoch=NNNN.pt`` and ``checkpoint_epoch=NNNN_iteration=NNNNNN.pt``, the newest ``keep``."""

    def __init__(self, folder: str | os.PathLike, keep: int = 2) -> None:
        self.path = Path(folder)
        self.keep = max(1, keep)

    def files(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        found = []
        for path in self.path.glob("*.pt"):
            if match := _NAME.search(path.name):
                found.append((int(match[1]), int(match[2] or 0), path))
        return [path for _, _, path in sorted(found, reverse=True)]

    def save(self, content: dict[str, Any]) -> Path:
        """Write content with ``epoch`` and ``iteration``, read it back, and only then remove what is no longer kept.

        A TrainingError says that the disk refuses; the older files are still there.
        """
        within = f"_iteration={content['iteration']:06d}" if content["iteration"] else ""
        path = self.path / f"checkpoint_epoch={content['epoch']:04d}{within}.pt"
        try:
            save_atomically(content, path, verify=True)
        except TrainingError as error:
            raise TrainingError(f"{error} {self.advice()}") from error.__cause__
        for old in self.files()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def hold(self) -> None:
        """Keep other runs out of the folder, which is made if need be, until this process ends; it may ask again.

        The lock is on the folder itself, so no file is left behind; where the system or the disk has no such locks,
        nothing is kept. Loader processes do not hold the folder on: a killed run may be resumed at once.

        Raises:
            ConfigurationError: another process holds it, or it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The folder {self.path} cannot be made: {error.strerror or error}. Choose another --output_dir."
            ) from error
        if sys.platform == "win32":  # a folder cannot be opened there
            return
        place = self.path.resolve()
        # A folder that was deleted and made again is another one, and a forked child holds nothing.
        holder = (os.getpid(), place.stat().st_ino)
        if place in _held and _held[place][0] == holder:
            return
        busy = f"Another run is writing to {self.path}. Wait for its end, or give this one an --output_dir of its own."
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock(place, busy))
            _, earlier = _held.pop(place, (None, None))
            if earlier is not None:
                earlier.close()
            _held[place] = holder, stack.pop_all()

    def clean(self) -> None:
        """Remove what a run left that was killed as it saved."""
        for partial in self.path.glob(".checkpoint_epoch=*.partial"):
            partial.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Rename what an earlier run left: resumed later, a new run must not go on from the other's state."""
        for old in self.files():
            old.replace(old.with_name(f"{old.name}.replaced"))
            logger.info("A new run begins; the earlier run's checkpoint was renamed to %s.replaced.", old)

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest undamaged checkpoint and its content, if there is one; the log says what was skipped."""
        for path in self.files():
            try:
                return path, _read(path)
            except (OSError, ValueError) as error:
                logger.warning("Skipped the checkpoint %s: %s.", path, error)
        return None

    @staticmethod
    def named(path: Path) -> tuple[Path, dict[str, Any]]:
        """Return a checkpoint that was asked for and its content; ConfigurationError if it is damaged or none."""
        try:
            return path, _read(path)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"Cannot resume from {path}: {error}.") from error

    def advice(self) -> str:
        """Say what a run that failed can be gone on from."""
        files = self.files()
        return f"Go on from {files[0].name} with --resume auto." if files else "Nothing was saved before."


def _read(path: Path) -> dict[str, Any]:
    content = read_checked(path)
    if not isinstance(content, dict):
        raise ValueError("it is no checkpoint of a run")
    absent = _CONTENT - set(content)
    if absent:
        raise ValueError(f"it lacks {', '.join(sorted(absent))}")
    return content
