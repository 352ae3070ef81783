# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .embedding import embed
from .linear_head import fit_label_head
from .linear_probe import one_hot_labels, probe
from .saliency import attention_method, saliency_maps, saliency_method
from .source_probe import SourcePrediction, predict_source

__all__ = [
    "SourcePrediction", "attention_method", "embed", "fit_label_head", "one_hot_labels", "predict_source", "probe",
    "saliency_maps", "saliency_method",
]  # fmt: skip
