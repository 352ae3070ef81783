# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .analysis import drift_figures, label_efficiency
from .inits import Init, read_inits
from .logistic import LabelledFeatures, Logistic, fit_logistic
from .plot import plot_label_efficiency
from .study import Study
from .table import efficiency_table
from .task_table import task_table

__all__ = ["Init", "LabelledFeatures", "Logistic", "Study", "drift_figures", "efficiency_table", "fit_logistic"]
__all__ += ["label_efficiency", "plot_label_efficiency", "read_inits", "task_table"]
