# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that inference met and could not read."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from monai_cxrssl.errors import CXRReadError

__all__ = ["unreadable_entries"]

logger = logging.getLogger(__name__)


def unreadable_entries(errors: Iterable[CXRReadError]) -> list[dict[str, str]]:
    """Log the files that could not be read, and return ``{"image": path, "cause": words}`` of each.

    Args:
        errors: ``"unreadable"`` of a batch of :class:`~monai_cxrssl.data.InferenceLoader`.
    """
    entries = []
    for error in errors:
        logger.warning("unreadable: %s", error)
        entries.append({"image": error.path, "cause": error.cause or str(error)})
    return entries
