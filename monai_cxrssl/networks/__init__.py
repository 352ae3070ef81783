# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoders and the heads that sit on them."""

from __future__ import annotations

from monai_cxrssl.networks.encoder import Encoder, build_encoder
from monai_cxrssl.networks.heads import ProjectionHead
from monai_cxrssl.networks.pretrained import load_encoder_weights, load_state_dict_file
from monai_cxrssl.networks.settings import read_model_setting

__all__ = [
    "Encoder",
    "ProjectionHead",
    "build_encoder",
    "load_encoder_weights",
    "load_state_dict_file",
    "read_model_setting",
]
