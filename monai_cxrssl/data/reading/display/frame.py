# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Functional groups of multi-frame headers that hold one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["lift_functional_groups"]

_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# PS3.3 C.7.6.16: window, rescale, spacing, shutter and orientation of a frame.
_MACROS = (
    *("FrameVOILUTSequence", "PixelValueTransformationSequence", "PixelMeasuresSequence"),
    *("FrameDisplayShutterSequence", "PatientOrientationInFrameSequence"),
)


def lift_functional_groups(ds: Dataset) -> None:
    """Copy what the functional groups of the first frame say of showing it to the top of ``ds``.

    What stands at the top already holds; then what the frame has of its own; then what all frames share.
    """
    for name in _GROUPS:
        for group in list(ds.get(name) or [])[:1]:
            for macro in _MACROS:
                for item in list(group.get(macro) or [])[:1]:
                    # A macro holds as a whole: no window of one place with the width of another.
                    if not any(element.tag in ds for element in item):
                        ds.update(item)
