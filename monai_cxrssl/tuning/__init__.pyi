# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .halving import Outcome, Rung, plan_rungs, successive_halving
from .plot import plot_tuning
from .report import tuning_report, write_tuning
from .space import combinations, search_space
from .table import best_sentence, tuning_table

__all__ = [
    "Outcome",
    "Rung",
    "best_sentence",
    "combinations",
    "plan_rungs",
    "plot_tuning",
    "search_space",
    "successive_halving",
    "tuning_report",
    "tuning_table",
    "write_tuning",
]
