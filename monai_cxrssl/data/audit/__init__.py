# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Leaks, duplicates, burned-in text and training ranges."""
