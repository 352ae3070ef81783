# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The pretraining that the benchmarks of real X-rays compare: every pretext method from its bundle, on one corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from monai_cxrssl.data import Datalist, save_datalist
from monai_cxrssl.files import write_json

__all__ = ["CNN", "ROOT", "RUNS", "VIT", "Run", "file_name", "pretrain", "write_corpus"]

ROOT = Path(__file__).parents[1]
CNN, VIT = "resnet18", "tu-vit_tiny_patch16_224"
VIEWS = {"crop_scale": "[0.3,1.0]", "rotation": 15.0, "jitter": 0.5}


class Run(NamedTuple):
    """One pretraining.

    Attributes:
        name: of the method, as tables show it.
        bundle: folder in ``bundles/``.
        encoder: name of the encoder's architecture.
        options: of the bundle, beside those that all runs share.
    """

    name: str
    bundle: str
    encoder: str
    options: dict[str, Any]


#: All have one set of views, chosen before anything was scored on test films.
RUNS = [
    Run("SimCLR", "simclr", CNN, {}),
    Run("MICLe", "micle", CNN, {}),
    Run("MoCo v2", "moco", CNN, {"queue_length": 512, "momentum": 0.95}),
    Run("rotation → jigsaw → MoCo v2", "curricular", CNN,
        {"tasks": "['rotation','jigsaw','moco']", "shares": "{'rotation':1,'jigsaw':1,'moco':3}",
         "queue_length": 512, "momentum": 0.95, "jigsaw_permutations": 100}),
    Run("inpainting-CXR", "inpainting", CNN, {}),
    Run("SPCXR (GMML)", "spcxr", VIT, {}),
    Run("rotation", "curricular", CNN, {"tasks": "['rotation']"}),
    Run("jigsaw", "curricular", CNN, {"tasks": "['jigsaw']", "jigsaw_permutations": 100}),
]  # fmt: skip


def file_name(name: str) -> str:
    """Name of a run as part of a path."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def write_corpus(items: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write the films of pretraining as a datalist without labels; patients are told apart by source."""
    corpus = []
    for given in items:
        item = dict(given)
        item["patient_id"] = f"{item.get('source')}/{item['patient_id']}"
        item.pop("label", None)
        corpus.append(item)
    empty = Datalist("real X-rays, unlabeled", [], "multi_class", {"training": corpus, "validation": [], "test": []})
    save_datalist(empty, path)


def pretrain(
    run: Run,
    folder: Path,
    work: Path,
    image_size: int,
    batch_size: int,
    epochs: int,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    **further: Any,
) -> Path:
    """Run a bundle on ``work/corpus.json``, unless it has been, and leave what it cost in ``folder/cost.json``.

    Args:
        run: what to train.
        folder: where its files go.
        work: holds the corpus, and gets the cache of decoded films.
        image_size: side of the views in pixels.
        batch_size: films per step.
        epochs: over the corpus.
        environment: variables of the bundle's process, by default those of this one.
        log: file for what the bundle prints, by default the terminal.
        further: options of the bundle for all runs.

    Returns:
        The encoder's weights.
    """
    weights = folder / "model.pt"
    if weights.is_file() and (folder / "metrics.json").is_file():
        return weights
    settings = {
        "datalist": work / "corpus.json", "output_dir": folder, "model_path": weights, "recipe": "short",
        "encoder_name": run.encoder, "image_size": image_size, "batch_size": batch_size,
        "max_epochs": epochs, "cache_dir": work / "cache", "seed": 0, "resume": "auto",
        **VIEWS, **run.options, **further,
    }  # fmt: skip
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"bundles/{run.bundle}/train.json"]
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    resumed = folder.exists()
    with open(log, "a", encoding="utf-8") if log else nullcontext() as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=None if environment is None else dict(environment), stdout=stream, stderr=stream
        )
        try:
            # The processor time of this child and of those that it waited for, whatever else runs on the machine.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()  # it writes a checkpoint and ends
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        where = "" if log is None else f"; its last words are in {log}"
        raise RuntimeError(f"The bundle of {run.name} ended with exit status {process.returncode}{where}.")
    write_json({"core_seconds": usage.ru_utime + usage.ru_stime, "resumed": resumed}, folder / "cost.json")
    return weights
