# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning recipes by architecture, size and start of the encoder.

The values stand in ``fine_tuning.json``. Sources: K. He et al., "Masked Autoencoders", CVPR 2022, and EVA-X, arXiv
2405.05237 (AdamW, layer decay, drop path .2 and weight decay .05 of transformers); rates, warm-up, average and length
were measured on images of children (docs/fine_tuning.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder_factory import build_encoder, is_vision_transformer
from monai_cxrssl.networks.start import encoder_of_file

__all__ = ["EncoderFamily", "family_recipe"]

#: timm modules of transformers whose token grid shrinks from stage to stage.
_HIERARCHICAL = (
    "swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr", "pvt_v2", "mvitv2", "hiera", "davit", "gcvit",
    "maxxvit", "nest", "twins", "coat", "levit", "tiny_vit", "nextvit", "mobilevit", "efficientformer_v2", "metaformer",
)  # fmt: skip
#: Channels of ViT-Base, the smallest that is large.
_LARGE = 768


@dataclass(frozen=True)
class EncoderFamily:
    """What the recipe of fine-tuning depends on.

    Args:
        architecture: ``"cnn"``, ``"vision transformer"`` of one token grid, or another ``"transformer"``: MiT, Swin …
        large: of ViT-Base's width or more; known of vision transformers only.
        pretrained: whether it starts from weights.
    """

    architecture: str
    large: bool
    pretrained: bool

    @classmethod
    def of(
        cls, encoder_name: str, arguments: Mapping[str, Any] | None = None, weights: str | None = None,
        published: bool = False,
    ) -> EncoderFamily:  # fmt: skip
        """Return the family of an encoder.

        Args:
            encoder_name: as networks take it; of one that is not known, which they refuse, nothing is asked.
            arguments: of timm's network; ``None`` for those of the weights.
            weights: the file that it starts from.
            published: it starts from weights that smp or timm download.
        """
        pretrained = published or weights is not None
        if not is_vision_transformer(encoder_name):
            return cls("transformer" if _is_hierarchical(encoder_name) else "cnn", False, pretrained)
        if arguments is None and weights is not None and Path(weights).exists():
            name, said = encoder_of_file(weights)
            arguments = said if name == encoder_name else None
        return cls("vision transformer", _width(encoder_name, json.dumps(arguments, default=str)) >= _LARGE, pretrained)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the parts of the recipe, the more special ones last."""
        names = ["transformer"] if self.architecture == "vision transformer" else []
        names += [self.architecture, *([f"large {self.architecture}"] if self.large else [])]
        start = "pretrained" if self.pretrained else "from scratch"
        return ("any", *names, start, *(f"{name}, {start}" for name in names))

    def __str__(self) -> str:
        return self.layers[-1]


def family_recipe(family: EncoderFamily) -> dict[str, Any]:
    """Return the values of options that a family is fine-tuned by."""
    layers = _layers()
    return {name: value for layer in family.layers for name, value in layers.get(layer, {}).items()}


@cache
def _layers() -> dict[str, dict[str, Any]]:
    return json.loads(Path(__file__).with_name("fine_tuning.json").read_text(encoding="utf-8"))


def _is_hierarchical(encoder_name: str) -> bool:
    from timm.models import is_model_in_modules

    architecture = encoder_name.removeprefix("tu-").split(".")[0]
    timm_model = encoder_name.startswith("tu-") and is_model_in_modules(architecture, _HIERARCHICAL)
    return timm_model or encoder_name.startswith("mit_")


@cache
def _width(encoder_name: str, arguments: str) -> int:
    """Return the channels of a vision transformer."""
    import torch

    try:
        with torch.device("meta"):
            return int(build_encoder(encoder_name, encoder_arguments=json.loads(arguments)).out_channels[-1])  # type: ignore[index]
    except ConfigurationError:
        return 0  # the network, which is built next, says what is wrong with it
