# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether an exported network says what the network says, and what 8 bits cost it, on films."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_cxrssl.apps.export.description import decoded_side
from monai_cxrssl.apps.export.onnx_export import ExportedNetwork, Runner
from monai_cxrssl.data.datalists.datalist import is_unknown
from monai_cxrssl.errors import ConfigurationError

__all__ = ["CheckFilms", "Int8Cost", "int8_cost", "largest_differences", "open_check_films", "torch_runner"]

#: Sizes of the batches that a check runs.
BATCH_SIZES = (1, 3)
PHANTOMS = 8


@dataclass(frozen=True)
class CheckFilms:
    """Films as the network sees them.

    Args:
        images: ``(N, 1, S, S)`` float32 in [0, 1].
        label: ``(N,)`` int64 with -1 for unknown, ``(N, C)`` float32 with NaN for unknown, or ``None`` where the films
            have no labels of the network's classes.
        name: what they are, for people.
    """

    images: np.ndarray
    label: np.ndarray | None
    name: str


def open_check_films(
    paths: Sequence[str], image_size: int, classes: Sequence[str], task: str, most: int = 64
) -> CheckFilms:
    """Read films and prepare them as the bundles do.

    Args:
        paths: one folder of a data set, or files; none for phantoms, drawn in memory.
        image_size: S, pixels.
        classes: of the network; labels of a data set count when its classes are these.
        task: ``"multi_class"`` or ``"multi_label"``.
        most: films to take: evenly spread over the data set's test split, or over all of it where it has none.

    Raises:
        ConfigurationError: a path does not exist, or folders and files are mixed.
        DatalistError: the folder holds no readable films.
    """
    from monai_cxrssl.data.stores.images import open_images
    from monai_cxrssl.transforms.spatial.resize import ResizeCXR

    resize = ResizeCXR(image_size)
    if not paths:
        planes, labels = _phantoms(image_size)
        from monai_cxrssl.phantom.findings import CLASSES

        known = task == "multi_class" and list(classes) == list(CLASSES)
        return CheckFilms(_stack([resize(plane) for plane in planes]), labels if known else None, "phantoms")
    items, known = _items(paths, classes, task)
    chosen = [items[k] for k in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]
    store = open_images(chosen, decoded_side(image_size), max_unreadable=0.999, progress=False)
    images = _stack([resize(store.image(index)[None]) for index in range(len(store))])
    found = [item.get("label") for item in store.items]
    if not known:
        return CheckFilms(images, None, "films")
    if task == "multi_class":
        return CheckFilms(images, np.array([-1 if is_unknown(k) else k for k in found], dtype=np.int64), "films")
    values = [
        [np.nan] * len(classes) if row is None else [np.nan if is_unknown(value) else value for value in row]
        for row in found
    ]
    return CheckFilms(images, np.array(values, dtype=np.float32), "films")


def _items(paths: Sequence[str], classes: Sequence[str], task: str) -> tuple[list[dict[str, Any]], bool]:
    """Datalist items, and whether their labels are of the network's classes."""
    from monai_cxrssl.data.sources.registry import index_folder

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


def _phantoms(image_size: int) -> tuple[list[np.ndarray], np.ndarray]:
    from monai_cxrssl.data.stores.small_film import shrink
    from monai_cxrssl.phantom.dataset import iter_patients
    from monai_cxrssl.phantom.render import render

    planes, labels = [], []
    for patient in iter_patients(PHANTOMS, size=2 * image_size):
        levels = (render(patient, 0).image[0] * 255).round().astype(np.uint8)
        planes.append(shrink(levels, decoded_side(image_size))[None])
        labels.append(patient.label)
    return planes, np.array(labels, dtype=np.int64)


def _stack(images: Sequence[torch.Tensor]) -> np.ndarray:
    return torch.stack(list(images)).numpy()


def torch_runner(network: ExportedNetwork) -> Runner:
    """Return a function from images to outputs by name, computed by the network itself."""

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = network(torch.from_numpy(images))
        return {name: value.numpy() for name, value in zip(network.output_names, outputs, strict=True)}

    return run


def largest_differences(exported: Runner, network: Runner, images: np.ndarray) -> dict[str, float]:
    """Return the largest absolute difference of each output over all films, in batches of 1 and of 3.

    Args:
        exported: what is checked.
        network: what it must equal.
        images: ``(N, 1, S, S)`` float32, N at least 1.

    Returns:
        By output; NaN where one side gives numbers that are not finite.
    """
    worst: dict[str, float] = {}
    for size in BATCH_SIZES:
        for start in range(0, len(images), size):
            # The last batch is filled up, so that every size is really run.
            batch = images[np.arange(start, start + size) % len(images)]
            expected, found = network(batch), exported(batch)
            for name, values in expected.items():
                # np.maximum keeps NaN.
                difference = np.abs(values.astype(np.float64) - found[name]).max()
                worst[name] = float(np.maximum(worst.get(name, 0.0), difference))
    return worst


@dataclass(frozen=True)
class Int8Cost:
    """What 8-bit quantisation changes, film by film.

    Args:
        differences: largest absolute difference of each output.
        auc: macro AUC in 32 and in 8 bits, or ``None`` without labels that allow one.
        mask_dice: mean Dice coefficient of the two masks at 0.5, or ``None`` without a mask; 1 where both are empty.
        milliseconds: median time of one film in 32 and in 8 bits.
    """

    differences: dict[str, float]
    auc: tuple[float, float] | None
    mask_dice: float | None
    milliseconds: tuple[float, float]


def int8_cost(full: Runner, quantized: Runner, films: CheckFilms) -> Int8Cost:
    """Compare a network with its 8-bit form, one film at a time, since the others of a batch change its result.

    Args:
        full: in 32 bits.
        quantized: in 8 bits.
        films: N at least 1.
    """
    from monai_cxrssl.metrics.ranking import macro_auc

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
        before, after = (macro_auc(scores["label"], films.label)[0] for scores in (one, other))
        auc = None if np.isnan(before) else (before, after)
    dice = None
    if "mask" in one:
        a, b = (scores["mask"].reshape(len(films.images), -1) > 0.5 for scores in (one, other))
        total = a.sum(1) + b.sum(1)
        dice = float(np.where(total > 0, 2 * (a & b).sum(1) / np.maximum(total, 1), 1.0).mean())
    return Int8Cost(
        differences={name: float(np.abs(one[name].astype(np.float64) - other[name]).max()) for name in one},
        auc=auc,
        mask_dice=dice,
        milliseconds=(float(np.median(times[0])), float(np.median(times[1]))),
    )
