# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .calibration import ReliabilityDiagram, calibration_figures, reliability_diagram, top_label
from .clustered_proportion import proportion_interval
from .cohort import Cohort, why_not_assessable
from .confusion import class_decisions, confusion_figures, confusion_matrix, finding_decisions
from .delong import DeLongResult, delong_test, holm_adjust
from .lung_attention import (
    LungAttention,
    attention_above_chance,
    lung_area_fraction,
    pointing_game,
    positive_fraction_of_saliency,
    saliency_iou,
)
from .lung_extent import LungExtent, lung_extent
from .operating_point import OperatingPoint, choose_threshold, choose_thresholds, operating_point_figures
from .patient_bootstrap import Interval, ResamplingPlan, bootstrap_mean, flat_metrics
from .ranking import auc_intervals, average_precision, compare_auc, macro_auc, ranking_figures, roc_auc
from .segmentation import overlap_per_image
from .subgroups import Subgroup, age_band, subgroup_figures
from .surface_distance import SegmentationFigures, segmentation_figures, segmentation_measures
from .temperature import apply_temperature, fit_temperature, negative_log_likelihood

__all__ = [
    "Cohort", "DeLongResult", "Interval", "LungAttention", "LungExtent",
    "OperatingPoint", "ReliabilityDiagram", "ResamplingPlan",
    "SegmentationFigures", "Subgroup", "age_band", "apply_temperature", "attention_above_chance", "auc_intervals",
    "average_precision", "bootstrap_mean", "calibration_figures", "choose_threshold", "choose_thresholds",
    "class_decisions", "compare_auc", "confusion_figures", "confusion_matrix", "delong_test", "finding_decisions",
    "fit_temperature", "flat_metrics", "holm_adjust", "lung_area_fraction", "lung_extent",
    "macro_auc", "negative_log_likelihood",
    "operating_point_figures", "overlap_per_image", "pointing_game", "positive_fraction_of_saliency",
    "proportion_interval", "ranking_figures",
    "reliability_diagram", "roc_auc", "saliency_iou", "segmentation_figures", "segmentation_measures",
    "subgroup_figures", "top_label", "why_not_assessable",
]  # fmt: skip
