# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Data loader that replaces images which became unreadable."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import default_collate

from monai_cxrssl.data.sampling.bags import Draw
from monai_cxrssl.data.stores.image_store import ImageSamples, ImageStore
from monai_cxrssl.errors import CXRReadError, DatalistError

__all__ = ["ReplacingLoader", "images_of"]

logger = logging.getLogger(__name__)

_FAULTS = "unreadable_now"
# A handful of files is no sign of a lost disk, however small the data set is.
_ALWAYS_TOLERATED = 3
_ATTEMPTS = 20


class _Replacing(Dataset):
    """Another sample, always the same one, in place of one whose file cannot be read."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        faults: list[tuple[str, str]] = []
        given = draw
        for attempt in range(_ATTEMPTS):
            try:
                sample = self.dataset[given]
            except CXRReadError as error:
                faults.append((error.path, error.cause or str(error)))
                epoch, position = (draw.epoch, draw.position) if isinstance(draw, Draw) else (0, int(draw))
                other = int(np.random.default_rng([epoch, position, attempt]).integers(len(self.dataset)))
                given = Draw(epoch, position, other, other, -1) if isinstance(draw, Draw) else other
            else:
                return {**sample, _FAULTS: faults} if faults else sample
        raise DatalistError(
            f"{_ATTEMPTS} files in succession could not be read, the last {faults[-1][0]}: {faults[-1][1]}. Check that "
            "the disk of the images is still there."
        )


def _collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    faults = [fault for sample in samples for fault in sample.get(_FAULTS, ())]
    batch = default_collate([{name: v for name, v in sample.items() if name != _FAULTS} for sample in samples])
    return {**batch, _FAULTS: faults} if faults else batch


class ReplacingLoader(DataLoader):
    """A loader that puts another sample in place of one whose file can no longer be read, and tells of it.

    Each such file gets a line in the log, once, and an entry ``{"image": path, "cause": words}`` in :attr:`unreadable`.

    Args:
        dataset: maps a draw, or an index, to a dictionary; has a length.
        max_unreadable: largest share of the samples, from 0 to 1, that a run should live without; three are always
            tolerated.
        options: see :class:`torch.utils.data.DataLoader`.

    Raises:
        DatalistError: from iterating, when too many files failed since the start.
    """

    def __init__(self, dataset: Any, max_unreadable: float = 0.05, **options: Any) -> None:
        super().__init__(_Replacing(dataset), collate_fn=_collate, **options)
        self.samples, self.max_unreadable = dataset, max_unreadable
        self.unreadable: list[dict[str, str]] = []

    def __iter__(self) -> Any:
        # Made at once, not at the first batch: it draws from torch's generator, which a resumed run sets after it.
        return self._told(super().__iter__())

    def _told(self, batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for batch in batches:
            for path, cause in batch.pop(_FAULTS, ()):
                self._note(path, cause)
            yield batch

    def _note(self, path: str, cause: str) -> None:
        if any(entry["image"] == path for entry in self.unreadable):
            return
        self.unreadable.append({"image": path, "cause": cause})
        logger.warning("unreadable now, replaced by another sample: %s %s", path, cause)
        failed, total = len(self.unreadable), len(self.samples)
        if failed > max(_ALWAYS_TOLERATED, self.max_unreadable * total):
            raise DatalistError(
                f"{failed} of {total} samples can no longer be read, more than the {self.max_unreadable:.0%} that a "
                f"run may lose, the last {path}: {cause}. Check the disk of the images, then go on with --resume auto."
            )


def images_of(loader: object) -> ImageStore | None:
    """Find the images that a loader's samples are made of, ``None`` where its data set does not tell."""
    if not isinstance(loader, DataLoader):
        return None
    samples = loader.samples if isinstance(loader, ReplacingLoader) else loader.dataset
    return samples.images if isinstance(samples, ImageSamples) else None
