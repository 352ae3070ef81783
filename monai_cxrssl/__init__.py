# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Self-supervised pretraining and multi-task fine-tuning of chest X-ray models on MONAI."""

from __future__ import annotations

from monai_cxrssl.tiers import attach_stub

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
