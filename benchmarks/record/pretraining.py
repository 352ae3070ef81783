# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of a unit by its bundle, with snapshots on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_cxrssl.files import write_json
from record.rows import IMAGENET, Unit, imagenet_file

__all__ = ["ROOT", "environment", "pretrain", "run_bundle", "starting_weights"]

ROOT = Path(__file__).parents[2]
#: Where on its way a pretraining is probed, beside before and after.
SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def starting_weights(unit: Unit) -> Path | None:
    """Return the file that a unit starts from, ``None`` for random weights."""
    return imagenet_file() if unit.row.start == IMAGENET else None


def environment() -> dict[str, str]:
    """Return the variables of a process with one thread and without a GPU."""
    paths = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **dict.fromkeys(_THREADS, "1"), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}


def run_bundle(bundle: str, options: Mapping[str, Any], log: Path, overlay: Mapping[str, Any] | None = None) -> float:
    """Run a bundle in a process of its own and return its processor time in seconds.

    Args:
        bundle: folder in ``bundles/``.
        options: by name.
        log: file for what it prints.
        overlay: further config, laid over ``train.json``.

    Raises:
        RuntimeError: it failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    files = [f"bundles/{bundle}/configs/train.json"]
    if overlay:
        files.append(str(log.with_suffix(".overlay.json")))
        write_json(dict(overlay), files[-1])
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files) if overlay else files[0]]
    for key, value in options.items():
        command += [f"--{key}", str(value)]
    with open(log, "a", encoding="utf-8") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=stream, stderr=stream)
        try:
            # The processor time of this child and of those that it waited for, whatever else runs on the machine.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()  # it writes a checkpoint and ends
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"The bundle {bundle} ended with exit status {process.returncode}; its words are in {log}.")
    return usage.ru_utime + usage.ru_stime


def pretrain(unit: Unit, work: Path, settings: Mapping[str, Any], films: int) -> Path | None:
    """Pretrain a unit on ``work/corpus.json``, unless it has been, and return its weights, or those it starts from.

    What it cost, its steps and its losses go to ``pretraining.json`` beside its cells.
    """
    row = unit.row
    if not row.bundle:
        return starting_weights(unit)
    folder = work / "pretraining" / unit.folder
    weights, record = folder / "model.pt", work / "cells" / unit.folder / "pretraining.json"
    if weights.is_file() and (folder / "done.json").is_file():
        return weights
    epochs = max(1, round(row.epochs * settings["epochs_share"]))
    stages = len(row.options.get("tasks", ())) or 1 + (row.bundle == "micle")
    epochs = max(epochs, stages)
    batch = min(settings["pretraining_batch"], films)
    steps = [max(1, round(share * epochs * (films // batch))) for share in SHARES]
    options: dict[str, Any] = {
        "datalist": work / "corpus.json", "output_dir": folder, "model_path": weights, "recipe": "short",
        "encoder_name": row.encoder, "image_size": settings["image_size"], "batch_size": batch, "max_epochs": epochs,
        "cache_dir": work / "cache", "num_workers": 0, "seed": unit.seed, "resume": "auto", **row.options,
    }  # fmt: skip
    if start := starting_weights(unit):
        options["pretrained"] = start
    if options.get("teacher_weights") == IMAGENET:
        options["teacher_weights"] = imagenet_file()
    follow = f"$follow(@train#trainer, @network_def, {str(folder / 'snapshots')!r}, {steps})"
    overlay = {"+imports": ["$from record.snapshots import follow"], "+initialize": [follow]}
    resumed = folder.exists()
    seconds = run_bundle(row.bundle, options, work / "logs" / f"{row.folder}_{unit.seed}.txt", overlay)
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    losses = json.loads((folder / "snapshots" / "losses.json").read_text(encoding="utf-8"))["losses"]
    told = {name: figures[name] for name in ("trivial_loss", "reconstruction_loss") if name in figures}
    content = {"core_seconds": round(seconds, 1), "resumed": resumed, "epochs": epochs, "films": films, "batch": batch,
               "steps": losses[-1][0] if losses else 0, "losses": losses, **told}  # fmt: skip
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for checkpoints in folder.glob("stages/*/checkpoints"):
        shutil.rmtree(checkpoints)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(content, record)
    write_json({}, folder / "done.json")
    return weights
