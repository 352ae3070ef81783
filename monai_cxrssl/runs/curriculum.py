# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretext tasks one after another, the encoder handed on.

Sources: I. de Andrés Tamé et al., "Self-Supervised Curricular Deep Learning for Chest X-Ray Image Classification",
arXiv 2301.10687, and its predecessor, arXiv 2112.12086: several pretext tasks in sequence, ordered by a simple method.
Finding the order by a probe on validation data, or by the difficulty of the tasks, is our choice.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler, TensorBoardStatsHandler
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.run_logger import RunLogger
from monai_cxrssl.methods.difficulty import easiest_first, task_difficulty
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.runs.stage import PretextStage, StageRun, divide_epochs, pair_figures

if TYPE_CHECKING:
    from monai_cxrssl.handlers.monitors.curves import CurvesPlot
    from monai_cxrssl.handlers.monitors.history import RunHistory
    from monai_cxrssl.handlers.monitors.online_probe import OnlineProbe
    from monai_cxrssl.handlers.pretraining_summary import PretrainingSummary

__all__ = ["Curriculum"]

logger = logging.getLogger(__name__)


class Curriculum(Engine):
    """Train an encoder by stages, in the order given or in one found step by step.

    Every stage leaves a folder in ``<output_dir>/stages``: ``1_rotation/encoder.pt``, ``metrics.json``, ``curves.png``
    and its checkpoints. With ``order="greedy"`` all stages that are left are tried from the same encoder, the one with
    the best probe is kept, and the step's scores go to ``1_choice.json``; the cost is that of n (n + 1) / 2 stages.

    A curriculum is an ignite engine of its own, for loggers of the whole run: it starts and completes once, and what a
    stage does between is fired again here, with the epochs and iterations of all stages counted together. A greedy
    one does so for the stage that was chosen only, epoch by epoch.

    With ``order="difficulty"``, which looks at no label, every task is first tried for some epochs from the same
    encoder, and the easiest comes first: that whose loss in the last of these epochs is the smallest share of its
    trivial loss (:func:`~monai_cxrssl.methods.task_difficulty`). The trials are thrown away; what they said goes to
    ``1_difficulty.json`` and, as ``difficulty_<task>`` and ``found_order``, to ``metrics.json``. Where stages go over
    several data sets, each has an order of its own.

    Killed and resumed, a curriculum goes on from its stage's last checkpoint, and ends in the same bits.

    Args:
        network: the encoder, trained in place.
        stages: the stages.
        max_epochs: of all stages together; divided by their shares.
        device: where to compute.
        output_dir: of the run.
        history: takes the epochs of all stages, in order.
        order: ``"given"``, ``"greedy"`` or ``"difficulty"``.
        probe: scores the frozen encoder after each stage; ``"greedy"`` cannot do without.
        summary: written at the end; a resumed run is compared by its parameters, and by the stages'.
        curves: drawn at the end.
        train_handlers: attached to each stage's trainer; they must not keep state over stages. An ``MLFlowHandler``
            and a ``RunLogger`` are attached to the curriculum instead: all stages are one run.
        amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.
        num_workers: see :func:`monai_cxrssl.data.worker_count`.
        checkpoint_minutes: minutes between checkpoints within a stage.
        resume: ``False``, which sets an earlier run's stages aside, or ``"auto"``.
        seed: of the run; every stage has its own, made of it, the stage's place and name.
        difficulty_epochs: of each trial by which ``"difficulty"`` orders; ``None`` for a twentieth of ``max_epochs``,
            at least one.

    Attributes:
        handlers: those that are attached to the curriculum.
        resumed: whether the run goes on with stages of an earlier one.

    Raises:
        ConfigurationError: no stage, two of one name, an unknown order, or a greedy one without a probe.
    """

    def __init__(
        self,
        network: Encoder,
        stages: Sequence[PretextStage],
        max_epochs: int,
        device: torch.device | str,
        output_dir: str | os.PathLike,
        history: RunHistory,
        order: str = "given",
        probe: OnlineProbe | None = None,
        summary: PretrainingSummary | None = None,
        curves: CurvesPlot | None = None,
        train_handlers: Sequence[Any] = (),
        amp: bool | str = "auto",
        num_workers: int | str = "auto",
        checkpoint_minutes: float = 10,
        resume: bool | str = False,
        seed: int = 0,
        difficulty_epochs: int | None = None,
    ) -> None:
        names = [stage.name for stage in stages]
        if not names:
            raise ConfigurationError("A curriculum needs at least one stage.")
        if len(set(names)) < len(names):
            raise ConfigurationError(f"Two stages have one name: {', '.join(names)}. Give each its own.")
        if order not in ("given", "greedy", "difficulty"):
            raise ConfigurationError(f"The order of a curriculum is 'given', 'greedy' or 'difficulty', not {order!r}.")
        if order == "greedy" and (probe is None or not len(probe.dataset)):
            raise ConfigurationError(
                "A greedy curriculum chooses by a probe, and there are no labelled images to probe. Give labelled "
                "data, or an order by hand."
            )
        if str(resume).lower() not in ("false", "none", "", "auto", "true"):
            raise ConfigurationError(
                f"A curriculum resumes from its own folder: --resume is auto or false, not {resume}."
            )
        super().__init__(lambda engine, batch: None)
        self.network = network
        self.stages = {stage.name: stage for stage in stages}
        self.epochs = dict(zip(names, divide_epochs(int(max_epochs), [s.share for s in stages]), strict=True))
        self.device = torch.device(device)
        self.folder = Path(output_dir) / "stages"
        self.history = history
        self.order = order
        self.probe = probe
        self.summary = summary
        self.settings = {} if summary is None else dict(summary.tracked.parameters)
        self.curves = curves
        self.handlers = [handler for handler in train_handlers if isinstance(handler, (MLFlowHandler, RunLogger))]
        self.train_handlers = [handler for handler in train_handlers if handler not in self.handlers]
        self.amp = amp
        self.num_workers = num_workers
        self.checkpoint_minutes = checkpoint_minutes
        self.resume = "auto" if str(resume).lower() in ("auto", "true") else False
        self.resumed = False
        self.seed = int(seed)
        self.difficulty_epochs = max(1, round(int(max_epochs) / 20)) if difficulty_epochs is None else difficulty_epochs
        self.optimizer: torch.optim.Optimizer | None = None
        self.state.max_epochs = sum(self.epochs.values())
        for handler in [*([] if summary is None else [summary]), *self.handlers]:
            handler.attach(self)

    def run(self) -> None:  # type: ignore[override]
        """Train all stages; those that an interrupted run finished are taken from its folder."""
        self.resumed = bool(self.resume) and self.folder.exists()
        if not self.resume and idist.get_rank() == 0:
            self._set_aside()
        self._compare_settings()
        self.network.to(self.device)
        self.state.epoch = self.state.iteration = 0
        self.fire_event(Events.STARTED)
        self._score(0)
        if self.order == "greedy":
            self._probe_score()  # raises where there are too few labelled patients: before training, not after a stage
        left = list(self.stages)
        place, ordered = 0, -1
        while left:
            place += 1
            tier = min(self.stages[name].tier for name in left)
            ready = [name for name in left if self.stages[name].tier == tier]
            if self.order == "difficulty" and tier != ordered:
                ready, ordered = self._easiest_first(place, ready), tier
                left = [*ready, *(name for name in left if name not in ready)]
            tried = len(self.history.rows)
            chosen_before = self.order == "greedy" and self._choice(place, ready) is not None
            name = self._choose(place, ready) if self.order == "greedy" else ready[0]
            before = self.state.iteration
            iterations = self._train(place, name, followed=len(ready) == 1 or self.order != "greedy")
            self.state.iteration = before + iterations
            if self.order == "greedy" and len(ready) > 1 and not chosen_before:
                self._repeat(self.history.rows[tried:], before, iterations)
            left.remove(name)
            self._score(self.history.rows[-1]["epoch"])
        if idist.get_rank() == 0 and self.curves is not None:
            self.curves.draw()
        if self.summary is not None and self.order != "given":
            self.summary.data["found_order"] = ", ".join(dict.fromkeys(row["stage"] for row in self.history.rows))
        self.fire_event(Events.COMPLETED)

    def _follow(self, run: StageRun) -> None:
        """Fire here what the trainer of a stage fires to which all other handlers are attached."""
        done = self.history.rows[-1]["epoch"] if self.history.rows else 0
        before = self.state.iteration
        self.optimizer = run.optimizer
        self.state.epoch_length = run.trainer.state.epoch_length

        def fire(trainer: Any, event: Events) -> None:
            state = trainer.state
            self.state.epoch, self.state.iteration = done + state.epoch, before + state.iteration
            self.state.batch, self.state.output, self.state.metrics = state.batch, state.output, dict(state.metrics)
            self.fire_event(event)

        for event in (
            Events.EPOCH_STARTED, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED
        ):  # fmt: skip
            run.trainer.add_event_handler(event, fire, event)

    def _repeat(self, rows: Sequence[dict[str, Any]], before: int, iterations: int) -> None:
        """Fire the epochs of a stage that was tried and chosen, which took so many iterations after those before."""
        for number, row in enumerate(rows, 1):
            self.state.epoch = row["epoch"]
            self.state.iteration = before + iterations * number // len(rows)
            self.state.metrics = {name: value for name, value in row.items() if name not in ("epoch", "stage")}
            self.fire_event(Events.EPOCH_STARTED)
            self.fire_event(Events.EPOCH_COMPLETED)

    def _set_aside(self) -> None:
        if not self.folder.exists():
            return
        number = 1
        while (old := self.folder.with_name(f"stages_before_{number}")).exists():
            number += 1
        self.folder.rename(old)
        logger.info("The stages of an earlier run were moved to %s.", old)

    def _compare_settings(self) -> None:
        """Refuse to go on with stages of other settings; leave those of a new run in its folder."""
        from monai_cxrssl.checkpoints.settings import as_plain_values, data_settings, refuse_other_settings
        from monai_cxrssl.files import write_json

        settings = {**self.settings, "stages": list(self.stages), "order": self.order, "seed": self.seed}
        if self.order == "difficulty":
            settings["difficulty_epochs"] = self.difficulty_epochs
        for name, stage in self.stages.items():
            settings |= {f"{name}'s epochs": self.epochs[name], f"{name}'s batch_size": stage.batch_size}
            settings |= data_settings(stage.images.items, f"{name}'s training images")
        note = self.folder / "settings.json"
        if self.resumed and note.is_file():
            refuse_other_settings(json.loads(note.read_text(encoding="utf-8")), settings, self.folder)
        idist.barrier()
        if idist.get_rank() == 0 and not note.is_file():
            write_json(as_plain_values(settings), note)

    def _score(self, epoch: int) -> None:
        if self.probe is not None:
            self.probe.record(epoch)

    def _choose(self, place: int, left: Sequence[str]) -> str:
        """Try every stage that may come next from the same encoder and return the name of the best."""
        if len(left) == 1:
            return left[0]
        before = self._choice(place, left)
        if before is not None:
            return before
        start = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        rows, scores = list(self.history.rows), {}
        for name in left:
            self._train(place, name, followed=False)
            scores[name] = self._probe_score()
            # The next candidate starts where this one did.
            self.network.load_state_dict(start)
            self.history.rows = list(rows)
        chosen = max(left, key=lambda name: scores[name])
        told = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
        logger.info("Stage %d: %s comes next; linear probe after each candidate: %s.", place, chosen, told)
        if idist.get_rank() == 0:
            from monai_cxrssl.files import write_json

            write_json({"stage": place, "chosen": chosen, "probe": scores}, self._note(place))
        return chosen

    def _easiest_first(self, place: int, names: Sequence[str]) -> list[str]:
        """Try the tasks for some epochs from the same encoder, and return them ordered by their difficulty."""
        from monai_cxrssl.files import write_json

        note = self.folder / f"{place}_difficulty.json"
        found: dict[str, float] = {}
        if note.is_file():
            found = json.loads(note.read_text(encoding="utf-8"))["difficulty"]
        idist.barrier()
        start = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        for name in names:
            if name in found:
                continue
            logger.info("Difficulty of %s: a trial of %d epochs, then thrown away.", name, self.difficulty_epochs)
            run, history = self._build(place, name, self.difficulty_epochs, b"trial")
            run.trainer.run()
            self.network.load_state_dict(start)
            found[name] = task_difficulty(name, history.rows[-1])
            if idist.get_rank() == 0:
                write_json({"epochs": self.difficulty_epochs, "difficulty": found}, note)
        # In the order of the names, by which ties are broken.
        order = easiest_first({name: found[name] for name in names})
        told = ", ".join(f"{name} {found[name]:.3f}" for name in order)
        logger.info("Order by difficulty (loss as a share of the trivial loss, no labels), easiest first: %s.", told)
        if self.summary is not None:
            self.summary.data |= {f"difficulty_{name}": found[name] for name in order}
        return order

    def _note(self, place: int) -> Path:
        return self.folder / f"{place}_choice.json"

    def _choice(self, place: int, left: Sequence[str]) -> str | None:
        """Return what an interrupted run chose among the stages that are left."""
        if not self._note(place).is_file():
            return None
        chosen = json.loads(self._note(place).read_text(encoding="utf-8"))["chosen"]
        return chosen if chosen in left else None

    def _probe_score(self) -> float:
        assert self.probe is not None
        score = self.probe.score()["linear"]["macro_auc"] if idist.get_rank() == 0 else 0.0
        return float(idist.broadcast(score, src=0)) if idist.get_world_size() > 1 else score  # type: ignore[arg-type]

    def _train(self, place: int, name: str, followed: bool) -> int:
        """Train a stage, or take what it left: the encoder and the rows of the history go on from there.

        Args:
            place: of the stage, from 1.
            name: of the stage.
            followed: fire the stage's events here too.

        Returns:
            The iterations that the stage took.
        """
        from monai_cxrssl.checkpoints.checkpoint import RunCheckpoint, save_atomically
        from monai_cxrssl.files import write_json
        from monai_cxrssl.handlers.monitors.curves import CurvesPlot
        from monai_cxrssl.networks.description import ENCODER_SETTINGS
        from monai_cxrssl.networks.weights.containers import read_weights
        from monai_cxrssl.networks.weights.header import put_description

        stage, epochs = self.stages[name], self.epochs[name]
        folder = self.folder / f"{place}_{name}"
        options = {"stage": name, "place": place, "epochs": epochs, "batch_size": stage.batch_size, "seed": self.seed}
        finished = folder / "metrics.json"
        if finished.is_file():
            left = json.loads(finished.read_text(encoding="utf-8"))
            self.network.load_state_dict(read_weights(folder / "encoder.pt"))
            self.history.rows.extend(left["rows"])
            self._keep_pairs({name: left[name] for name in ("multi_image_share",) if name in left})
            logger.info("Stage %d, %s, was finished before: taken from %s.", place, name, folder)
            return left.get("iterations", 0)
        logger.info("Stage %d of %d: %s, %d epochs.", place, len(self.stages), name, epochs)
        run, history = self._build(place, name, epochs)
        parts = {"method": run.method, "optimizer": run.optimizer, "lr_scheduler": run.lr_scheduler, "history": history}
        often: dict[str, Any] = {"every_minutes": self.checkpoint_minutes, "resume": self.resume}
        checkpoint = RunCheckpoint(folder / "checkpoints", parts, **often, settings=self.settings)
        if idist.get_rank() == 0:
            board = str(folder / "tensorboard")
            TensorBoardStatsHandler(log_dir=board, iteration_log=False, epoch_log=True).attach(run.trainer)
        for handler in (CurvesPlot(history, folder / "curves.png"), checkpoint):
            handler.attach(run.trainer)
        if followed:
            self._follow(run)
        run.trainer.run()
        done = self.history.rows[-1]["epoch"] if self.history.rows else 0
        rows = [{**row, "epoch": done + row["epoch"]} for row in history.rows]
        self.history.rows.extend(rows)
        self._keep_pairs(pairs := pair_figures(run.trainer.data_loader, epochs))
        if idist.get_rank() == 0:
            state = _cpu_state(self.network)
            said: dict[str, Any] = {key: self.settings[key] for key in ENCODER_SETTINGS if key in self.settings}
            save_atomically(put_description(state, said) if said else state, folder / "encoder.pt")
            # Written last: the folder counts as finished from here on.
            write_json(
                {
                    **(options | pairs),
                    "iterations": run.trainer.state.iteration,
                    "loss_first_epoch": rows[0]["loss"],
                    "loss_last_epoch": rows[-1]["loss"],
                    "seconds": sum(row["seconds"] for row in rows),
                    "rows": rows,
                },
                finished,
            )
        idist.barrier()
        return run.trainer.state.iteration

    def _keep_pairs(self, figures: Mapping[str, float]) -> None:
        if self.summary is not None:
            self.summary.data |= figures

    def _build(self, place: int, name: str, epochs: int, salt: bytes = b"") -> tuple[StageRun, RunHistory]:
        """Make a stage ready to train, its epochs recorded; those of another salt draw other random numbers."""
        from monai_cxrssl.handlers.monitors.history import RunHistory

        words = [self.seed, place, *name.encode(), *salt]
        seed = int(np.random.SeedSequence(words).generate_state(1, np.uint32)[0]) >> 1
        stage, workers = self.stages[name], self.num_workers
        run = stage.build(self.network, epochs, self.device, seed=seed, amp=self.amp, num_workers=workers)
        history = RunHistory(run.optimizer, {name: epochs})
        # Handlers that publish metrics come first; those that read the rows are attached after.
        for handler in [*self.train_handlers, history]:
            handler.attach(run.trainer)
        return run, history


def _cpu_state(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
