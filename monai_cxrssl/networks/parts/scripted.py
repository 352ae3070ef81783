# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""TorchScript forms of the networks, of the same weights."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.parts.head_layers import HeadLayers
from monai_cxrssl.networks.parts.positions import positions_of, sincos_grid
from monai_cxrssl.networks.weights.target import AFTER_THE_BLOCKS

__all__ = ["scripted_encoder", "scripted_network", "with_forward"]


def scripted_encoder(network: Any) -> nn.Module:
    """Return what ``torch.jit.script`` compiles for an encoder: images in, embeddings out, of any size it can take.

    Raises:
        ConfigurationError: TorchScript cannot compile the encoder.
    """
    return _Embedding(network)


def scripted_network(network: Any, return_dict: bool | None = None) -> nn.Module:
    """Return what ``torch.jit.script`` compiles for a network of branches.

    It returns what the network does, or outputs by name or bare as ``return_dict`` says.

    Raises:
        ConfigurationError: TorchScript cannot compile the encoder or the decoder.
    """
    if network.decoder_name is not None:
        import segmentation_models_pytorch as smp

        if not getattr(smp, network.decoder_name)._is_torch_scriptable:
            raise _refused(f"the decoder {network.decoder_name}")
    named = network.return_dict if return_dict is None else return_dict
    return with_forward(_Branches, network.branches, named)(network)


def _refused(part: str) -> ConfigurationError:
    return ConfigurationError(
        f"TorchScript cannot compile {part}: trace the network (`python -m monai.bundle ckpt_export ... --use_trace "
        "True`, for one size of images), or export it as ONNX (`python -m monai_cxrssl export`)."
    )


class _Features(nn.Module):
    """Normalisation, encoder and pooling; modules have the names that they have in the network."""

    __constants__ = ("by_token",)

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.normalise, self.pool = network.normalise, network.pool
        self.by_token = hasattr(network.encoder, "has_prefix_tokens")
        if not self.by_token and not getattr(network.encoder, "_is_torch_scriptable", True):
            raise _refused(f"the encoder {network.encoder_name}")
        self.encoder = _LastTokens(network.encoder) if self.by_token else network.encoder

    def features(self, image: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Return maps, of a transformer the last one, and the last prefix tokens of a transformer."""
        if self.by_token:
            last, prefix = self.encoder(self.normalise(image))
            return [last], prefix
        return self.encoder(self.normalise(image)), None


class _Embedding(_Features):
    def forward(self, image: Tensor) -> Tensor:
        maps, prefix = self.features(image)
        return self.pool(maps[-1], prefix)


class _Branches(_Features):
    def __init__(self, network: Any) -> None:
        super().__init__(network)
        self.decoder, self.segmentation_head = network.decoder, network.segmentation_head
        self.classification_head = None
        if network.classification_head is not None:
            # Without the pooling, which has no weights and another signature.
            children = list(network.classification_head.named_children())[1:]
            plain = ((name, nn.Sequential(*part) if isinstance(part, HeadLayers) else part) for name, part in children)
            self.classification_head = nn.Sequential(OrderedDict(plain))

    def label(self, image: Tensor) -> Tensor:
        maps, prefix = self.features(image)
        return self.classification_head(self.pool(maps[-1], prefix))  # type: ignore[misc]

    def mask(self, image: Tensor) -> Tensor:
        maps, _ = self.features(image)
        return self.segmentation_head(self.decoder(maps))

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        maps, prefix = self.features(image)
        label = self.classification_head(self.pool(maps[-1], prefix))  # type: ignore[misc]
        return label, self.segmentation_head(self.decoder(maps))


# TorchScript wants one type of each forward. These are laid over classes that have the methods.
class _Label:
    def forward(self, image: Tensor) -> Tensor:
        return self.label(image)  # type: ignore[attr-defined]


class _Mask:
    def forward(self, image: Tensor) -> Tensor:
        return self.mask(image)  # type: ignore[attr-defined]


class _Both:
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.both(image)  # type: ignore[attr-defined]


class _NamedLabel:
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"label": self.label(image)}  # type: ignore[attr-defined]


class _NamedMask:
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"mask": self.mask(image)}  # type: ignore[attr-defined]


class _NamedBoth:
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        label, mask = self.both(image)  # type: ignore[attr-defined]
        return {"label": label, "mask": mask}


_FORMS: dict[tuple[str, ...], tuple[type, type]] = {
    ("label",): (_Label, _NamedLabel), ("mask",): (_Mask, _NamedMask), ("label", "mask"): (_Both, _NamedBoth),
}  # fmt: skip


def with_forward(base: type[nn.Module], branches: tuple[str, ...], return_dict: bool) -> type[nn.Module]:
    """Return a class of modules that gives the outputs of ``base``'s ``label``, ``mask`` or ``both``."""
    form = _FORMS[branches][return_dict]
    return type(f"{base.__name__}{form.__name__}", (form, base), {"__module__": __name__})


class _LastTokens(nn.Module):
    """The last map and prefix tokens of a vision transformer, whose own form TorchScript cannot compile."""

    __constants__ = ("prefix_tokens", "stride")

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        model = encoder.model
        self.prefix_tokens = int(getattr(model, "num_prefix_tokens", 0))
        self.stride = int(encoder.output_stride)
        # timm's own pass up to the last block; positions that replace its own are no method that the compiler finds.
        methods: dict[str, Any] = {"forward": type(model).forward_features}
        twin = copy.copy(model)
        if positions_of(encoder) == "sincos":
            methods["_pos_embed"] = _pos_embed
            del vars(twin)["_pos_embed"]
        twin.__class__ = type(type(model).__name__, (type(model),), methods)
        twin._modules = {
            name: nn.Identity() if name in AFTER_THE_BLOCKS and part is not None else part
            for name, part in model._modules.items()
        }
        self.model = twin

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        tokens = self.model(image)
        patches = tokens[:, self.prefix_tokens :]
        height, width = image.shape[2] // self.stride, image.shape[3] // self.stride
        last = patches.reshape(image.shape[0], height, width, -1).permute(0, 3, 1, 2).contiguous()
        return last, tokens[:, : self.prefix_tokens]


def _pos_embed(self, patches: Tensor) -> Tensor:
    """Do what :func:`monai_cxrssl.networks.parts.positions.use_sincos` lets a model do."""
    rows, columns = self.patch_embed.grid_size
    table = self.pos_embed[:, self.pos_embed.shape[1] - rows * columns :]
    if patches.ndim == 4:
        height, width = patches.shape[1], patches.shape[2]
        if height != rows or width != columns:
            grid = sincos_grid(self.pos_embed.shape[2], height, width, rows, columns, patches.device)
            table = grid.unsqueeze(0).to(self.pos_embed.dtype)
        patches = patches.flatten(1, 2)
    tokens = patches + table
    before = []
    if self.cls_token is not None:
        before.append(self.cls_token.expand(tokens.shape[0], -1, -1))
    if hasattr(self, "dist_token"):
        before.append(self.dist_token.expand(tokens.shape[0], -1, -1))
    if self.reg_token is not None:
        before.append(self.reg_token.expand(tokens.shape[0], -1, -1))
    return self.pos_drop(torch.cat(before + [tokens], 1))  # noqa: RUF005 - TorchScript unpacks no lists
