# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person should know of a film before believing what was predicted of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_cxrssl.data.audit import looks_inverted

__all__ = ["film_warnings", "view_warning"]

# DICOM's terms (PS3.3, C.8.11.3) and what data sets write. Left and right lateral decubitus are frontal projections of
# a patient who lies on one side.
_LATERAL = re.compile(r"LL|RL|L|LAT|.*\bLATERAL\b.*")
_DECUBITUS = re.compile(r"LLD|RLD|.*\bDECUBITUS\b.*")
_OBLIQUE = re.compile(r"[LR][AP]O|[LR]LO|.*\bOBLIQUE\b.*")


def view_warning(view_position: str) -> str:
    """Return the warning that a view deserves, "" for a frontal or an unknown one.

    Example:
        >>> view_warning("LL"), view_warning("AP Supine")
        ('lateral view', '')
    """
    view = " ".join(view_position.upper().replace("_", " ").split())
    for pattern, words in ((_DECUBITUS, "decubitus view"), (_OBLIQUE, "oblique view"), (_LATERAL, "lateral view")):
        if pattern.fullmatch(view):
            return words
    return ""


def film_warnings(item: Mapping[str, Any], pixels: np.ndarray, view_position: str = "") -> list[str]:
    """Return what is odd about a film: ``"lateral view"``, ``"inverted contrast suspected"`` and their like.

    A view other than frontal is told where the item or the file's header says so. Inversion is looked for in the other
    films, by :func:`monai_cxrssl.data.audit.looks_inverted`.

    Args:
        item: of the datalist; it may hold ``view_position``.
        pixels: ``(h, w)``, bright = dense, of any size and range.
        view_position: what the film's own header says.
    """
    for view in (item.get("view_position"), view_position):
        found = view_warning(str(view or ""))
        if found:
            return [found]
    return ["inverted contrast suspected"] if looks_inverted(pixels) else []
