# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands of ``python -m monai_cxrssl``, one per file."""
