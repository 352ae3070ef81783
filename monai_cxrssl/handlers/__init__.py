# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers: what happens around the iterations of an engine."""

from __future__ import annotations

from monai_cxrssl.handlers.assessment import Assessment
from monai_cxrssl.handlers.best_checkpoint import BestCheckpoint
from monai_cxrssl.handlers.checkpoint import RunCheckpoint, save_atomically
from monai_cxrssl.handlers.collapse import CollapseMonitor
from monai_cxrssl.handlers.curves import CurvesPlot
from monai_cxrssl.handlers.embeddings import EmbeddingWriter
from monai_cxrssl.handlers.existing import existing_handler
from monai_cxrssl.handlers.fine_tuning_summary import FineTuningSummary
from monai_cxrssl.handlers.history import RunHistory
from monai_cxrssl.handlers.inference_writer import InferenceWriter
from monai_cxrssl.handlers.intensity_contract import IntensityContract
from monai_cxrssl.handlers.load_weights import LoadWeights
from monai_cxrssl.handlers.loader_verdict import LoaderVerdict
from monai_cxrssl.handlers.model_files import write_json
from monai_cxrssl.handlers.nan_stop import StopOnInvalidLoss
from monai_cxrssl.handlers.online_probe import OnlineProbe
from monai_cxrssl.handlers.predictions import PredictionHandler
from monai_cxrssl.handlers.probe_report import ProbeReport
from monai_cxrssl.handlers.progress import RunProgressBar
from monai_cxrssl.handlers.summary import PretrainingSummary
from monai_cxrssl.handlers.validation import Validation

__all__ = [
    "Assessment",
    "BestCheckpoint",
    "CollapseMonitor",
    "CurvesPlot",
    "EmbeddingWriter",
    "FineTuningSummary",
    "InferenceWriter",
    "IntensityContract",
    "LoadWeights",
    "LoaderVerdict",
    "OnlineProbe",
    "PredictionHandler",
    "PretrainingSummary",
    "ProbeReport",
    "RunCheckpoint",
    "RunHistory",
    "RunProgressBar",
    "StopOnInvalidLoss",
    "Validation",
    "existing_handler",
    "save_atomically",
    "write_json",
]
