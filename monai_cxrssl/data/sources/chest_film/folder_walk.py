# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Walk over a folder tree with many listings in flight."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from monai_cxrssl.files import FILES_IN_FLIGHT

__all__ = ["FolderWalk", "Listing"]

#: Listings that wait for the walk at most.
_MOST_AHEAD = 64 * FILES_IN_FLIGHT


class Listing(NamedTuple):
    """What is in a folder: sorted names, and whether each is one of a folder or a link to one.

    ``identity`` tells a real folder, whatever its path; ``error`` is the system's where it cannot be listed.
    """

    identity: tuple[int, int] | None
    names: dict[str, bool]
    error: OSError | None = None


class FolderWalk:
    """Yields the path and listing of each real folder once, parents first, folders in the order that they are entered.

    A network disk takes its time for each listing, and an archive may have a folder for every image: folders that the
    walk will likely come to are listed ahead of it, below those that are listed as well.

    Args:
        top: the folder to begin at.
        likely: whether the walk may enter a folder of this name.
        visited: identities of folders that are passed over; grows.
    """

    def __init__(self, top: str, likely: Callable[[str], bool], visited: set[tuple[int, int]] | None = None) -> None:
        self._pending = [top]
        self._likely = likely
        self._visited = set() if visited is None else visited
        self._ahead: dict[str, Future[Listing]] = {}

    def __iter__(self) -> Iterator[tuple[str, Listing]]:
        pool = ThreadPoolExecutor(FILES_IN_FLIGHT, thread_name_prefix="listings")
        try:
            while self._pending:
                here = self._pending.pop()
                if here not in self._ahead:
                    self._list_ahead(pool, here)
                listing = self._ahead.pop(here).result()
                if listing.identity in self._visited:
                    continue
                if listing.identity is not None:
                    self._visited.add(listing.identity)
                yield here, listing
        finally:
            pool.shutdown(cancel_futures=True)

    def enter(self, folders: Iterable[str]) -> None:
        """Go into these folders next, in this order: sub-folders of the one that was yielded last."""
        self._pending.extend(reversed(list(folders)))

    def _list_ahead(self, pool: ThreadPoolExecutor, here: str) -> None:
        """List a folder, and those that come after it as far as they are known."""
        self._ahead[here] = pool.submit(_list, here)
        rest = 4 * FILES_IN_FLIGHT
        following = self._pending[-rest:]
        while following and rest and len(self._ahead) < _MOST_AHEAD:
            folder = following.pop()
            listed = self._ahead.get(folder)
            if listed is None:
                self._ahead[folder] = pool.submit(_list, folder)
            if listed is None or not listed.done():
                rest -= 1
            elif (listing := listed.result()).identity not in self._visited:
                inner = (name for name, is_folder in listing.names.items() if is_folder and self._likely(name))
                following.extend(reversed([f"{folder}{os.sep}{name}" for name in inner]))


def _list(folder: str) -> Listing:
    try:
        status = os.stat(folder)  # noqa: PTH116 (follows links: a loop leads to a folder seen before)
        with os.scandir(folder) as entries:
            names = dict(sorted((entry.name, _is_folder(entry)) for entry in entries))
    except OSError as error:
        return Listing(None, {}, error)
    return Listing((status.st_dev, status.st_ino), names)


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder or a link to one: the listing says so but of links, without a look at each file."""
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False
