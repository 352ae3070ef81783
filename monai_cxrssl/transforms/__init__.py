# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms from a datalist item to tensors: reading, resizing, random views."""

from .blank_region import BlankRegion, BlankRegiond
from .group_mask import GroupMask, GroupMaskd
from .inpaint_holes import InpaintHoles, InpaintHolesd
from .io import LoadCXR, LoadCXRd, LoadLungMask, LoadLungMaskd
from .multi_view import MultiView, MultiViewd
from .spatial import ResizeCXR, ResizeCXRd
from .view_parameters import ViewParameters, stack_views

__all__ = [
    "BlankRegion",
    "BlankRegiond",
    "GroupMask",
    "GroupMaskd",
    "InpaintHoles",
    "InpaintHolesd",
    "LoadCXR",
    "LoadCXRd",
    "LoadLungMask",
    "LoadLungMaskd",
    "MultiView",
    "MultiViewd",
    "ResizeCXR",
    "ResizeCXRd",
    "ViewParameters",
    "stack_views",
]
