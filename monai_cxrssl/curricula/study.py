# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of pretext orders, from pretraining to figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_cxrssl.curricula.analysis import Start, compare_starts
from monai_cxrssl.curricula.orders import Order, stage_plan
from monai_cxrssl.curricula.pretraining import Pretraining, PretrainingResult, run_pretrainings
from monai_cxrssl.curricula.scoring import ScoredStart, Scoring, command_words, digest_of
from monai_cxrssl.data.datalists.predictions import load_predictions
from monai_cxrssl.errors import CXRSSLError
from monai_cxrssl.label_efficiency.grid import run_cells
from monai_cxrssl.networks.weights.header import tensors_sha256
from monai_cxrssl.runs.pretraining_options import PretrainingOptions

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """Pretrainings, and models that are fine-tuned from each and compared."""

    curriculum: Path  #: config of the bundle that pretrains.
    options: PretrainingOptions  #: of every pretraining, resolved.
    words: tuple[str, ...]  #: the same as words of a command, with the data.
    data: str  #: hash of the images that are pretrained on.
    scoring: Scoring  #: how models are fine-tuned and looked at.
    fractions: Sequence[float]  #: of the labelled training patients.
    draws: int  #: samples of patients.

    def run(self, orders: Sequence[Order], inits: Sequence[str], lock: int | None = None) -> dict[str, Any]:
        """Run what is left of all; one run that fails does not stop the others.

        Args:
            inits: further starts, ``"imagenet"`` or paths of weights.
            lock: file descriptor that every run inherits.

        Returns:
            Plain JSON values: those of :func:`~monai_cxrssl.curricula.compare_starts`, ``pretrainings`` and
            ``failed``, a sentence for each run without a result.
        """
        runs = self.pretrainings(orders)
        results = run_pretrainings(runs, lock)
        failed = [
            f"{each.order}: {result.problem}" for each, result in zip(runs, results, strict=True) if result.problem
        ]
        starts = [_given_start("random"), *map(_given_start, inits)]
        kinds = ["scratch", *["given"] * len(inits)]
        for each, result in zip(runs, results, strict=True):
            if not result.problem:
                words = ("--pretrained", str(each.weights))
                starts.append(ScoredStart(str(each.order), each.order.folder, words, tensors_sha256(each.weights)))
                kinds.append(each.order.kind)
        cells = self.scoring.training_cells(starts, self.fractions, self.draws)
        trained = run_cells(cells, lock)
        evaluated = [cell for cell, end in zip(cells, trained, strict=True) if end.status == "finished"]
        evaluations = self.scoring.evaluation_cells(starts, evaluated)
        ends = run_cells(evaluations, lock)
        for cell, end in zip([*cells, *evaluations], [*trained, *ends], strict=True):
            if end.status != "finished":
                failed.append(f"{cell}: {end.problem} (see {cell.output})")
        names = {start.folder: start.name for start in starts}
        tables = {}
        for cell, end in zip(evaluations, ends, strict=True):
            if end.status == "finished":
                try:
                    table = load_predictions(cell.predictions)
                except CXRSSLError as error:
                    failed.append(f"{cell}: {error}")
                else:
                    tables[names[cell.folder.parent.name], cell.fraction, cell.draw] = table
        listed = [Start(start.name, kind) for start, kind in zip(starts, kinds, strict=True)]
        report = compare_starts(tables, listed, self.fractions, self.draws)
        for each, result in zip(runs, results, strict=True):
            if each.plan is None and not result.problem:
                found = json.loads((each.folder / "metrics.json").read_text(encoding="utf-8"))["found_order"]
                report["notes"].append(f"The {each.order} is {found.replace(', ', ' > ')}.")
        return {"pretrainings": list(map(_said, runs, results)), **report, "failed": failed}

    def pretrainings(self, orders: Sequence[Order]) -> list[Pretraining]:
        """Lay out the pretrainings.

        Raises:
            ConfigurationError: fewer epochs than stages.
        """
        configs = (self.curriculum, self.curriculum.with_name("recipes.json"))
        texts = [path.read_text(encoding="utf-8") for path in configs]
        out, runs = self.scoring.out, []
        for order in orders:
            folder = out / "pretraining" / order.folder
            command = command_words(
                self.curriculum, tasks=list(order.tasks), order=order.found_by, output_dir=folder,
                model_path=folder / "model.pt", seed=self.scoring.seed, cache_dir=out / "pretraining_cache",
                resume="auto",
            )  # fmt: skip
            key = digest_of([texts, self.words, self.scoring.seed, self.data, order.tasks, order.found_by])
            plan = stage_plan(order, self.options)
            runs.append(Pretraining(order, folder, (*command, *self.words), key, plan))
        return runs


def _given_start(init: str) -> ScoredStart:
    """A start that is not pretrained here."""
    if init == "random":
        return ScoredStart("scratch", "scratch", (), "")
    if init == "imagenet":
        return ScoredStart("ImageNet", "imagenet", ("--encoder_weights", "imagenet"), "imagenet")
    path = Path(init).expanduser().absolute()
    digest = tensors_sha256(path)
    # Two files may have one name.
    folder = f"{path.parent.name}_{path.stem}_{digest[:8]}".lstrip("._")
    return ScoredStart(str(init), folder, ("--pretrained", str(path)), digest)


def _said(run: Pretraining, result: PretrainingResult) -> dict[str, Any]:
    stages = None if run.plan is None else [{"stage": name, "epochs": epochs} for name, epochs in run.plan]
    return {
        "order": str(run.order), "kind": run.order.kind, "stages": stages, "shared_stages": result.shared,
        "seconds": result.seconds, "problem": result.problem, "command": list(run.command),
    }  # fmt: skip
