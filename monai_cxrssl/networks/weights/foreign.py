# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of torchvision, Hugging Face, CLIP and MMPretrain, in those of timm."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FORMS", "Form", "prefixes", "rename"]

_Replacement = str | Callable[[re.Match[str]], str]
_Rules = tuple[tuple[str, _Replacement], ...]


@dataclass(frozen=True)
class Form:
    """A library's names of one architecture.

    Args:
        title: for the log.
        telltale: a name that only this form has; what stands before it is the prefix of all.
        rules: patterns of whole names, and what they become; the first that matches counts.
        block: pattern of the beginning of the names inside a block, and what it becomes.
        inner: rules for the rest of such a name.
    """

    title: str
    telltale: str
    rules: _Rules
    block: tuple[str, _Replacement] = (r"(?!)", "")
    inner: _Rules = ()

    def renamed(self, name: str) -> str:
        """Return the new name; one that no rule matches stays as it is."""
        match = re.match(self.block[0], name)
        if match is None:
            return _first(self.rules, name)
        return _expand(match, self.block[1]) + _first(self.inner, name[match.end() :])


def _first(rules: _Rules, name: str) -> str:
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match is not None:
            return _expand(match, replacement)
    return name


def _expand(match: re.Match[str], replacement: _Replacement) -> str:
    return replacement(match) if callable(replacement) else match.expand(replacement)


def _numbered(template: str, number: Callable[[int], int]) -> Callable[[re.Match[str]], str]:
    """Return a replacement whose ``{}`` is a function of the first group."""
    return lambda match: match.expand(template.format(number(int(match[1]))))


#: Inside a block of most transformers of Hugging Face, before their fifth version and since.
_HF_LAYER: _Rules = (
    (r"(?:attention\.attention|attention\.self|attention)\.([qkv])(?:uery|ey|alue|_proj)\.(.*)", r"attn.\1.\2"),
    (r"(?:attention\.output\.dense|attention\.o_proj)\.(.*)", r"attn.proj.\1"),
    (r"attention\..*(relative_position_bias_table)", r"attn.\1"),
    (r"(?:intermediate\.dense|mlp\.up_proj)\.(.*)", r"mlp.fc1.\1"),
    (r"(?:output\.dense|mlp\.down_proj)\.(.*)", r"mlp.fc2.\1"),
    (r"mlp\.weights_in\.(.*)", r"mlp.w12.\1"),
    (r"mlp\.weights_out\.(.*)", r"mlp.w3.\1"),
    (r"layernorm_before\.(.*)", r"norm1.\1"),
    (r"layernorm_after\.(.*)", r"norm2.\1"),
    (r"layer_scale([12])\.lambda1", r"ls\1.gamma"),
    (r"lambda_([12])", r"gamma_\1"),
)

FORMS = (
    Form(
        "Hugging Face transformer",
        r"embeddings\.cls_token",
        (
            (r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
            (r"embeddings\.position_embeddings", "pos_embed"),
            (r"embeddings\.distillation_token", "dist_token"),
            (r"embeddings\.patch_embeddings\.(?:projection\.)?(weight|bias)", r"patch_embed.proj.\1"),
            (r"layernorm\.(.*)", r"norm.\1"),
        ),
        (r"(?:model\.|encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
        _HF_LAYER,
    ),
    Form(
        "Hugging Face Swin",
        r"encoder\.layers\.0\.blocks\.0\.layernorm_before\.weight",
        (
            (r"embeddings\.patch_embeddings\.projection\.(.*)", r"patch_embed.proj.\1"),
            (r"embeddings\.norm\.(.*)", r"patch_embed.norm.\1"),
            (r"encoder\.layers\.(\d+)\.downsample\.(.*)", _numbered(r"layers.{}.downsample.\2", lambda n: n + 1)),
            (r"layernorm\.(.*)", r"norm.\1"),
        ),
        (r"encoder\.layers\.(\d+)\.blocks\.(\d+)\.", r"layers.\1.blocks.\2."),
        _HF_LAYER,
    ),
    Form(
        "Hugging Face ConvNeXt",
        r"encoder\.stages\.0\.layers\.0\.dwconv\.weight",
        (
            (r"embeddings\.patch_embeddings\.(.*)", r"stem.0.\1"),
            (r"embeddings\.layernorm\.(.*)", r"stem.1.\1"),
            (r"encoder\.stages\.(\d+)\.downsampling_layer\.([01])\.(.*)", r"stages.\1.downsample.\2.\3"),
            (r"layernorm\.(.*)", r"head.norm.\1"),
        ),
        (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.", r"stages.\1.blocks.\2."),
        (
            (r"dwconv\.(.*)", r"conv_dw.\1"),
            (r"layernorm\.(.*)", r"norm.\1"),
            (r"pwconv([12])\.(.*)", r"mlp.fc\1.\2"),
            (r"grn\.(.*)", r"mlp.grn.\1"),
            (r"layer_scale_parameter", "gamma"),
        ),
    ),
    Form(
        "Hugging Face ResNet",
        r"embedder\.embedder\.convolution\.weight",
        (
            (r"embedder\.embedder\.convolution\.(.*)", r"conv1.\1"),
            (r"embedder\.embedder\.normalization\.(.*)", r"bn1.\1"),
        ),
        (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.", _numbered(r"layer{}.\2.", lambda n: n + 1)),
        (
            (r"shortcut\.convolution\.(.*)", r"downsample.0.\1"),
            (r"shortcut\.normalization\.(.*)", r"downsample.1.\1"),
            (r"layer\.(\d+)\.convolution\.(.*)", _numbered(r"conv{}.\2", lambda n: n + 1)),
            (r"layer\.(\d+)\.normalization\.(.*)", _numbered(r"bn{}.\2", lambda n: n + 1)),
        ),
    ),
    Form(
        "Hugging Face CLIP or SigLIP",
        r"embeddings\.patch_embedding\.weight",
        (
            (r"embeddings\.class_embedding", "cls_token"),
            (r"embeddings\.patch_embedding\.(.*)", r"patch_embed.proj.\1"),
            (r"embeddings\.position_embedding\.weight", "pos_embed"),
            (r"pre_layrnorm\.(.*)", r"norm_pre.\1"),
            (r"post_layernorm\.(.*)", r"norm.\1"),
        ),
        (r"encoder\.layers\.(\d+)\.", r"blocks.\1."),
        (
            (r"self_attn\.([qkv])_proj\.(.*)", r"attn.\1.\2"),
            (r"self_attn\.out_proj\.(.*)", r"attn.proj.\1"),
            (r"layer_norm([12])\.(.*)", r"norm\1.\2"),
        ),
    ),
    Form(
        "OpenAI CLIP",
        r"class_embedding",
        (
            (r"class_embedding", "cls_token"),
            (r"conv1\.weight", "patch_embed.proj.weight"),
            (r"positional_embedding", "pos_embed"),
            (r"ln_pre\.(.*)", r"norm_pre.\1"),
            (r"ln_post\.(.*)", r"norm.\1"),
        ),
        (r"transformer\.resblocks\.(\d+)\.", r"blocks.\1."),
        (
            (r"ln_([12])\.(.*)", r"norm\1.\2"),
            (r"attn\.in_proj_(.*)", r"attn.qkv.\1"),
            (r"attn\.out_proj\.(.*)", r"attn.proj.\1"),
            (r"mlp\.c_fc\.(.*)", r"mlp.fc1.\1"),
            (r"mlp\.c_proj\.(.*)", r"mlp.fc2.\1"),
            (r"ls_([12])\.gamma", r"ls\1.gamma"),
        ),
    ),
    Form(
        "torchvision transformer",
        r"encoder\.layers\.encoder_layer_0\.ln_1\.weight",
        (
            (r"class_token", "cls_token"),
            (r"conv_proj\.(.*)", r"patch_embed.proj.\1"),
            (r"encoder\.pos_embedding", "pos_embed"),
            (r"encoder\.ln\.(.*)", r"norm.\1"),
        ),
        (r"encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
        (
            (r"ln_([12])\.(.*)", r"norm\1.\2"),
            (r"self_attention\.in_proj_(.*)", r"attn.qkv.\1"),
            (r"self_attention\.out_proj\.(.*)", r"attn.proj.\1"),
            (r"mlp\.(?:0|linear_1)\.(.*)", r"mlp.fc1.\1"),
            (r"mlp\.(?:3|linear_2)\.(.*)", r"mlp.fc2.\1"),
        ),
    ),
    Form(
        "torchvision Swin",
        r"features\.1\.0\.attn\.relative_position_bias_table",
        (
            (r"features\.0\.0\.(.*)", r"patch_embed.proj.\1"),
            (r"features\.0\.2\.(.*)", r"patch_embed.norm.\1"),
            (r"features\.(\d+)\.((?:reduction|norm)\..*)", _numbered(r"layers.{}.downsample.\2", lambda n: n // 2)),
        ),
        (r"features\.(\d*[13579])\.(\d+)\.", _numbered(r"layers.{}.blocks.\2.", lambda n: n // 2)),
        ((r"mlp\.0\.(.*)", r"mlp.fc1.\1"), (r"mlp\.3\.(.*)", r"mlp.fc2.\1")),
    ),
    Form(
        "torchvision ConvNeXt",
        r"features\.1\.0\.layer_scale",
        (
            (r"features\.0\.([01])\.(.*)", r"stem.\1.\2"),
            (r"features\.(\d*[02468])\.([01])\.(.*)", _numbered(r"stages.{}.downsample.\2.\3", lambda n: n // 2)),
        ),
        (r"features\.(\d*[13579])\.(\d+)\.", _numbered(r"stages.{}.blocks.\2.", lambda n: n // 2)),
        (
            (r"layer_scale", "gamma"),
            (r"block\.0\.(.*)", r"conv_dw.\1"),
            (r"block\.2\.(.*)", r"norm.\1"),
            (r"block\.3\.(.*)", r"mlp.fc1.\1"),
            (r"block\.5\.(.*)", r"mlp.fc2.\1"),
        ),
    ),
    Form(
        "torchvision DenseNet of before 2018",
        r"features\.denseblock1\.denselayer1\.norm\.1\.weight",
        ((r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)", r"\1\2"),),
    ),
    Form(
        "MMPretrain transformer",
        r"layers\.0\.ffn\.layers\.0\.0\.weight",
        ((r"patch_embed\.projection\.(.*)", r"patch_embed.proj.\1"), (r"ln1\.(.*)", r"norm.\1")),
        (r"layers\.(\d+)\.", r"blocks.\1."),
        (
            (r"ln([12])\.(.*)", r"norm\1.\2"),
            (r"ffn\.layers\.0\.0\.(.*)", r"mlp.fc1.\1"),
            (r"ffn\.layers\.1\.(.*)", r"mlp.fc2.\1"),
            (r"gamma([12])\.weight", r"ls\1.gamma"),
        ),
    ),
)


def rename(weights: Mapping[str, Tensor], form: Form, prefix: str) -> dict[str, Tensor]:
    """Return the weights of a form whose names begin with a prefix, without it, renamed and q, k and v joined."""
    renamed = {
        form.renamed(name.removeprefix(prefix)): value for name, value in weights.items() if name.startswith(prefix)
    }
    for name in [name for name in renamed if re.search(r"attn\.q\.(weight|bias)$", name)]:
        start, kind = re.split(r"(?<=attn\.)q\.", name)
        query, key, value = (renamed.pop(f"{start}{part}.{kind}", None) for part in "qkv")
        parts = [query, torch.zeros_like(query) if key is None else key, value]  # a bias of keys has no effect
        renamed[f"{start}qkv.{kind}"] = torch.cat(parts)
    return renamed


def prefixes(names: Mapping[str, Tensor], form: Form) -> list[str]:
    """Return what stands before the telltale of a form, once for each network of it in the file."""
    found = (re.fullmatch(rf"((?:[^.]+\.)*?){form.telltale}", name) for name in names)
    return list(dict.fromkeys(match[1] for match in found if match is not None))
