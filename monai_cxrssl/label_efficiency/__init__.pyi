# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .analysis import label_efficiency
from .plot import plot_label_efficiency
from .table import efficiency_table

__all__ = ["efficiency_table", "label_efficiency", "plot_label_efficiency"]
