# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretext tasks one after another, the encoder handed on.

Sources: I. de Andrés Tamé et al., "Self-Supervised Curricular Deep Learning for Chest X-Ray Image Classification",
arXiv 2301.10687, and its predecessor, arXiv 2112.12086: several pretext tasks in sequence, ordered by a simple method.
How the order is found here, by a probe on validation data after each candidate, is our choice.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import numpy as np
import torch
from monai.handlers import TensorBoardStatsHandler
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.runs.stage import PretextStage

if TYPE_CHECKING:
    from monai_cxrssl.handlers.monitors.curves import CurvesPlot
    from monai_cxrssl.handlers.monitors.history import RunHistory
    from monai_cxrssl.handlers.monitors.online_probe import OnlineProbe
    from monai_cxrssl.handlers.pretraining_summary import PretrainingSummary

__all__ = ["Curriculum", "divide_epochs"]

logger = logging.getLogger(__name__)


def divide_epochs(total: int, shares: Sequence[float]) -> list[int]:
    """Divide epochs by shares, at least one to each, the rest by largest remainder.

    Raises:
        ConfigurationError: fewer epochs than shares.

    Example:
        >>> divide_epochs(10, [1, 1, 3])
        [2, 2, 6]
    """
    if total < len(shares):
        raise ConfigurationError(f"--max_epochs is {total}, which is less than one for each of {len(shares)} stages.")
    exact = np.array(shares, dtype=float) / sum(shares) * total
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: total - whole.sum()]] += 1
    while whole.min() < 1:
        whole[whole.argmax()] -= 1
        whole[whole.argmin()] += 1
    return [int(epochs) for epochs in whole]


class Curriculum:
    """Train an encoder by stages, in the order given or in one found step by step.

    Every stage leaves a folder in ``<output_dir>/stages``: ``1_rotation/encoder.pt``, ``metrics.json``, ``curves.png``
    and its checkpoints. With ``order="greedy"`` all stages that are left are tried from the same encoder, the one with
    the best probe is kept, and the step's scores go to ``1_choice.json``; the cost is that of n (n + 1) / 2 stages.

    Killed and resumed, a curriculum goes on in the stage it was in, from that stage's last checkpoint, and ends with
    the weights of an uninterrupted run (same machine, same options).

    Args:
        network: the encoder, trained in place.
        stages: the stages.
        max_epochs: of all stages together; divided by their shares.
        device: where to compute.
        output_dir: of the run.
        history: takes the epochs of all stages, in order.
        order: ``"given"`` or ``"greedy"``.
        probe: scores the frozen encoder after each stage; ``"greedy"`` cannot do without.
        summary: written at the end.
        curves: drawn at the end.
        train_handlers: attached to each stage's trainer, one after the other; they must not keep state over stages.
        amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.
        num_workers: see :func:`monai_cxrssl.data.worker_count`.
        checkpoint_minutes: minutes between checkpoints within a stage.
        resume: ``False``, which sets an earlier run's stages aside, or ``"auto"``.
        seed: of the run; every stage has its own, made of it, the stage's place and name.

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
    ) -> None:
        names = [stage.name for stage in stages]
        if not names:
            raise ConfigurationError("A curriculum needs at least one stage.")
        if len(set(names)) < len(names):
            raise ConfigurationError(f"Two stages have one name: {', '.join(names)}. Give each its own.")
        if order not in ("given", "greedy"):
            raise ConfigurationError(f"The order of a curriculum is 'given' or 'greedy', not {order!r}.")
        if order == "greedy" and (probe is None or not len(probe.dataset)):
            raise ConfigurationError(
                "A greedy curriculum chooses by a probe, and there are no labelled images to probe. Give labelled "
                "data, or an order by hand."
            )
        if str(resume).lower() not in ("false", "none", "", "auto", "true"):
            raise ConfigurationError(
                f"A curriculum resumes from its own folder: --resume is auto or false, not {resume}."
            )
        self.network = network
        self.stages = {stage.name: stage for stage in stages}
        self.epochs = dict(zip(names, divide_epochs(int(max_epochs), [s.share for s in stages]), strict=True))
        self.device = torch.device(device)
        self.folder = Path(output_dir) / "stages"
        self.history = history
        self.order = order
        self.probe = probe
        self.summary = summary
        self.curves = curves
        self.train_handlers = list(train_handlers)
        self.amp = amp
        self.num_workers = num_workers
        self.checkpoint_minutes = checkpoint_minutes
        self.resume = "auto" if str(resume).lower() in ("auto", "true") else False
        self.seed = int(seed)

    def run(self) -> None:
        """Train all stages; those that an interrupted run finished are taken from its folder."""
        if not self.resume and idist.get_rank() == 0:
            self._set_aside()
        if self.summary is not None and idist.get_rank() == 0:
            self.summary.model.announce()
        idist.barrier()
        self.network.to(self.device)
        self._score(0)
        if self.order == "greedy":
            self._probe_score()  # raises where there are too few labelled patients: before training, not after a stage
        left = list(self.stages)
        place = 0
        while left:
            place += 1
            tier = min(self.stages[name].tier for name in left)
            ready = [name for name in left if self.stages[name].tier == tier]
            name = self._choose(place, ready) if self.order == "greedy" else ready[0]
            self._train(place, name)
            left.remove(name)
            self._score(self.history.rows[-1]["epoch"])
        if idist.get_rank() == 0:
            if self.curves is not None:
                self.curves.draw()
            if self.summary is not None:
                self.summary.write()

    def _set_aside(self) -> None:
        if not self.folder.exists():
            return
        number = 1
        while (old := self.folder.with_name(f"stages_before_{number}")).exists():
            number += 1
        self.folder.rename(old)
        logger.info("The stages of an earlier run were moved to %s.", old)

    def _score(self, epoch: int) -> None:
        if self.probe is not None:
            self.probe.record(epoch)

    def _choose(self, place: int, left: Sequence[str]) -> str:
        """Try every stage that may come next from the same encoder and return the name of the best."""
        note = self.folder / f"{place}_choice.json"
        if len(left) == 1:
            return left[0]
        if note.is_file():
            chosen = json.loads(note.read_text(encoding="utf-8"))["chosen"]
            if chosen in left:
                return chosen
        start = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        rows, scores = list(self.history.rows), {}
        for name in left:
            self._train(place, name)
            scores[name] = self._probe_score()
            # The next candidate starts where this one did.
            self.network.load_state_dict(start)
            self.history.rows = list(rows)
        chosen = max(left, key=lambda name: scores[name])
        told = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
        logger.info("Stage %d: %s comes next; linear probe after each candidate: %s.", place, chosen, told)
        if idist.get_rank() == 0:
            from monai_cxrssl.files import write_json

            write_json({"stage": place, "chosen": chosen, "probe": scores}, note)
        return chosen

    def _probe_score(self) -> float:
        assert self.probe is not None
        score = self.probe.score()["linear"]["macro_auc"] if idist.get_rank() == 0 else 0.0
        return float(idist.broadcast(score, src=0)) if idist.get_world_size() > 1 else score  # type: ignore[arg-type]

    def _train(self, place: int, name: str) -> None:
        """Train a stage, or take what it left: the encoder and the rows of the history go on from there."""
        from monai_cxrssl.checkpoints.checkpoint import RunCheckpoint, save_atomically
        from monai_cxrssl.files import write_json
        from monai_cxrssl.handlers.monitors.curves import CurvesPlot
        from monai_cxrssl.handlers.monitors.history import RunHistory
        from monai_cxrssl.networks.pretrained import load_state_dict_file

        stage, epochs = self.stages[name], self.epochs[name]
        folder = self.folder / f"{place}_{name}"
        options = {"stage": name, "place": place, "epochs": epochs, "batch_size": stage.batch_size, "seed": self.seed}
        finished = folder / "metrics.json"
        if finished.is_file():
            left = json.loads(finished.read_text(encoding="utf-8"))
            other = [key for key, value in options.items() if left.get(key) != value]
            if other:
                raise ConfigurationError(
                    f"{folder} holds a stage of other options ({', '.join(other)}). Resume with the same ones, or use "
                    "another --output_dir."
                )
            self.network.load_state_dict(load_state_dict_file(folder / "encoder.pt"))
            self.history.rows.extend(left["rows"])
            logger.info("Stage %d, %s, was finished before: taken from %s.", place, name, folder)
            return
        logger.info("Stage %d of %d: %s, %d epochs.", place, len(self.stages), name, epochs)
        words = [self.seed, place, *name.encode()]
        run = stage.build(
            self.network,
            epochs,
            self.device,
            seed=int(np.random.SeedSequence(words).generate_state(1, np.uint32)[0]) >> 1,
            amp=self.amp,
            num_workers=self.num_workers,
        )
        history = RunHistory(run.optimizer, {name: epochs})
        parts = {"method": run.method, "optimizer": run.optimizer, "lr_scheduler": run.lr_scheduler, "history": history}
        checkpoint = RunCheckpoint(
            folder / "checkpoints", parts, every_minutes=self.checkpoint_minutes, resume=self.resume
        )
        handlers = [*self.train_handlers]
        if idist.get_rank() == 0:
            board = folder / "tensorboard"
            handlers.append(TensorBoardStatsHandler(log_dir=str(board), iteration_log=False, epoch_log=True))
        # Handlers that publish metrics come first, the history next, and those that read its rows after it.
        for handler in [*handlers, history, CurvesPlot(history, folder / "curves.png"), checkpoint]:
            handler.attach(run.trainer)
        run.trainer.run()
        done = self.history.rows[-1]["epoch"] if self.history.rows else 0
        rows = [{**row, "epoch": done + row["epoch"]} for row in history.rows]
        self.history.rows.extend(rows)
        if idist.get_rank() == 0:
            save_atomically(_cpu_state(self.network), folder / "encoder.pt")
            # Written last: the folder counts as finished from here on.
            write_json({**options, "loss_first_epoch": rows[0]["loss"], "loss_last_epoch": rows[-1]["loss"],
                        "seconds": sum(row["seconds"] for row in rows), "rows": rows}, finished)  # fmt: skip
        idist.barrier()


def _cpu_state(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
