# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Leak check of a run: patients and public data sets trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from monai_cxrssl.data.audit import leak
from monai_cxrssl.data.audit.audit import Finding
from monai_cxrssl.networks.trained_on import trained_on

__all__ = ["refuse_leak"]


def refuse_leak(
    items: Sequence[Mapping[str, Any]],
    weights: str | os.PathLike,
    allow_leak: bool = False,
    what: str = "evaluation",
    name: str = "dataset",
) -> list[Finding]:
    """Raise when a model is to be measured on patients, or on a public data set, that it was trained on.

    The patients are those of the list beside the weights, see :func:`monai_cxrssl.data.refuse_leak` for the arguments;
    the data sets are those of public weights, however many trainings ago (:func:`.trained_on`).

    Raises:
        DatalistError: patients or images are shared.
        ConfigurationError: the list is damaged, or the file holds no weights.
    """
    found = leak.refuse_leak(items, weights, allow_leak, what, name)
    return found + leak.refuse_seen_data_sets(items, trained_on(weights), weights, allow_leak, what, name)
