# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .curriculum import Curriculum, divide_epochs
from .stage import PretextStage, StageRun, stages_over_data

__all__ = [
    "Curriculum",
    "PretextStage",
    "StageRun",
    "divide_epochs",
    "stages_over_data",
]
