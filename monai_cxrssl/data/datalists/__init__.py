# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Datalist files: schema, splits, labels, masks, predictions."""
