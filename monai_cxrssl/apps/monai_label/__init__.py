# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label app for fine-tuned bundles; see ``docs/monai_label.md``.

``main.py`` is what the server opens (``python -m monai_cxrssl.apps.monai_label.serve --app <this folder>``). It and
``serve.py`` alone import MONAI Label, which lives in an environment of its own, made by
``python -m monai_cxrssl.apps.monai_label.install``.
"""

from __future__ import annotations

from pathlib import Path

from monai_cxrssl.apps.monai_label.bundle_folders import BundleFolder, bundle_folders
from monai_cxrssl.apps.monai_label.labelled import labelled_datalist
from monai_cxrssl.apps.monai_label.train_run import train_on_labels

__all__ = ["APP_FOLDER", "BundleFolder", "bundle_folders", "labelled_datalist", "train_on_labels"]

#: What ``--app`` takes. The server writes its log and three empty folders into it; give a copy where that is unwanted.
APP_FOLDER = Path(__file__).parent
