# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoder as a folder of Hugging Face form for ``timm.create_model``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import new_folder
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.normalisation import Normalisation
from monai_cxrssl.networks.parts.pooling import last_features
from monai_cxrssl.networks.parts.positions import positions_at, positions_of
from monai_cxrssl.networks.weights.shapes import stem_weights
from monai_cxrssl.networks.weights.target import Target

__all__ = ["write_timm_folder"]

#: Largest absolute difference of a feature, of features of about 1, that an export may have.
_TOLERANCE = 1e-5
#: What a timm model may be told so that its output is what the encoder gives; the first that is right is taken. The
#: features of a transformer here are those before its last norm.
_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"global_pool": "avg"},
    {"global_pool": "avg", "final_norm": False, "fc_norm": False},
    {"global_pool": "token", "final_norm": False, "fc_norm": False},
)
_ALTERNATIVE = "write ONNX instead (leave out --timm), or train the encoder tu-NAME of a timm model"


def write_timm_folder(
    network: Encoder | MultiTaskNet, description: Mapping[str, Any], folder: str | os.PathLike
) -> tuple[str, float]:
    """Write ``config.json`` and ``model.safetensors``, by which timm builds the encoder without this package.

    ``timm.create_model("local-dir:FOLDER", pretrained=True)`` gives the encoder's features of images normalised by the
    ``mean`` and ``std`` of the config's ``pretrained_cfg``: the class token where the encoder is pooled by it alone,
    else the mean over the positions, for timm knows no two side by side.

    Args:
        network: trained, in evaluation mode, on the CPU.
        description: of its weights.
        folder: which may hold other things, such as a packed bundle.

    Returns:
        How timm builds the model, as a line of Python, and the largest difference of a feature.

    Raises:
        ConfigurationError: timm has no such architecture, or gives other features with the same weights; nothing is
            then written.
    """
    from timm.models import save_for_hf

    folder, encoder = Path(folder), network.encoder
    name = str(description["encoder_name"])
    size = int(description["image_size"])
    architecture = _architecture(name)
    channels = next(iter(stem_weights(encoder).values()))
    target = Target(encoder)
    weights = {target.names[each]: value for each, value in encoder.state_dict().items()}
    grid: dict[str, Any] = {}
    if positions_of(encoder) == "sincos":  # timm would resample those of another size
        weights["pos_embed"], grid = positions_at(encoder, size, size), {"img_size": size}
    image = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = encoder(image)
    by_token = network.pool.name == "cls"
    expected = network.pool(*last_features(features)) if by_token else _pooled(features)
    for model, arguments, features_only in _built(architecture, channels, target, grid):  # noqa: B007
        difference = _difference(model, weights, image, expected, features_only)
        if difference is not None and difference <= _TOLERANCE:
            break
    else:
        raise ConfigurationError(
            f"timm's {architecture} does not give the features of {name} with the same weights, so no folder was "
            f"written; {_ALTERNATIVE}."
        )
    if features_only:
        # Of the whole model only the feature maps are the encoder's; what follows them is of no use.
        model = next(built for built, _, _ in _built(architecture, channels, target, grid))
        model.load_state_dict(weights, strict=False)
    normalisation = Normalisation.from_description(description)
    cfg = {**_input(normalisation, channels, size), "license": description.get("licence"), "tag": ""}
    partial = new_folder(folder, ".timm")
    try:
        save_for_hf(
            model, str(partial), {"pretrained_cfg": {k: v for k, v in cfg.items() if v is not None}}, arguments,
            safe_serialization=True,
        )  # fmt: skip
        for name in ("model.safetensors", "config.json"):
            (partial / name).replace(folder / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    other = "" if network.pool.name in ("mean", "cls") else f"  # their mean; {network.pool.name} is what was trained"
    call = f'timm.create_model("local-dir:{folder}", pretrained=True{", features_only=True" if features_only else ""})'
    return call + other, float(difference or 0)


def _architecture(encoder_name: str) -> str:
    """Return timm's name of the architecture of an encoder."""
    import timm

    name = encoder_name.removeprefix("tu-")
    candidates = [name, name.removeprefix("timm-").replace("-", "_")]
    found = next((each for each in candidates if timm.is_model(each.split(".")[0])), None)
    if found is None:
        raise ConfigurationError(f"timm has no architecture for the encoder {encoder_name}; {_ALTERNATIVE}.")
    return found.split(".")[0]


def _built(
    architecture: str, channels: int, target: Target, grid: Mapping[str, Any]
) -> Iterator[tuple[nn.Module, dict[str, Any], bool]]:
    """Build the ways to have timm give the encoder's features: the model, its arguments, and whether maps only."""
    import timm

    common = {"in_chans": channels, "num_classes": 0, **getattr(target.encoder, "encoder_arguments", {}), **grid}
    if target.is_token_transformer:
        common = {"dynamic_img_size": True, **common}
    for variant in _VARIANTS:
        arguments = {**common, **variant}
        try:
            yield timm.create_model(architecture, **arguments).eval(), arguments, False
        except (TypeError, AssertionError, ValueError):
            continue  # the architecture takes no such argument
    if not target.is_token_transformer:
        arguments = {name: value for name, value in common.items() if name != "num_classes"}
        yield timm.create_model(architecture, features_only=True, **arguments).eval(), common, True


def _difference(
    model: nn.Module, weights: Mapping[str, Tensor], image: Tensor, expected: Tensor, features_only: bool
) -> float | None:
    """Fill a model and return the largest difference of its features; ``None`` where it lacks weights."""
    own = model.state_dict()
    given = dict(weights)
    if features_only:
        by_name = _feature_names(own, given)
        given = {name: given[plain] for name, plain in by_name.items()}
    if any(name in own and own[name].shape != value.shape for name, value in given.items()):
        return None
    if {name for name in own if not name.endswith("num_batches_tracked")} - given.keys() and not features_only:
        return None
    model.load_state_dict(given, strict=False)
    with torch.no_grad():
        found = _pooled(model(image))
    if found.shape != expected.shape:
        return None
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))


def _feature_names(own: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> dict[str, str]:
    """Names in a model of feature maps, whose parts stand side by side, by the plain names: stages_0 is stages.0."""
    flat: dict[str, str] = {}
    for name in plain:
        parts = name.split(".")
        for count in range(1, min(3, len(parts)) + 1):
            flat.setdefault(".".join(["_".join(parts[:count]), *parts[count:]]), name)
    return {name: flat[name] for name in own if name in flat}


def _pooled(output: Any) -> Tensor:
    """Return features ``(B, C)`` of what an encoder or a model gives."""
    if isinstance(output, tuple):  # a vision transformer of smp also returns its prefix tokens
        output = output[0]
    if isinstance(output, list):
        output = output[-1]
    return output if output.ndim == 2 else output.mean((2, 3))


def _input(normalisation: Normalisation, channels: int, size: int) -> dict[str, Any]:
    """Normalisation and size in timm's words, which know no factor of the image."""
    mean, std = (
        [value / normalisation.scale for value in values] for values in (normalisation.mean, normalisation.std)
    )
    repeat = channels // len(mean)
    return {"mean": mean * repeat, "std": std * repeat, "input_size": [channels, size, size]}
