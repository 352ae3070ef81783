# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The plots of the report, under one name. Each returns whether there was anything to draw, and draws no empty one."""

from __future__ import annotations

from monai_cxrssl.report.plot_attention import draw_attention
from monai_cxrssl.report.plot_confusion import draw_confusion
from monai_cxrssl.report.plot_intervals import draw_intervals, draw_probes
from monai_cxrssl.report.plot_ranking import draw_ranking
from monai_cxrssl.report.plot_reliability import draw_reliability

__all__ = [
    "draw_attention",
    "draw_confusion",
    "draw_intervals",
    "draw_probes",
    "draw_ranking",
    "draw_reliability",
]
