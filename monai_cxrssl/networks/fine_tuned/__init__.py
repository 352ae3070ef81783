# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks that fine-tuning leaves: one, or an ensemble of several."""
