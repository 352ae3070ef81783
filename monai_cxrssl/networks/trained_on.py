# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Public data sets that weights go back to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.weights.known import recognise

__all__ = ["trained_on"]


def trained_on(weights: str | os.PathLike | Sequence[str | os.PathLike] | None) -> list[str]:
    """Return the public data sets that weights, or the public weights they were trained from, have seen.

    A run's own data are not among them: of these there is a list of patients.

    Args:
        weights: a file, or several. A file of this package says so in its description, others are recognised
            (:func:`~monai_cxrssl.networks.recognise`); of unknown ones, and of none, nothing is returned.

    Raises:
        ConfigurationError: a file holds no weights.
    """
    files = [weights] if isinstance(weights, str | os.PathLike) else list(weights or ())
    names: list[str] = []
    for file in files:
        path = Path(file)
        if not path.exists():
            continue
        description = find_description(path)
        if description is None:
            known = recognise(path)
            names += [] if known is None else known.trained_on or ()
        else:
            names += description.get("trained_on") or ()
    return list(dict.fromkeys(names))
