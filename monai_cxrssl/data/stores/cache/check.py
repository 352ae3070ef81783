# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Verification, joining and publishing of a cache folder."""

from __future__ import annotations

import errno
import logging
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_cxrssl.data.stores.cache.blocks import Entry, block_path, map_pixels, pixel_type, read_index, starts_of
from monai_cxrssl.data.stores.cache.manifest import CachePlan, read_manifest, read_plan, write_manifest
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.files import ask_all

__all__ = ["CacheReport", "Source", "clear_disk_errors", "is_current", "join_cache", "publish", "verify_cache"]
__all__ += ["with_source"]

logger = logging.getLogger(__name__)

Source = tuple[int, int] | None


@dataclass
class CacheReport:
    """What is in a cache, or in the shard that was built.

    Args:
        folder: of the cache.
        images, decoded: image files in the blocks looked at, readable or not; files decoded by this call.
        unreadable: ``{"image": path, "cause": words}`` of the files that could not be read.
        warnings: ``{"image": path, "warning": words}`` of what was odd in files that could.
        damaged: images whose pixels do not match their checksum.
        changed: images whose file changed or vanished since it was cached (only looked for by ``verify_cache``).
        pixel_bytes, seconds: bytes of pixels, and how long it took.
        complete: whether the whole cache is published, not a shard only.
    """

    folder: str
    images: int = 0
    decoded: int = 0
    unreadable: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    pixel_bytes: int = 0
    complete: bool = False
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON."""
        return asdict(self)

    def take(self, entries: Iterable[Entry], itemsize: int) -> None:
        for entry in entries:
            self.images += 1
            self.pixel_bytes += entry.rows * entry.columns * itemsize
            if entry.cause:
                self.unreadable.append({"image": entry.image, "cause": entry.cause})
            self.warnings.extend({"image": entry.image, "warning": words} for _, words in entry.warnings)


def join_cache(out_dir: str | os.PathLike, progress: bool = True) -> CacheReport:
    """Publish a cache that was built in shards, after all its pixels were checked. ConfigurationError: a block is
    missing, cut or damaged, or the folder holds no cache."""
    folder = Path(out_dir).expanduser()
    report = _check(folder, progress, sources=False)
    if report.damaged:
        raise ConfigurationError(
            f"{len(report.damaged)} images of the cache in {folder} do not match their checksums, the first "
            f"{report.damaged[0]}. {_DAMAGED_REMEDY}"
        )
    plan = read_plan(folder)
    assert plan is not None  # _check has read it
    with clear_disk_errors(folder):
        publish(folder, plan)
    report.complete = True
    return report


def verify_cache(out_dir: str | os.PathLike, progress: bool = True) -> CacheReport:
    """Read a published cache whole and compare every image with its checksum, and every source with what was cached.

    The report's ``damaged`` and ``changed`` name what differs. ConfigurationError: the cache is not complete, or a
    block is missing or has a damaged index.
    """
    folder = Path(out_dir).expanduser()
    manifest = read_manifest(folder)
    report = _check(folder, progress, sources=True, digests=[block["index"] for block in manifest["blocks"]])
    report.complete = True
    if report.damaged:
        logger.error("%s: %d damaged images. %s", folder, len(report.damaged), _DAMAGED_REMEDY)
    return report


_DAMAGED_REMEDY = "Delete the block files named in the log and run the same cache command again."


def _check(folder: Path, progress: bool, sources: bool, digests: list[str] | None = None) -> CacheReport:
    """Read all blocks of a cache and compare them with their checksums."""
    started = time.monotonic()
    plan = read_plan(folder)
    if plan is None:
        raise ConfigurationError(f"{folder} is no cache: it has no items.json. Make one with the cache command.")
    blocks = plan.block_images()
    missing = [number + 1 for number in range(len(blocks)) if not block_path(folder, number).exists()]
    if missing:
        some = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        raise ConfigurationError(
            f"{len(missing)} of the {len(blocks)} blocks of the cache in {folder} are missing (number {some}): build "
            "the shards that hold them (block b is in shard ((b - 1) mod n) + 1 of n)."
        )
    report = CacheReport(str(folder))
    itemsize = pixel_type(plan.options.bits).itemsize
    for number, images in enumerate(tqdm(blocks, desc="verifying", unit="block", disable=not progress)):
        path = block_path(folder, number)
        entries, digest = read_index(path, itemsize)
        other = digests is not None and digests[number : number + 1] != [digest]
        if other or [entry.image for entry in entries] != images:
            raise ConfigurationError(
                f"{path} is of another build than the cache it is in. Run the cache command again."
            )
        pixels, starts = map_pixels(path), starts_of(entries, itemsize)
        bad = [e.image for i, e in enumerate(entries) if zlib.crc32(pixels[starts[i] : starts[i + 1]].data) != e.crc32]
        if bad:
            logger.error("%s: %d images do not match their checksums, the first %s", path, len(bad), bad[0])
        report.damaged.extend(bad)
        report.take(entries, itemsize)
        if sources:
            now = ask_all(with_source, images, name="sources")
            report.changed.extend(e.image for e, (_, source) in zip(entries, now, strict=True) if source != e.source)
    report.seconds = time.monotonic() - started
    return report


def is_current(folder: Path, images: Iterable[str]) -> bool:
    """Whether a published cache holds these image files as they are now, or as they last were where they are gone.

    The folder need not exist. Only sizes and modification times are looked at, of many files at once.
    ConfigurationError: the cache is damaged, or being built.
    """
    plan = read_plan(folder)
    if plan is None or not (folder / "cache.json").exists():
        return False
    itemsize = pixel_type(plan.options.bits).itemsize
    known: dict[str, Source] = {}
    for number in range(len(read_manifest(folder)["blocks"])):
        try:
            known.update(entry[:2] for entry in read_index(block_path(folder, number), itemsize)[0])
        except OSError:  # the block is lost
            return False
    wanted = list(dict.fromkeys(images))
    if any(image not in known for image in wanted):
        return False
    now = ask_all(with_source, wanted, name="sources")
    gone = [image for image, source in now if source is None and known[image] is not None]
    if gone:
        logger.warning("the files of %d cached images are gone, the first %s: using the cache", len(gone), gone[0])
    return all(source is None or source == known[image] for image, source in now)


def publish(folder: Path, plan: CachePlan) -> None:
    """Write ``cache.json`` from the indices of the blocks, which must all be there."""
    blocks, readable, pixel_bytes = [], 0, 0
    itemsize = pixel_type(plan.options.bits).itemsize
    for number in range(len(plan.block_images())):
        path = block_path(folder, number)
        entries, digest = read_index(path, itemsize)
        blocks.append({"images": len(entries), "bytes": path.stat().st_size, "index": digest})
        readable += sum(not entry.cause for entry in entries)
        pixel_bytes += starts_of(entries, itemsize)[-1]
    if not readable:
        raise DatalistError(f"None of the images of the cache in {folder} could be read.")
    write_manifest(folder, blocks, readable, pixel_bytes)


def with_source(image: str) -> tuple[str, Source]:
    """The path of a file with its size in bytes and modification time in ns, None if there is no such file."""
    try:
        status = Path(image).stat()
    except (OSError, ValueError):
        return image, None
    return image, (status.st_size, status.st_mtime_ns)


@contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the system says of the cache's disk into a ``ConfigurationError`` that says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, CXRReadError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ConfigurationError(
                f"The disk of {folder} is full. Free some space and run the same command again: it goes on where it "
                "stopped."
            ) from error
        raise ConfigurationError(f"The cache folder {folder} cannot be written: {error.strerror or error}.") from error
