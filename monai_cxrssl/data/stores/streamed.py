# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Image store that decodes at each access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.film import Film
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.data.stores.small_film import read_small
from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.data.stores.timed_read import read_in_time
from monai_cxrssl.errors import DatalistError

__all__ = ["StreamedImages"]


class StreamedImages:
    """The images of a datalist for one pass over them, as :class:`~monai_cxrssl.data.DecodedImages` decodes them.

    Nothing is read before it is asked for, and nothing is kept: which files cannot be read shows only then.

    Args:
        items: datalist items with absolute ``image`` paths.
        side: shorter side, in pixels; smaller images are not enlarged.
        minimum_side: shortest side, in pixels as read, that is accepted.
        read_seconds: a file that is not read after so long counts as unreadable.

    Attributes:
        items, kept, unreadable, warnings: see :class:`~monai_cxrssl.data.stores.image_store.ImageStore`; all items are
            kept, and the other two stay empty.

    Raises:
        DatalistError: no items.
    """

    in_memory = False
    nbytes = 0

    def __init__(
        self, items: Sequence[Mapping[str, Any]], side: int = 384, minimum_side: int = 32, read_seconds: float = 120.0
    ) -> None:
        if not items:
            raise DatalistError("There are no images to decode; expected items in the chosen splits of the datalist.")
        self.items = [dict(item) for item in items]
        self.side, self.minimum_side, self._read_seconds = int(side), minimum_side, read_seconds
        self.kept = list(range(len(items)))
        self.unreadable: list[dict[str, str]] = []
        self.warnings: list[dict[str, str]] = []

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int) -> np.ndarray:
        """Pixels of item ``index``: ``(h, w)`` uint8, bright = dense; errors as of :meth:`film`."""
        return self.film(index).pixels

    def film(self, index: int) -> SourceFilm:
        """Decode item ``index``.

        Raises:
            IndexError: there is no such item.
            CXRReadError: the file cannot be read, is too small, or holds one value only.
        """
        if not 0 <= index < len(self.items):
            raise IndexError(f"There is no image {index}; there are {len(self.items)}.")
        return read_in_time(self._read, self.items[index]["image"], self._read_seconds)

    def _read(self, path: str) -> SourceFilm:
        films: list[Film] = []

        def levels(name: str) -> np.ndarray:
            films.append(read_film(name, side=self.side))
            return films[0].levels(8)

        pixels, _ = read_small(path, levels, self.side, np.dtype(np.uint8), self.minimum_side)
        pixels.flags.writeable = False
        film = films[0]
        return SourceFilm(path, pixels, list(film.warnings), film.shape, film.metadata(film.shape)["affine"])
