# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .description import find_description, require_description
from .encoder import Encoder
from .encoder_factory import build_encoder
from .evaluation_mode import in_evaluation
from .fine_tuned.ensemble import EnsembleNet
from .fine_tuned.factory import fine_tuned_network
from .gmml_head import GMMLHead, mean_of_blocks
from .heads import ProjectionHead
from .lungs.lung_masks import LungMasks, with_lung_masks
from .lungs.segment_lungs import SegmentLungs, SegmentLungsd
from .lungs.shipped import lung_weights, own_or_shipped
from .momentum import EMACopy, momentum_at
from .multi_task import MultiTaskNet
from .normalisation import InputNormalisation, Normalisation
from .parts.label_head import LabelHead
from .parts.pooling import Pooling, pooled_features
from .parts.positions import sincos_positions
from .prediction_head import PredictionHead
from .pretext.dino_head import DINOHead
from .pretext.mae import MAEDecoder, VisibleTokens
from .reconstruction import ReconstructionDecoder
from .settings import (
    read_collapse,
    read_encoder_arguments,
    read_input_normalisation,
    read_members,
    read_model_setting,
    read_start,
    read_temperature,
    read_thresholds,
    read_training_range,
)
from .token_blocks import TokenBlocks, last_half_blocks
from .trained import build_described, load_trained_model, load_trained_network
from .trained_on import trained_on
from .weights.containers import read_weights
from .weights.exact import load_exactly
from .weights.known import KnownWeights, candidates, known_weights, recognise
from .weights.loading import LoadAccount, load_encoder_weights
from .weights.locations import resolve_weights

__all__ = [
    "DINOHead",
    "Encoder",
    "EnsembleNet",
    "GMMLHead",
    "EMACopy",
    "KnownWeights",
    "LabelHead",
    "LoadAccount",
    "LungMasks",
    "InputNormalisation",
    "MAEDecoder",
    "MultiTaskNet",
    "Normalisation",
    "Pooling",
    "PredictionHead",
    "ProjectionHead",
    "ReconstructionDecoder",
    "SegmentLungs",
    "SegmentLungsd",
    "TokenBlocks",
    "VisibleTokens",
    "build_described",
    "build_encoder",
    "candidates",
    "find_description",
    "fine_tuned_network",
    "in_evaluation",
    "known_weights",
    "last_half_blocks",
    "load_encoder_weights",
    "load_exactly",
    "load_trained_model",
    "load_trained_network",
    "mean_of_blocks",
    "lung_weights",
    "momentum_at",
    "own_or_shipped",
    "pooled_features",
    "read_collapse",
    "read_encoder_arguments",
    "read_input_normalisation",
    "read_members",
    "read_model_setting",
    "read_start",
    "read_temperature",
    "read_thresholds",
    "read_training_range",
    "read_weights",
    "recognise",
    "require_description",
    "resolve_weights",
    "sincos_positions",
    "trained_on",
    "with_lung_masks",
]
