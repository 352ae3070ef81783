# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .checkpoint import RunCheckpoint, save_atomically

__all__ = [
    "RunCheckpoint",
    "save_atomically",
]
