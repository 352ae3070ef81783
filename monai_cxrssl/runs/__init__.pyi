# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .curriculum import Curriculum
from .curriculum_stages import CurriculumWiring, curriculum_summary
from .evaluated_config import bundle_root, default_device
from .fine_tuning import FineTuningHandlers, FineTuningWiring, Labels, validator
from .fine_tuning_options import FineTuningOptions, fine_tuning_options
from .leak import refuse_leak
from .options import RunOptions, load_recipes
from .pretraining import PretrainingHandlers, PretrainingWiring
from .pretraining_options import PretrainingOptions, pretraining_options
from .run_folder import kept_folder, phantom_folder, run_folder, training_folder
from .run_log import open_run_log
from .run_record import finish_run, list_runs, start_run
from .stage import PretextStage, StageRun, divide_epochs, stages_over_data
from .unknown_options import check_options, refuse_unknown_options

__all__ = [
    "Curriculum",
    "CurriculumWiring",
    "FineTuningHandlers",
    "FineTuningOptions",
    "FineTuningWiring",
    "Labels",
    "PretextStage",
    "PretrainingHandlers",
    "PretrainingOptions",
    "PretrainingWiring",
    "RunOptions",
    "StageRun",
    "bundle_root",
    "check_options",
    "curriculum_summary",
    "default_device",
    "divide_epochs",
    "fine_tuning_options",
    "finish_run",
    "kept_folder",
    "list_runs",
    "load_recipes",
    "open_run_log",
    "phantom_folder",
    "pretraining_options",
    "refuse_leak",
    "refuse_unknown_options",
    "run_folder",
    "stages_over_data",
    "start_run",
    "training_folder",
    "validator",
]
