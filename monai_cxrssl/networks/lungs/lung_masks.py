# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Kept lung masks of a data set by segmentation weights."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.stores.pretext_masks import LATERAL_VIEWS
from monai_cxrssl.data.stores.small_film import decoded_side
from monai_cxrssl.errors import CXRReadError, OptionError
from monai_cxrssl.files import ask_all, atomic_write, lock, ordered_map, sha256
from monai_cxrssl.networks.lungs.segment_lungs import SegmentLungs
from monai_cxrssl.transforms.io.load_small import LoadSmallCXR

__all__ = ["LungMasks", "with_lung_masks"]

logger = logging.getLogger(__name__)

AUTO = "auto"
_BATCH = 16


def with_lung_masks(
    source: Datalist,
    lung_masks: str | None,
    folder: str | os.PathLike,
    device: torch.device | str = "cpu",
    mask: str | None = None,
) -> Datalist:
    """Give the images of a data set that have no lung mask one of segmentation weights.

    Images of lateral views, those that cannot be read, and those whose lungs are in doubt
    (:func:`monai_cxrssl.data.audit.lung_doubts.lung_doubts`) stay without. What was made is kept for later runs, and
    the log says how many masks are of which origin.

    Args:
        source: the data set.
        lung_masks: ``"auto"`` for the weights that come with the package, or a file of weights; ``None`` for none.
        folder: that keeps the masks, see :class:`LungMasks`.
        device: that the network runs on.
        mask: what the run's own decoder learns.

    Returns:
        The data set; items with such a mask have ``lung_mask_by``, and ``extra["lung_masks"]`` says what was done.

    Raises:
        OptionError: the run's decoder learns or is measured on lung masks.
        ConfigurationError: the weights cannot be read, or segment no lungs.
    """
    if lung_masks is None:
        return source
    if mask == "lung":
        raise OptionError(
            f"--lung_masks is {lung_masks!r}, and this network's own masks are measured on lung masks, which a person "
            "must have drawn; leave it out."
        )
    segment = SegmentLungs(None if str(lung_masks).lower() == AUTO else lung_masks, device)
    masks = LungMasks(segment, folder)
    waiting = [item for item in source.all_items() if masks.is_wanted(item)]
    masks.make([item["image"] for item in waiting])
    own = sum(bool(item.get("lung_mask")) for item in source.all_items())
    splits = {split: [masks.added(item) for item in source.items(split)] for split in source.splits}
    made = sum("lung_mask_by" in item for items in splits.values() for item in items)
    account = {"weights": segment.path.name, "sha256": masks.digest, "own": own, "made": made}
    account |= {"without": sum(map(len, splits.values())) - own - made, "causes": dict(masks.causes)}
    logger.info(
        "lung masks: %d of the data set, %d drawn by %s (sha256 %s), %d images without (%s); kept in %s",
        own, made, segment.path.name, masks.digest[:12], account["without"],
        ", ".join(f"{cause}: {count}" for cause, count in masks.causes.items()) or "lateral views", masks.folder,
    )  # fmt: skip
    return replace(source, splits=splits, root=None, extra={**source.extra, "lung_masks": account})


class LungMasks:
    """Masks of segmentation weights in a folder, by image and weights.

    Args:
        segment: draws the masks.
        folder: that keeps them; each weights file has a folder of its own below it.

    Attributes:
        digest: SHA-256 of the weights.
        causes: how many images got no mask, by cause.
    """

    def __init__(self, segment: SegmentLungs, folder: str | os.PathLike) -> None:
        self.segment = segment
        self.digest = sha256(segment.path)
        self.folder = Path(folder) / self.digest[:12]
        self.load = LoadSmallCXR(decoded_side(segment.resize.size[0]))
        self.causes: Counter[str] = Counter()
        self.places: dict[str, Path | None] = {}

    @staticmethod
    def is_wanted(item: Mapping[str, Any]) -> bool:
        """Whether an item has no mask and may be frontal."""
        return not item.get("lung_mask") and str(item.get("view_position") or "").strip().upper() not in LATERAL_VIEWS

    def place(self, image: str) -> Path | None:
        """Return where the mask of an image is kept, ``None`` where its file is gone.

        Another size or time of the file makes another place.
        """
        try:
            status = Path(image).stat()
        except OSError:
            return None
        key = f"{Path(image).absolute()}\n{status.st_size}\n{status.st_mtime_ns}"
        return self.folder / f"{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()[:32]}.png"

    def make(self, images: Sequence[str]) -> None:
        """Draw the masks that are not there yet; one of an image without clear lungs marks nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.places = dict(zip(images, ask_all(self.place, images, "lung masks"), strict=True))
        with lock(self.folder, f"{self.folder}: another run draws lung masks there", seconds=None):
            there = {place.name for place in self.folder.iterdir()}
            absent = [image for image, place in self.places.items() if place and place.name not in there]
            cv2.setNumThreads(1)  # a worker forked while a thread of OpenCV holds its lock would wait for ever
            loaded = ordered_map(self._read, absent, usable_cores(), name="lung masks")
            bar = tqdm(zip(absent, loaded, strict=True), total=len(absent), desc="lung masks", disable=not absent)
            for batch in _batches((image, pixels) for image, pixels in bar if pixels is not None):
                self._draw(batch)

    def added(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an item with the mask that was drawn for it, if there is a clear one."""
        if not self.is_wanted(item):
            return item
        place = self.places[item["image"]]
        cause = "unreadable"
        if place is not None and place.exists():
            cause = "lungs in doubt"
            drawn = cv2.imread(str(place), cv2.IMREAD_GRAYSCALE)
            if drawn is not None and drawn.any():
                return {**item, "lung_mask": str(place), "lung_mask_by": self.segment.path.name}
        self.causes[cause] += 1
        return item

    def _read(self, image: str) -> np.ndarray | None:
        try:
            return self.load.read(image)[0]
        except CXRReadError:
            return None  # named by whoever decodes the images of the run

    def _draw(self, batch: Sequence[tuple[str, np.ndarray]]) -> None:
        probabilities = self.segment.probabilities([pixels for _, pixels in batch])
        for (image, pixels), probability in zip(batch, probabilities, strict=True):
            shape = pixels.shape[1:]
            mask = self.segment.on_image(probability, shape)[0].numpy() * np.uint8(255)
            if self.segment.doubts(probability, shape):
                mask[:] = 0
            place = self.places[image]
            assert place is not None
            with atomic_write(place) as partial:
                partial.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def _batches(pairs: Iterator[tuple[str, np.ndarray]]) -> Iterator[list[tuple[str, np.ndarray]]]:
    batch: list[tuple[str, np.ndarray]] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
