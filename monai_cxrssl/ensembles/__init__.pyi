# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .figures import ensemble_figures
from .study import FoldStudy
from .table import folds_table
from .weights import write_ensemble

__all__ = ["FoldStudy", "ensemble_figures", "folds_table", "write_ensemble"]
