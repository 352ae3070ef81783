# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the readiness report asks of a network and its images, beyond the scores of its evaluation."""

from __future__ import annotations

from monai_cxrssl.report.checks.report_checks import ReportChecks

__all__ = ["ReportChecks"]
