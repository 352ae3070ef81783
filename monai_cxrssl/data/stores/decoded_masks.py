# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks on the grids of their decoded images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.datalists.masks import boxes_to_mask
from monai_cxrssl.data.reading.display.orientation import FilmTurn, boxes_to_upright, is_transposed
from monai_cxrssl.data.reading.file_kind import open_regular_file
from monai_cxrssl.data.reading.lung_mask import film_turn, read_lung_mask
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.files import ordered_map

__all__ = ["DecodedMasks", "MASK_FIELDS"]

logger = logging.getLogger(__name__)

#: The kinds of mask, and the field of a datalist item that each comes from.
MASK_FIELDS = {"lung": "lung_mask", "lesion": "lesion_mask", "boxes": "boxes"}
# Rounding of sizes in a chain of exports changes an aspect by less; another image's mask differs by more.
_ASPECT_TOLERANCE = 0.05
# Readers draw boxes a little over the border; an image that was made smaller is so by more.
_BOX_TOLERANCE = 0.05
_Failure = CXRReadError | DatalistError


class DecodedMasks:
    """One binary mask per image, read once and kept as bits on the image's own decoded grid (384 x 480 take 23 kB).

    What cannot be read is named in the log and in :attr:`unreadable`, and its image counts as one without a mask. So
    does a lung mask that marks nothing. An empty lesion mask or an empty list of boxes says that there is nothing to
    mark, and is learnt from.

    ``"lung"`` reads ``lung_mask`` and ``"lesion"`` reads ``lesion_mask``: a file, or several that are merged; another
    size than the image's is resampled by nearest neighbour. ``"boxes"`` draws the ``boxes`` of an item, which are
    ``[x1, y1, x2, y2]`` in pixels of the image's file as stored, scaled to the decoded grid: a pixel is set when its
    centre lies in a box. The size of the file is read from its header.

    Args:
        images: the decoded images; masks follow their order.
        kind: ``"lung"``, ``"lesion"`` or ``"boxes"``.
        boxes_shape: rows and columns of the images that the boxes count the pixels of, such as ``[1024, 1024]`` for
            reduced copies of ChestX-ray14; by default those of each image's file.
        num_threads: threads that read; by default one per usable CPU core.
        progress: show the progress bar.

    Attributes:
        unreadable: ``{"mask": path, "cause": words}`` of the masks that could not be read.
        has_mask: ``(images,)`` bool.

    Raises:
        ConfigurationError: an unknown kind.
        DatalistError: masks whose proportions are not those of their images, or boxes that are none or lie far outside.
    """

    def __init__(
        self,
        images: ImageStore,
        kind: str = "lung",
        boxes_shape: Sequence[int] | None = None,
        num_threads: int | None = None,
        progress: bool = True,
    ) -> None:
        if kind not in MASK_FIELDS:
            raise ConfigurationError(f"A mask is one of {', '.join(map(repr, MASK_FIELDS))}, not {kind!r}.")
        if boxes_shape is not None and (len(boxes_shape) != 2 or min(boxes_shape) < 1):
            raise ConfigurationError(
                f"boxes_shape is {boxes_shape!r}; expected [rows, columns] of the original images."
            )
        self.kind = kind
        self.boxes_shape = None if boxes_shape is None else (int(boxes_shape[0]), int(boxes_shape[1]))
        self.unreadable: list[dict[str, str]] = []
        self.has_mask = np.zeros(len(images), dtype=bool)
        self._starts = np.zeros(len(images) + 1, dtype=np.int64)
        self._shapes = np.zeros((len(images), 2), dtype=np.int64)
        named = [index for index, item in enumerate(images.items) if item.get(MASK_FIELDS[kind]) is not None]
        # See DecodedImages: a worker forked while a thread of OpenCV holds its lock would wait for ever.
        cv2.setNumThreads(1)
        bits: dict[int, np.ndarray] = {}
        misshapen: list[str] = []
        label = f"{kind} masks"
        results = ordered_map(partial(self._read, images), named, num_threads or usable_cores(), name=label)
        bar = tqdm(results, total=len(named), desc=label, unit="mask", disable=not progress or not named)
        for index, found in zip(named, bar, strict=True):
            if isinstance(found, DatalistError):
                misshapen.append(str(found))
            elif isinstance(found, CXRReadError):
                logger.warning("%s mask taken as absent: %s", kind, found)
                self.unreadable.append({"mask": found.path, "cause": found.cause or str(found)})
            elif found is not None:
                self.has_mask[index] = True
                self._shapes[index] = found.shape
                bits[index] = np.packbits(found)
        if misshapen:
            more = f" {len(misshapen) - 1} more of the {len(named)} masks are wrong likewise." * (len(misshapen) > 1)
            raise DatalistError(misshapen[0] + more)
        np.cumsum([len(bits.get(index, ())) for index in range(len(images))], out=self._starts[1:])
        # One array: forked workers share its pages as long as nobody counts references to thousands of small ones.
        self._bits = np.concatenate([np.zeros(0, np.uint8), *(bits[index] for index in sorted(bits))])
        counts = kind, len(bits), len(images), self._bits.nbytes / 1e6, len(self.unreadable)
        logger.info("%s masks: %d of %d images have one (%.1f MB in memory), %d could not be read", *counts)

    def __len__(self) -> int:
        return len(self.has_mask)

    def mask(self, index: int, shape: tuple[int, int]) -> np.ndarray:
        """Mask of image ``index``, decoded to ``shape``: ``(h, w)`` uint8 of 0 and 1, all 0 where there is none.
        IndexError: there is no such image."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no mask {index}; there are {len(self)}.")
        if not self.has_mask[index]:
            return np.zeros(shape, np.uint8)
        rows, columns = self._shapes[index].tolist()
        packed = self._bits[self._starts[index] : self._starts[index + 1]]
        return np.unpackbits(packed, count=rows * columns).reshape(rows, columns)

    def _read(self, images: ImageStore, index: int) -> np.ndarray | _Failure | None:
        """The mask on the image's grid, ``None`` for a lung mask without lungs, or why there is none."""
        item = images.items[index]
        try:
            rows, columns = images.image(index).shape
            source = item[MASK_FIELDS[self.kind]]
            if self.kind == "boxes":
                turn = film_turn(item["image"])
                stated = self.boxes_shape or (turn.shape if turn else _stored_shape(item["image"]))
                return _drawn_boxes(item, stated, (rows, columns), turn)
            drawn, _ = read_lung_mask(source, image=item["image"])
        except (CXRReadError, DatalistError) as error:
            return error
        height, width = drawn.shape
        if abs(np.log(height * columns / (width * rows))) > _ASPECT_TOLERANCE:
            return DatalistError(
                f"The {self.kind} mask {source} has {width} x {height} pixels (width x height), but its image "
                f"{item['image']} was decoded to {columns} x {rows}: the proportions differ, so it is the mask of "
                "another image or of a part of it. Give it a mask of the whole image, or take it out of the datalist."
            )
        if self.kind == "lung" and not drawn.any():
            return None
        return cv2.resize(drawn, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)


def _drawn_boxes(
    item: Mapping[str, Any], stated: tuple[int, int], shape: tuple[int, int], turn: FilmTurn | None
) -> np.ndarray:
    """Boxes, in pixels of a stored image of the size ``stated``, as a mask on the grid of the upright one.
    DatalistError: they are no boxes, or lie outside such an image."""
    size = np.array([stated[1], stated[0]] * 2, dtype=np.float64)
    try:
        corners = np.asarray(item["boxes"], dtype=np.float64).reshape(-1, 4)
    except (ValueError, TypeError) as error:
        raise DatalistError(
            f"The boxes of {item['image']} are {item['boxes']!r}; expected a list of [x1, y1, x2, y2]."
        ) from error
    if (corners > size * (1 + _BOX_TOLERANCE)).any():
        raise DatalistError(
            f"A box of {item['image']} reaches to ({corners[:, 2].max():g}, {corners[:, 3].max():g}), far outside the "
            f"image of {stated[1]} x {stated[0]} pixels (width x height): it counts the pixels of a larger original. "
            "Give that one's size as boxes_shape, or bring the original image."
        )
    if turn:
        corners = boxes_to_upright(corners, turn.orientation, stated)
        size = size[[1, 0, 3, 2]] if is_transposed(turn.orientation) else size
    scale = np.array([shape[1], shape[0]] * 2) / size
    return boxes_to_mask((corners * scale).tolist(), shape)


def _stored_shape(path: str) -> tuple[int, int]:
    """Rows and columns of an image's file, from the header where that is quick."""
    with open_regular_file(path) as file:
        if file.read(132)[128:] == b"DICM":
            from pydicom import dcmread
            from pydicom.errors import InvalidDicomError

            file.seek(0)
            try:
                header = dcmread(file, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
                return int(header.Rows), int(header.Columns)
            except (InvalidDicomError, AttributeError, ValueError, TypeError, EOFError, OSError):
                pass  # the reader of images says what is wrong
    return read_film(path, max_side=64).shape
