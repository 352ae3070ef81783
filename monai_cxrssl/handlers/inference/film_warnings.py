# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Warnings about an image before its prediction is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_cxrssl.data.audit.audit import looks_inverted
from monai_cxrssl.data.audit.training_range import TrainingRange

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


def film_warnings(
    item: Mapping[str, Any], pixels: np.ndarray, view_position: str = "", training_range: TrainingRange | None = None
) -> list[str]:
    """Return what is odd about an image: ``"lateral view"``, ``"inverted contrast suspected"`` and their like.

    A view other than frontal is told where the item or the file's header says so. Inversion is looked for in the other
    images, by :func:`monai_cxrssl.data.audit.audit.looks_inverted`. ``"outside training range: darker than 99 % of the
    training films (...), patient age 4 below the training films' 21 to 87"`` tells what no image trained on is like
    (:class:`monai_cxrssl.data.TrainingRange`); without a range nothing is compared.

    Args:
        item: of the datalist; it may hold ``view_position`` and ``age`` (years).
        pixels: ``(h, w)``, bright = dense, of any size and range; with a training range unsigned, or in [0, 1].
        view_position: what the image's own header says.
    """
    views = [str(item.get("view_position") or ""), view_position]
    told = next((found for found in map(view_warning, views) if found), "")
    if not told and looks_inverted(pixels):
        told = "inverted contrast suspected"
    beyond = []
    if training_range is not None:
        beyond = training_range.outside(pixels, item.get("age"), next((view for view in views if view), ""))
    return [*([told] if told else []), *([f"outside training range: {', '.join(beyond)}"] if beyond else [])]
