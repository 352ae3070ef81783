# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Loss functions, one per file."""

from __future__ import annotations

from monai_cxrssl.losses.distillation import DistillationLoss
from monai_cxrssl.losses.info_nce import InfoNCELoss
from monai_cxrssl.losses.masked_reconstruction import MaskedReconstructionLoss
from monai_cxrssl.losses.multi_task import MultiTaskLoss
from monai_cxrssl.losses.nt_xent import NTXentLoss

__all__ = ["DistillationLoss", "InfoNCELoss", "MaskedReconstructionLoss", "MultiTaskLoss", "NTXentLoss"]
