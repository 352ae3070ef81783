# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .bags import Draw, PairSampler, patient_bags, patient_numbers
from .cache import CachedImages
from .cache_build import build_cache
from .cache_check import CacheReport, join_cache, verify_cache
from .datalist import Datalist, load_datalist, save_datalist, validate_datalist
from .decoded import DecodedImages
from .decoded_masks import DecodedMasks
from .dicom_seg import write_lung_seg
from .expected_lungs import expected_lung_mask
from .fine_tuning import FineTuningImages
from .fine_tuning_source import classes_to_learn, divided_source, require_classes
from .image_sampler import ImageSampler
from .image_store import ImageStore
from .images import open_images
from .label_policy import apply_label_policy
from .label_table import LabelJoin, label_datalist
from .layouts import open_dataset
from .leak import (
    patient_keys,
    refuse_leak,
    refuse_shared_patients,
    training_patients_path,
    write_training_patients,
)
from .loader import pretext_loader, worker_count
from .predictions import Predictions, load_predictions, save_predictions
from .pretext import LabelledImages, PairDataset
from .pretext_masks import PretextLungMasks
from .read import read_cxr, read_cxr_uint
from .reader import CXRReader
from .source import open_source
from .spacing import film_spacing, grid_spacing, plausible_spacing
from .training_range import TrainingRange, measure_training_range
from .transfer import on_classes_of, open_test_source
from .vocabulary import PATHOLOGIES, canonical_pathology

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
