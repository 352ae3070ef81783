# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Manifest files of a cache: ``items.json`` and ``cache.json``.

``items.json`` is written before the first block, ``cache.json`` after the last: a folder with both is a whole cache.
Neither holds the folder's own path or a date, so that equal sources and options give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.files import write_json

__all__ = ["CacheOptions", "CachePlan", "read_manifest", "read_plan", "unpublish", "write_manifest", "write_plan"]

FORMAT = 2
# To be raised when the reader or ``shrink`` gives other pixels for the same file.
READER_VERSION = 2


@dataclass(frozen=True)
class CacheOptions:
    """What decides on the pixels of a cache, besides its sources: see :func:`monai_cxrssl.data.build_cache`; and
    ``reader_version``, of the code that decodes."""

    side: int = 384
    bits: int = 8
    window: int | str | Sequence[float] | None = "first"
    minimum_side: int = 32
    block_images: int = 2048
    reader_version: int = READER_VERSION


@dataclass(frozen=True)
class CachePlan:
    """What a cache is made of: its options, and datalist items with absolute ``image`` paths."""

    options: CacheOptions
    items: Sequence[dict[str, Any]]

    @property
    def images(self) -> list[str]:
        """The image files, each once, in the order of their first item."""
        return list(dict.fromkeys(item["image"] for item in self.items))

    def block_images(self) -> list[list[str]]:
        """The image files of each block."""
        images, size = self.images, self.options.block_images
        return [images[start : start + size] for start in range(0, len(images), size)]

    def check_follows(self, earlier: CachePlan, folder: Path) -> None:
        """Check that this plan can be built where another was. ConfigurationError: the options differ, or the images
        are not the earlier ones followed by new ones."""
        mine, theirs = asdict(self.options), asdict(earlier.options)
        changed = [f"{name} {theirs[name]!r}, not {mine[name]!r}" for name in mine if mine[name] != theirs[name]]
        if changed:
            raise ConfigurationError(
                f"The cache in {folder} was made with {'; '.join(changed)}. Give these options, or another folder."
            )
        old, new = earlier.images, self.images
        if new[: len(old)] != old:
            raise ConfigurationError(
                f"The cache in {folder} is of another list: {len(set(old) & set(new))} of its {len(old)} images are in "
                "this one, or their order differs. Give another folder; only images at the end can be added."
            )


def read_plan(folder: Path) -> CachePlan | None:
    """Read ``items.json``; ``None`` if there is none. ConfigurationError: damaged, or of another format version."""
    content = _read_json(folder / "items.json")
    if content is None:
        return None
    options = content.get("options")
    if not isinstance(options, dict) or set(options) != set(asdict(CacheOptions())):
        raise ConfigurationError(f"{folder / 'items.json'} holds other options than this version of the package knows.")
    return CachePlan(CacheOptions(**options), content["items"])


def write_plan(folder: Path, plan: CachePlan) -> None:
    """Write ``items.json`` in one step, unless it is there already."""
    # A datalist writes NaN as null.
    items = Datalist(splits={"training": list(plan.items)}).to_dict()["training"]
    content = {"format": FORMAT, "options": asdict(plan.options), "items": items}
    try:
        write_json(content, folder / "items.json", indent=None)
    except (TypeError, ValueError) as error:
        raise DatalistError(f"An item of the datalist cannot be written as JSON ({error}).") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``cache.json``:
    ``{"format", "images", "readable", "pixel_bytes", "blocks": [{"images", "bytes", "index"}]}``. ConfigurationError:
    the folder is no cache, or one whose build is not complete."""
    content = _read_json(folder / "cache.json")
    if content is not None:
        return content
    if (folder / "items.json").exists():
        raise ConfigurationError(
            f"The cache in {folder} is not complete: its build was stopped, or its shards are not joined. Run the same "
            "cache command again, it goes on where it stopped, or once with --join after the last shard."
        )
    raise ConfigurationError(f"{folder} is no cache: it has no cache.json. Make one with the cache command.")


def write_manifest(folder: Path, blocks: list[dict[str, Any]], readable: int, pixel_bytes: int) -> None:
    """Write ``cache.json``, which publishes the cache, and clear away what killed builds left."""
    for leftover in folder.glob(".*.json.*.partial"):
        leftover.unlink(missing_ok=True)
    images = sum(block["images"] for block in blocks)
    content = {"format": FORMAT, "images": images, "readable": readable, "pixel_bytes": pixel_bytes, "blocks": blocks}
    write_json(content, folder / "cache.json", indent=None)


def unpublish(folder: Path) -> None:
    """Take ``cache.json`` away before a block is exchanged: what it says is about to be untrue."""
    (folder / "cache.json").unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise ConfigurationError(f"{path.parent} is a file; a cache is a folder.") from None
    except ValueError:
        raise ConfigurationError(f"{path} is damaged: it is not valid JSON. Delete it and build again.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigurationError(f"{path} is not of format {FORMAT}, which this version of the package reads.")
    return content
