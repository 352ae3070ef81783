# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning on images labelled in MONAI Label, in its own process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_cxrssl.apps.monai_label.bundle_folders import BundleFolder
from monai_cxrssl.apps.monai_label.labelled import labelled_datalist
from monai_cxrssl.errors import ConfigurationError, TrainingError
from monai_cxrssl.files import new_folder
from monai_cxrssl.handlers.run_model import place_model
from monai_cxrssl.networks.settings import read_encoder_arguments

__all__ = ["train_on_labels"]

logger = logging.getLogger(__name__)

LARGEST_BATCH = 16


def train_on_labels(
    bundle: BundleFolder,
    pairs: Sequence[Mapping[str, str]],
    work: Path,
    max_epochs: int = 40,
    seed: int = 0,
    device: str | None = None,
    pretrained: bool = True,
) -> dict[str, Any]:
    """Run the bundle's own training from its present weights, and put the new weights in their place.

    Everything the run writes stays in ``work/<time>``: ``datalist.json``, ``metrics.json`` (measured on the test
    images), curves, predictions. The weights that were replaced are kept beside the new ones, in ``previous/<time>``.
    Lines of its log go to this log.

    Args:
        bundle: a bundle that segments lungs.
        pairs: ``{"image": path, "label": path of the mask}`` of the labelled images.
        work: folder of this bundle's trainings.
        device: such as ``"cpu"`` or ``"cuda:0"``; by default the bundle's choice.
        pretrained: start from the present weights, else from random ones.

    Returns:
        ``metrics.json`` and ``folder``, where it all is.

    Raises:
        ConfigurationError: the bundle also classifies, which masks alone do not teach.
        DatalistError: too few labelled patients.
        TrainingError: the run failed; the weights are as they were.
    """
    if not bundle.trains:
        raise ConfigurationError(
            f"{bundle.name} learns more than lung masks, and labels of MONAI Label are masks; fine-tune it with its "
            "train.json, or train a bundle that only segments."
        )
    run = new_folder(work)
    datalist = labelled_datalist(pairs, run / "datalist.json", work / "splits.json", bundle.weights)
    films = len(json.loads(datalist.read_text(encoding="utf-8"))["training"])
    # Labelled images are few, and so are the steps: an average over hundreds of steps would be the old weights.
    options: dict[str, Any] = {
        "datalist": datalist, "output_dir": run, "model_path": run / "model.pt",
        **{name: bundle.setting(name) for name in ("encoder_name", "image_size", "decoder")},
        "max_epochs": max_epochs, "batch_size": max(1, min(LARGEST_BATCH, films)), "average_momentum": 0.9,
        "num_workers": 0, "seed": seed,
    }  # fmt: skip
    arguments = read_encoder_arguments(bundle.weights)
    options |= {"encoder_arguments": arguments} if arguments else {}
    options |= {"pretrained": bundle.weights} if pretrained else {}
    options |= {"device": device} if device else {}
    _run(bundle.path, options)
    place_model(run / "model.pt", bundle.weights)
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    logger.info("%s infers by new weights; dice %.3f on the test images: %s", bundle.name, figures["dice"], run)
    return {**figures, "folder": str(run)}


def _run(bundle: Path, options: Mapping[str, Any]) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.json"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    # A bar is one line in a log each time it is drawn.
    environment = {**os.environ, "TQDM_MININTERVAL": "10", "PYTHONUNBUFFERED": "1"}
    last: deque[str] = deque(maxlen=5)
    with subprocess.Popen(
        command, cwd=bundle, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                last.append(line.strip())
                logger.info("%s", line.rstrip())
    if process.returncode:
        raise TrainingError(
            f"The training in {options['output_dir']} ended with status {process.returncode}; the bundle keeps its "
            f"weights. Its last lines: {' / '.join(last)}"
        )
