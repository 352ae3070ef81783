# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures that MONAI, torchmetrics and scikit-learn lack: intervals over patients, labels that may be unknown."""

from __future__ import annotations

from monai_cxrssl.metrics.classification import bootstrap_auc, compare_auc, macro_auc, roc_auc
from monai_cxrssl.metrics.patient_bootstrap import Interval, PatientBootstrap, bootstrap_mean, flat_metrics
from monai_cxrssl.metrics.segmentation import overlap_per_image

__all__ = [
    "Interval",
    "PatientBootstrap",
    "bootstrap_auc",
    "bootstrap_mean",
    "compare_auc",
    "flat_metrics",
    "macro_auc",
    "overlap_per_image",
    "roc_auc",
]
