# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .layer_decay import layer_decay_groups
from .optimizer import create_optimizer
from .schedules import StagedWarmupCosine, scaled_learning_rate
from .weight_decay import CosineWeightDecay

__all__ = ["CosineWeightDecay", "StagedWarmupCosine", "create_optimizer", "layer_decay_groups", "scaled_learning_rate"]
