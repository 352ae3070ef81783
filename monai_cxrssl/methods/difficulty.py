# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label-free difficulty of a pretext task: loss over trivial loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from monai_cxrssl.errors import ConfigurationError

__all__ = ["easiest_first", "task_difficulty"]


def task_difficulty(task: str, row: Mapping[str, Any]) -> float:
    """Return the loss of a task as a share of that of an answer that knows nothing of the image.

    1 says that nothing was learnt, 0 that the task is solved; losses of several tasks cannot be compared, these can.

    Args:
        task: its name, for the error.
        row: an epoch of a :class:`~monai_cxrssl.handlers.RunHistory`: ``loss``, or ``reconstruction_loss`` where that
            alone is to be compared, and ``trivial_loss``.

    Raises:
        ConfigurationError: the method says no trivial loss, or one that nothing can be compared with.

    Example:
        >>> task_difficulty("rotation", {"loss": 0.6931, "trivial_loss": 1.3863})  # log 2 of log 4
        0.49996...
    """
    trivial = row.get("trivial_loss")
    if trivial is None:
        raise ConfigurationError(
            f"The task {task!r} says no loss of a trivial answer, so that its difficulty cannot be compared; leave it "
            "out, give the order by hand (--order given), or return 'trivial_loss' from its method."
        )
    if not (math.isfinite(trivial) and trivial > 0):
        raise ConfigurationError(
            f"The trivial loss of the task {task!r} is {trivial:.3g}, with which nothing can be compared; are there "
            "enough images and patients in a batch? Raise --batch_size, or give the order by hand (--order given)."
        )
    return float(row.get("reconstruction_loss", row["loss"])) / float(trivial)


def easiest_first(difficulties: Mapping[str, float]) -> list[str]:
    """Return the tasks, the easiest first; of equal ones the one that was named first.

    Example:
        >>> easiest_first({"moco": 0.9, "rotation": 0.4, "jigsaw": 0.9})
        ['rotation', 'moco', 'jigsaw']
    """
    return sorted(difficulties, key=lambda task: difficulties[task])
