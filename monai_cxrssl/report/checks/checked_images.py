# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images that the checks look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from monai_cxrssl.data.audit.audit import patient_of
from monai_cxrssl.data.sampling.fine_tuning import FineTuningImages
from monai_cxrssl.errors import ConfigurationError

__all__ = ["CheckedImages", "ImageSubset"]


class CheckedImages:
    """Images of a data set in a fixed order, whole patients where not all are taken.

    Args:
        dataset: of the split that is evaluated, without augmentation.
        max_images: how many at most, 1 or more (else a ConfigurationError); patients are drawn at random until the next
            one would not fit, at least one. ``None`` for all.

    Attributes:
        positions: ``(N,)`` int64, places in ``dataset``, ascending.
        numbers: ``(N,)`` int64, numbers of the images in ``dataset.images``.
        items: their N datalist items.
        patients: N texts, source and patient id.
    """

    def __init__(
        self,
        dataset: FineTuningImages,
        max_images: int | None = None,
        seed: int = 0,
        batch_size: int = 32,
        progress: bool = True,
    ) -> None:
        if max_images is not None and max_images < 1:
            raise ConfigurationError(f"max_images is {max_images}; expected 1 or more, or null for all images.")
        self.dataset = dataset
        self.batch_size = batch_size
        self.progress = progress
        self.positions = np.arange(len(dataset))
        if max_images is not None and len(dataset) > max_images:
            patients, counts = np.unique(dataset.patients, return_counts=True)
            order = np.random.default_rng(seed).permutation(len(patients))
            kept = max(1, int(np.searchsorted(np.cumsum(counts[order]), max_images, side="right")))
            self.positions = np.flatnonzero(np.isin(dataset.patients, patients[order[:kept]]))
        self.numbers = np.asarray(dataset.indices)[self.positions]
        self.items = [dataset.images.items[number] for number in self.numbers]
        self.patients = [":".join(patient_of("", item)) for item in self.items]

    def __len__(self) -> int:
        return len(self.positions)

    def sample(self, place: int) -> dict[str, Any]:
        """Return what the data set gives for the image at ``place``."""
        return self.dataset[int(self.positions[place])]

    def film(self, place: int) -> np.ndarray:
        """Return the decoded pixels ``(1, h, w)`` of the image at ``place``."""
        return self.dataset.images.image(int(self.numbers[place]))[None]

    def batches(self, label: str) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield places and images ``(B, 1, H, W)`` float32 in [0, 1], with a progress bar of that label."""
        for places in self.chunks(label):
            yield places, torch.stack([self.sample(place)["image"] for place in places])

    def chunks(self, label: str, places: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yield ``places`` (all by default), a batch at a time, with a progress bar of that label."""
        wanted = np.arange(len(self)) if places is None else places
        with tqdm(total=len(wanted), desc=label, unit="image", disable=not self.progress or not len(wanted)) as bar:
            for start in range(0, len(wanted), self.batch_size):
                chunk = wanted[start : start + self.batch_size]
                yield chunk
                bar.update(len(chunk))


class ImageSubset:
    """Some of the images of a store, as a store: see :class:`monai_cxrssl.data.stores.image_store.ImageStore`."""

    def __init__(self, checked: CheckedImages) -> None:
        self.store = checked.dataset.images
        self.items = checked.items
        self.kept = checked.numbers.tolist()
        self.unreadable: list[dict[str, str]] = []
        self.warnings: list[dict[str, str]] = []

    def __len__(self) -> int:
        return len(self.kept)

    def image(self, index: int) -> np.ndarray:
        """Pixels of item ``index``."""
        return self.store.image(self.kept[index])

    @property
    def in_memory(self) -> bool:
        """Whether an image is read without decoding a file."""
        return self.store.in_memory

    @property
    def nbytes(self) -> int:
        """Bytes of pixels kept by the whole store."""
        return self.store.nbytes
