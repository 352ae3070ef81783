# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tensors that an encoder has, under its own names and under timm's."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["AFTER_THE_BLOCKS", "Target"]

#: What timm's transformers hold after their last block; no part of the feature map that smp takes.
AFTER_THE_BLOCKS = ("norm", "fc_norm", "attn_pool", "head", "head_dist")
#: Buffers that a network computes for itself.
_COMPUTED = re.compile(
    r"(^|\.)(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask|total_ops|total_params|"
    r"rope\..*|periods|position_ids)$"
)


def is_computed(name: str) -> bool:
    """Whether a tensor is no weight: a network fills it for itself, or nothing depends on it."""
    return _COMPUTED.search(name) is not None


class Target:
    """What an encoder has to be filled with.

    Args:
        encoder: of smp; its class says whether its network is one of timm.

    Attributes:
        wanted: the encoder's tensors by name.
        plain: the network whose names public files have: the one of timm, or the encoder itself.
        names: the plain name of every tensor of the encoder.
        convert: timm's own conversion of published files of this architecture, ``None`` where it has none.
    """

    def __init__(self, encoder: nn.Module) -> None:
        from segmentation_models_pytorch.encoders import TimmUniversalEncoder, TimmViTEncoder

        self.encoder = encoder
        self.wanted: dict[str, Tensor] = dict(encoder.state_dict())
        self.is_token_transformer = isinstance(encoder, TimmViTEncoder)
        self.plain: nn.Module = encoder
        self.convert: Callable[..., Any] | None = None
        if isinstance(encoder, TimmViTEncoder):
            self.plain = encoder.model
        elif isinstance(encoder, TimmUniversalEncoder):
            self.plain = _plain_model(encoder.name, getattr(encoder, "encoder_arguments", {}))
        self.plain_names = set(self.plain.state_dict())
        if self.plain is not encoder:
            self.convert = _conversion(self.plain)
        self.names = {name: self._plain_name(name) for name in self.wanted}

    def _plain_name(self, name: str) -> str:
        if self.plain is self.encoder:
            return name
        name = name.removeprefix("model.")
        first, _, rest = name.partition(".")
        # smp takes timm's feature extractors, which put the parts of a network side by side: stages.0 is stages_0.
        places = [place for place, sign in enumerate(first) if sign == "_"]
        candidates = [name, rest, *(f"{first[:place]}.{first[place + 1 :]}.{rest}" for place in places)]
        return next((each for each in candidates if each in self.plain_names), name)

    def takes_part(self, name: str) -> bool:
        """Whether the encoder's features depend on a tensor of a file."""
        if is_computed(name):
            return False
        return not (self.is_token_transformer and self.names.get(name, name).split(".")[0] in AFTER_THE_BLOCKS)


def _plain_model(name: str, arguments: dict[str, Any]) -> nn.Module:
    import timm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return timm.create_model(name, **arguments)
        except NotImplementedError:  # some compute with values while they are built
            pass
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(name, **arguments)


def _conversion(model: nn.Module) -> Callable[..., Any] | None:
    module = sys.modules[type(model).__module__]
    names = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
    return next((getattr(module, name) for name in names if hasattr(module, name)), None)
