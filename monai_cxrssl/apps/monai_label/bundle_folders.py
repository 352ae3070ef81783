# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Bundles that a MONAI Label server offers, and their abilities."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_as_trained
from monai_cxrssl.networks.lungs.shipped import LUNG_WEIGHTS, lung_weights
from monai_cxrssl.networks.settings import read_members, read_model_setting
from monai_cxrssl.networks.trained import load_trained_network

__all__ = ["BundleFolder", "bundle_folders"]


@dataclass(frozen=True)
class BundleFolder:
    """A fine-tuned bundle: ``configs/inference.json`` and ``models/model.pt``, which says what it was trained for.

    Args:
        path: the folder.
        name: of the model, as clients ask for it.
    """

    path: Path
    name: str

    @property
    def weights(self) -> Path:
        """The file of weights that infers."""
        return self.path / "models" / "model.pt"

    def setting(self, name: str, default: Any = None) -> Any:
        """An option of the weights, see :func:`monai_cxrssl.networks.read_model_setting`."""
        return read_model_setting(self.weights, name, default)

    @property
    def classes(self) -> list[str]:
        """Names of the classes; none of a bundle that only segments."""
        return list(self.setting("classes", []))

    @property
    def draws_masks(self) -> bool:
        """Whether a reply has a mask."""
        return self.setting("decoder") is not None

    @property
    def trains(self) -> bool:
        """Whether labels of MONAI Label, which are masks, teach all that the bundle does; no ensemble."""
        only_lungs = self.draws_masks and not self.classes and self.setting("mask") == "lung"
        return only_lungs and read_members(self.weights) == 1

    @property
    def labels(self) -> dict[str, int]:
        """Names and values in the mask, or names and numbers of the classes where there is no mask."""
        if self.draws_masks:
            return {str(self.setting("mask", "lung")): 1}
        return {name: number for number, name in enumerate(self.classes)}


def bundle_folders(conf: Mapping[str, str], model_dir: Path) -> list[BundleFolder]:
    """Return the bundles of the server's options, named as their folders.

    Args:
        conf: ``{"bundle": "/path[,/other]"}`` or ``{"models": "name[,other]"}``, folders below ``model_dir``, or both.
            The path ``lung_segmentation``, where there is none, is the bundle that comes with the package.

    Raises:
        ConfigurationError: none is given, two have one name, one is no fine-tuned bundle, or its weights have no
            description or do not fit it.
    """
    paths = [_put(text, model_dir) for text in _texts(conf.get("bundle"))]
    paths += [(model_dir / text).resolve() for text in _texts(conf.get("models"))]
    if not paths:
        raise ConfigurationError(
            "No bundle is given; start the server with --conf bundle /path/to/bundle, or with --conf models NAME for a "
            f"folder below {model_dir}."
        )
    found: dict[str, BundleFolder] = {}
    for path in paths:
        folder = BundleFolder(path, path.name)
        if not folder.weights.is_file() and (path / LUNG_WEIGHTS).is_file():
            write_as_trained(path / LUNG_WEIGHTS, folder.weights)  # MONAI Label's task takes models/model.pt alone
        for file in (path / "configs" / "inference.json", folder.weights):
            if not file.is_file():
                raise ConfigurationError(f"{path} is no fine-tuned bundle: it has no {file.relative_to(path)}.")
        load_trained_network(folder.weights)  # or says in one sentence why it cannot infer
        if folder.name in found:
            raise ConfigurationError(f"{path} and {found[folder.name].path} have one name; rename a folder.")
        found[folder.name] = folder
    return list(found.values())


def _put(text: str, model_dir: Path) -> Path:
    """Return a bundle's folder; of the name of the package's own lung segmentation, a copy of it in ``model_dir``."""
    path = Path(text).expanduser()
    own = lung_weights().parents[1]
    if path.exists() or text != own.name:
        return path.resolve()
    copy = model_dir / own.name
    if not copy.exists():
        shutil.copytree(own, copy, ignore=shutil.ignore_patterns("runs", "models", "__pycache__"))
    return copy.resolve()


def _texts(value: str | None) -> list[str]:
    return [text.strip() for text in (value or "").split(",") if text.strip()]
