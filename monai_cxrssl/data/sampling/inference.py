# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of a folder for inference, decoded ahead."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import default_collate

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.sampling.loader import worker_count
from monai_cxrssl.data.sampling.pretext import ImageDataset
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.data.stores.streamed import StreamedImages
from monai_cxrssl.errors import CXRReadError
from monai_cxrssl.files import ordered_map

__all__ = ["InferenceDataset", "InferenceLoader"]


_MOST_THREADS = 8


class InferenceDataset(ImageDataset):
    """Single images with the images that they were made of, as :attr:`ImageDataset` takes them.

    A sample also holds ``"film"``: a :class:`~monai_cxrssl.data.stores.source_film.SourceFilm`, or the CXRReadError of
    a file that cannot be read. Such a sample is a black image without a label.

    Args:
        images, transform, options: see :class:`ImageDataset`.
        read_header: read the header of an image in DICOM too, while a thread is at it, for a writer that asks for it.
    """

    def __init__(
        self,
        images: ImageStore,
        transform: Callable[[np.ndarray], torch.Tensor],
        read_header: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(images, transform, **options)
        self.read_header = read_header
        self._blank = transform(np.zeros((1, 32, 32), np.uint8))
        self._lock = threading.Lock()
        self._notes: dict[str, list[str]] = defaultdict(list)
        for entry in images.warnings:
            self._notes[entry["image"]].append(entry["warning"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Render a sample, also from several threads at once."""
        number = self.indices[index]
        label = torch.as_tensor(self.labels[index])
        film: SourceFilm | CXRReadError
        try:
            film = self._film(number)
            image = self.transform(film.pixels[None])
            if self.read_header:
                _ = film.header
        except CXRReadError as error:
            film, image = error, self._blank
            label = torch.full_like(label, float("nan") if label.is_floating_point() else -1)
        return {"image": image, "label": label, "patient": int(self.patients[index]), "index": number, "film": film}

    def _film(self, number: int) -> SourceFilm:
        if isinstance(self.images, StreamedImages):
            return self.images.film(number)
        path = self.images.items[number]["image"]
        with self._lock:  # a cache opens its files when they are first asked for
            pixels = self.images.image(number)
        return SourceFilm(path, pixels, self._notes.get(path, []))


class InferenceLoader(DataLoader):
    """Batches of an :class:`InferenceDataset` in its order, decoded by threads while the network computes.

    Decoders let go of the interpreter's lock, so threads of this process do what loader processes would, without a copy
    through shared memory and without their start. Besides the batch that is in use, one more and a few images are
    decoded ahead.

    Batches are full of images that could be read, so what a network says of them does not depend on the other files:
    ``"film"`` of a batch is a list of theirs, and ``"unreadable"`` of the errors of files that were met on the way.
    There are as many batches as ``len`` says: for want of images the last of them hold a single black one, whose
    ``"film"`` is its file's error.

    From here on OpenCV works with one thread in this process, as images are decoded side by side.

    Args:
        dataset: the images.
        batch_size: images of a batch.
        num_workers: threads that decode; 0 decodes in the main thread when a batch is asked for, ``"auto"`` takes all
            usable cores but one, at least 1 and at most 8.

    Raises:
        ConfigurationError: ``num_workers`` is neither a number nor ``"auto"``.
    """

    def __init__(self, dataset: InferenceDataset, batch_size: int, num_workers: int | str = "auto") -> None:
        super().__init__(dataset, batch_size=batch_size, shuffle=False)
        cores = max(1, min(_MOST_THREADS, usable_cores() - 1))
        self.threads = cores if num_workers == "auto" else worker_count(num_workers, "cpu")

    def __iter__(self) -> Any:
        """Decode and yield batches."""
        cv2.setNumThreads(1)
        return self._batches()

    def _batches(self) -> Iterator[dict[str, Any]]:
        numbers, size = range(len(self.dataset)), int(self.batch_size or 1)  # type: ignore[arg-type]
        samples: Iterator[dict[str, Any]] = map(self.dataset.__getitem__, numbers)
        if self.threads:
            ahead = size + 4 * self.threads
            samples = ordered_map(self.dataset.__getitem__, numbers, self.threads, "decoding", ahead)
        images: list[dict[str, Any]] = []
        unreadable: list[CXRReadError] = []
        black: dict[str, Any] | None = None
        batches = len(self)
        for sample in samples:
            if isinstance(sample["film"], CXRReadError):
                unreadable.append(sample["film"])
                black = sample
                continue
            images.append(sample)
            if len(images) == size:
                yield _collate(images, unreadable)
                batches, images, unreadable = batches - 1, [], []
        if images:
            yield _collate(images, unreadable)
            batches, unreadable = batches - 1, []
        for _ in range(batches):
            assert black is not None  # images that could all be read fill all batches
            yield _collate([black], unreadable)
            unreadable = []


def _collate(samples: list[dict[str, Any]], unreadable: list[CXRReadError]) -> dict[str, Any]:
    batch = default_collate([{name: sample[name] for name in sample if name != "film"} for sample in samples])
    return {**batch, "film": [sample["film"] for sample in samples], "unreadable": unreadable}
