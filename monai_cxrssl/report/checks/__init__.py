# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a network on images for the report."""

from __future__ import annotations

from monai_cxrssl.report.checks.report_checks import ReportChecks

__all__ = ["ReportChecks"]
