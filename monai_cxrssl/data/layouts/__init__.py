# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Data sets as they lie on disk: one layout per file, each with ``detect(folder)`` and ``read(folder)``."""

from __future__ import annotations

from monai_cxrssl.data.layouts.registry import LAYOUTS, mix_datalists, open_dataset

__all__ = ["LAYOUTS", "mix_datalists", "open_dataset"]
