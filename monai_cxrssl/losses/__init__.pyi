# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .dino import DINOLoss
from .distillation import DistillationLoss
from .info_nce import InfoNCELoss
from .masked_reconstruction import MaskedReconstructionLoss
from .multi_task import MultiTaskLoss
from .nt_xent import NTXentLoss
from .task_weights import TaskWeights

__all__ = [
    "DINOLoss", "DistillationLoss", "InfoNCELoss", "MaskedReconstructionLoss", "MultiTaskLoss", "NTXentLoss",
    "TaskWeights",
]  # fmt: skip
