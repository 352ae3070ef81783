# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .assemble import assemble_report
from .card import CardField, model_card
from .content import Content, Flag, Picture, Section, Table
from .criteria import Criterion, CriterionRule, evaluate_criteria, load_criteria, overall_sentence
from .evaluation_files import external_table
from .page.page import write_page
from .plots.attention import draw_attention
from .plots.confusion import draw_confusion
from .plots.intervals import draw_intervals, draw_probes
from .plots.ranking import draw_ranking
from .plots.reliability import draw_reliability
from .plots.segmentation import SegmentationCase, choose_segmentation_cases, draw_segmentation_figure
from .provenance import collect_provenance
from .stored_calibration import store_calibration
from .write import write_report

__all__ = [
    "CardField", "Content", "Criterion", "CriterionRule", "Flag", "Picture", "Section", "SegmentationCase", "Table",
    "assemble_report", "choose_segmentation_cases", "collect_provenance", "draw_attention", "draw_confusion",
    "draw_intervals", "draw_probes", "draw_ranking", "draw_reliability", "draw_segmentation_figure",
    "evaluate_criteria", "external_table", "load_criteria", "model_card", "overall_sentence", "store_calibration",
    "write_page", "write_report",
]  # fmt: skip
