# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms from a datalist item to tensors: reading, resizing, random views."""

from .blank_region import BlankRegion, BlankRegiond
from .crop_to_lungs import CropToLungs, CropToLungsd
from .group_mask import GroupMask, GroupMaskd
from .inpaint_holes import InpaintHoles, InpaintHolesd
from .io import LoadCXR, LoadCXRd, LoadLungMask, LoadLungMaskd
from .label_reply import LabelReply, LabelReplyd
from .multi_view import MultiView, MultiViewd
from .predictions import RestoreMask, RestoreMaskd, SplitPrediction, SplitPredictiond
from .small_film import LoadSmallCXR, LoadSmallCXRd
from .spatial import ResizeCXR, ResizeCXRd
from .view_parameters import ViewParameters, stack_views

__all__ = [
    "BlankRegion",
    "BlankRegiond",
    "CropToLungs",
    "CropToLungsd",
    "GroupMask",
    "GroupMaskd",
    "InpaintHoles",
    "InpaintHolesd",
    "LabelReply",
    "LabelReplyd",
    "LoadCXR",
    "LoadCXRd",
    "LoadLungMask",
    "LoadLungMaskd",
    "LoadSmallCXR",
    "LoadSmallCXRd",
    "MultiView",
    "MultiViewd",
    "ResizeCXR",
    "ResizeCXRd",
    "RestoreMask",
    "RestoreMaskd",
    "SplitPrediction",
    "SplitPredictiond",
    "ViewParameters",
    "stack_views",
]
