# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoders and the heads that sit on them."""

from __future__ import annotations

from monai_cxrssl.networks.encoder import Encoder, build_encoder
from monai_cxrssl.networks.evaluation_mode import in_evaluation
from monai_cxrssl.networks.gmml_head import GMMLHead
from monai_cxrssl.networks.heads import ProjectionHead
from monai_cxrssl.networks.momentum import MomentumTwin, momentum_at
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.pretrained import load_encoder_weights, load_state_dict_file
from monai_cxrssl.networks.reconstruction import ReconstructionDecoder
from monai_cxrssl.networks.settings import read_model_setting, read_temperature, read_thresholds, read_training_range
from monai_cxrssl.networks.token_blocks import TokenBlocks, last_half_blocks
from monai_cxrssl.networks.trained import load_trained_network

__all__ = [
    "Encoder",
    "GMMLHead",
    "MomentumTwin",
    "MultiTaskNet",
    "ProjectionHead",
    "ReconstructionDecoder",
    "TokenBlocks",
    "build_encoder",
    "in_evaluation",
    "last_half_blocks",
    "load_encoder_weights",
    "load_state_dict_file",
    "load_trained_network",
    "momentum_at",
    "read_model_setting",
    "read_temperature",
    "read_thresholds",
    "read_training_range",
]
