# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names, limits and files of a pull request to MONAI's model zoo."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monai_cxrssl.errors import ConfigurationError

__all__ = [
    "LIMIT_MB", "check_name", "exclusions", "lay_out", "no_address", "script_problem", "write_large_files",
    "zoo_name",
]  # fmt: skip

#: Of a file in the model zoo's repository; larger ones are listed with their address.
LIMIT_MB = 25
#: Where the zoo's CI asks which of its checks a bundle is spared.
_LISTS = "ci/bundle_custom_data.py"


def _kind(settings: Mapping[str, Any]) -> str:
    """Return the word by which MONAI Label knows a bundle's kind, "segmentation" first."""
    if settings.get("decoder") is not None:
        return "segmentation"
    return "classification" if settings.get("classes") else "pretraining"


def zoo_name(bundle: str, settings: Mapping[str, Any]) -> str:
    """Return a folder's name in the zoo's manner: data, a bundle's own words, task.

    Example:
        >>> zoo_name("lung_segmentation", {"decoder": "Unet"}), zoo_name("simclr", {})
        ('chest_xray_lung_segmentation', 'chest_xray_simclr_pretraining')
    """
    own = [word for word in re.split(r"[^a-z0-9]+", bundle.lower()) if word]
    words = [*(word for word in ("chest", "xray") if word not in own), *own]
    return "_".join(words if _kind(settings) in words else [*words, _kind(settings)])


def check_name(name: str, settings: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for a name that breaks the zoo's manner or does not say what the model does."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", name):
        raise ConfigurationError(
            f"{name!r} is no name of the model zoo; expected words of small letters and digits with _ between them, "
            "first the data, then the task, such as chest_xray_lung_segmentation."
        )
    wanted, words = _kind(settings), name.split("_")
    if wanted not in words or (wanted != "segmentation" and "segmentation" in words):
        raise ConfigurationError(
            f"The name {name} does not say what the model does; it must hold the word {wanted}"
            + ("" if wanted == "segmentation" else " and not segmentation")
            + ", by which MONAI Label knows its kind."
        )


def script_problem(network: Any) -> str | None:
    """Say why ``torch.jit.script`` cannot compile a network; ``None`` where it can."""
    try:
        network.__prepare_scriptable__()
    except ConfigurationError as error:
        return str(error)
    return None


def exclusions(name: str, outputs: Iterable[str], scripts: bool) -> list[str]:
    """Say which of the zoo's checks cannot pass, and the list that the bundle's name belongs into."""
    told = []
    if len(set(outputs)) > 1:
        told.append(
            f"Add {name!r} to exclude_verify_shape_list in the zoo's {_LISTS}: its check of shapes takes one output, "
            f"and the network gives {' and '.join(outputs)}."
        )
    if not scripts:
        told.append(
            f"Add {name!r} to exclude_verify_torchscript_list in the zoo's {_LISTS}: TorchScript cannot compile the "
            "network, as its docs/README.md says."
        )
    return told


def no_address(weights: Path) -> ConfigurationError:
    """Return the error of weights that the zoo's repository does not take and that have no address."""
    return ConfigurationError(
        f"The weights have {weights.stat().st_size / 2**20:.0f} MB, and the model zoo takes {LIMIT_MB} in its "
        "repository: say with --weights_url where they will lie."
    )


def write_large_files(folder: Path, weights_url: str, digest: str) -> None:
    """Write ``large_files.yml``: the address of the weights and their SHA-256."""
    (folder / "large_files.yml").write_text(
        f'large_files:\n  - path: "models/model.pt"\n    url: {json.dumps(weights_url)}\n'
        f'    hash_val: "{digest}"\n    hash_type: "sha256"\n',
        encoding="utf-8",
    )


def lay_out(root: Path, folder: Path, large: bool) -> list[Path]:
    """Lay a packed folder out as the zoo's repository has it, below ``root``, and write its unit test.

    Args:
        root: gets ``models/NAME``, ``ci/unit_tests/test_NAME.py`` and, of ``large`` weights, ``upload/NAME/model.pt``,
            which is no part of the pull request.
        folder: the pack, named ``NAME``; it is moved.

    Returns:
        The paths of these, seen from ``root``, the pack first.
    """
    name = folder.name
    bundle, test = Path("models") / name, Path("ci") / "unit_tests" / f"test_{name}.py"
    for path in (bundle, test):
        (root / path.parent).mkdir(parents=True)
    folder.rename(root / bundle)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")), trim_blocks=True, undefined=StrictUndefined
    )
    words = "".join(word.capitalize() for word in name.split("_"))
    text = environment.get_template("zoo_test.py.j2").render(name=name, class_name=f"Test{words}")
    (root / test).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    if not large:
        return [bundle, test]
    upload = Path("upload") / name / "model.pt"
    (root / upload.parent).mkdir(parents=True)
    (root / bundle / "models" / "model.pt").rename(root / upload)
    return [bundle, test, upload]
