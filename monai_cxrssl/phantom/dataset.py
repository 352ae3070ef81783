# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantom data set on disk."""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.phantom.anatomy import stream
from monai_cxrssl.phantom.drawing import draw_patients
from monai_cxrssl.phantom.findings import CLASSES
from monai_cxrssl.phantom.patient import PhantomPatient, sample_patient
from monai_cxrssl.phantom.write import GENERATOR_VERSION

__all__ = ["PHANTOM_NAME", "make_phantom_dataset", "iter_patients"]

logger = logging.getLogger(__name__)

#: Of the data set, by which a run on it is told from one on real images.
PHANTOM_NAME = "phantom"
_DATALIST = "datalist.json"
_MANIFEST = "manifest.json"
_GENERATOR = "monai_cxrssl.phantom"
#: A process takes as long to start as two or three of them take to draw.
_PATIENTS_OF_A_PROCESS = 8
# Five patients of a class go three to training and one each to validation and test; each class starts elsewhere
# in this row, so that small sets fill all splits too.
_SPLIT_ROW = ("training", "validation", "training", "test", "training")


def iter_patients(
    patients: int = 64, seed: int = 0, size: int = 512, images_per_patient: tuple[int, int] = (1, 4)
) -> Iterator[PhantomPatient]:
    """The patients of a data set, without rendering; every class has a quarter of them, in random order."""
    if patients < 1:
        raise ConfigurationError(f"A phantom data set needs at least 1 patient, not {patients}.")
    labels = stream(seed, 60).permutation([k % len(CLASSES) for k in range(patients)])
    for index, label in enumerate(labels):
        yield sample_patient(index, int(label), seed, size, images_per_patient)


def _split_of(everybody: list[PhantomPatient]) -> dict[int, str]:
    split, seen = {}, dict.fromkeys(range(len(CLASSES)), 0)
    for p in everybody:
        split[p.index] = _SPLIT_ROW[(seen[p.label] + p.label) % len(_SPLIT_ROW)]
        seen[p.label] += 1
    return split


def _sizes(folder: Path) -> dict[str, int]:
    """Every file below ``folder`` but the manifest, with its size in bytes."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != _MANIFEST)
    return {p.relative_to(folder).as_posix(): p.stat().st_size for p in files}


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("generator") == _GENERATOR else None


def _is_complete(folder: Path, wanted: dict[str, Any]) -> bool:
    manifest = _read_manifest(folder)
    if manifest is None or any(manifest.get(k) != v for k, v in wanted.items()):
        return False
    present = _sizes(folder)
    return all(present.get(name) == size for name, size in manifest.get("files", {"": -1}).items())


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but a phantom data set."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file; give a folder for the phantom data set.")
    manifest = _read_manifest(folder)
    foreign = set(_sizes(folder)) - set((manifest or {}).get("files", {}))
    if manifest is None and (folder / _MANIFEST).exists():
        foreign.add(_MANIFEST)
    if foreign:
        raise ConfigurationError(
            f"{folder} holds {len(foreign)} files that are not of a phantom data set (such as {min(foreign)}); "
            "give an empty or a new folder."
        )


def make_phantom_dataset(
    out_dir: str | os.PathLike,
    patients: int = 64,
    seed: int = 0,
    size: int = 512,
    images_per_patient: tuple[int, int] = (1, 4),
    progress: bool = True,
    workers: int | None = None,
) -> Path:
    """Write a synthetic chest X-ray data set: DICOM images, lung and opacity masks, and a datalist.

    The classes are :data:`CLASSES`, a quarter of the patients each; about 60 / 20 / 20 % of the patients of a class are
    for training, validation and test. The same arguments give the same bytes, whatever ``workers`` is. The set is
    written beside ``out_dir`` and moved there when complete; a folder that already holds it is left alone.

    Args:
        out_dir: folder of the data set; new, empty, or a phantom data set (which is replaced if it differs).
        patients, seed: number of patients; seed of the whole set.
        size: longer side of an image, pixels.
        images_per_patient: least and largest number of images of a patient.
        progress: show a progress bar.
        workers: processes that draw; by default one per usable CPU core, fewer for less than eight patients each.

    Returns:
        Path of ``datalist.json`` in Decathlon form, paths relative to its folder.

    Raises:
        ConfigurationError: an argument cannot be, or the folder holds other files.
    """
    folder = Path(out_dir).expanduser().absolute()
    parameters = {"patients": int(patients), "seed": int(seed), "size": int(size)}
    wanted: dict[str, Any] = {
        "generator": _GENERATOR,
        "version": GENERATOR_VERSION,
        "parameters": {**parameters, "images_per_patient": [int(n) for n in images_per_patient]},
    }
    everybody = list(iter_patients(patients, seed, size, images_per_patient))
    if _is_complete(folder, wanted):
        logger.info("The phantom data set in %s is complete; it is used as it is.", folder)
        return folder / _DATALIST
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    draft = folder.parent / f".{folder.name}.{mark}.tmp"
    retired = folder.parent / f".{folder.name}.{mark}.old"
    draft.mkdir()
    try:
        processes = workers
        if processes is None:
            processes = max(1, min(usable_cores(), len(everybody) // _PATIENTS_OF_A_PROCESS))
        if processes < 1:
            raise ConfigurationError(f"workers must be at least 1, not {workers}.")
        recipe = {"seed": int(seed), "size": int(size), "images_per_patient": [int(n) for n in images_per_patient]}
        films = draw_patients(draft, everybody, recipe, (int(seed), int(size), int(patients)), processes)
        written = list(tqdm(films, total=len(everybody), desc="phantom patients", disable=not progress))
        split = _split_of(everybody)
        datalist: dict[str, Any] = {"name": PHANTOM_NAME, "classes": list(CLASSES), "task": "multi_class"}
        for part in ("training", "validation", "test"):
            chosen = (items for p, items in zip(everybody, written, strict=True) if split[p.index] == part)
            datalist[part] = [item for items in chosen for item in items]
        (draft / _DATALIST).write_text(json.dumps(datalist, indent=1) + "\n", encoding="utf-8")
        manifest = {**wanted, "files": _sizes(draft)}
        (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        # Another process of the same run may have been faster; its files are the same, and perhaps in use.
        if not _is_complete(folder, wanted):
            if folder.exists():
                folder.rename(retired)
            try:
                draft.rename(folder)
            except OSError:
                if not _is_complete(folder, wanted):
                    raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)
    logger.info("Wrote %d phantom images of %d patients to %s.", sum(map(len, written)), patients, folder)
    return folder / _DATALIST
