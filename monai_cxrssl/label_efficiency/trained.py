# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung attention and drift of the networks that cells fine-tuned."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_cxrssl.data.datalists.predictions import Predictions, save_predictions
from monai_cxrssl.data.sampling.fine_tuning import FineTuningImages
from monai_cxrssl.data.stores.decoded_masks import DecodedMasks
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.engines.evaluator import MultiTaskPredictor
from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.inference.evaluator_predictions import evaluator_predictions
from monai_cxrssl.label_efficiency.corrupted import Corrupted, predictions_name
from monai_cxrssl.metrics.lung_attention import lung_area_fraction, positive_fraction_of_saliency
from monai_cxrssl.networks.trained import load_trained_network
from monai_cxrssl.probing.saliency import attention_method, saliency_maps
from monai_cxrssl.runs.fine_tuning import FineTuningWiring, Labels
from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["TrainedCell", "predict_images"]

_ATTENTION = "attention.json"


class TrainedCell:
    """Measure the network of a finished cell on the test images; what was measured stays in files of its folder.

    Args:
        folder: of the cell, with ``model.pt``.
        options: returns those of its run.
        bundle: its name.
    """

    def __init__(self, folder: Path, options: Callable[[], FineTuningOptions], bundle: str) -> None:
        self.folder, self.bundle, self._resolve = folder, bundle, options

    def drift(self, names: Sequence[str]) -> None:
        """Write the predictions of the test images under each drift, where they are not there yet."""
        for name in names:
            path = self.folder / predictions_name(name)
            if path.is_file():
                continue
            labels = self._labels
            dataset = self.wiring.fixed_dataset(self._images, labels, Corrupted(self.options.image_size, name))
            found = predict_images(self.wiring, self._network, self._images, dataset, labels, "test", self._test.name)
            save_predictions(found, path)

    def attention(self) -> dict[str, float]:
        """Return the share of the saliency on the lungs, less the lungs' share of the image, by image.

        It is of the class of the highest probability, and over the images with a lung mask of the data set: masks that
        a network draws would differ from row to row.
        """
        path = self.folder / _ATTENTION
        if path.is_file():
            return dict(json.loads(path.read_bytes()))
        found = self._attention() if self._labels.classes else {}
        write_json(found, path)
        return found

    def _attention(self) -> dict[str, float]:
        images, o = self._images, self.options
        masks = DecodedMasks(images, "lung", progress=False)
        dataset = self.wiring.fixed_dataset(images, self._labels, self._resize)
        places = [place for place, number in enumerate(dataset.indices) if masks.has_mask[number]]
        method, layer = attention_method(self._network)
        found: dict[str, float] = {}
        for start in range(0, len(places), 2 * o.batch_size):
            chunk = places[start : start + 2 * o.batch_size]
            numbers = [dataset.indices[place] for place in chunk]
            image = torch.stack([dataset[place]["image"] for place in chunk]).to(o.device)
            lungs = [masks.mask(number, images.image(number).shape)[None] for number in numbers]
            lung = torch.stack([self._resize.apply_mask(mask) for mask in lungs])
            maps = saliency_maps(self._network, image, None, method, layer).float().cpu()
            shares = (positive_fraction_of_saliency(maps, lung) - lung_area_fraction(lung)).tolist()
            known = [(number, share) for number, share in zip(numbers, shares, strict=True) if np.isfinite(share)]
            found |= {str(images.items[number]["image"]): share for number, share in known}
        return found

    @cached_property
    def options(self) -> FineTuningOptions:
        """Options of the run."""
        return self._resolve()

    @cached_property
    def wiring(self) -> FineTuningWiring:
        """Parts of the run."""
        return FineTuningWiring(self.options, self.bundle)

    @cached_property
    def _loaded(self) -> tuple[torch.nn.Module, Mapping[str, Any]]:
        network, said = load_trained_network(self.folder / "model.pt")
        return network.to(self.options.device), said

    @property
    def _network(self) -> torch.nn.Module:
        return self._loaded[0]

    @cached_property
    def _labels(self) -> Labels:
        return Labels(tuple(self._loaded[1]["classes"]), str(self._loaded[1]["task"]))

    @cached_property
    def _test(self) -> Any:
        return self.wiring.test_source(self.wiring.source())

    @cached_property
    def _images(self) -> Any:
        return self.wiring.open_images(self._test.items("test"), max_unreadable=1.0)

    @cached_property
    def _resize(self) -> ResizeCXR:
        return ResizeCXR(self.options.image_size)


def predict_images(
    wiring: FineTuningWiring, network: torch.nn.Module, images: ImageStore, dataset: FineTuningImages, labels: Labels,
    split: str, name: str,
) -> Predictions:  # fmt: skip
    """Return the predictions of a network, in the precision of its training.

    Args:
        wiring: of its run.
        network: on the run's device.
        images: of the samples ``dataset``.
        labels: that the network learnt.
        split: for the column of that name.
        name: of the data set, the source of items that name none.
    """
    o = wiring.options
    loader = wiring.fixed_loader(dataset)
    evaluator = MultiTaskPredictor(o.device, loader, network, labels.task, labels.classes, o.amp)
    evaluator.run()
    return evaluator_predictions(
        evaluator, images.items, labels.classes, labels.task, split, images.unreadable, name
    )  # fmt: skip
