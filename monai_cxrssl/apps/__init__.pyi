# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .announce import announce_data
from .announce_fine_tuning import announce_fine_tuning
from .clear_errors import clear_sentence, install_clear_errors
from .run_log import open_run_log

__all__ = [
    "announce_data",
    "announce_fine_tuning",
    "clear_sentence",
    "install_clear_errors",
    "open_run_log",
]
