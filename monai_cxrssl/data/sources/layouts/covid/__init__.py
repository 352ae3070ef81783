# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Layouts of COVID-19 data sets, one per file."""
