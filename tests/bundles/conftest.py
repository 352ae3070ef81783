# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run bundles as a person does: by the command line, from the files in the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_cxrssl.networks import Encoder
from monai_cxrssl.phantom import make_phantom_dataset


@pytest.fixture(scope="session")
def run_bundle(repo, warm_python) -> Callable[..., subprocess.CompletedProcess]:
    """``run_bundle("bundles/micle/train.json", "--seed", "7")``; output is captured, the status not judged."""

    def run(config: str, *options: object, cwd: Path = repo, processes: int = 1) -> subprocess.CompletedProcess:
        words = ("-m", "monai.bundle", "run", "--config_file", config, *options)
        return warm_python.run(words, cwd) if processes == 1 else warm_python.run_job(words, cwd, processes)

    return run


@pytest.fixture(scope="session")
def default_phantom(made_once) -> Callable[[Path], None]:
    """Put the phantom data set of a default run, drawn once, where the run in that output folder would draw it."""
    drawn = made_once("default_phantom", lambda folder: make_phantom_dataset(folder, patients=320, size=160))

    def put(output_dir: Path) -> None:
        shutil.copytree(drawn, output_dir / "phantom", copy_function=os.link)

    return put


@pytest.fixture(scope="session")
def pretrained(made_once) -> Path:
    """An encoder's weights, as a pretraining bundle leaves them."""

    def make(folder: Path) -> None:
        torch.manual_seed(5)
        torch.save(Encoder("resnet18").state_dict(), folder / "model.pt")

    return made_once("pretrained", make) / "model.pt"


def fine_tuning_options(folder, data=None) -> list[object]:
    """Of a run that takes seconds and need not learn."""
    where = [] if data is None else ["--dataset_dir", data]
    return [
        *where, "--output_dir", folder, "--model_path", folder / "model.pt", "--encoder_name", "resnet18",
        "--image_size", 64, "--batch_size", 16, "--max_epochs", 2, "--recipe", "short", "--num_workers", 0,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def fine_tuned(made_once, run_bundle, phantom_dir, pretrained) -> Callable[[str], Path]:
    """``fine_tuned("multitask")``: folder of a finished run on the phantom, with what it said in out.txt and err.txt."""

    def trained(name: str) -> Path:
        def make(folder: Path) -> None:
            options = fine_tuning_options(folder, phantom_dir)
            # In bfloat16 another batch size rounds otherwise, and evaluations are compared.
            result = run_bundle(f"bundles/{name}/train.json", *options, "--pretrained", pretrained, "--amp", False)
            assert result.returncode == 0, result.stderr[-3000:]
            (folder / "out.txt").write_text(result.stdout)
            (folder / "err.txt").write_text(result.stderr)

        return made_once(name, make)

    return trained
