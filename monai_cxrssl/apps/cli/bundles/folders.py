# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of bundles, and copies of the package's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import monai_cxrssl
from monai_cxrssl.errors import ConfigurationError

__all__ = ["WORKING", "bundle_names", "full_name", "is_installed", "packaged_bundles", "put_bundle"]

#: Where bundles stand in a working folder.
WORKING = Path("bundles")


def packaged_bundles() -> Path:
    """Return the folder of the bundles that came with the package, in a wheel or in the repository."""
    package = _package()
    return package / "bundles" if (package / "bundles").is_dir() else package.parent / "bundles"


def is_installed(bundle: Path) -> bool:
    """Whether a bundle lies inside an installed package, where no run may write."""
    return _package() in bundle.resolve().parents


def bundle_names(folder: Path, config_name: str = "train") -> list[str]:
    """Return the names of the bundles in a folder that have this config."""
    return sorted(path.parents[1].name for path in folder.glob(f"*/configs/{config_name}.json"))


def full_name(bundle: Path) -> str:
    """Return a bundle's name in its metadata; without readable ones it is listed all the same."""
    try:
        return str(json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def put_bundle(name: str, parent: Path = WORKING, replace: bool = False) -> Path:
    """Copy a bundle of the package, without the runs and weights in it, and return its folder.

    Args:
        name: of the bundle.
        parent: folder that the bundle's folder is put into; it is made.
        replace: overwrite the files of a copy that is there, whose runs and weights stay.

    Raises:
        ConfigurationError: there is no such bundle, something is there already, or the copy cannot be written.
    """
    source, target = packaged_bundles() / name, parent / name
    if name not in bundle_names(packaged_bundles()):
        raise ConfigurationError(
            f"There is no bundle {name} in this package; choose {', '.join(bundle_names(packaged_bundles()))}."
        )
    if target.resolve() == source.resolve():
        raise ConfigurationError(f"{target} is the package's own bundle; give another folder to copy it into.")
    if target.exists() and not replace:
        raise ConfigurationError(
            f"{target} exists already; give another folder, or --replace to overwrite its configs and pages and keep "
            "its runs and weights."
        )
    try:
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns("runs", "models", "__pycache__"), dirs_exist_ok=True
        )
        (target / "models").mkdir(exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise ConfigurationError(f"The bundle {name} cannot be copied to {target}: {error}.") from error
    return target


def _package() -> Path:
    return Path(monai_cxrssl.__file__).resolve().parent
