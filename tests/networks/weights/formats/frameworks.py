# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of self-supervised learning frameworks, around the ResNet of torchvision."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from monai_cxrssl.networks import Encoder

from .source import Format, Source, behind, hooked, seeded


def resnet(seed: int = 0) -> tuple[nn.Module, Source]:
    model = seeded(torchvision.models.resnet18(), seed)
    return model, Source(hooked(model, model.layer4), "resnet18")


def saved(path: Path, content: Mapping[str, Any], source: Source) -> Source:
    torch.save(content, path)
    return source


def moco(path: Path) -> Source:
    query, source = resnet()
    key, _ = resnet(1)
    state = behind("module.encoder_q.", query) | behind("module.encoder_k.", key) | {"module.queue": torch.zeros(8, 9)}
    optimizer = torch.optim.SGD(query.parameters(), 0.1, momentum=0.9).state_dict()
    content = {"epoch": 10, "arch": "resnet18", "state_dict": state, "best_acc1": np.float64(0.5)}
    return saved(path, content | {"optimizer": optimizer}, source)


def lightly_simclr(path: Path) -> Source:
    from lightly.models.modules import SimCLRProjectionHead

    model, source = resnet()
    whole = nn.Module()
    whole.backbone = nn.Sequential(*list(model.children())[:-1])
    whole.projection_head = SimCLRProjectionHead(512, 512, 128)
    return saved(path, whole.state_dict(), source)


def lightly_moco(path: Path) -> Source:
    from lightly.models.utils import deactivate_requires_grad

    model, source = resnet()
    other, _ = resnet(1)
    whole = nn.Module()
    whole.backbone = nn.Sequential(*list(model.children())[:-1])
    whole.backbone_momentum = nn.Sequential(*list(other.children())[:-1])
    deactivate_requires_grad(whole.backbone_momentum)
    return saved(path, whole.state_dict(), source)


def lightning(path: Path) -> Source:
    from pytorch_lightning import LightningModule, Trainer

    class Classifier(LightningModule):
        def __init__(self, args: argparse.Namespace, rate: float = 0.1) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = torchvision.models.resnet18()

    whole = Classifier(argparse.Namespace(root=Path("films")))
    seeded(whole.model)
    trainer = Trainer(max_epochs=0, accelerator="cpu", logger=False, default_root_dir=path.parent, barebones=True)
    trainer.strategy.connect(whole)
    trainer.save_checkpoint(path)
    return Source(hooked(whole.model, whole.model.layer4), "resnet18")


def vissl(path: Path) -> Source:
    model, source = resnet()
    trunk = {"base_model": {"model": {"trunk": behind("_feature_blocks.", model), "heads": {"0.w": torch.zeros(2)}}}}
    return saved(path, {"classy_state_dict": trunk, "iteration_num": torch.tensor(5)}, source)


def solo_learn(path: Path) -> Source:
    model, source = resnet()
    other, _ = resnet(1)
    state = behind("backbone.", model) | behind("momentum_backbone.", other) | {"projector.0.weight": torch.zeros(4, 4)}
    return saved(path, {"epoch": 3, "pytorch-lightning_version": "1.9", "state_dict": state}, source)


def mmselfsup(path: Path) -> Source:
    model, source = resnet()
    state = behind("backbone.", model) | {"neck.fc.weight": torch.zeros(3, 3)}
    return saved(path, {"meta": {"time": "now", "epoch": 200}, "state_dict": state}, source)


def byol(path: Path) -> Source:
    model, source = resnet()
    other, _ = resnet(1)
    return saved(path, behind("target_encoder_network.", other) | behind("online_network.", model), source)


def biovil(path: Path) -> Source:
    model, source = resnet()
    return saved(path, behind("encoder.encoder.", model) | {"projector.model.0.weight": torch.zeros(4, 4)}, source)


def mgca(path: Path) -> Source:
    model, source = resnet()
    state = behind("img_encoder_q.model.", model) | {"img_encoder_q.global_embed.0.weight": torch.zeros(2, 2)}
    text = {"text_encoder_q.model.encoder.layer.0.attention.self.query.weight": torch.zeros(2, 2)}
    return saved(path, {"state_dict": text | state}, source)


def compiled(path: Path) -> Source:
    model, source = resnet()
    return saved(path, {"model_state_dict": behind("module._orig_mod.", model)}, source)


def nested(path: Path) -> Source:
    model, source = resnet()
    return saved(path, {"encoder_state": dict(model.state_dict()), "decoder_state": {"w": torch.zeros(2)}}, source)


def own(path: Path) -> Source:
    model = Encoder("resnet18", in_channels=1)
    seeded(model)
    return saved(path, model.state_dict(), Source(model.feature_map, "resnet18", channels=1))


FRAMEWORKS = (
    Format("moco", "MoCo, MoCo-CXR, CheSS", "`state_dict`, with numpy scalars", "`module.encoder_q.`", moco),
    Format("lightly-simclr", "lightly", "`state_dict()`", "`backbone.0` ..., a numbered Sequential", lightly_simclr),
    Format("lightly-moco", "lightly", "`state_dict()`", "`backbone.` before `backbone_momentum.`", lightly_moco),
    Format("lightning", "PyTorch Lightning", "`.ckpt` with hyperparameters", "any prefix", lightning, "last.ckpt"),
    Format("vissl", "VISSL", "`classy_state_dict`", "`_feature_blocks.`", vissl),
    Format("solo-learn", "solo-learn", "`.ckpt`", "`backbone.` before `momentum_backbone.`", solo_learn, "last.ckpt"),
    Format("mmselfsup", "MMSelfSup, MMPretrain", "`state_dict`", "`backbone.`", mmselfsup),
    Format("byol", "BYOL", "`state_dict()`", "`online_network.` before the target's", byol),
    Format("biovil", "BioViL, BioViL-T", "`state_dict()`", "`encoder.encoder.`", biovil),
    Format("mgca", "MGCA, GLoRIA", "`state_dict`", "`img_encoder_q.model.`", mgca),
    Format("compiled", "torch.compile, data-parallel", "`model_state_dict`", "`module._orig_mod.`", compiled),
    Format("nested", "any", "`encoder_state`, `model_state`, `network` ...", "as of its library", nested),
    Format("own", "this package", "`model.pt`", "`encoder.`", own),
)
