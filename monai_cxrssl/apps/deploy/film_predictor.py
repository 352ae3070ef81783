# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Packed bundle applied to DICOM data sets in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_cxrssl.data.audit.training_range import TrainingRange
from monai_cxrssl.data.dicom_results.capture_page import PICTURE_SIDE
from monai_cxrssl.data.dicom_results.result import FilmResult
from monai_cxrssl.data.dicom_results.results import RESULT_KINDS, result_kinds, results_of, write_result
from monai_cxrssl.data.dicom_results.source import source_name
from monai_cxrssl.data.reading.dicom_header import describe
from monai_cxrssl.data.reading.in_memory import film_in_memory
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.handlers.inference.film_warnings import film_warnings
from monai_cxrssl.networks.algorithm import describe_algorithm, mask_structure
from monai_cxrssl.networks.trained import load_trained_network
from monai_cxrssl.probing.saliency import attention_method, saliency_maps
from monai_cxrssl.transforms.io.predictions import RestoreMask

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["FilmPredictor"]

logger = logging.getLogger(__name__)


class FilmPredictor:
    """Predict on images that a host such as MONAI Deploy holds in memory, and write their DICOM results.

    Preprocessing, head and resizing are those of the pack's ``configs/inference.json``, which is run as code; pixels
    are read by this package from the stored values, as in a run over files.

    Args:
        pack: folder of a packed bundle, or one that holds nothing else with ``configs/inference.json``.
        dicom_results: as of :class:`monai_cxrssl.handlers.InferenceWriter`.
        device: by default that of the config.

    Raises:
        ConfigurationError: there is no pack, its weights are no fine-tuned ones, or a kind of result is unknown.
    """

    def __init__(
        self,
        pack: str | os.PathLike,
        dicom_results: str | Sequence[str] | None = RESULT_KINDS,
        device: str | None = None,
    ) -> None:
        folder = _pack_folder(Path(pack))
        parser = ConfigParser()
        parser.read_config(folder / "configs" / "inference.json")
        parser["bundle_root"] = str(folder)
        weights = folder / "models" / "model.pt"
        self.kinds = result_kinds(dicom_results)
        self.device = torch.device(device or parser.get_parsed_content("device"))
        self.network = load_trained_network(weights)[0].to(self.device)
        self.head = parser.get_parsed_content("prediction_head")
        self.steps = parser.get_parsed_content("preprocessing").transforms
        self.resize = parser.get_parsed_content("resize")
        self.restore = RestoreMask(self.resize, self.head.mask_threshold)
        stated = parser.get_parsed_content("training_range")
        self.training_range = None if stated is None else TrainingRange.from_dict(stated)
        self.structure = mask_structure(weights)
        self.algorithm = describe_algorithm(weights, self.head)

    def predict(self, film: Dataset) -> FilmResult:
        """Return what the network says of an image; CXRReadError where it is not one readable chest X-ray.

        Args:
            film: data set with its pixels, compressed or not.
        """
        item = self.steps[0]({"image": film})
        small = np.asarray(item["image"])[0]
        for step in self.steps[1:]:
            item = step(item)
        image = torch.as_tensor(np.asarray(item["image"]))[None].to(self.device)
        with torch.no_grad():
            output = self.network(image)
        probabilities = self.head.predict(output)
        scores = (
            dict(zip(self.head.classes, probabilities["label"][0].tolist(), strict=True)) if self.head.classes else {}
        )
        mask: np.ndarray | None = None
        saliency: np.ndarray | None = None
        if "mask" in probabilities:
            place = item["image_film"]
            restored = self.restore(probabilities["mask"][0], place["shape"], place["decoded_shape"])
            mask = restored[0].bool().numpy()
        if scores and "sc" in self.kinds:
            maps = saliency_maps(self.network, image, output["label"].argmax(1), *attention_method(self.network))
            saliency = self.resize.invert(maps[0].cpu(), small.shape, small.shape)[0].numpy()
        about = describe(film)
        warnings = film_warnings(about, small, about["view_position"], self.training_range)
        return FilmResult(scores, self.head.thresholds, {}, mask, self.structure, saliency, "; ".join(warnings))

    def predict_all(self, films: Iterable[Dataset]) -> list[tuple[Dataset, FilmResult]]:
        """Return images with their results; those that cannot be read are left out with a warning.

        Raises:
            CXRReadError: none can be read; it is that of the first.
        """
        results: list[tuple[Dataset, FilmResult]] = []
        errors: list[CXRReadError] = []
        for film in films:
            try:
                results.append((film, self.predict(film)))
            except CXRReadError as error:
                logger.warning("left out: %s", error)
                errors.append(error)
        if errors and not results:
            raise errors[0]
        return results

    def write(self, film: Dataset, result: FilmResult, folder: str | os.PathLike) -> list[Path]:
        """Write the DICOM results of an image as ``<kind>_<SOP instance of the film>.dcm``, and return their paths.

        A kind that the image's header does not allow is left out with a warning.
        """
        written = []
        for kind in results_of(result, self.kinds):
            path = Path(folder) / f"{kind}_{film.get('SOPInstanceUID', 'film')}.dcm"
            try:
                written.append(write_result(kind, result, partial(_picture, film), film, path, self.algorithm))
            except CXRReadError as error:
                logger.warning("no DICOM %s of %s was written: %s", kind.upper(), source_name(film), error)
        return written


def _picture(film: Dataset) -> np.ndarray:
    return film_in_memory(film, side=PICTURE_SIDE).levels(8)


def _pack_folder(path: Path) -> Path:
    found: list[Any] = [path, *(sorted(path.iterdir()) if path.is_dir() else [])]
    packs = [folder for folder in found if (folder / "configs" / "inference.json").is_file()]
    if not packs:
        raise ConfigurationError(
            f"{path} holds no packed bundle (configs/inference.json); give the folder that `python -m monai_cxrssl "
            "pack` wrote."
        )
    if packs[0] != path and len(packs) > 1:
        names = ", ".join(folder.name for folder in packs)
        raise ConfigurationError(f"{path} holds {len(packs)} packed bundles ({names}); give one of them.")
    return packs[0]
