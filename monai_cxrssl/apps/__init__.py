# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands between the package and a person: commands, logs, messages."""

from __future__ import annotations

from monai_cxrssl.apps.announce import announce_data
from monai_cxrssl.apps.announce_fine_tuning import announce_fine_tuning
from monai_cxrssl.apps.clear_errors import clear_sentence, install_clear_errors
from monai_cxrssl.apps.run_log import open_run_log

__all__ = [
    "announce_data",
    "announce_fine_tuning",
    "clear_sentence",
    "install_clear_errors",
    "open_run_log",
]
