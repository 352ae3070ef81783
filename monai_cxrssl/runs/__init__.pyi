# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .curriculum import Curriculum, divide_epochs
from .run_folder import phantom_folder, run_folder, training_folder
from .run_record import finish_run, list_runs, start_run
from .stage import PretextStage, StageRun, stages_over_data

__all__ = [
    "Curriculum",
    "PretextStage",
    "StageRun",
    "divide_epochs",
    "finish_run",
    "list_runs",
    "phantom_folder",
    "run_folder",
    "stages_over_data",
    "start_run",
    "training_folder",
]
