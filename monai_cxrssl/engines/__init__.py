# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Trainers and what surrounds a training step."""

from __future__ import annotations

from monai_cxrssl.engines.curriculum import Curriculum, divide_epochs
from monai_cxrssl.engines.device import require_device
from monai_cxrssl.engines.device_views import DeviceViews
from monai_cxrssl.engines.distillation_method import DistillationMethod, load_teacher
from monai_cxrssl.engines.distributed import data_parallel, join_processes, leave_processes
from monai_cxrssl.engines.embed import embed
from monai_cxrssl.engines.federated import FederatedTrainer
from monai_cxrssl.engines.fine_tuning_method import FineTuningMethod
from monai_cxrssl.engines.layer_decay import layer_decay_groups
from monai_cxrssl.engines.multi_task import MultiTaskTrainer
from monai_cxrssl.engines.multi_task_evaluator import MultiTaskEvaluator
from monai_cxrssl.engines.optimizer import create_optimizer
from monai_cxrssl.engines.precision import autocast_dtype
from monai_cxrssl.engines.probe import one_hot_labels, probe
from monai_cxrssl.engines.saliency import attention_method, saliency_maps, saliency_method
from monai_cxrssl.engines.schedule import StagedWarmupCosine, scaled_learning_rate
from monai_cxrssl.engines.source_probe import SourcePrediction, predict_source
from monai_cxrssl.engines.ssl import SSLTrainer, prepare_views
from monai_cxrssl.engines.stage import PretextStage, StageRun, stages_over_data
from monai_cxrssl.engines.weight_decay import CosineWeightDecay

__all__ = [
    "CosineWeightDecay",
    "Curriculum",
    "DeviceViews",
    "DistillationMethod",
    "FederatedTrainer",
    "FineTuningMethod",
    "MultiTaskEvaluator",
    "MultiTaskTrainer",
    "PretextStage",
    "SSLTrainer",
    "SourcePrediction",
    "StageRun",
    "StagedWarmupCosine",
    "attention_method",
    "autocast_dtype",
    "create_optimizer",
    "data_parallel",
    "divide_epochs",
    "embed",
    "join_processes",
    "layer_decay_groups",
    "leave_processes",
    "load_teacher",
    "one_hot_labels",
    "predict_source",
    "prepare_views",
    "probe",
    "require_device",
    "saliency_maps",
    "saliency_method",
    "scaled_learning_rate",
    "stages_over_data",
]
