# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the faults have in common: images to train on, and what a run ends with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from monai_cxrssl.errors import CXRSSLError

__all__ = ["Warned", "ends", "films"]


class Warned(logging.Handler):
    """Collect what is warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def ends(run: Callable[[], Any]) -> str:
    """The sentence that a run ends with, or what it warned of if it does not end."""
    warned = Warned()
    logger = logging.getLogger("monai_cxrssl")
    logger.addHandler(warned)
    try:
        run()
    except CXRSSLError as error:
        return f"stops: {error}"
    finally:
        logger.removeHandler(warned)
    return f"goes on: {' '.join(warned.lines) or 'nothing is said'}"


def films(folder: Path, count: int = 40) -> list[dict[str, str]]:
    random = np.random.default_rng(0)
    items = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), random.integers(0, 256, (48, 48), dtype=np.uint8))
        items.append({"image": str(path), "patient_id": f"p{number // 2}"})
    return items
