# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .analysis import Start, compare_starts
from .orders import Order, expand_orders, shared_stages, stage_plan
from .pretraining import Pretraining, run_pretrainings
from .scoring import ScoredStart, Scoring
from .study import Study
from .table import comparison_table
from .write import write_comparison

__all__ = [
    "Order", "Pretraining", "ScoredStart", "Scoring", "Start", "Study", "compare_starts", "comparison_table",
    "expand_orders", "run_pretrainings", "shared_stages", "stage_plan",
    "write_comparison",
]  # fmt: skip
