# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Numeric check of an exported network against PyTorch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_cxrssl.apps.export.onnx_export import Runner
from monai_cxrssl.data.sampling.pretext import ImageDataset
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.data.stores.images import open_images
from monai_cxrssl.data.stores.small_film import decoded_side, shrink
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.metrics.ranking import macro_auc
from monai_cxrssl.metrics.segmentation import overlap_per_image
from monai_cxrssl.phantom.dataset import iter_patients
from monai_cxrssl.phantom.findings import CLASSES
from monai_cxrssl.phantom.render import render
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["CheckFilms", "Int8Cost", "int8_cost", "largest_differences", "open_check_films"]

BATCH_SIZES = (1, 3)
PHANTOMS = 8


@dataclass(frozen=True)
class CheckFilms:
    """Images as the network sees them, with their ``name`` for people.

    Args:
        images: ``(N, 1, S, S)`` float32 in [0, 1].
        label: ``(N,)`` int64 with -1 for unknown, ``(N, C)`` float32 with NaN for unknown, or ``None`` where the images
            have no labels of the network's classes.
    """

    images: np.ndarray
    label: np.ndarray | None
    name: str


def open_check_films(
    paths: Sequence[str], image_size: int, classes: Sequence[str], task: str, most: int = 64
) -> CheckFilms:
    """Read images and prepare them as the bundles do.

    Args:
        paths: one folder of a data set, or files; none for phantoms, drawn in memory.
        image_size: S, pixels.
        classes: of the network; a data set's labels count when its classes and its task are these.
        task: ``"multi_class"`` or ``"multi_label"``.
        most: images to take: evenly spread over the data set's test split, or over all of it where it has none.

    Raises:
        ConfigurationError: a path does not exist, or folders and files are mixed.
        DatalistError: the folder holds no readable images.
    """
    if not paths:
        return _phantoms(image_size, classes, task)
    items, known = _items(paths, classes, task)
    chosen = [items[k] for k in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]
    store = open_images(chosen, decoded_side(image_size), max_unreadable=0.999, progress=False)
    resize = ResizeCXR(image_size)
    images = torch.stack([resize(store.image(index)[None]) for index in range(len(store))]).numpy()
    label = ImageDataset(store, resize, task, len(classes)).labels if known else None
    return CheckFilms(images, label, "images")


def _items(paths: Sequence[str], classes: Sequence[str], task: str) -> tuple[list[dict[str, Any]], bool]:
    """Datalist items, and whether their labels are of the network's classes."""
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise ConfigurationError(f"--check_images {missing[0]} does not exist; give a folder or files of X-rays.")
    if len(paths) == 1 and Path(paths[0]).is_dir():
        data = index_folder(paths[0])
        items = list(data.items("test")) or [item for split in data.splits for item in data.items(split)]
        return items, bool(classes) and list(data.classes) == list(classes) and data.task == task
    if any(Path(path).is_dir() for path in paths):
        raise ConfigurationError("--check_images names a folder among other paths; give one folder, or files.")
    return [{"image": str(Path(path).absolute()), "patient_id": str(k)} for k, path in enumerate(paths)], False


def _phantoms(image_size: int, classes: Sequence[str], task: str) -> CheckFilms:
    resize, patients = ResizeCXR(image_size), list(iter_patients(PHANTOMS, size=2 * image_size))
    levels = [(render(patient, 0).image[0] * 255).round().astype(np.uint8) for patient in patients]
    images = torch.stack([resize(shrink(plane, decoded_side(image_size))[None]) for plane in levels]).numpy()
    known = task == "multi_class" and list(classes) == list(CLASSES)
    label = np.array([patient.label for patient in patients], dtype=np.int64)
    return CheckFilms(images, label if known else None, "phantoms")


def largest_differences(exported: Runner, network: Runner, images: np.ndarray) -> dict[str, float]:
    """Return each output's largest absolute difference over ``images`` ``(N, 1, S, S)`` float32, in batches of 1 and 3.

    It is NaN where one side gives numbers that are not finite.
    """
    worst: dict[str, float] = {}
    for size in BATCH_SIZES:
        for start in range(0, len(images), size):
            # The last batch is filled up, so that every size is really run.
            batch = images[np.arange(start, start + size) % len(images)]
            expected, found = network(batch), exported(batch)
            for name, values in expected.items():
                difference = np.abs(values.astype(np.float64) - found[name]).max()
                worst[name] = float(np.maximum(worst.get(name, 0.0), difference))  # keeps NaN
    return worst


@dataclass(frozen=True)
class Int8Cost:
    """What 8-bit quantisation changes, image by image.

    Args:
        differences: largest absolute one of each output.
        auc: macro AUC in 32 and in 8 bits, or ``None`` without labels that allow one.
        mask_dice: mean Dice coefficient of the two masks at 0.5 (1 where both are empty), or ``None`` without a mask.
        milliseconds: median time of one image in 32 and in 8 bits.
    """

    differences: dict[str, float]
    auc: tuple[float, float] | None
    mask_dice: float | None
    milliseconds: tuple[float, float]


def int8_cost(full: Runner, quantized: Runner, films: CheckFilms) -> Int8Cost:
    """Compare a network with its 8-bit form, one image at a time, since the others of a batch change its result."""
    results: tuple[list[dict[str, np.ndarray]], ...] = ([], [])
    times: tuple[list[float], ...] = ([], [])
    for image in films.images[:1].repeat(3, axis=0):  # warms both up
        full(image[None])
        quantized(image[None])
    for image in films.images:
        for runner, outputs, taken in zip((full, quantized), results, times, strict=True):
            started = time.perf_counter()
            outputs.append(runner(image[None]))
            taken.append((time.perf_counter() - started) * 1000)
    one, other = ({name: np.concatenate([row[name] for row in rows]) for name in rows[0]} for rows in results)
    auc = None
    if films.label is not None and "label" in one:
        full_auc, quantized_auc = (macro_auc(scores["label"], films.label)[0] for scores in (one, other))
        auc = None if np.isnan(full_auc) else (full_auc, quantized_auc)
    dice = None
    if "mask" in one:
        masks, others = (torch.from_numpy(scores["mask"] > 0.5).flatten(1)[:, None, None] for scores in (one, other))
        dice = float(overlap_per_image(masks, others).mean())
    differences = {name: float(np.abs(one[name].astype(np.float64) - other[name]).max()) for name in one}
    return Int8Cost(differences, auc, dice, (float(np.median(times[0])), float(np.median(times[1]))))
