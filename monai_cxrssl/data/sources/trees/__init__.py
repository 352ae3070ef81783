# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folder trees behind layouts: walks, classes, masks, converted images."""
