# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .description import find_description, require_description
from .encoder import Encoder, build_encoder
from .evaluation_mode import in_evaluation
from .gmml_head import GMMLHead
from .heads import ProjectionHead
from .momentum import EMACopy, momentum_at
from .multi_task import MultiTaskNet
from .prediction_head import PredictionHead
from .reconstruction import ReconstructionDecoder
from .settings import read_model_setting, read_temperature, read_thresholds, read_training_range
from .token_blocks import TokenBlocks, last_half_blocks
from .trained import build_described, load_trained_model, load_trained_network
from .weights.containers import read_weights
from .weights.exact import load_exactly
from .weights.loading import LoadAccount, load_encoder_weights

__all__ = [
    "Encoder",
    "GMMLHead",
    "EMACopy",
    "LoadAccount",
    "MultiTaskNet",
    "PredictionHead",
    "ProjectionHead",
    "ReconstructionDecoder",
    "TokenBlocks",
    "build_described",
    "build_encoder",
    "find_description",
    "in_evaluation",
    "last_half_blocks",
    "load_encoder_weights",
    "load_exactly",
    "load_trained_model",
    "load_trained_network",
    "momentum_at",
    "read_model_setting",
    "read_temperature",
    "read_thresholds",
    "read_training_range",
    "read_weights",
    "require_description",
]
