# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Stand-in for the table of known weights."""

from __future__ import annotations

import os
from dataclasses import dataclass

from monai_cxrssl.networks.normalisation import Normalisation

__all__ = ["KnownWeights", "recognise"]


@dataclass(frozen=True)
class KnownWeights:
    """What is known of a public file of weights."""

    normalisation: Normalisation


def recognise(path: str | os.PathLike) -> KnownWeights | None:
    """Return what is known of a file; here nothing."""
    return None
