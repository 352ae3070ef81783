# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Periodic checkpoints of a whole run, and exact resuming."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from monai_cxrssl.checkpoints.agreed_saves import SaveBarrier, gather_states, said_by_first, state_of_this_process
from monai_cxrssl.checkpoints.file import save_atomically
from monai_cxrssl.checkpoints.folder import CheckpointFolder
from monai_cxrssl.checkpoints.freed_memory import return_freed_memory
from monai_cxrssl.checkpoints.random_state import random_state, set_random_state
from monai_cxrssl.checkpoints.run_faults import describe_fault
from monai_cxrssl.checkpoints.settings import as_plain_values, refuse_other_settings, run_settings
from monai_cxrssl.checkpoints.stop_signal import RunStopped, StopSignal
from monai_cxrssl.errors import ConfigurationError, CXRSSLError, TrainingError

__all__ = ["RunCheckpoint", "save_atomically"]

logger = logging.getLogger(__name__)


class RunCheckpoint:
    """Save the whole state of a run as it goes, and go on from it.

    The state is that of every object in ``parts``, the engine's epoch, iteration and gradient scaler, and the random
    generators of torch, numpy and Python. Augmentation and sampling are keyed by epoch and position and have no state,
    so a resumed run draws what an uninterrupted one would. In the middle of an epoch it is saved between two steps, if
    the loader can go on there (:class:`~monai_cxrssl.data.sampling.resumable_sampler.ResumableSampler`, in those of
    ``training_loader``), else at the epoch's end.

    A run of other settings than the checkpoint's is refused, and what differs is named: those given here, and those
    that can be seen in the trainer (steps, optimiser, files, patients and labels of the data). What cannot change the
    result (:data:`~monai_cxrssl.checkpoints.settings.HARMLESS`) may differ.

    A new file takes its place only after its checksums were read back, and older ones go only then.

    Several processes save together, after the same iteration: the first one writes its own state and, for each of the
    others, what differs among them: the random generators, and the state of parts with a true ``per_process``. As many
    processes go on exactly; another number of them goes on too, with a warning that it is not exact.

    On SIGTERM or SIGINT the run saves after the iteration that it is in and ends with exit status 75; a second signal
    ends it at once. With several processes signals are the launcher's: the state of the last minutes is what is left.
    What the machine does to a run (a full disk, no memory, a dead loader process) becomes a ``TrainingError`` that says
    what helps and where to go on from.

    Args:
        folder: where ``checkpoint_epoch=NNNN.pt`` and ``checkpoint_epoch=NNNN_iteration=NNNNNN.pt`` go.
        parts: objects with ``state_dict`` and ``load_state_dict``, by name (method, optimizer, history …).
        every_minutes: save at the first iteration's end after so many minutes; 0 for every epoch's end. The last epoch
            is always saved.
        every_epochs: save also after every so many epochs; 0 for time only.
        keep: how many files to keep, the newest.
        resume: ``False`` for a new run, which renames the checkpoints of an earlier one to ``….pt.replaced``;
            ``"auto"`` or ``True`` for the newest undamaged file in ``folder`` if there is one; or a path.
        settings: options of the run, by which a resumed run is compared.

    Raises:
        ConfigurationError: from attaching, when the file to resume from cannot be used or is of other settings, or
            another run writes here.
        TrainingError: from the run, as said above.
        RunStopped: from the run, after a signal; a ``SystemExit``.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        parts: dict[str, Any],
        every_minutes: float = 10,
        every_epochs: int = 0,
        keep: int = 2,
        resume: bool | str = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.parts = dict(parts)
        self.every_minutes = every_minutes
        self.every_epochs = every_epochs
        self.resume = resume
        self.settings = dict(settings or {})
        self._saved_at = time.monotonic()
        self._folder = CheckpointFolder(folder, keep)
        self._signal = StopSignal()
        self._meetings = SaveBarrier()
        self._start_in_epoch: tuple[int, dict[str, Any]] | None = None

    def attach(self, engine: Engine) -> None:
        """Load the state to resume from, if any, into the engine and the parts; then save as the run goes."""
        if idist.get_rank() == 0:
            self._folder.hold()
        self.settings = as_plain_values({**run_settings(engine, self.parts), **self.settings})
        self._load(engine)
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.EPOCH_STARTED, self._skip_to_start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._between_iterations)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_if_due)
        engine.add_event_handler(Events.COMPLETED, lambda engine: self._signal.end())
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._explain)

    def _listen(self, engine: Any) -> None:
        self._saved_at = time.monotonic()
        self._meetings.start(engine.state.iteration)
        # Processes that stop at different iterations would wait for each other for ever.
        if idist.get_world_size() == 1:
            self._signal.start()

    def _skip_to_start(self, engine: Any) -> None:
        """Let the loader begin the epoch that a checkpoint was taken in where that was."""
        if self._start_in_epoch is not None:
            iteration, _ = self._start_in_epoch
            loader = engine.state.dataloader
            loader.sampler.start_at(iteration * loader.batch_size)

    def _between_iterations(self, engine: Any) -> None:
        """Save, where it is due, when all handlers of an iteration are through and before the next batch is drawn."""
        if self._start_in_epoch is not None:
            set_random_state(self._start_in_epoch[1])  # only now: making the loader's iterator has drawn from torch's
            self._start_in_epoch = None
            return
        done = engine.state.iteration % engine.state.epoch_length
        # Between two epochs it is done at their border. Within a group of accumulated gradients these would be lost.
        if (
            done == 0
            or done % getattr(engine, "accumulation_steps", 1)
            or not _can_start_within(engine.state.dataloader)
        ):
            return
        late = self.every_minutes > 0 and self._meetings.due(engine.state.iteration, self._seconds_left())
        if late or self._signal.heard:
            path = self.save(engine)
            if self._signal.heard and path is not None:
                self._stop(engine, path)

    def _seconds_left(self) -> float:
        return self._saved_at + self.every_minutes * 60 - time.monotonic()

    def _save_if_due(self, engine: Any) -> None:
        epoch = engine.state.epoch
        last = epoch == engine.state.max_epochs or engine.should_terminate  # an early stop: its last epoch
        due = (
            last
            or self._signal.heard
            or (self.every_epochs > 0 and epoch % self.every_epochs == 0)
            or self._seconds_left() <= 0
        )
        if said_by_first(int(due)):
            path = self.save(engine)
            if (
                self._signal.heard and not last and path is not None
            ):  # what is left of a last epoch is to write its results
                self._stop(engine, path)

    def _stop(self, engine: Any, path: Path) -> None:
        logger.warning(
            "%s: the run was stopped after iteration %d of %d and saved to %s; go on with --resume auto.",
            self._signal.name,
            engine.state.iteration,
            getattr(engine, "total_iterations", engine.state.max_epochs * engine.state.epoch_length),
            path,
        )
        engine.logger.setLevel(logging.CRITICAL)  # ignite would call this an error
        raise RunStopped

    def save(self, engine: Any) -> Path | None:
        """Write the state now and remove files that are no longer kept; of several processes, all must call this.

        The file is returned, None in processes other than the first, which write none.

        Raises:
            TrainingError: the disk refuses, or the last loss was not finite, so that the weights cannot be trusted.
        """
        state = engine.state
        loss = state.output[0]["loss"] if state.output else None
        if isinstance(loss, torch.Tensor) and not bool(torch.isfinite(loss).all()):
            raise TrainingError(
                f"The loss is {loss.tolist()} in epoch {state.epoch}, iteration {state.iteration}; this state was not "
                f"saved. {self._folder.advice()} Lower the learning rate first, lengthen the warm-up, or use "
                "--amp false."
            )
        own = {"random": random_state(), "parts": {name: self.parts[name].state_dict() for name in self._per_process()}}
        processes = gather_states(own)
        if idist.get_rank() != 0:
            return None
        epochs, iteration = divmod(state.iteration, state.epoch_length)
        content = {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "epoch": epochs,
            "iteration": iteration,
            "epoch_length": state.epoch_length,
            "random": own["random"],
            "other_processes": processes[1:],
            "settings": self.settings,
        }
        scaler = getattr(engine, "grad_scaler", None)
        if scaler is not None:
            content["grad_scaler"] = scaler.state_dict()
        path = self._folder.save(content)
        self._saved_at = time.monotonic()
        del content, processes
        return_freed_memory()
        return path

    def _per_process(self) -> list[str]:
        return [name for name, part in self.parts.items() if getattr(part, "per_process", False)]

    def _explain(self, engine: Any, error: BaseException | None = None) -> None:
        """Put what the machine did to the run in words; any other error goes on as it is."""
        if error is None:  # fired below
            return
        self._signal.end()
        if isinstance(error, Exception) and not isinstance(error, CXRSSLError):
            sentence = describe_fault(error)
            if sentence is not None:
                told = TrainingError(
                    f"{sentence} The run was in epoch {engine.state.epoch}, after iteration {engine.state.iteration}. "
                    f"{self._folder.advice()}"
                )
                told.__cause__, error = error, told
        # Ignite stops at the first handler that raises; a progress bar that comes later is still to be closed.
        with contextlib.suppress(Exception):
            engine.fire_event(Events.EXCEPTION_RAISED)
        raise error

    def _load(self, engine: Any) -> None:
        if idist.get_rank() == 0:
            self._folder.clean()
        if self.resume is False or self.resume is None or str(self.resume).lower() in ("false", "none", ""):
            if idist.get_rank() == 0:
                self._folder.set_aside()
            return
        automatic = self.resume is True or str(self.resume).lower() in ("auto", "true")
        found = self._folder.newest() if automatic else self._folder.named(Path(str(self.resume)))
        names = gather_states(found[0].name if found is not None else "none")
        if len(set(names)) > 1:
            raise ConfigurationError(
                f"The processes of this run find different checkpoints in {self.folder}: {', '.join(names)}. Give an "
                "--output_dir that all machines see, or --resume with the path of one file."
            )
        if found is None:
            logger.info("No checkpoint in %s: the run starts from the beginning.", self.folder)
        else:
            self._restore(engine, found[1], found[0])

    def _restore(self, engine: Any, state: dict[str, Any], path: Path) -> None:
        refuse_other_settings(state.get("settings", {}), self.settings, path)
        if state["epoch_length"] != engine.state.epoch_length:
            raise ConfigurationError(
                f"{path} comes from a run of {state['epoch_length']} iterations per epoch, this one has "
                f"{engine.state.epoch_length}: data or batch size differ. Resume with the same options, or use another "
                "--output_dir."
            )
        if state["iteration"] and not _can_start_within(getattr(engine, "data_loader", None)):
            raise ConfigurationError(f"{path} was saved within an epoch, and this loader cannot begin there.")
        absent = set(self.parts) - set(state["parts"])
        if absent:
            raise ConfigurationError(f"{path} holds no state of: {', '.join(sorted(absent))}.")
        own = state_of_this_process(state, path)
        for name, part in self.parts.items():
            try:
                part.load_state_dict(own["parts"].get(name, state["parts"][name]))
            except (RuntimeError, ValueError, KeyError) as error:
                raise ConfigurationError(
                    f"{path} does not fit this run: its {name} differs ({str(error).splitlines()[0]}). Resume with the "
                    "same options, or use another --output_dir."
                ) from error
        scaler = getattr(engine, "grad_scaler", None)
        if scaler is not None and scaler.is_enabled() and state.get("grad_scaler"):
            scaler.load_state_dict(state["grad_scaler"])
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * state["epoch_length"] + state["iteration"]
        set_random_state(own["random"])
        if state["iteration"]:
            self._start_in_epoch = state["iteration"], own["random"]
        within = f" and iteration {state['iteration']} of the next" if state["iteration"] else ""
        logger.info("Resumed from %s, after epoch %d%s.", path, state["epoch"], within)


def _can_start_within(loader: Any) -> bool:
    """Whether a loader can begin in the middle of an epoch."""
    return hasattr(getattr(loader, "sampler", None), "start_at")
