# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From files on disk to decoded images: reading, datalists, layouts, patient bags and pretext data sets."""

from __future__ import annotations

from monai_cxrssl.data.bags import Draw, PairSampler, patient_bags, patient_numbers
from monai_cxrssl.data.cache import CachedImages
from monai_cxrssl.data.cache_build import build_cache
from monai_cxrssl.data.cache_check import CacheReport, join_cache, verify_cache
from monai_cxrssl.data.datalist import Datalist, load_datalist, save_datalist, validate_datalist
from monai_cxrssl.data.decoded import DecodedImages
from monai_cxrssl.data.label_policy import apply_label_policy
from monai_cxrssl.data.layouts import open_dataset
from monai_cxrssl.data.loader import pretext_loader, worker_count
from monai_cxrssl.data.pretext import LabelledImages, PairDataset
from monai_cxrssl.data.reader import CXRReader, read_cxr, read_cxr_uint
from monai_cxrssl.data.source import open_source
from monai_cxrssl.data.vocabulary import PATHOLOGIES, canonical_pathology

__all__ = [
    "PATHOLOGIES",
    "CXRReader",
    "CacheReport",
    "CachedImages",
    "Datalist",
    "DecodedImages",
    "Draw",
    "LabelledImages",
    "PairDataset",
    "PairSampler",
    "apply_label_policy",
    "canonical_pathology",
    "build_cache",
    "join_cache",
    "load_datalist",
    "open_dataset",
    "open_source",
    "patient_bags",
    "patient_numbers",
    "pretext_loader",
    "read_cxr",
    "read_cxr_uint",
    "save_datalist",
    "validate_datalist",
    "verify_cache",
    "worker_count",
]
