# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Self-supervised pretraining and multi-task fine-tuning of chest X-ray models on MONAI."""

from __future__ import annotations

__version__ = "0.1.0"
