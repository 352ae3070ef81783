# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .best_checkpoint import BestCheckpoint
from .fine_tuning_summary import FineTuningSummary
from .inference.embeddings import EmbeddingWriter
from .inference.inference_writer import InferenceWriter
from .inference.lung_files import LungFiles
from .inference.predictions import PredictionHandler
from .load_weights import LoadWeights
from .model_files import store_description
from .monitors.collapse import CollapseMonitor
from .monitors.curves import CurvesPlot
from .monitors.history import RunHistory
from .monitors.input_range_check import InputRangeCheck
from .monitors.loader_throughput import LoaderThroughput
from .monitors.nan_stop import StopOnInvalidLoss
from .monitors.online_probe import OnlineProbe
from .monitors.progress import RunProgressBar
from .pretraining_summary import PretrainingSummary
from .probe_report import ProbeReport
from .run_logger import RunLogger
from .test_metrics import TestMetrics
from .validation import Validation

__all__ = [
    "TestMetrics",
    "BestCheckpoint",
    "CollapseMonitor",
    "CurvesPlot",
    "EmbeddingWriter",
    "FineTuningSummary",
    "InferenceWriter",
    "InputRangeCheck",
    "LoadWeights",
    "LoaderThroughput",
    "LungFiles",
    "OnlineProbe",
    "PredictionHandler",
    "PretrainingSummary",
    "ProbeReport",
    "RunHistory",
    "RunLogger",
    "RunProgressBar",
    "StopOnInvalidLoss",
    "Validation",
    "store_description",
]
