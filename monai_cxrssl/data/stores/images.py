# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Image store of a run, in memory or cached."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from monai_cxrssl.data.stores.cache.build import build_cache
from monai_cxrssl.data.stores.cache.cached_images import CachedImages
from monai_cxrssl.data.stores.cache.check import clear_disk_errors, is_current
from monai_cxrssl.data.stores.cache.manifest import CacheOptions, CachePlan, read_plan
from monai_cxrssl.data.stores.decoded import DecodedImages
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.streamed import StreamedImages
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.files import lock

__all__ = ["open_images"]

logger = logging.getLogger(__name__)


def open_images(
    items: Sequence[Mapping[str, Any]],
    side: int,
    cache_dir: str | os.PathLike | None = None,
    memory_limit_gb: float | None = None,
    max_unreadable: float = 0.05,
    progress: bool = True,
    stream: bool = False,
) -> ImageStore:
    """Give the images of a run as small grey arrays of 8 bits.

    Without ``cache_dir`` all are decoded now and kept in memory (:class:`~monai_cxrssl.data.DecodedImages`). With it
    they come from the cache there (:class:`~monai_cxrssl.data.CachedImages`), which is made when it is absent. One
    cache serves all splits and several runs: images that it lacks are decoded and added at its end, images whose file
    has another size or modification time are decoded again, all others are not read. Images whose files are gone are
    served from the cache, with a warning. Files that could not be read are tried again when they change, or by the
    cache command. One process builds, others (of the same ``torchrun`` job or not) wait for it. A folder that may not
    be written will do as long as nothing has to be built.

    A cache of a larger side is used as it is: views are resampled from whatever size an image has, at somewhat more
    cost. Of a smaller one views would be blurred, so it is refused.

    Args:
        items: datalist items with absolute ``image`` paths.
        side: shorter side, in pixels; smaller images are not enlarged.
        cache_dir: folder of the cache.
        memory_limit_gb, max_unreadable: see :class:`~monai_cxrssl.data.DecodedImages`; a cache takes no memory.
        progress: show a progress bar, in one process of a job only.
        stream: without ``cache_dir`` decode each image when it is asked for, and keep none: for a single pass over them
            (:class:`~monai_cxrssl.data.stores.streamed.StreamedImages`).

    Raises:
        DatalistError: no items, too many unreadable ones, or cached files that vanished when the cache must be changed.
        ConfigurationError: the cache is of a smaller side or other options, or cannot be written.
    """
    if cache_dir is None and stream:
        return StreamedImages(items, side)
    if cache_dir is None:
        # Each process of a job decodes for itself; one bar is enough.
        shown = progress and os.environ.get("RANK", "0") == "0"
        return DecodedImages(
            items, side=side, memory_limit_gb=memory_limit_gb, max_unreadable=max_unreadable, progress=shown
        )
    if not str(cache_dir).strip():
        raise ConfigurationError("cache_dir is an empty text; give a folder, or leave it out to decode into memory.")
    if not items:
        raise DatalistError("There are no images to cache; expected items in the chosen splits of the datalist.")
    folder = Path(cache_dir).expanduser()
    opened = _open(folder, items, side, max_unreadable)
    if opened is None:
        with clear_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            busy = f"{folder}: waiting for another process that is building this cache"
            with lock(folder / ".lock", busy, seconds=None, without=partial(_build_without_lock, folder)):
                opened = _open(folder, items, side, max_unreadable)  # by whom this process waited for
                if opened is None:
                    opened = _build(folder, items, side, max_unreadable, progress)
    if opened.side > side:
        logger.info(
            "%s: its images have side %d, more than the %d of this run: used as they are", folder, opened.side, side
        )
    if opened.unreadable:
        count, first = len(opened.unreadable), opened.unreadable[0]
        words = "%d unreadable images are left out, the first %s: %s"
        logger.warning(words, count, first["image"], first["cause"])
    return opened


def _build_without_lock(folder: Path, error: OSError) -> None:
    """Let a single process build where the disk has no locks, and refuse several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigurationError(
            f"The disk of {folder} has no file locks ({error}), so {os.environ['WORLD_SIZE']} processes cannot agree "
            "on who builds the cache; build it first, with the cache command."
        ) from error
    logger.warning("%s: its disk has no file locks (%s); do not start a second build", folder, error)


def _open(folder: Path, items: Sequence[Mapping[str, Any]], side: int, max_unreadable: float) -> CachedImages | None:
    """The cache, or None if it has to be built, brought up to date or waited for."""
    _plan(folder, items, side)
    # What is damaged is mended by building; and a build at work is waited for.
    with suppress(ConfigurationError):
        if is_current(folder, [item["image"] for item in items]):
            return CachedImages(folder, items, max_unreadable=max_unreadable)
    return None


def _plan(folder: Path, items: Sequence[Mapping[str, Any]], side: int) -> CachePlan:
    """What the cache must hold: what it does, and after that what it lacks."""
    earlier = read_plan(folder)
    if earlier is None:
        return CachePlan(CacheOptions(side=int(side)), [dict(item) for item in items])
    if earlier.options.side < side:
        raise ConfigurationError(
            f"The cache in {folder} holds images of side {earlier.options.side}, but this run needs {int(side)}; give "
            "another cache_dir, or a smaller image_size."
        )
    known = set(earlier.images)
    added = [dict(item) for item in items if item["image"] not in known]
    options = replace(CacheOptions(), side=earlier.options.side, block_images=earlier.options.block_images)
    plan = CachePlan(options, [*earlier.items, *added])
    plan.check_follows(earlier, folder)
    return plan


def _build(
    folder: Path, items: Sequence[Mapping[str, Any]], side: int, max_unreadable: float, progress: bool
) -> CachedImages:
    plan = _plan(folder, items, side)
    options = plan.options
    report = build_cache(plan.items, folder, options.side, block_images=options.block_images, progress=progress)
    logger.info("%s: decoded %d of %d images in %.1f s", folder, report.decoded, report.images, report.seconds)
    return CachedImages(folder, items, max_unreadable=max_unreadable)
