# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_cxrssl <command>``."""

from __future__ import annotations

import sys

from monai_cxrssl.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
