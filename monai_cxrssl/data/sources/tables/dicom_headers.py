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
from monai_cxrssl.files import ordered_map

__all__ = ["read_headers"]

logger = logging.getLogger(__name__)


def read_headers(folder: Path, images: Sequence[str], source: str) -> list[dict[str, Any]]:
    """Read the headers of images, not their pixels, many at once, by paths relative to ``folder``; ``source`` names the
    data set.

    Returns:
        for each image ``patient_id``, ``view_position``, ``sex`` and ``age``, each left out when unknown; for a file
        whose header cannot be read ``{}``, with one line in the log that counts these and names the first.
    """
    from monai_cxrssl.data.reading.dicom import read_dicom_header

    def read(image: str) -> dict[str, Any] | CXRReadError:
        try:
            return read_dicom_header(folder / image)
        except CXRReadError as error:
            return error

    known: list[dict[str, Any]] = []
    failures: list[CXRReadError] = []
    headers = ordered_map(read, images, name="headers")
    for header in tqdm(headers, total=len(images), desc=f"headers of {source}", unit="file", leave=False, disable=None):
        if isinstance(header, CXRReadError):
            failures.append(header)
            header = {}
        wanted = {name: header.get(name) for name in ("patient_id", "view_position", "sex", "age")}
        known.append({name: value for name, value in wanted.items() if value not in (None, "")})
    if failures:
        told = f"{len(failures)} of {len(images)} headers cannot be read; first: {failures[0]}"
        logger.warning("%s: %s", source, told)
    return known
