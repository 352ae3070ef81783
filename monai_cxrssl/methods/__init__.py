# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretext methods, one per file."""

from __future__ import annotations

from monai_cxrssl.methods.contrastive import ContrastiveMethod
from monai_cxrssl.methods.inpainting import Inpainting
from monai_cxrssl.methods.jigsaw import Jigsaw
from monai_cxrssl.methods.masked_distillation import MaskedDistillation
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.methods.micle import MICLe
from monai_cxrssl.methods.moco import MoCo
from monai_cxrssl.methods.rotation import Rotation
from monai_cxrssl.methods.simclr import SimCLR
from monai_cxrssl.methods.spcxr import SPCXR

__all__ = [
    "ContrastiveMethod",
    "Inpainting",
    "Jigsaw",
    "MICLe",
    "MaskedDistillation",
    "MoCo",
    "PretextMethod",
    "Rotation",
    "SPCXR",
    "SimCLR",
]
