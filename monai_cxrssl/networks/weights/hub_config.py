# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``config.json`` beside weights: timm's and Hugging Face transformers'."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_cxrssl.networks.normalisation import IDENTITY, Normalisation

__all__ = ["MAIN_FILES", "described_by_folder", "facts_of_timm", "read_folder_config"]

logger = logging.getLogger(__name__)

#: Weights in a folder of Hugging Face form, the preferred first.
MAIN_FILES = ("model.safetensors", "pytorch_model.bin")
_CONFIGS = ("config.json", "preprocessor_config.json")
#: Encoders by ``model_type`` of transformers, whose size and patch stand in their config.
_ENCODERS = {
    "dinov2": "tu-vit_{size}_patch{patch}_dinov2",
    "dinov2_with_registers": "tu-vit_{size}_patch{patch}_reg4_dinov2",
    "vit": "tu-vit_{size}_patch{patch}_224",
    "deit": "tu-deit_{size}_patch{patch}_224",
}
_SIZES = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge", 1536: "giant"}
#: Parts of timm's tags by what they say of the training.
_DATA = {"in1k": "ImageNet-1k", "in12k": "ImageNet-12k", "in21k": "ImageNet-21k", "in22k": "ImageNet-21k",
         "in22ft1k": "ImageNet-21k", "lvd142m": "LVD-142M", "lvd1689m": "LVD-1689M", "laion2b": "LAION-2B",
         "laion400m": "LAION-400M", "merged2b": "Merged-2B", "openai": "WIT-400M", "m38m": "Merged-38M",
         "ig1b": "Instagram-1B", "yfcc100m": "YFCC-100M"}  # fmt: skip
_SELF_SUPERVISED = {"dino", "mae", "fcmae", "dinov2", "ijepa", "lvd142m", "lvd1689m", "m38m"}
_LANGUAGE = {"clip", "openai", "siglip", "laion2b", "laion400m", "merged2b"}


def read_folder_config(path: Path) -> dict[str, Any]:
    """Return what ``config.json`` and ``preprocessor_config.json`` beside a file say together, ``{}`` without any."""
    config: dict[str, Any] = {}
    for name in _CONFIGS:
        beside = path.absolute().parent / name
        try:
            content = json.loads(beside.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            logger.warning("%s beside the weights cannot be read (%s), so nothing is taken from it.", beside, error)
            continue
        if isinstance(content, dict):
            config.update(content)
    return config


def described_by_folder(path: Path) -> dict[str, Any] | None:
    """Return facts on the weights of a folder of Hugging Face form, by the fields of ``KnownWeights``.

    ``None`` for a file that is not the folder's main one, and where no ``config.json`` says whose it is.
    """
    if path.name not in MAIN_FILES:
        return None
    config = read_folder_config(path)
    if isinstance(config.get("architecture"), str) and isinstance(config.get("pretrained_cfg"), dict):
        return facts_of_timm(config["architecture"], config["pretrained_cfg"])
    if isinstance(config.get("model_type"), str):
        return _facts_of_transformers(config, path.absolute().parent.name)
    return None


def facts_of_timm(architecture: str, pretrained_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts on weights from timm's name of the architecture and its ``pretrained_cfg``."""
    tag = str(pretrained_cfg.get("tag") or "")
    parts = {part for text in (architecture, tag) for part in text.replace(".", "_").split("_")}
    data = tuple(dict.fromkeys(name for part, name in _DATA.items() if part in parts))
    supervision = None
    # Fine-tuning on labels is the last that was done, whatever came before.
    if "ft" in parts or (data and not parts & (_SELF_SUPERVISED | _LANGUAGE)):
        supervision = "supervised"
    elif parts & _SELF_SUPERVISED:
        supervision = "self-supervised"
    elif parts & _LANGUAGE:
        supervision = "vision-language"
    mean, std = pretrained_cfg.get("mean"), pretrained_cfg.get("std")
    size = pretrained_cfg.get("input_size")
    hub = pretrained_cfg.get("hf_hub_id")
    return {
        "name": f"timm:{architecture}" + (f".{tag}" if tag else ""),
        "encoder_name": f"tu-{architecture}",
        "get": f"--pretrained timm:{architecture}" + (f".{tag}" if tag else ""),
        "normalisation": Normalisation(tuple(mean), tuple(std)) if mean and std else None,
        "image_size": int(size[-1]) if size else None,
        "supervision": supervision,
        "licence": pretrained_cfg.get("license"),
        "page": f"https://huggingface.co/{hub}" if isinstance(hub, str) else pretrained_cfg.get("origin_url"),
        "trained_on": data or None,
    }


def _facts_of_transformers(config: Mapping[str, Any], folder: str) -> dict[str, Any]:
    size, patch = _SIZES.get(config.get("hidden_size", 0)), config.get("patch_size")
    pattern = _ENCODERS.get(config["model_type"])
    name = str(config.get("_name_or_path") or folder)
    return {
        "name": name,
        "encoder_name": pattern.format(size=size, patch=patch) if pattern and size and patch else None,
        "get": "a folder of Hugging Face form",
        "normalisation": _of_processor(config),
        "image_size": config.get("image_size") if isinstance(config.get("image_size"), int) else None,
        "licence": config.get("license"),
    }


def _of_processor(config: Mapping[str, Any]) -> Normalisation | None:
    """Normalisation by an image processor of transformers, ``None`` without one."""
    if "do_normalize" not in config and "image_mean" not in config:
        return None
    # A processor sees 0 to 255.
    scale = 255 * float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 255.0
    scale = 1.0 if abs(scale - 1) < 1e-6 else scale
    if not config.get("do_normalize", True):
        return Normalisation(IDENTITY.mean, IDENTITY.std, scale)
    mean, std = config.get("image_mean"), config.get("image_std")
    return Normalisation(tuple(mean), tuple(std), scale) if mean and std else None
