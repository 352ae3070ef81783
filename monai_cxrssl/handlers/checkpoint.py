# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that a kill cannot spoil, and resuming from them."""

from __future__ import annotations

import logging
import os
import pickle
import re
import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from monai_cxrssl.errors import ConfigurationError

__all__ = ["RunCheckpoint", "save_atomically"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint_epoch=(\d+)\.pt$")


def save_atomically(content: Any, path: str | os.PathLike) -> None:
    """Write with ``torch.save`` so that the file at ``path`` is at any moment either the old one or the whole new one.

    Args:
        content: tensors in plain containers.
        path: the file; its folder is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # the rename itself must reach the disk too; Windows has no such call
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class RunCheckpoint:
    """Save the whole state of a run at epoch ends and go on from it.

    The state is that of every object in ``parts``, the engine's epoch and torch's random generators. Augmentation and
    sampling are keyed by epoch and position and have no state, so a resumed run draws what an uninterrupted one would.

    Args:
        folder: where ``checkpoint_epoch=NNNN.pt`` files go.
        parts: objects with ``state_dict`` and ``load_state_dict``, by name (method, optimizer, history …).
        every_minutes: save at the first epoch end after so many minutes; the last epoch is always saved.
        every_epochs: save also after every so many epochs; 0 for time only.
        keep: how many files to keep, the newest; older ones go after a newer one is on the disk.
        resume: ``False`` for a new run, which renames the checkpoints of an earlier one to ``….pt.replaced``;
            ``"auto"`` for the newest readable file in ``folder`` if there is one; or a path.

    Raises:
        ConfigurationError: from attaching, when the file to resume from cannot be used.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        parts: dict[str, Any],
        every_minutes: float = 10,
        every_epochs: int = 0,
        keep: int = 2,
        resume: bool | str = False,
    ) -> None:
        self.folder = Path(folder)
        self.parts = dict(parts)
        self.every_minutes = every_minutes
        self.every_epochs = every_epochs
        self.keep = max(1, keep)
        self.resume = resume
        self._saved_at = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Load the state to resume from, if any, into the engine and the parts; then save as the run goes."""
        self._load(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_if_due)

    def _save_if_due(self, engine: Any) -> None:
        epoch = engine.state.epoch
        due = (
            epoch == engine.state.max_epochs
            or engine.should_terminate  # an early stop: its last epoch
            or (self.every_epochs > 0 and epoch % self.every_epochs == 0)
            or time.monotonic() - self._saved_at >= self.every_minutes * 60
        )
        if due and idist.get_rank() == 0:
            self.save(engine)

    def save(self, engine: Engine) -> Path:
        """Write the state now and remove files that are no longer kept."""
        state = {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        path = self.folder / f"checkpoint_epoch={engine.state.epoch:04d}.pt"
        save_atomically(state, path)
        self._saved_at = time.monotonic()
        for old in self._files()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def _files(self) -> list[Path]:
        """Return the checkpoints of the folder, the newest first."""
        named = [(int(match[1]), path) for path in self.folder.glob("*.pt") if (match := _NAME.search(path.name))]
        return [path for _, path in sorted(named, reverse=True)]

    def _set_aside(self) -> None:
        """Rename what an earlier run left: resumed later, this run must not go on from the other's state."""
        for old in self._files() if idist.get_rank() == 0 else []:
            old.replace(old.with_name(f"{old.name}.replaced"))
            logger.info("A new run begins; the earlier run's checkpoint was renamed to %s.replaced.", old)

    def _load(self, engine: Any) -> None:
        if self.resume is False or self.resume is None or str(self.resume).lower() in ("false", "none", ""):
            self._set_aside()
            return
        automatic = self.resume is True or str(self.resume).lower() in ("auto", "true")
        candidates = self._files() if automatic else [Path(str(self.resume))]
        for path in candidates:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                absent = {"parts", "epoch", "epoch_length", "random"} - set(state)
                if absent:
                    raise ValueError(f"it lacks {', '.join(sorted(absent))}")
            except (OSError, RuntimeError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                if not automatic:
                    raise ConfigurationError(f"Cannot resume from {path}: {reason}.") from error
                logger.warning("Skipped the checkpoint %s: %s.", path, reason)
                continue
            self._restore(engine, state, path)
            return
        logger.info("No checkpoint in %s: the run starts from the beginning.", self.folder)

    def _restore(self, engine: Any, state: dict[str, Any], path: Path) -> None:
        if state["epoch_length"] != engine.state.epoch_length:
            raise ConfigurationError(
                f"{path} comes from a run of {state['epoch_length']} iterations per epoch, this one has "
                f"{engine.state.epoch_length}: data or batch size differ. Resume with the same options, or use another "
                "--output_dir."
            )
        absent = set(self.parts) - set(state["parts"])
        if absent:
            raise ConfigurationError(f"{path} holds no state of: {', '.join(sorted(absent))}.")
        for name, part in self.parts.items():
            try:
                part.load_state_dict(state["parts"][name])
            except (RuntimeError, ValueError, KeyError) as error:
                raise ConfigurationError(
                    f"{path} does not fit this run: its {name} differs ({str(error).splitlines()[0]}). Resume with the "
                    "same options, or use another --output_dir."
                ) from error
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * state["epoch_length"]
        torch.set_rng_state(state["random"])
        if state.get("random_cuda") and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"][: torch.cuda.device_count()])
        logger.info("Resumed from %s, after epoch %d.", path, state["epoch"])
