# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label tables, line lists and DICOM headers behind layouts."""
