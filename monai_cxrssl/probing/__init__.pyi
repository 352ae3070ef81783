# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .embedding import embed
from .linear_probe import one_hot_labels, probe
from .saliency import attention_method, saliency_maps, saliency_method
from .source_probe import SourcePrediction, predict_source

__all__ = [
    "SourcePrediction", "attention_method", "embed", "one_hot_labels", "predict_source", "probe", "saliency_maps",
    "saliency_method",
]  # fmt: skip
