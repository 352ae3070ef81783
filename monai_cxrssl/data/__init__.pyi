# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .audit.audit import audit_datalists
from .audit.leak import (
    patient_keys,
    refuse_leak,
    refuse_seen_data_sets,
    refuse_shared_patients,
    training_patients_path,
    write_training_patients,
)
from .audit.training_range import TrainingRange, measure_training_range
from .datalists.collapse import collapse_labels
from .datalists.datalist import Datalist, load_datalist, save_datalist, validate_datalist
from .datalists.findings import NAMED_FINDINGS, select_findings
from .datalists.label_maps import LABEL_MAPS, LabelMap, load_label_map
from .datalists.label_policy import apply_label_policy
from .datalists.predictions import Predictions, load_predictions, save_predictions
from .datalists.split import split_datalist
from .datalists.vocabulary import PATHOLOGIES, canonical_pathology
from .dicom_results.capture import write_capture
from .dicom_results.contours import write_contours
from .dicom_results.report import write_score_report
from .dicom_results.result import Algorithm, FilmResult
from .dicom_results.seg import write_lung_seg
from .reading.read import read_cxr, read_cxr_uint
from .reading.reader import CXRReader
from .reading.spacing import film_spacing, grid_spacing, plausible_spacing
from .sampling.bags import Draw, PairSampler, patient_bags, patient_numbers
from .sampling.fine_tuning import FineTuningImages
from .sampling.image_sampler import ImageSampler
from .sampling.loader import training_loader, worker_count
from .sampling.pair_choice import PairChoice
from .sampling.pretext import ImageDataset, PairDataset
from .sources.fine_tuning_source import classes_to_learn, divided_source, require_classes
from .sources.label_table import LabelJoin, label_datalist
from .sources.registry import index_folder
from .sources.source import open_dataset
from .sources.transfer import on_classes_of, open_test_source
from .stores.cache.build import build_cache
from .stores.cache.cached_images import CachedImages
from .stores.cache.check import CacheReport, join_cache, verify_cache
from .stores.decoded import DecodedImages
from .stores.decoded_masks import DecodedMasks
from .stores.expected_lungs import expected_lung_mask
from .stores.image_store import ImageStore
from .stores.images import open_images
from .stores.pretext_masks import PretextLungMasks
from .stores.small_film import decoded_side

__all__ = [
    "audit_datalists",
    "split_datalist",
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
    "ImageDataset",
    "LABEL_MAPS",
    "LabelMap",
    "NAMED_FINDINGS",
    "PATHOLOGIES",
    "PairChoice",
    "PairDataset",
    "PairSampler",
    "Predictions",
    "PretextLungMasks",
    "TrainingRange",
    "apply_label_policy",
    "build_cache",
    "canonical_pathology",
    "classes_to_learn",
    "collapse_labels",
    "decoded_side",
    "divided_source",
    "expected_lung_mask",
    "film_spacing",
    "grid_spacing",
    "join_cache",
    "label_datalist",
    "load_datalist",
    "load_label_map",
    "load_predictions",
    "measure_training_range",
    "on_classes_of",
    "index_folder",
    "open_images",
    "open_dataset",
    "open_test_source",
    "patient_bags",
    "patient_keys",
    "patient_numbers",
    "plausible_spacing",
    "training_loader",
    "read_cxr",
    "read_cxr_uint",
    "refuse_leak",
    "refuse_seen_data_sets",
    "refuse_shared_patients",
    "require_classes",
    "save_datalist",
    "select_findings",
    "save_predictions",
    "training_patients_path",
    "validate_datalist",
    "verify_cache",
    "worker_count",
    "Algorithm",
    "FilmResult",
    "write_capture",
    "write_contours",
    "write_score_report",
    "write_lung_seg",
    "write_training_patients",
]
