# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Small lung masks of pretraining images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.data.stores.expected_lungs import expected_lung_mask
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import ordered_map

__all__ = ["PretextLungMasks"]

logger = logging.getLogger(__name__)

LATERAL_VIEWS = frozenset({"L", "LL", "RL", "LAT", "LATERAL", "LLD", "RLD", "LLO", "RLO"})


class PretextLungMasks:
    """A lung mask for every image: its own where there is one, else the expected position of the lungs.

    The ``lung_mask`` files of the items are read once and kept as bits on a grid of ``side x side`` cells stretched
    over the whole image, 1.2 kB each: a cell is lung where most of it is. Forked workers read the parent's copy.

    An item without a mask, with one that cannot be read (which is named in the log and in :attr:`unreadable`) or with
    one that marks nothing gets :func:`~monai_cxrssl.data.stores.expected_lungs.expected_lung_mask`, if the view is
    frontal or unknown. A lateral image without a mask is lung everywhere: holes then fall anywhere in the image (our
    choice).

    Args:
        images: has ``items``, such as :class:`~monai_cxrssl.data.DecodedImages`; masks follow their order.
        side: cells along either side of the image, at least 8 (ConfigurationError).
        num_threads: threads that read; by default one per usable CPU core.
        progress: show the progress bar.

    Attributes:
        unreadable: ``{"lung_mask": path, "cause": words}`` of the masks that could not be read.
        counts: number of images whose mask is ``"read"``, ``"expected"`` or ``"anywhere"``.
    """

    def __init__(
        self, images: ImageStore, side: int = 96, num_threads: int | None = None, progress: bool = True
    ) -> None:
        if side < 8:
            raise ConfigurationError(f"side is {side!r}; a lung mask needs at least 8 cells along a side.")
        self.side = int(side)
        self.unreadable: list[dict[str, str]] = []
        lateral = [_is_lateral(item) for item in images.items]
        named = [index for index, item in enumerate(images.items) if item.get("lung_mask")]
        # Row of each image in the array of bits; the first two rows are shared by the images without a mask.
        self._rows = np.array(lateral, dtype=np.int32).reshape(len(lateral))
        rows = [np.packbits(expected_lung_mask((side, side))), np.packbits(np.ones((side, side), dtype=np.uint8))]
        # See DecodedImages: a worker forked while a thread of OpenCV holds its lock would wait for ever.
        cv2.setNumThreads(1)
        paths = [images.items[index]["lung_mask"] for index in named]
        results = ordered_map(
            self._read, [images.items[index] for index in named], num_threads or usable_cores(), name="lung masks"
        )
        bar = tqdm(results, total=len(named), desc="lung masks", unit="mask", disable=not progress or not named)
        for index, path, bits in zip(named, paths, bar, strict=True):
            if isinstance(bits, CXRReadError):
                logger.warning("lung mask taken as absent: %s", bits)
                self.unreadable.append({"lung_mask": str(path), "cause": bits.cause or str(bits)})
            elif bits.any():
                self._rows[index] = len(rows)
                rows.append(bits)
        self._bits = np.stack(rows)
        expected, anywhere = (int((self._rows == row).sum()) for row in (0, 1))
        self.counts = {"read": len(rows) - 2, "expected": expected, "anywhere": anywhere}
        logger.info(
            "lung masks: %d read, %d from the expected position of the lungs, %d lateral images without one (anywhere)",
            *self.counts.values(),
        )

    def __len__(self) -> int:
        return len(self._rows)

    def mask(self, index: int, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Lung mask of image ``index``, uint8 ``(h, w)`` of 0 and 1, stretched to ``shape``, by default
        ``(side, side)``.

        A view that turns the image needs the image's own proportions. IndexError: there is no such image.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"There is no lung mask {index}; there are {len(self)}.")
        bits = np.unpackbits(self._bits[self._rows[index]], count=self.side * self.side)
        mask = bits.reshape(self.side, self.side)
        if shape is None or shape == mask.shape:
            return mask
        return cv2.resize(mask, (int(shape[1]), int(shape[0])), interpolation=cv2.INTER_NEAREST_EXACT)

    def _read(self, item: Mapping[str, Any]) -> np.ndarray | CXRReadError:
        try:
            mask, _ = read_lung_mask(item["lung_mask"], image=item.get("image"))
        except CXRReadError as error:
            return error
        share = cv2.resize(mask.astype(np.float32), (self.side, self.side), interpolation=cv2.INTER_AREA)
        return np.packbits(share >= 0.5)


def _is_lateral(item: Mapping[str, Any]) -> bool:
    return str(item.get("view_position") or "").strip().upper() in LATERAL_VIEWS
