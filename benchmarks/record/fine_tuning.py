# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of a unit by the package's own recipes, one run of a bundle per cell."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_labels import forward

from monai_cxrssl.data import load_predictions, save_datalist
from monai_cxrssl.metrics import lung_area_fraction, pointing_game, positive_fraction_of_saliency
from monai_cxrssl.networks import MultiTaskNet, load_trained_network
from monai_cxrssl.probing import attention_method, saliency_maps
from record.cells import Cell
from record.films import Films
from record.pretraining import run_bundle
from record.rows import VIT, Unit
from record.tasks import Tasks

__all__ = ["ATTENTION_FILMS", "fine_tune"]

#: Test images with human lungs on which attention is measured.
ATTENTION_FILMS = 150


def fine_tune(
    unit: Unit, cell: Cell, weights: Path | None, tasks: Tasks, films: Films, work: Path, settings: Mapping[str, Any]
) -> tuple[float, dict[str, Any]]:
    """Fine-tune, score the test images, and return the seconds of the run and the arrays of the cell.

    Learning rates, decay, linear probe first and average are those of the encoder's family; weights are chosen on the
    validation split, which has as small a share of the labels as training.
    """
    labelled = cell.task in tasks.labelled
    task: Any = tasks.labelled[cell.task] if labelled else tasks.masked[cell.task]
    data = task.kept(cell.amount if labelled else int(cell.amount), unit.seed)
    folder = work / "fine_tuning" / unit.folder / Path(cell.file).stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_datalist(data, folder / "datalist.json")
    options: dict[str, Any] = {
        "datalist": folder / "datalist.json", "output_dir": folder / "run", "model_path": folder / "model.pt",
        "recipe": "full", "encoder_name": unit.row.encoder, "image_size": settings["image_size"],
        "batch_size": settings["batch"], "max_steps": settings["steps" if labelled else "mask_steps"],
        "cache_dir": work / "cache", "num_workers": 0, "seed": unit.seed,
    }  # fmt: skip
    bundle = {"with-lungs": "multitask"}.get(cell.protocol, "classification" if labelled else "lung_segmentation")
    if bundle != "classification":
        options |= {"decoder": "DPT" if unit.row.encoder == VIT else "Unet", "mask": "lung" if labelled else task.mask}
    if weights is not None:
        options["pretrained"] = weights
    seconds = run_bundle(bundle, options, folder / "log.txt")
    predictions = load_predictions(folder / "run" / "predictions.csv")
    place = {item["image"]: index for index, item in enumerate(predictions.items)}
    order = [place[item["image"]] for item in data.items("test")]
    if labelled:
        found: dict[str, Any] = {"scores": predictions.scores[order][None]}
        network, _ = load_trained_network(folder / "model.pt", return_dict=False)
        if bundle == "classification":
            if cell.task == "kermany":
                found |= _attention(network, films, tasks.masked["lungs"].data.items("test")[:ATTENTION_FILMS])
            if cell.amount == 1:
                found["shift"] = _shifted(network, films, tasks, cell)
    else:
        found = {"dice": predictions.measures["dice"][order]}
    shutil.rmtree(folder)
    return seconds, found


def _attention(network: MultiTaskNet, films: Films, items: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return where the network looks, for the class that it predicts: each image's saliency on its lungs."""
    masks = films.lungs(items)
    method, layer = attention_method(network)
    maps = torch.cat([saliency_maps(network, part, None, method, layer) for part in films.resized(items).split(32)])
    return {
        "on_lungs": positive_fraction_of_saliency(maps, masks).numpy(),
        "chance": lung_area_fraction(masks).numpy(),
        "pointing": pointing_game(maps, masks).float().numpy(),
    }


def _shifted(network: MultiTaskNet, films: Films, tasks: Tasks, cell: Cell) -> np.ndarray:
    """Return probabilities ``(1, N, 2)`` of pneumonia of the other task's test images."""
    other = next(task for key, task in tasks.labelled.items() if key != cell.task)
    logits = forward(network, films.resized(other.data.items("test")))
    normal = torch.softmax(torch.from_numpy(logits).double(), 1).numpy()[:, :1]
    return np.concatenate([normal, 1 - normal], axis=1)[None]
