# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .clear_errors import clear_sentence, install_clear_errors

__all__ = [
    "clear_sentence",
    "install_clear_errors",
]
