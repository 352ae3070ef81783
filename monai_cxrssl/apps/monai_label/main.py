# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The app that MONAI Label's server opens.

``python -m monai_cxrssl.apps.monai_label.serve --app <this folder> --studies DIR --conf bundle /path/to/bundle``.
Options (``--conf``): ``bundle``, paths of fine-tuned bundles with commas between; ``models``, names of folders below
``<app>/model``; ``training``, folder of what trainings write, by default ``<app>/training``; ``skip_trainers true``.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import monailabel
from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.utils.others.generic import device_list, strtobool

from monai_cxrssl.apps.monai_label.bundle_folders import BundleFolder, bundle_folders
from monai_cxrssl.apps.monai_label.train_run import train_on_labels
from monai_cxrssl.networks.trained import load_trained_network

__all__ = ["CXRLabelApp", "FilmInferTask", "LungTrainTask"]

logger = logging.getLogger(__name__)

#: What MONAI Label leaves out of its list of images' extensions.
FILM_EXTENSIONS = ("*.dcm", "*.dicom", "*.jpeg", "*.tiff", "*.bmp", "*.mha")


class FilmInferTask(BundleInferTask):
    """A bundle's ``inference.json`` on one image: scores, mask or both.

    Unlike the stock task it names classes and mask as the weights' own description does, loads weights strictly, and
    takes settings anew when a training has replaced them.
    """

    def __init__(self, folder: BundleFolder, conf: dict[str, str]) -> None:
        self.folder = folder
        self.conf = conf
        self.lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        opened = self._changed_at()
        load_trained_network(self.folder.weights)  # its errors are sentences, those of the stock task are torch's
        kind = InferType.SEGMENTATION if self.folder.draws_masks else InferType.CLASSIFICATION
        super().__init__(str(self.folder.path), self.conf, type=kind, load_strict=True, add_post_restore=False)
        self.labels = self.folder.labels
        self.opened = opened

    def _changed_at(self) -> tuple[float, float]:
        weights = self.folder.weights
        beside = weights.with_suffix(".json")
        return weights.stat().st_mtime, beside.stat().st_mtime if beside.exists() else 0.0

    def info(self) -> dict[str, Any]:
        """What clients are told; with the names of the classes, which are not those of the mask."""
        return {**super().info(), "classes": self.folder.classes}

    def __call__(self, request: dict[str, Any], callbacks: Any = None) -> tuple[str | None, dict[str, Any]]:
        """Infer one image."""
        with self.lock:
            if self.opened != self._changed_at():
                logger.info("%s has new weights", self.folder.name)
                self._open()
        return super().__call__(request, callbacks)

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        """Reply with the table of scores where there is no mask to write."""
        if not self.folder.draws_masks:
            return None, data["result"]
        return super().writer(data, extension, dtype)


class LungTrainTask(TrainTask):
    """Fine-tune a segmenting bundle on the masks that were submitted as final."""

    def __init__(self, folder: BundleFolder, work: Path) -> None:
        super().__init__(f"Fine-tunes {folder.name} on the labelled images and lets it infer by the new weights")
        self.folder = folder
        self.work = work

    def config(self) -> dict[str, Any]:
        """Options that clients show and send."""
        return {"device": device_list(), "max_epochs": 40, "pretrained": True, "seed": 0}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Train; MONAI Label calls this in a process of its own."""
        chosen = request.get("device")
        return train_on_labels(
            self.folder, datastore.datalist(), self.work, int(request.get("max_epochs", 40)),
            int(request.get("seed", 0)), chosen if isinstance(chosen, str) else None,
            pretrained=bool(strtobool(str(request.get("pretrained", True)))),
        )  # fmt: skip


class CXRLabelApp(MONAILabelApp):
    """Fine-tuned bundles of chest X-rays: every one infers, those that only segment lungs also train."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.folders = bundle_folders(conf, Path(app_dir) / "model")
        self.training = Path(conf.get("training") or Path(app_dir) / "training")
        version = monailabel.__version__
        name, description = f"Chest X-rays ({version})", "Fine-tuned bundles of chest X-rays"
        super().__init__(
            app_dir=app_dir, studies=studies, conf=conf, name=name, description=description, version=version
        )

    def init_datastore(self) -> Any:
        """Images of a folder in every format that the reader knows; DICOMweb as MONAI Label has it."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return LocalDatastore(
            self.studies,
            extensions=[*dict.fromkeys([*settings.MONAI_LABEL_DATASTORE_FILE_EXT, *FILM_EXTENSIONS])],
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def init_infers(self) -> dict[str, Any]:
        """One task per bundle."""
        return {folder.name: FilmInferTask(folder, self.conf) for folder in self.folders}

    def init_trainers(self) -> dict[str, Any]:
        """One task per bundle that only segments lungs."""
        if strtobool(self.conf.get("skip_trainers", "false")):
            return {}
        return {
            folder.name: LungTrainTask(folder, self.training / folder.name) for folder in self.folders if folder.trains
        }

    def init_strategies(self) -> dict[str, Any]:
        """Which image is labelled next."""
        return {"random": Random(), "first": First()}
