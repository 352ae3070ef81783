# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretext methods, one per file."""

from __future__ import annotations

from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.methods.micle import MICLe
from monai_cxrssl.methods.simclr import SimCLR

__all__ = ["MICLe", "PretextMethod", "SimCLR"]
