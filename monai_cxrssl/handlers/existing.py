# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers that a config has already built under a name of their own."""

from __future__ import annotations

from typing import Any

__all__ = ["existing_handler"]


def existing_handler(handler: Any) -> Any:
    """Return the handler.

    MONAI wants every entry of ``handlers`` in a bundle to be a component with a ``_target_``; this is the component for
    an entry that other entries refer to by name.
    """
    return handler
