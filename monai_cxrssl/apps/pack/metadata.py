# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``metadata.json`` of a packed bundle."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

from monai_cxrssl.apps.export.description import describe_postprocessing, describe_preprocessing
from monai_cxrssl.errors import ConfigurationError

__all__ = ["packed_metadata", "read_facts", "read_json", "stated_versions"]

#: Key of a version in the metadata, and its distribution.
_VERSIONS = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}
#: What pack finds out itself, or what describes the format.
_FOUND_OUT = {"schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version",
              "required_packages_version", "network_data_format", "eval_metrics", "supported_apps"}  # fmt: skip


def packed_metadata(
    about: dict[str, Any],
    settings: Mapping[str, Any],
    outputs: Mapping[str, tuple[int, ...]],
    version: str | None,
    changes: str | None,
) -> dict[str, Any]:
    """Return a bundle's ``metadata.json`` with the version, packages, sizes and classes of a trained model.

    Args:
        settings: the model's ``model.json``.
        outputs: shape of each output for one image, ``(1, C)`` or ``(1, C, H, W)``.
        version: by default the bundle's own; ``changes`` is the changelog's entry for one that has none.

    Raises:
        ConfigurationError: the version is none or has no entry, or a required package is not installed.
    """
    about = json.loads(json.dumps(about))
    about["version"] = version or about["version"]
    if not re.fullmatch(r"\d+\.\d+\.\d+", about["version"]):
        raise ConfigurationError(f"{about['version']!r} is no version; expected three numbers, such as 0.1.0.")
    if changes:
        about["changelog"][about["version"]] = changes
    if about["version"] not in about.get("changelog", {}):
        raise ConfigurationError(
            f"The changelog says nothing of version {about['version']}; say in --changes what is new in it."
        )
    about |= {key: _installed(distribution) for key, distribution in _VERSIONS.items()}
    required = about.get("required_packages_version", {})
    about["required_packages_version"] = {each: _installed(each) for each in required}
    side = settings["image_size"]
    formats = about["network_data_format"]
    formats["inputs"]["image"] |= {"spatial_shape": [side, side], "preprocessing": describe_preprocessing(settings)}
    kinds: dict[str, dict[str, Any]] = {}
    for name, shape in outputs.items():
        kind, layout, channels = "embedding", "latent", ["embedding"]
        if name == "label":
            kind, layout, channels = "probabilities", "classes", list(settings["classes"])
        elif name == "mask":
            mask = str(settings.get("mask") or "mask")
            kind, layout = "image", "segmentation"
            channels = [mask] if shape[1] == 1 else [f"{mask} {number}" for number in range(shape[1])]
        kinds[name] = {
            "type": kind, "format": layout, "num_channels": shape[1],
            "spatial_shape": [1, shape[1]] if len(shape) == 2 else list(shape[2:]),
            "dtype": "float32", "value_range": [], "is_patch_data": False,
            "channel_def": {str(number): each for number, each in enumerate(channels)},
            "postprocessing": describe_postprocessing(name, settings),
        }  # fmt: skip
    # One output is called pred, as everywhere in MONAI; of two, each has a name.
    formats["outputs"] = kinds if len(kinds) > 1 else {"pred": next(iter(kinds.values()))}
    if settings.get("classes"):
        about["label_classes"] = ", ".join(settings["classes"])
    return about


def stated_versions(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the version of each distribution that a bundle's metadata states."""
    own = {distribution: about[key] for key, distribution in _VERSIONS.items()}
    return own | about["required_packages_version"]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_facts(path: str | os.PathLike | None) -> dict[str, Any]:
    """Read what only the maker of a model knows of it: a JSON object of texts, or lists of texts; ``{}`` for None."""
    if path is None:
        return {}
    try:
        content = read_json(Path(path).expanduser())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The facts {path} cannot be read as JSON ({error}); correct the file.") from None
    if not isinstance(content, dict) or not all(
        isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
        for value in content.values()
    ):
        raise ConfigurationError(f"The facts {path} are no JSON object of texts, or lists of texts; correct the file.")
    if found_out := sorted(_FOUND_OUT & set(content)):
        raise ConfigurationError(f"The facts {path} state {', '.join(found_out)}, which pack sets itself; take it out.")
    return content


def _installed(distribution: str) -> str:
    try:
        return distributions.version(distribution).partition("+")[0]  # without the build of torch
    except distributions.PackageNotFoundError:
        raise ConfigurationError(
            f"The bundle requires {distribution}, which is not installed, so its exact version is not known; install "
            "it, or take it out of required_packages_version."
        ) from None
