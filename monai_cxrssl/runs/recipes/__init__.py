# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Recipes of fine-tuning by an encoder's family, and their length."""
