# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Atomic file writing, checksums, file locks and ordered calls in threads."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

from monai_cxrssl.errors import ConfigurationError

__all__ = [
    *("FILES_IN_FLIGHT", "OrderedCalls", "ask_all", "atomic_write", "lock", "new_folder", "ordered_map", "replace"),
    *("sha256", "sync_folder", "write_json"),
]

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

#: Characters of a file's name that its temporary name keeps: four bytes each at most, of the 255 that a name may have.
_KEPT_NAME = 50
#: Files that are opened or looked for at once where the wait for the disk is long and the work is short. A network disk
#: that takes 20 ms then gives 1,600 files per second, more than the headers of which one core parses; a local one is
#: no slower for it.
FILES_IN_FLIGHT = 32
#: Questions of one call of a thread, which costs as much as some of them on a local disk.
_ASKED_AT_ONCE = 64


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, sync: bool = False, suffix: str = ".partial") -> Iterator[Path]:
    """Give a hidden path beside a file to write to, and put what was written in the file's place when all went well.

    A reader finds the old file or the whole new one, never a part, also after a kill. After an error nothing is left of
    the new one. Several processes may write the same file: the last one wins.

    Args:
        path: the file; its folder is made.
        sync: bring the content to the disk before the old file goes, and then the name.
        suffix: end of the path to write to, for libraries that tell a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:_KEPT_NAME]}.{os.urandom(4).hex()}{suffix}")
    try:
        yield partial
        if sync:
            handle = os.open(partial, os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        replace(partial, path, sync)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def replace(partial: Path, path: Path, sync: bool = False) -> None:
    """Put a file that is whole in the place of another, and bring its name to the disk with ``sync``."""
    os.replace(partial, path)  # noqa: PTH105 (tests kill a process at this very call)
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(content: Any, path: str | os.PathLike, indent: int | None = 2) -> None:
    """Write a JSON file in one step.

    Args:
        content: plain values; a number that does not exist is None, as NaN is no JSON.
        path: the file; its folder is made.
        indent: spaces of each level, for people. None for a single line of ASCII, for programs: it is brought to the
            disk, and a file that holds the same already is left alone.

    Raises:
        TypeError, ValueError: a value that JSON does not know; NaN or an infinite number.
    """
    if indent is None:
        data = json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with contextlib.suppress(FileNotFoundError):
            if Path(path).read_bytes() == data:
                return
    else:
        text = json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
        # An undecodable byte of a file name is no UTF-8; its backslash form is an escape that JSON reads back.
        data = text.encode(errors="backslashreplace")
    with atomic_write(path, sync=indent is None) as partial:
        partial.write_bytes(data)


def new_folder(parent: str | os.PathLike, name: str = "") -> Path:
    """Make a folder that is called by the time, ``20260131_154500`` or ``20260131_154500_<name>``, and return it.

    A second one of the same second and name has a number behind.
    """
    stem = time.strftime("%Y%m%d_%H%M%S") + (f"_{name}" if name else "")
    number = 1
    while True:
        folder = Path(parent) / (stem if number == 1 else f"{stem}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


#: The descriptors of the locks of this process.
_locked: dict[object, int] = {}


def _let_go() -> None:
    """Close locks in a forked child, which would keep them while it outlives its killed parent."""
    for handle in _locked.values():
        with contextlib.suppress(OSError):
            os.close(handle)
    _locked.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def lock(
    path: Path, busy: str, seconds: float | None = 0.0, without: Callable[[OSError], None] | None = None
) -> Iterator[int]:
    """Keep other processes out until the context, which gives the open descriptor, or this process ends, however it
    does.

    Forked children do not hold the lock on. A child process that inherits a duplicate of the descriptor does.

    Args:
        path: a folder, which then needs no file in it; or a file, which is made and stays.
        busy: what to say while another process holds the lock: as an error, or in the log where the wait is endless.
        seconds: how long to wait for it; None for as long as it takes.
        without: called with the system's words where the disk has no locks; the context is entered all the same.

    Raises:
        ConfigurationError: another process holds the lock, or has renamed the file meanwhile.
        OSError: the file cannot be opened.
    """
    from filelock import lock_descriptor  # takes 80 ms to import, and most commands lock nothing

    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    mark = object()  # a forked child may get the same number for a lock of its own
    _locked[mark] = handle
    try:
        try:
            free = lock_descriptor(handle, blocking=False)
            if not free and seconds is None:
                logger.info("%s", busy)
                free = lock_descriptor(handle)
            until = time.monotonic() + (seconds or 0.0)
            while not free and time.monotonic() < until:
                time.sleep(0.2)
                free = lock_descriptor(handle, blocking=False)
        except OSError as error:
            free = True
            if without is not None:
                without(error)
        if not free or not _is_at(handle, path):
            raise ConfigurationError(busy)
        yield handle
    finally:
        if _locked.pop(mark, None) is not None:  # not in a forked child
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


class OrderedCalls(Generic[R]):
    """Calls in threads, named by ``name``, whose results are taken in the order in which they were begun."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._calls: deque[Future[R]] = deque()

    def begin(self, function: Callable[..., R], *arguments: Any) -> None:
        """Let a thread make a call as soon as one is free."""
        self._calls.append(self._pool.submit(function, *arguments))

    def take(self, waiting: int = 0) -> Iterator[R]:
        """Yield the results of the first calls, for which it waits, until no more than ``waiting`` are left; the error
        of a call is raised in its turn."""
        while len(self._calls) > waiting:
            yield self._calls.popleft().result()

    def close(self) -> None:
        """Cancel the calls that have not begun, and wait for the others."""
        self._pool.shutdown(cancel_futures=True)
        self._calls.clear()


def ordered_map(
    function: Callable[[T], R],
    items: Iterable[T],
    threads: int = FILES_IN_FLIGHT,
    name: str = "map",
    ahead: int | None = None,
) -> Iterator[R]:
    """Apply a function in threads and yield the results in order.

    Give :func:`monai_cxrssl.cores.usable_cores` threads to what decodes; the default is for what waits for a disk.

    At most ``ahead`` calls, by default ``4 * threads``, are under way or wait to be taken, so that one slow call does
    not fill the memory with the results behind it; items are taken only as far ahead. An error of a call is raised in
    its turn. It, and leaving the iterator, cancel the calls that have not begun. The threads are named by ``name``.
    """
    calls: OrderedCalls[R] = OrderedCalls(threads, name)
    try:
        for item in items:
            calls.begin(function, item)
            yield from calls.take((ahead or 4 * threads) - 1)
        yield from calls.take()
    finally:
        calls.close()


def ask_all(function: Callable[[T], R], items: Sequence[T], name: str = "ask") -> list[R]:
    """Ask the file system about each item (its size, whether it exists), many at once; return the answers in order."""
    size = max(1, min(_ASKED_AT_ONCE, len(items) // (4 * FILES_IN_FLIGHT)))
    batches = (items[start : start + size] for start in range(0, len(items), size))
    answers = ordered_map(lambda batch: [function(item) for item in batch], batches, name=name)
    return [answer for batch in answers for answer in batch]
