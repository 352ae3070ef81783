# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .corruptions.blank_region import BlankRegion, BlankRegiond
from .corruptions.group_mask import GroupMask, GroupMaskd
from .corruptions.inpaint_holes import InpaintHoles, InpaintHolesd
from .io.load import LoadCXR, LoadCXRd, LoadLungMask, LoadLungMaskd
from .io.load_small import LoadSmallCXR, LoadSmallCXRd
from .io.predictions import LabelReplyd, RestoreMask, RestoreMaskd, SplitPredictiond
from .spatial.crop_to_lungs import CropToLungs, CropToLungsd
from .spatial.resize import ResizeCXR, ResizeCXRd
from .views.adverse_views import AdverseViews
from .views.multi_view import MultiView, MultiViewd
from .views.parameters import ViewParameters, stack_views

__all__ = ["BlankRegion", "BlankRegiond", "GroupMask", "GroupMaskd", "InpaintHoles", "InpaintHolesd"]
__all__ += ["LabelReplyd", "LoadCXR", "LoadCXRd", "LoadLungMask", "LoadLungMaskd", "LoadSmallCXR", "LoadSmallCXRd"]
__all__ += ["RestoreMask", "RestoreMaskd", "SplitPredictiond", "CropToLungs", "CropToLungsd", "ResizeCXR", "ResizeCXRd"]
__all__ += ["AdverseViews", "MultiView", "MultiViewd", "ViewParameters", "stack_views"]
