# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .checkpoint import RunCheckpoint, save_atomically
from .settings import as_plain_values, data_settings, refuse_other_settings

__all__ = [
    "RunCheckpoint",
    "as_plain_values",
    "data_settings",
    "refuse_other_settings",
    "save_atomically",
]
