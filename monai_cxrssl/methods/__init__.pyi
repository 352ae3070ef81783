# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .byol import BYOL
from .contrastive import ContrastiveMethod
from .difficulty import easiest_first, task_difficulty
from .dino import DINO
from .distillation import DistillationMethod, load_teacher
from .fine_tuning import FineTuningMethod
from .inpainting import Inpainting
from .jigsaw import Jigsaw
from .mae import MAE
from .masked_distillation import MaskedDistillation
from .method import PretextMethod
from .micle import MICLe
from .moco import MoCo
from .rotation import Rotation
from .simclr import SimCLR
from .spcxr import SPCXR
from .trivial_loss import RunningMean, TrivialReconstruction

__all__ = [
    "BYOL", "ContrastiveMethod", "DINO", "DistillationMethod", "FineTuningMethod", "Inpainting", "Jigsaw", "MAE",
    "MICLe", "MaskedDistillation", "MoCo", "PretextMethod", "Rotation", "RunningMean", "SPCXR", "SimCLR",
    "TrivialReconstruction", "easiest_first", "load_teacher", "task_difficulty",
]  # fmt: skip
