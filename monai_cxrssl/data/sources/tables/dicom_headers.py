# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM headers as a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_cxrssl.errors import CXRReadError

__all__ = ["read_headers"]

logger = logging.getLogger(__name__)


def read_headers(folder: Path, images: Sequence[str], source: str) -> list[dict[str, Any]]:
    """Read the headers of films, not their pixels, by paths relative to ``folder``; ``source`` names the data set.

    Returns:
        for each image ``patient_id``, ``view_position``, ``sex`` and ``age``, each left out when unknown; for a file
        whose header cannot be read ``{}``, with one line in the log that counts these and names the first.
    """
    from monai_cxrssl.data.reading.dicom import read_dicom_header

    known: list[dict[str, Any]] = []
    failures: list[CXRReadError] = []
    for image in tqdm(images, desc=f"headers of {source}", unit="file", leave=False, disable=None):
        try:
            header = read_dicom_header(folder / image)
        except CXRReadError as error:
            failures.append(error)
            header = {}
        wanted = {name: header.get(name) for name in ("patient_id", "view_position", "sex", "age")}
        known.append({name: value for name, value in wanted.items() if value not in (None, "")})
    if failures:
        told = f"{len(failures)} of {len(images)} headers cannot be read; first: {failures[0]}"
        logger.warning("%s: %s", source, told)
    return known
