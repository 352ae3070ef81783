# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Description of trained weights: classes, task, encoder, decoder, image size.

It stands inside the file of weights, as an attribute of its state dict, and once more beside it, in ``model.json`` for
people to read. The two must agree; weights of before, which are described only beside, are taken as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.header import read_header

__all__ = [
    "ENCODER_SETTINGS", "described_encoder", "described_start", "find_description", "require_description",
    "undescribed",
]  # fmt: skip

#: What it takes to use the weights of an encoder again.
ENCODER_SETTINGS = (
    "encoder_name", "encoder_arguments", "image_size", "input_mean", "input_std", "input_scale", "pooling", "positions",
)  # fmt: skip


def described_encoder(network: Any) -> dict[str, Any]:
    """Return what a description says of the encoder of an :class:`Encoder` or a :class:`MultiTaskNet`."""
    return {
        "encoder_name": network.encoder_name,
        **({"encoder_arguments": network.encoder_arguments} if network.encoder_arguments else {}),
        **network.normalise.normalisation.described(),
        "pooling": network.pool.name,
        **({"positions": network.positions} if network.positions else {}),
        **({"head_norm": network.head_norm} if getattr(network, "head_norm", None) else {}),
        **({"head_layers": layers.described} if (layers := getattr(network, "head_layers", None)) is not None else {}),
    }


def described_start(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return pooling, positions, norm and layers of the head of described weights, as a network's ``start`` takes them.

    Where a description says none of them, the weights are of before they could be chosen.
    """
    return {
        "pooling": description.get("pooling", "mean"),
        "positions": description.get("positions", "learned"),
        "head_norm": description.get("head_norm", "none"),
        **({"head_layers": description["head_layers"]} if "head_layers" in description else {}),
    }


def find_description(weights: str | os.PathLike) -> dict[str, Any] | None:
    """Return what a file of weights says of itself, or what the ``.json`` file beside it says of it.

    Args:
        weights: the file. While there is none yet, the ``.json`` file alone is asked.

    Returns:
        The description, ``None`` where there is none of either kind.

    Raises:
        ConfigurationError: the file holds no weights, the ``.json`` file is no description, or the two contradict each
            other.
    """
    path = Path(weights)
    inside = read_header(path)[1] if path.exists() else None
    beside = _read_beside(path.with_suffix(".json"))
    if inside is None or beside is None:
        return beside if inside is None else inside
    said, told = _without_folder(inside), _without_folder(beside)
    names = sorted(name for name in said.keys() | told.keys() if said.get(name) != told.get(name))
    if not names:
        return beside
    name = next((each for each in ("classes", "task", "encoder_name") if each in names), names[0])
    raise ConfigurationError(
        f"{path} and {path.with_suffix('.json')} beside it contradict each other on {', '.join(names)} (the weights "
        f"say {name} {_short(inside.get(name))}, the .json file {_short(beside.get(name))}): delete the .json file to "
        "take the weights at their word, or bring the one of the same training."
    )


def _without_folder(description: dict[str, Any]) -> dict[str, Any]:
    """Leave out the run's folder, which is written as seen from where the weights were at the time."""
    run = description.get("run")
    return {**description, "run": {**run, "folder": None}} if isinstance(run, dict) else description


def require_description(weights: str | os.PathLike) -> dict[str, Any]:
    """Return the description of a file of weights, see :func:`find_description`.

    Raises:
        ConfigurationError: there is none; or see there.
    """
    path = Path(weights)
    description = find_description(path)
    if description is None:
        if not path.exists():
            raise ConfigurationError(f"There is no file of weights at {path}.")
        raise undescribed(path)
    return description


def undescribed(path: Path, option: str | None = None) -> ConfigurationError:
    """Return the error of weights without a description.

    Args:
        path: the file of weights.
        option: name of an option by which the caller can be told what is missing.
    """
    way = "" if option is None else f"give --{option} (and --classes, --task, ... as they were trained), "
    return ConfigurationError(
        f"{path} does not say what it was trained for, neither inside nor in {path.with_suffix('.json').name} beside "
        f"it: {way}bring the .json file of the same training, or describe the weights once with `python -m "
        f"monai_cxrssl describe {path} ...`."
    )


def _read_beside(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as JSON ({error}); bring the one that training wrote, or train again."
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{path} holds no JSON object, so it does not describe the weights beside it; bring the one that training "
            "wrote, or train again."
        )
    return content


def _short(value: Any, length: int = 60) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= length else f"{text[:length]} ..."
