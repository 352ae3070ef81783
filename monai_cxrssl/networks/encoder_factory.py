# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoder factory on smp and timm."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.target import AFTER_THE_BLOCKS

__all__ = ["build_encoder", "check_name", "is_vision_transformer", "unavailable_weights"]

#: timm modules whose models keep one token grid through all blocks; smp reads these with its DPT encoder.
_TOKEN_MODULES = ("vision_transformer", "deit", "beit", "eva", "vision_transformer_relpos", "vision_transformer_hybrid")
#: Arguments of timm that this package sets itself.
_OWN_ARGUMENTS = frozenset(
    {"in_chans", "in_channels", "pretrained", "features_only", "out_indices", "output_indices", "output_stride", "name"}
    | {"depth", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "weights"}
)


def is_vision_transformer(encoder_name: str) -> bool:
    from timm.models import is_model_in_modules

    architecture = encoder_name.removeprefix("tu-").split(".")[0]
    return encoder_name.startswith("tu-") and is_model_in_modules(architecture, _TOKEN_MODULES)


def check_name(encoder_name: str) -> None:
    from segmentation_models_pytorch.encoders import get_encoder_names
    from timm import is_model, list_models

    known = set(get_encoder_names())
    if encoder_name in known or (encoder_name.startswith("tu-") and is_model(encoder_name[3:])):
        return
    candidates = sorted(known | {f"tu-{name}" for name in list_models()})
    near = difflib.get_close_matches(str(encoder_name), candidates, n=4, cutoff=0.5)
    raise ConfigurationError(
        f"There is no encoder named {encoder_name!r}"
        + (f"; the nearest names are {', '.join(near)}. " if near else ". ")
        + "Names are those of segmentation-models-pytorch (resnet18, resnet50, densenet121 …), and 'tu-' followed by "
        "a timm model (tu-convnext_tiny, tu-vit_small_patch16_224 …)."
    )


def _check_arguments(encoder_name: str, arguments: Any) -> dict[str, Any]:
    """Return the arguments of a timm encoder, such as ``patch_size``, without those of value ``None``."""
    if not isinstance(arguments, Mapping | None):
        raise ConfigurationError(
            f"encoder_arguments is {arguments!r}; expected names and values, such as {{'patch_size': 16}}."
        )
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    if given and not encoder_name.startswith("tu-"):
        raise ConfigurationError(
            f"The encoder {encoder_name!r} takes no encoder_arguments ({', '.join(given)}); only those of timm do, "
            "whose names begin with tu-."
        )
    own = sorted(_OWN_ARGUMENTS & given.keys())
    if own:
        raise ConfigurationError(f"encoder_arguments gives {', '.join(own)}, which is set elsewhere; leave it out.")
    return given


def build_encoder(
    encoder_name: str,
    in_channels: int = 1,
    encoder_weights: str | None = None,
    encoder_arguments: Mapping[str, Any] | None = None,
    drop_path: float | None = None,
) -> nn.Module:
    """Build the encoder that an smp model of this name would build, with the same parameter names.

    The weights are random for ``None``, else of a name that smp knows (``imagenet``; downloads). Weights trained on
    three channels are summed over them. For names, arguments and ``drop_path`` see
    :class:`~monai_cxrssl.networks.Encoder`.

    Raises:
        ConfigurationError: when the name is unknown, an argument is wrong, or the weights cannot be had.
    """
    from segmentation_models_pytorch.encoders import get_encoder
    from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder

    check_name(encoder_name)
    arguments = _check_arguments(encoder_name, encoder_arguments)
    given = {**arguments, **_depth_argument(encoder_name, arguments, drop_path)}
    try:
        if is_vision_transformer(encoder_name):
            encoder = TimmViTEncoder(
                name=encoder_name[3:],
                in_channels=in_channels,
                depth=4,
                pretrained=encoder_weights is not None,
                **{"dynamic_img_size": True, **given},
            )
            for name in AFTER_THE_BLOCKS:
                unused = getattr(encoder.model, name, None)
                if isinstance(unused, nn.Module):
                    # Data-parallel training stops at weights that want a gradient and get none.
                    unused.requires_grad_(False)
        else:
            encoder = get_encoder(encoder_name, in_channels=in_channels, depth=5, weights=encoder_weights, **given)
        if drop_path is not None:
            _set_drop_path(encoder, encoder_name, drop_path)
        encoder.encoder_arguments = arguments
        return encoder
    except ConfigurationError:
        raise
    except Exception as error:
        if drop_path and "drop_path_rate" in str(error):
            raise _no_drop_path(encoder_name, drop_path) from error
        if arguments and encoder_weights is None:
            raise ConfigurationError(
                f"The encoder {encoder_name!r} cannot be built with encoder_arguments {arguments}: "
                f"{_first_line(error)}. They are the arguments of timm's network, such as patch_size, img_size and "
                "drop_path_rate."
            ) from error
        if encoder_weights is None:
            raise ConfigurationError(
                f"The encoder {encoder_name!r} exists but cannot be built for {in_channels}-channel images with five "
                f"stages: {error}. Choose another encoder."
            ) from error
        raise unavailable_weights(encoder_name, encoder_weights, error) from error


def _depth_argument(encoder_name: str, arguments: Mapping[str, Any], drop_path: float | None) -> dict[str, float]:
    """Return timm's argument of stochastic depth."""
    if drop_path is None:
        return {}
    if not 0 <= drop_path < 1:
        raise ConfigurationError(f"drop_path is {drop_path!r}; expected a share of at least 0 and below 1.")
    if "drop_path_rate" in arguments:
        raise ConfigurationError("encoder_arguments gives drop_path_rate, which is drop_path; give one of them.")
    if drop_path and not encoder_name.startswith("tu-"):
        raise _no_drop_path(encoder_name, drop_path)
    return {"drop_path_rate": float(drop_path)} if drop_path else {}


def _set_drop_path(encoder: nn.Module, encoder_name: str, drop_path: float) -> None:
    """Turn off what some architectures drop by default; refuse those that do not know the argument."""
    from timm.layers.drop import DropPath

    layers = [module for module in encoder.modules() if isinstance(module, DropPath)]
    if drop_path and not any(layer.drop_prob > 0 for layer in layers):
        raise _no_drop_path(encoder_name, drop_path)
    if not drop_path:
        for layer in layers:
            layer.drop_prob = 0.0


def _no_drop_path(encoder_name: str, drop_path: float) -> ConfigurationError:
    return ConfigurationError(
        f"drop_path is {drop_path:g}, and {encoder_name} has no stochastic depth; leave it out, or take an encoder of "
        "timm that has it, such as a vision transformer, tu-convnext_tiny or tu-resnet50."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def unavailable_weights(encoder_name: str, encoder_weights: str, error: Exception) -> ConfigurationError:
    """Return the error of weights that smp knows by name but that cannot be had."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ConfigurationError(
        f"The {encoder_weights!r} weights of {encoder_name!r} could not be loaded ({reason}). If this machine has "
        "no way to the model hub, bring the weights as a file and pass --pretrained PATH, or start from random "
        "weights with --encoder_weights None."
    )
