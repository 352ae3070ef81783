# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A network of a public library, its file, and the features that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

#: A small transformer of twelve blocks, in timm's words.
SMALL = {"img_size": 64, "embed_dim": 48, "num_heads": 3}


@dataclass
class Source:
    """What a form's own library has: the features (B, C, h, w) of images of ``channels`` channels, and the encoder."""

    features: Callable[[Tensor], Tensor]
    encoder_name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    channels: int = 3
    side: int = 64


@dataclass
class Format:
    """One line of the table in ``docs/weights.md``."""

    id: str
    source: str
    form: str
    recognised: str
    make: Callable[[Path], Source]
    file: str = "weights.pth"


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every tensor with drawn values of the size that it has in practice; norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not value.is_floating_point() or name.endswith(("relative_coords_table", "rope.freqs")):
                continue
            drawn = torch.rand(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + drawn)
            elif value.ndim > 1 and "token" not in name and "pos" not in name:
                value.copy_((drawn - 0.5) * 2 * (3 / value[0].numel()) ** 0.5)
            else:
                one = name.endswith("weight") or "gamma" in name or "lambda" in name or "scale" in name
                value.copy_(0.3 * (drawn - 0.5) + one)
    return network.eval()


def behind(prefix: str, weights: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before every name."""
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    return {prefix + name: value for name, value in state.items()}


def hooked(network: nn.Module, last: nn.Module, prefix_tokens: int | None = None) -> Callable[[Tensor], Tensor]:
    """Return the output of a layer of a network; of tokens (B, N, C) as a map, without those before the patches."""

    def features(image: Tensor) -> Tensor:
        kept: list[Any] = []
        with last.register_forward_hook(lambda module, inputs, output: kept.append(output)):
            network(image)
        output = kept[-1][0] if isinstance(kept[-1], tuple) else kept[-1]
        if prefix_tokens is None:
            return output
        tokens = output[:, prefix_tokens:]
        side = round(tokens.shape[1] ** 0.5)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)

    return features


def timm_transformer(name: str = "vit_tiny_patch16_224", seed: int = 0, **arguments: Any) -> tuple[nn.Module, Source]:
    """Return a small transformer of timm, and what it gives after its last block."""
    arguments = {**SMALL, **arguments}
    model = seeded(timm.create_model(name, **arguments), seed)
    features = hooked(model, model.blocks[-1], model.num_prefix_tokens)
    return model, Source(features, f"tu-{name}", arguments, side=arguments["img_size"])
