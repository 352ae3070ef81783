# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM objects of predictions: SEG, SR, secondary capture, GSPS."""
