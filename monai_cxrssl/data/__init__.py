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
from monai_cxrssl.data.decoded_masks import DecodedMasks
from monai_cxrssl.data.dicom_seg import write_lung_seg
from monai_cxrssl.data.expected_lungs import expected_lung_mask
from monai_cxrssl.data.fine_tuning import FineTuningImages
from monai_cxrssl.data.fine_tuning_source import classes_to_learn, divided_source, require_classes
from monai_cxrssl.data.image_sampler import ImageSampler
from monai_cxrssl.data.image_store import ImageStore
from monai_cxrssl.data.images import open_images
from monai_cxrssl.data.label_policy import apply_label_policy
from monai_cxrssl.data.label_table import LabelJoin, label_datalist
from monai_cxrssl.data.layouts import open_dataset
from monai_cxrssl.data.leak import (
    patient_keys,
    refuse_leak,
    refuse_shared_patients,
    training_patients_path,
    write_training_patients,
)
from monai_cxrssl.data.loader import pretext_loader, worker_count
from monai_cxrssl.data.predictions import Predictions, load_predictions, save_predictions
from monai_cxrssl.data.pretext import LabelledImages, PairDataset
from monai_cxrssl.data.pretext_masks import PretextLungMasks
from monai_cxrssl.data.reader import CXRReader, read_cxr, read_cxr_uint
from monai_cxrssl.data.source import open_source
from monai_cxrssl.data.spacing import film_spacing, grid_spacing, plausible_spacing
from monai_cxrssl.data.training_range import TrainingRange, measure_training_range
from monai_cxrssl.data.transfer import on_classes_of, open_test_source
from monai_cxrssl.data.vocabulary import PATHOLOGIES, canonical_pathology

__all__ = [
    "PATHOLOGIES",
    "CXRReader",
    "CacheReport",
    "CachedImages",
    "Datalist",
    "DecodedImages",
    "DecodedMasks",
    "Draw",
    "FineTuningImages",
    "ImageSampler",
    "ImageStore",
    "LabelJoin",
    "LabelledImages",
    "PairDataset",
    "PairSampler",
    "Predictions",
    "PretextLungMasks",
    "TrainingRange",
    "apply_label_policy",
    "canonical_pathology",
    "build_cache",
    "classes_to_learn",
    "divided_source",
    "expected_lung_mask",
    "film_spacing",
    "grid_spacing",
    "join_cache",
    "label_datalist",
    "load_datalist",
    "load_predictions",
    "measure_training_range",
    "on_classes_of",
    "open_dataset",
    "open_images",
    "open_source",
    "open_test_source",
    "patient_bags",
    "patient_keys",
    "patient_numbers",
    "plausible_spacing",
    "pretext_loader",
    "read_cxr",
    "read_cxr_uint",
    "refuse_leak",
    "refuse_shared_patients",
    "require_classes",
    "save_datalist",
    "save_predictions",
    "training_patients_path",
    "validate_datalist",
    "verify_cache",
    "worker_count",
    "write_lung_seg",
    "write_training_patients",
]
