# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Convolutional networks of torchvision, timm, TorchXRayVision, Hugging Face and smp."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from .source import Format, Source, behind, hooked, seeded


def torchvision_resnet(path: Path) -> Source:
    model = seeded(torchvision.models.resnet18())
    torch.save(model.state_dict(), path)
    return Source(hooked(model, model.layer4), "resnet18")


def torchvision_densenet(path: Path) -> Source:
    model = seeded(torchvision.models.densenet121())
    torch.save(model.state_dict(), path)
    return Source(hooked(model, model.features.norm5), "tu-densenet121")


def torchvision_old_densenet(path: Path) -> Source:
    model = seeded(torchvision.models.densenet121())
    dotted = {re.sub(r"(layer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", k): v for k, v in model.state_dict().items()}
    torch.save(dotted, path)
    return Source(model.features, "densenet121")


def torchvision_vgg(path: Path) -> Source:
    model = seeded(torchvision.models.vgg11_bn())
    torch.save(model.state_dict(), path)
    return Source(hooked(model, model.features), "vgg11_bn")


def torchvision_convnext(path: Path) -> Source:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    dims = [40, 80, 160, 320, None]
    model = seeded(ConvNeXt([CNBlockConfig(dims[n], dims[n + 1], depth) for n, depth in enumerate((2, 2, 6, 2))]))
    torch.save(model.state_dict(), path)
    return Source(hooked(model, model.features[-1]), "tu-convnext_atto")


def torchvision_efficientnet(path: Path) -> Source:
    model = seeded(torchvision.models.efficientnet_b0())
    torch.save(model.state_dict(), path)
    return Source(hooked(model, model.features[-2]), "tu-efficientnet_b0")


def timm_resnet(path: Path) -> Source:
    model = seeded(timm.create_model("resnet18"))
    save_file(model.state_dict(), path)
    return Source(hooked(model, model.layer4), "tu-resnet18")


def timm_convnext(path: Path) -> Source:
    model = seeded(timm.create_model("convnext_atto"))
    save_file(model.state_dict(), path)
    return Source(hooked(model, model.stages[-1]), "tu-convnext_atto")


def timm_ema(path: Path) -> Source:
    model = seeded(timm.create_model("resnet18"))
    other = seeded(timm.create_model("resnet18"), 1)
    torch.save({"epoch": 1, "state_dict": other.state_dict(), "state_dict_ema": behind("module.", model)}, path)
    return Source(hooked(model, model.layer4), "resnet18")


def xrv_densenet(path: Path) -> Source:
    import torchxrayvision

    model = seeded(torchxrayvision.models.DenseNet(weights=None))
    torch.save(model.state_dict(), path)
    return Source(model.features, "densenet121", channels=1)


def xrv_resnet(path: Path) -> Source:
    model = torchvision.models.resnet50()
    model.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    torch.save(behind("model.", seeded(model)), path)
    return Source(hooked(model, model.layer4), "resnet50", channels=1)


def hf_resnet(path: Path) -> Source:
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
    model = seeded(ResNetModel(config))
    model.save_pretrained(path.parent)
    return Source(hooked(model, model.encoder.stages[-1]), "resnet18")


def hf_convnext(path: Path) -> Source:
    from transformers import ConvNextConfig, ConvNextModel

    config = ConvNextConfig(hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2], layer_norm_eps=1e-6)
    model = seeded(ConvNextModel(config))
    model.save_pretrained(path.parent)
    return Source(hooked(model, model.encoder.stages[-1]), "tu-convnext_atto")


def arrays(path: Path) -> Source:
    model = seeded(torchvision.models.resnet18())
    np.savez(path, **{name: value.numpy() for name, value in model.state_dict().items()})
    return Source(hooked(model, model.layer4), "resnet18")


def smp_unet(path: Path) -> Source:
    model = seeded(smp.Unet("mit_b0", encoder_weights=None))
    torch.save(model.state_dict(), path)
    return Source(lambda image: model.encoder(image)[-1], "mit_b0")


def half(path: Path) -> Source:
    model = seeded(torchvision.models.resnet18()).half().float()
    torch.save({name: value.half() for name, value in model.state_dict().items()}, path)
    return Source(hooked(model, model.layer4), "resnet18")


CONVOLUTIONAL = (
    Format("torchvision-resnet", "torchvision", "`state_dict()`", "`conv1`, `layer1` ...", torchvision_resnet),
    Format("torchvision-densenet", "torchvision", "`state_dict()`", "timm's names", torchvision_densenet),
    Format("torchvision-old-densenet", "torchvision, files of before 2018", "`state_dict()`", "`denselayer1.norm.1`",
           torchvision_old_densenet),
    Format("torchvision-vgg", "torchvision", "`state_dict()`", "`features.0` ...", torchvision_vgg),
    Format("torchvision-convnext", "torchvision", "`state_dict()`", "`features.1.0.block` ...", torchvision_convnext),
    Format("torchvision-efficientnet", "torchvision", "`state_dict()`", "the same tensors in the same order",
           torchvision_efficientnet),
    Format("timm-resnet", "timm", "`model.safetensors`", "`conv1`, `layer1` ...", timm_resnet, "model.safetensors"),
    Format("timm-convnext", "timm", "`model.safetensors`", "`stages.0` ...", timm_convnext, "model.safetensors"),
    Format("timm-ema", "timm, its `train.py`", "`state_dict_ema` before `state_dict`", "`module.`", timm_ema),
    Format("xrv-densenet", "TorchXRayVision DenseNet", "`state_dict()`, one channel", "`features.` ...", xrv_densenet),
    Format("xrv-resnet", "TorchXRayVision ResNet-50", "`state_dict()`, one channel", "`model.`", xrv_resnet),
    Format("hf-resnet", "Hugging Face ResNet", "`save_pretrained`", "`embedder`, `encoder.stages` ...", hf_resnet,
           "model.safetensors"),
    Format("hf-convnext", "Hugging Face ConvNeXt", "`save_pretrained`", "`encoder.stages.0.layers` ...", hf_convnext,
           "model.safetensors"),
    Format("numpy", "numpy", "`.npz` archive of a state dict", "as of its library", arrays, "weights.npz"),
    Format("smp", "segmentation-models-pytorch", "`state_dict()` of a whole model", "`encoder.`", smp_unet),
    Format("half", "any, in half precision", "`float16` or `bfloat16` tensors", "as of its library", half),
)  # fmt: skip
