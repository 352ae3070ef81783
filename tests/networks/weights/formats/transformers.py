# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Transformers of torchvision, timm, Hugging Face, CLIP, EVA and DINO."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from .source import SMALL, Format, Source, behind, hooked, seeded, timm_transformer

HF = {"hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 12, "image_size": 64}
SWIN = {"embed_dim": 24, "num_heads": (1, 2, 4, 8)}


def torchvision_vit(path: Path) -> Source:
    model = seeded(torchvision.models.VisionTransformer(64, 16, 12, 3, 48, 192))
    torch.save(model.state_dict(), path)
    return Source(hooked(model, model.encoder.layers[-1], 1), "tu-vit_tiny_patch16_224", SMALL)


def torchvision_swin(path: Path) -> Source:
    model = seeded(torchvision.models.SwinTransformer([4, 4], 24, [2, 2, 6, 2], [1, 2, 4, 8], [7, 7]))
    torch.save(model.state_dict(), path)
    last = hooked(model, model.features[-1])
    return Source(lambda image: last(image).permute(0, 3, 1, 2), "tu-swin_tiny_patch4_window7_224", SWIN, side=224)


def timm_vit(path: Path) -> Source:
    model, source = timm_transformer()
    save_file(model.state_dict(), path)
    return source


def timm_swin(path: Path) -> Source:
    model, source = swin()
    torch.save(model.state_dict(), path)
    return source


def swin() -> tuple[torch.nn.Module, Source]:
    name = "swin_tiny_patch4_window7_224"
    model = seeded(timm.create_model(name, **SWIN))
    last = hooked(model, model.layers[-1])
    return model, Source(lambda image: last(image).permute(0, 3, 1, 2), f"tu-{name}", SWIN, side=224)


def ark(path: Path) -> Source:
    """Swin of before timm 0.9 merges patches at the end of a stage, Ark keeps a teacher."""
    model, source = swin()
    old = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name): value
        for name, value in model.state_dict().items()
    }
    heads = {"omni_heads.0.weight": torch.zeros(14, 192), "projector.weight": torch.zeros(8, 192)}
    student = {name: torch.zeros_like(value) for name, value in old.items()}
    torch.save({"epoch": 3, "state_dict": behind("module.", student), "teacher": behind("module.", old | heads)}, path)
    return source


def hf(path: Path, kind: str, name: str, arguments: dict[str, Any], tokens: int = 1, **config: Any) -> Source:
    """Save a transformer of Hugging Face; the layers stand where its version puts them."""
    import transformers

    settings = getattr(transformers, f"{kind}Config")(**{**HF, **config})
    model = seeded(getattr(transformers, f"{kind}Model")(settings))
    model.save_pretrained(path.parent)
    if path.name != "model.safetensors":
        torch.save({"model_state": behind("encoder.vit.", model)}, path)
    layers = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    return Source(hooked(model, layers[-1], tokens), name, arguments, side=settings.image_size)


def hf_vit(path: Path) -> Source:
    return hf(path, "ViT", "tu-vit_tiny_patch16_224", {**SMALL}, intermediate_size=192, layer_norm_eps=1e-6)


def hf_dinov2(path: Path) -> Source:
    return hf(path, "Dinov2", "tu-vit_small_patch14_dinov2", {**SMALL, "img_size": 56}, image_size=56, patch_size=14)


def hf_dinov2_registers(path: Path) -> Source:
    arguments = {**SMALL, "img_size": 56}
    name = "tu-vit_small_patch14_reg4_dinov2"
    return hf(path, "Dinov2WithRegisters", name, arguments, 5, image_size=56, patch_size=14)


def hf_mae(path: Path) -> Source:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTModel

    config = ViTMAEConfig(**HF, intermediate_size=192, layer_norm_eps=1e-6, decoder_num_hidden_layers=1,
                          decoder_hidden_size=32, decoder_num_attention_heads=2, decoder_intermediate_size=32)  # fmt: skip
    model = seeded(ViTMAEForPreTraining(config))
    model.save_pretrained(path.parent)
    whole = ViTModel(config, add_pooling_layer=False)  # the same encoder without the masks
    whole.load_state_dict(model.vit.state_dict())
    return Source(hooked(whole.eval(), whole.layers[-1], 1), "tu-vit_tiny_patch16_224", SMALL)


def hf_clip(path: Path) -> Source:
    arguments = {**SMALL, "patch_size": 16}
    name = "tu-vit_base_patch32_clip_quickgelu_224"
    return hf(path, "CLIPVision", name, arguments, patch_size=16, intermediate_size=192)


def hf_swin(path: Path) -> Source:
    from transformers import SwinConfig, SwinModel

    model = seeded(SwinModel(SwinConfig(embed_dim=24, depths=[2, 2, 6, 2], num_heads=[1, 2, 4, 8], window_size=7)))
    model.save_pretrained(path.parent)
    last = hooked(model, model.encoder.layers[-1], 0)
    return Source(last, "tu-swin_tiny_patch4_window7_224", SWIN, side=224)


def dinov2_hub(path: Path) -> Source:
    """Meta's own names are timm's, but for the mask token and the positions of the class token with registers."""
    model, source = timm_transformer("vit_small_patch14_reg4_dinov2", img_size=56)
    state = dict(model.state_dict())
    state["register_tokens"] = state.pop("reg_token")
    first = torch.full((1, 1, 48), 0.25)
    state["cls_token"] = state["cls_token"] - first
    state["pos_embed"] = torch.cat([first, state["pos_embed"]], 1)
    state["mask_token"] = torch.zeros(1, 48)
    save_file(state, path)
    return source


def dino(path: Path) -> Source:
    teacher, source = timm_transformer()
    student, _ = timm_transformer(seed=1)
    head = {"head.mlp.0.weight": torch.zeros(8, 48), "head.last_layer.weight_g": torch.zeros(8, 1)}
    content = {
        "student": behind("module.backbone.", student) | behind("module.", head),
        "teacher": behind("backbone.", teacher) | head,
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_tiny", output_dir=Path("out")),
    }
    torch.save(content, path)
    return source


def mae(path: Path) -> Source:
    model, source = timm_transformer()
    decoder = {"mask_token": torch.zeros(1, 1, 32), "decoder_embed.weight": torch.zeros(32, 48)}
    blocks = {"decoder_blocks.0.norm1.weight": torch.ones(32), "decoder_pos_embed": torch.zeros(1, 17, 32)}
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    content = {"model": dict(model.state_dict()) | decoder | blocks, "optimizer": optimizer, "epoch": 799}
    torch.save({**content, "scaler": {"scale": 65536.0}, "args": argparse.Namespace(model="mae_vit")}, path)
    return source


def moco_v3(path: Path) -> Source:
    model, source = timm_transformer()
    other, _ = timm_transformer(seed=1)
    torch.save({"state_dict": behind("module.momentum_encoder.", other) | behind("module.base_encoder.", model)}, path)
    return source


def eva_x(path: Path) -> Source:
    model, source = timm_transformer("eva02_tiny_patch14_224", patch_size=16)
    torch.save({"model": model.state_dict(), "args": argparse.Namespace(model="eva02", eps=1e-6)}, path)
    return source


def mim_resampled(path: Path) -> Source:
    """Positions of another image size are resampled, here to the size that the source resamples them to itself."""
    model = seeded(timm.create_model("vit_tiny_patch16_224", **{**SMALL, "img_size": 96, "dynamic_img_size": True}))
    torch.save(model.state_dict(), path)
    return Source(hooked(model, model.blocks[-1], 1), "tu-vit_tiny_patch16_224", SMALL)


#: timm's names, and those of OpenAI.
CLIP = (
    ("patch_embed.proj", "conv1"), ("norm_pre", "ln_pre"), ("norm1", "ln_1"), ("norm2", "ln_2"),
    ("attn.qkv.", "attn.in_proj_"), ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
    ("blocks.", "transformer.resblocks."),
)  # fmt: skip


def openai_clip(path: Path) -> Source:
    name = "vit_base_patch32_clip_quickgelu_224"
    model, source = timm_transformer(name, patch_size=16)
    state: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        for new, old in CLIP:
            key = key.replace(new, old)
        state[re.sub(r"^norm\.", "ln_post.", key)] = value
    state["class_embedding"] = state.pop("cls_token").flatten()
    state["positional_embedding"] = state.pop("pos_embed")[0]
    state["proj"] = state.pop("head.weight").T
    del state["head.bias"]
    text = {"positional_embedding": torch.zeros(77, 32), "transformer.resblocks.0.ln_1.weight": torch.ones(32),
            "token_embedding.weight": torch.zeros(9, 32), "logit_scale": torch.ones(())}  # fmt: skip
    torch.save(text | behind("visual.", state), path)
    return source


def open_clip(path: Path) -> Source:
    model, source = timm_transformer()
    text = {"text.transformer.encoder.layer.0.attention.self.query.weight": torch.zeros(8, 8)}
    torch.save(text | behind("visual.trunk.", model), path)
    return source


def mmpretrain(path: Path) -> Source:
    model, source = timm_transformer()
    state: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        key = re.sub(r"^norm\.", "ln1.", key).replace("blocks.", "layers.").replace("embed.proj.", "embed.projection.")
        key = key.replace("norm", "ln").replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1")
        state[key] = value
    torch.save({"meta": {"epoch": 9}, "state_dict": behind("backbone.", state)}, path)
    return source


TRANSFORMERS = (
    Format("torchvision-vit", "torchvision", "`state_dict()`", "`encoder.layers.encoder_layer_0` ...", torchvision_vit),
    Format("torchvision-swin", "torchvision", "`state_dict()`", "`features.1.0.attn` ...", torchvision_swin),
    Format("timm-vit", "timm", "`model.safetensors`", "`blocks.0` ...", timm_vit, "model.safetensors"),
    Format("timm-swin", "timm", "`state_dict()`", "`layers.0.blocks` ...", timm_swin),
    Format("timm-other-size", "timm, other image size", "`state_dict()`", "`pos_embed`, resampled", mim_resampled),
    Format("ark", "Ark, Ark+ (Swin of timm before 0.9)", "`teacher`", "`module.`, `layers.0.downsample`", ark),
    Format("hf-vit", "Hugging Face ViT", "`save_pretrained`", "`encoder.layer.0`, q, k and v joined", hf_vit,
           "model.safetensors"),
    Format("hf-vit-5", "Hugging Face ViT, names since transformers 5", "`model_state`", "`encoder.vit.layers.0` ...",
           hf_vit),
    Format("hf-mae", "Hugging Face ViTMAE", "`save_pretrained`", "`vit.`, decoder left out", hf_mae,
           "model.safetensors"),
    Format("hf-dinov2", "Hugging Face DINOv2 (RAD-DINO)", "`save_pretrained`", "`layer_scale1.lambda1` ...", hf_dinov2,
           "model.safetensors"),
    Format("hf-dinov2-registers", "Hugging Face DINOv2 with registers (CXformer)", "`save_pretrained`",
           "`register_tokens` kept", hf_dinov2_registers, "model.safetensors"),
    Format("hf-clip", "Hugging Face CLIP vision", "`save_pretrained`", "`vision_model.`", hf_clip, "model.safetensors"),
    Format("hf-swin", "Hugging Face Swin", "`save_pretrained`", "`encoder.layers.0.blocks` ...", hf_swin,
           "model.safetensors"),
    Format("dinov2-hub", "DINOv2 of Meta (RAD-DINO `backbone_compatible`)", "`.safetensors`",
           "`mask_token`, `register_tokens`", dinov2_hub, "backbone.safetensors"),
    Format("dino", "DINO", "`teacher` before `student`, with `argparse.Namespace`", "`backbone.`", dino),
    Format("mae", "MAE, Medical-MAE", "`model`, with `argparse.Namespace`", "`blocks.0` ..., decoder left out", mae),
    Format("moco-v3", "MoCo v3", "`state_dict`", "`module.base_encoder.` before `module.momentum_encoder.`", moco_v3),
    Format("eva-x", "EVA-X", "`model`, with `argparse.Namespace`", "`blocks.0` ... of patches of 16 px", eva_x),
    Format("openai-clip", "OpenAI CLIP (CheXzero)", "`state_dict()`", "`visual.transformer.resblocks.0` ...",
           openai_clip),
    Format("open-clip", "open_clip (BiomedCLIP)", "`state_dict()`", "`visual.trunk.`", open_clip),
    Format("mmpretrain-vit", "MMPretrain", "`state_dict`", "`backbone.layers.0.ffn` ...", mmpretrain),
)  # fmt: skip
