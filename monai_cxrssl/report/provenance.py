# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Provenance: data, split, weights, bundle, libraries, seed, command."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from monai_cxrssl import __version__
from monai_cxrssl.data.audit.audit import AuditResult, Finding
from monai_cxrssl.data.audit.leak import (
    refuse_leak,
    refuse_seen_data_sets,
    refuse_shared_patients,
    training_patients_path,
)
from monai_cxrssl.data.datalists.datalist import load_datalist
from monai_cxrssl.data.datalists.split import manifest_hash
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import sha256

__all__ = ["LIBRARIES", "bundle_metadata", "collect_provenance", "data_manifest", "library_versions", "split_audit"]

#: Distributions whose version may change a figure.
LIBRARIES = (
    *("monai", "torch", "torchvision", "pytorch-ignite", "segmentation-models-pytorch", "timm", "numpy", "scipy"),
    *("scikit-learn", "opencv-python-headless", "pydicom", "nibabel", "itk-core"),
)
# Findings told one by one.
_SHOWN = 20


def collect_provenance(
    datalist: str | os.PathLike | None = None,
    items: Sequence[Mapping[str, Any]] | None = None,
    weights: str | os.PathLike | None = None,
    bundle: str | os.PathLike | None = None,
    seed: int | None = None,
    command: str | Sequence[str] | None = None,
    audit: AuditResult | None = None,
) -> dict[str, Any]:
    """Put together where the figures of a run come from, without any version control.

    Args:
        datalist: the file that the run was split by.
        items: what was evaluated; by default the split ``test`` of the datalist.
        weights: the file of the evaluated weights.
        bundle: folder of the bundle, or its ``metadata.json``.
        audit: of ``python -m monai_cxrssl audit``, which looks at the pictures too.

    Returns:
        ``{"data", "split_audit", "weights", "bundle", "libraries", "python", "platform", "seed", "command"}``, plain
        JSON values, None where something was not given.

    Raises:
        DatalistError: the datalist cannot be read.
        ConfigurationError: the metadata of the bundle, the weights or the list of their patients cannot be read.
    """
    argv = sys.argv if command is None else command
    about = {} if bundle is None else bundle_metadata(bundle)
    return {
        "data": None if datalist is None else data_manifest(datalist),
        "split_audit": split_audit(datalist, items, weights, audit),
        "weights": None if weights is None else _weights(weights),
        "bundle": None if bundle is None else {"name": about.get("name"), "version": about.get("version")},
        "libraries": library_versions(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "seed": seed,
        "command": argv if isinstance(argv, str) else shlex.join(argv),
    }


def data_manifest(path: str | os.PathLike) -> dict[str, Any]:
    """Say which data a datalist file names.

    Return ``{"file", "name", "sha256", "stated_sha256", "unchanged", "recipe", "splits"}``: the hash of its content,
    the one that was written into it when it was split (None without), whether they agree (None without), how it was
    split, and ``{split: {"images", "patients", ...}}``. The hash covers names and labels, not the pictures.

    Raises:
        DatalistError: the file cannot be read or is no datalist.
    """
    datalist = load_datalist(path, check_files=False)
    digest = manifest_hash(json.loads(Path(path).expanduser().read_text(encoding="utf-8-sig")))
    manifest = datalist.extra.get("manifest") or {}
    stated = manifest.get("sha256")
    return {
        "file": Path(path).name,
        "name": datalist.name,
        "sha256": digest,
        "stated_sha256": stated,
        "unchanged": None if stated is None else stated == digest,
        "recipe": manifest.get("recipe"),
        "splits": datalist.summary()["splits"],
    }


def split_audit(
    datalist: str | os.PathLike | None = None,
    items: Sequence[Mapping[str, Any]] | None = None,
    weights: str | os.PathLike | None = None,
    audit: AuditResult | None = None,
) -> dict[str, Any]:
    """Look for patients on both sides: between the splits of a datalist, and between training and what is evaluated.

    Args:
        items: what was evaluated; by default the split ``test`` of the datalist.
        weights: the file of the weights, beside which the list of training patients lies.
        audit: a full audit, whose leaks count as well; patients are then not looked for again in the datalist.

    Returns:
        ``{"leaks", "checked", "findings"}``: how many were found, None where none was but the patients that the weights
        were trained on are not known (a clean datalist does not say that they were trained by it); sentences on what
        was compared and what was not; sentences of the leaks, at most 20.

    Raises:
        DatalistError: the datalist cannot be read.
        ConfigurationError: the list of training patients is damaged.
    """
    checked: list[str] = []
    found: list[Finding] = []
    known = False
    loaded = None if datalist is None else load_datalist(datalist, check_files=False)
    if audit is not None:
        found += [finding for finding in audit.findings if finding.severity == "leak"]
        checked.append(f"An audit compared {audit.images} images: patients, studies, files and pictures.")
    elif loaded is not None and sum(bool(split) for split in loaded.splits.values()) > 1:
        found += refuse_shared_patients(loaded, allow_leak=True)
        checked.append("The patients of the splits were compared; the pictures were not.")
    else:
        checked.append("The splits were not compared: no datalist of several splits was given.")
    if items is None and loaded is not None:
        items = loaded.splits["test"]
    if weights is None or not items:
        checked.append("The patients of training were not compared: weights or evaluated images were not given.")
    elif not training_patients_path(weights).is_file():
        checked.append("The patients of training were not compared: no list of them lies beside the weights.")
    else:
        name = "dataset" if loaded is None else loaded.name
        found += refuse_leak(items, weights, allow_leak=True, name=name)
        checked.append("The patients of the evaluated images were compared with those of training.")
        known = True
    seen = [] if weights is None or not items else _trained_on(weights)
    if seen and weights is not None and items:
        name = "dataset" if loaded is None else loaded.name
        found += refuse_seen_data_sets(items, seen, weights, allow_leak=True, name=name)
        checked.append(f"The data sets that the weights go back to were compared: {', '.join(seen)}.")
    sentences = [finding.sentence for finding in found[:_SHOWN]]
    if len(found) > _SHOWN:
        sentences.append(f"And {len(found) - _SHOWN} more.")
    return {"leaks": len(found) if found or known else None, "checked": checked, "findings": sentences}


def bundle_metadata(bundle: str | os.PathLike) -> dict[str, Any]:
    """Read a bundle's metadata, by its folder (``metadata.json`` at the root or under ``configs/``) or the file.

    Raises:
        ConfigurationError: there is no such file, or it is no JSON object.
    """
    path = Path(bundle).expanduser()
    candidates = [path / "configs" / "metadata.json", path / "metadata.json"] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            try:
                content = json.loads(candidate.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"The metadata {candidate} cannot be read ({error}); correct it.") from None
            if not isinstance(content, dict):
                raise ConfigurationError(f"The metadata {candidate} is no JSON object; give a bundle's metadata.json.")
            return content
    raise ConfigurationError(f"{path} holds no metadata.json; give the folder of a bundle.")


def library_versions() -> dict[str, str]:
    """Return the versions of this package and of the ``LIBRARIES``, ``"not installed"`` where one is missing."""
    versions = {"monai_cxrssl": __version__}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _weights(path: str | os.PathLike) -> dict[str, Any]:
    """Name, hash of the file, and hash of its tensors, which outlasts a calibration stored in the file."""
    from monai_cxrssl.networks.weights.header import tensors_sha256

    path = Path(path).expanduser()
    try:
        digest = sha256(path)
    except OSError as error:
        raise ConfigurationError(f"The weights {path} cannot be read ({error.strerror}); check the path.") from None
    try:
        tensors = tensors_sha256(path)
    except ConfigurationError:
        tensors = None  # such as an ONNX file: predictions may come from anywhere
    seen = _trained_on(path)
    return {"file": path.name, "sha256": digest, "tensors_sha256": tensors} | ({"trained_on": seen} if seen else {})


def _trained_on(weights: str | os.PathLike) -> list[str]:
    from monai_cxrssl.networks.trained_on import trained_on

    try:
        return trained_on(Path(weights).expanduser())
    except ConfigurationError:
        return []  # no weights of PyTorch, as above
