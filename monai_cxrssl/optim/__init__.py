# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Optimizers, schedules and parameter groups."""

from __future__ import annotations

from monai_cxrssl.tiers import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
