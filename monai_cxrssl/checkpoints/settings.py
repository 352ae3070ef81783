# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of a run's settings with those of its checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_cxrssl.errors import ConfigurationError

__all__ = ["HARMLESS", "as_plain_values", "data_settings", "refuse_other_settings", "run_settings"]

#: Settings that may change between a checkpoint and the run that goes on from it: where files are, how fast and with
#: how much memory they are read, what is watched and how often. Data are compared by what they hold, not by place,
#: and input normalisations by their values.
HARMLESS = frozenset([
    "allow_leak", "bundle_root", "cache_dir", "checkpoint_minutes", "class_map", "datalist", "dataset_dir",
    "ignore_absent", "input_normalisation",
    "experiment_name", "large_cache_dir", "large_dataset_dir", "max_unreadable", "memory_limit_gb",
    "model_path", "num_workers", "output_dir", "pause_at", "probe_every", "rank", "replace", "resume", "run_name",
    "save_execute_config", "test_datalist", "test_dataset_dir", "test_source", "tracking", "tracking_uri",
    "world_size",
])  # fmt: skip
_OF_ENGINE = ("accumulation_steps", "clip_grad_norm", "frozen_iterations", "gradient_cache_chunk", "max_iterations")


def as_plain_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as a checkpoint and a JSON file hold them: numbers, strings, lists, dictionaries."""
    return json.loads(json.dumps(dict(settings), default=str))


def data_settings(items: Any, name: str = "training images") -> dict[str, Any]:
    """Return what tells the images of one run from those of another, wherever their folder lies.

    Args:
        items: datalist items; of anything else nothing is told.
        name: of the images.

    Returns:
        By the name, ``number (digest of file names, patients, labels and masks)``.
    """
    if not isinstance(items, Sequence) or not all(isinstance(item, Mapping) and "image" in item for item in items):
        return {}
    paths = [str(item["image"]) for item in items]
    # Character by character, and then back to the end of a folder.
    start = os.path.commonprefix(paths).replace("\\", "/").rfind("/") + 1  # noqa: RUF071
    patients: dict[str, int] = {}
    digest = hashlib.sha256()
    for path, item in zip(paths, items, strict=True):
        patient = patients.setdefault(str(item.get("patient_id")), len(patients))
        row = [path[start:].replace("\\", "/"), patient, item.get("label"), sorted(item)]
        digest.update(json.dumps(row, default=str).encode())
    return {name: f"{len(items)} (digest {digest.hexdigest()[:12]})"}


def run_settings(engine: Any, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be seen of a run's settings without being told: steps, optimiser, data.

    Args:
        engine: the trainer.
        parts: of its checkpoint.
    """
    settings = {name: getattr(engine, name) for name in _OF_ENGINE if hasattr(engine, name)}
    for name, part in parts.items():
        if isinstance(part, torch.optim.Optimizer):
            settings[name] = type(part).__name__
            settings |= {f"{name}'s {key}": value for key, value in part.defaults.items()}
    settings |= data_settings(_items(getattr(engine, "data_loader", None)))
    for part in parts.values():
        settings |= data_settings(
            _items(getattr(getattr(part, "evaluator", None), "data_loader", None)), "validation images"
        )
    return settings


def refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any], where: object) -> None:
    """Refuse to go on with settings by which the result would not be that of an uninterrupted run.

    Args:
        before: settings of the checkpoint; what only one of both has is not compared.
        now: settings of this run.
        where: the checkpoint.

    Raises:
        ConfigurationError: naming each setting that differs and both its values.
    """
    before, now = as_plain_values(before), as_plain_values(now)
    other = [
        f"of {name} {_shown(before[name])}, this run has {_shown(now[name])}"
        for name in before
        if name in now and name not in HARMLESS and not _same(name, before[name], now[name])
    ]
    if other:
        raise ConfigurationError(
            f"Cannot resume from {where}: the checkpoint is {'; '.join(other)}. The result would not be that of an "
            "uninterrupted run; resume with the same options, or begin anew with another --output_dir."
        )


def _items(loader: Any) -> Any:
    dataset = getattr(loader, "dataset", None)
    while dataset is not None and not hasattr(dataset, "data"):  # a loader may put another data set around it
        dataset = getattr(dataset, "dataset", None)
    return getattr(dataset, "data", None)


def _same(name: str, one: Any, other: Any) -> bool:
    if name == "device":  # the number of a GPU says nothing
        return str(one).split(":")[0] == str(other).split(":")[0]
    return one == other


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value) if isinstance(value, (bool, list, dict)) else str(value)
