# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The deploy-readiness report."""

from __future__ import annotations

from monai_cxrssl.report.assemble import assemble_report
from monai_cxrssl.report.content import Content, Flag, Picture, Section, Table
from monai_cxrssl.report.criteria import Criterion, CriterionRule, evaluate_criteria, load_criteria, overall_sentence
from monai_cxrssl.report.evaluation_files import external_table
from monai_cxrssl.report.label_efficiency import label_efficiency
from monai_cxrssl.report.label_efficiency_plot import plot_label_efficiency
from monai_cxrssl.report.label_efficiency_table import efficiency_table
from monai_cxrssl.report.model_card import CardField, model_card
from monai_cxrssl.report.page import write_page
from monai_cxrssl.report.plots import (
    draw_attention,
    draw_confusion,
    draw_intervals,
    draw_probes,
    draw_ranking,
    draw_reliability,
)
from monai_cxrssl.report.provenance import collect_provenance
from monai_cxrssl.report.segmentation_figure import (
    SegmentationCase,
    choose_segmentation_cases,
    draw_segmentation_figure,
)
from monai_cxrssl.report.stored_calibration import store_calibration
from monai_cxrssl.report.write import write_report

__all__ = [
    "CardField",
    "Content",
    "Criterion",
    "CriterionRule",
    "Flag",
    "Picture",
    "Section",
    "SegmentationCase",
    "Table",
    "assemble_report",
    "choose_segmentation_cases",
    "collect_provenance",
    "draw_attention",
    "draw_confusion",
    "draw_intervals",
    "draw_probes",
    "draw_ranking",
    "draw_reliability",
    "draw_segmentation_figure",
    "efficiency_table",
    "evaluate_criteria",
    "external_table",
    "label_efficiency",
    "load_criteria",
    "model_card",
    "overall_sentence",
    "plot_label_efficiency",
    "store_calibration",
    "write_page",
    "write_report",
]
