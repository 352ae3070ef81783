# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .device_views import DeviceViews
from .evaluator import MultiTaskPredictor
from .federated import FederatedTrainer
from .learning_rate import find_learning_rate
from .multi_task import MultiTaskTrainer
from .trainer import MethodTrainer, prepare_views

__all__ = [
    "DeviceViews",
    "FederatedTrainer",
    "MultiTaskPredictor",
    "MultiTaskTrainer",
    "MethodTrainer",
    "find_learning_rate",
    "prepare_views",
]
