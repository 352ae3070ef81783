# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of an audit out of a cache."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.dicom import read_dicom_header
from monai_cxrssl.data.stores.cache.cached_images import CachedImages
from monai_cxrssl.data.stores.cache.check import is_current
from monai_cxrssl.data.stores.small_film import small_size
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import ordered_map

__all__ = ["CachedFilms"]


class CachedFilms:
    """Decoded images of a cache that holds the files as they are now.

    Args:
        cache_dir: folder of the cache.
        items: datalist items with absolute ``image`` paths.

    Raises:
        ConfigurationError: no cache of these files as they are now.
        DatalistError: none of them is readable.
    """

    def __init__(self, cache_dir: str | os.PathLike, items: Sequence[Mapping[str, Any]]) -> None:
        folder = Path(cache_dir).expanduser()
        if not is_current(folder, [item["image"] for item in items]):
            raise ConfigurationError(
                f"{folder} is no finished cache of the {len(items)} images of these datalists as their files are now; "
                "run the cache command with them (or leave --cache_dir out to have the files decoded)."
            )
        self._images = CachedImages(folder, items, max_unreadable=1.0)
        self._places = {item["image"]: place for place, item in enumerate(self._images.items)}
        self._causes = {entry["image"]: entry["cause"] for entry in self._images.unreadable}
        self._notes: dict[str, list[str]] = defaultdict(list)
        for entry in self._images.warnings:
            self._notes[entry["image"]].append(entry["warning"])
        self._views = dict(zip(self._places, ordered_map(_view, self._places, name="headers"), strict=True))

    def read(self, path: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the pixels as cached ``(h, w)``, and ``warnings`` and ``view_position`` of the reader's metadata.

        Raises:
            CXRReadError: the file could not be read when it was cached, or its pixels in the cache are damaged.
        """
        if path in self._causes:
            raise CXRReadError(path, self._causes[path])
        notes, view = self._notes.get(path, []), self._views[path]
        return self._images.image(self._places[path]), {"warnings": notes, "view_position": view}

    def reduced(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns that an image of this shape has in the cache."""
        return small_size(shape[0], shape[1], self._images.side)


def _view(path: str) -> str:
    try:
        return str(read_dicom_header(path)["view_position"])
    except CXRReadError:  # a picture, or a file that is gone since
        return ""
