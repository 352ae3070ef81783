# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a cache: each case makes it go wrong and returns what the person sees."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from ignite.engine import Engine
from torch import nn

from monai_cxrssl.data import (
    CachedImages,
    DecodedImages,
    ImageDataset,
    PairDataset,
    PairSampler,
    build_cache,
    open_images,
    patient_bags,
    training_loader,
    verify_cache,
)
from monai_cxrssl.data.stores.cache.blocks import BlockWriter
from monai_cxrssl.handlers import InputRangeCheck, OnlineProbe
from monai_cxrssl.transforms import ResizeCXR
from tests.reliability.fault_frame import ends, films
from tests.reliability.tiny_run import two_views

__all__ = ["CACHE_FAULTS"]


def damaged_cache(folder: Path) -> str:
    items = films(folder, 8)
    open_images(items, 32, cache_dir=folder / "cache", progress=False)
    block = next(path for path in (folder / "cache").iterdir() if path.stat().st_size > 5000)
    block.write_bytes(block.read_bytes()[:-100])
    return ends(lambda: CachedImages(folder / "cache", items))


def over_cache(folder: Path, spoil: Callable[[Path], None], opened: bool = True) -> str:
    """An epoch over a cache whose one block file is spoilt after the cache was opened, or after its first image too."""
    items = films(folder)
    images = open_images(items, 32, cache_dir=folder / "cache", progress=False)
    if opened:
        images.image(0)
    spoil(folder / "cache" / "block-00000.cxr")
    data = PairDataset(images, lambda image, key, views=None: two_views(image[:, :8, :8], key, views))
    loader = training_loader(data, PairSampler(patient_bags(images.items), seed=0), 4)
    return ends(lambda: [batch["image"].shape for batch in loader])


def probed_cache(folder: Path) -> str:
    """The same with what a bundle's run also reads images for: the probe, and the look at their contrast."""
    items = films(folder)
    images = open_images(items, 32, cache_dir=folder / "cache", progress=False)
    rot(folder / "cache" / "block-00000.cxr")
    data = PairDataset(images, lambda image, key, views=None: two_views(image[:, :8, :8], key, views))
    loader = training_loader(data, PairSampler(patient_bags(images.items), seed=0), 4)
    labels, patients = [number // 2 % 2 for number in range(len(items))], [item["patient_id"] for item in items]
    labelled = ImageDataset(images, ResizeCXR(size=16))
    engine = Engine(lambda engine, batch: None)
    InputRangeCheck().attach(engine)
    OnlineProbe(nn.Flatten(), labelled, labels, patients, ["a", "b"], "cpu", amp=False).attach(engine)
    return ends(lambda: engine.run(loader, max_epochs=1))


def rot(block: Path) -> None:
    """One bit in the pixels of the fourth image."""
    with block.open("r+b") as file:
        file.seek(3 * 32 * 32 + 500)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def cut_in_place(block: Path) -> None:
    os.truncate(block, block.stat().st_size // 2)


def cache_refused(folder: Path, number: int) -> str:
    """A cache on a disk that takes 5000 bytes; the same command goes on when there is room again."""
    items, write, left = films(folder, 8), os.write, 5000

    def refusing(handle: int, data: Any) -> int:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise OSError(number, os.strerror(number))
        return write(handle, data)

    with mock.patch("os.write", refusing):
        seen = ends(lambda: build_cache(items, folder / "cache", side=32, progress=False))
    report = build_cache(items, folder / "cache", side=32, progress=False)
    return f"{seen} Then again: {8 - report.decoded} of 8 images were there, all whole: {not verify_cache(folder / 'cache', False).damaged}."


def two_builds(folder: Path) -> str:
    """A second process builds a cache while the first is at its last image."""
    items = films(folder, 8)
    code = "import sys, json; from monai_cxrssl.data import build_cache; build_cache(json.loads(sys.argv[1]), sys.argv[2], side=32, progress=False)"
    command = [sys.executable, "-c", code, json.dumps(items), str(folder / "cache")]
    said: list[str] = []

    def meanwhile(writer: BlockWriter) -> None:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        said.append(result.stderr.strip().splitlines()[-1].split("Error: ")[-1] if result.returncode else "goes on")
        finish(writer)

    finish = BlockWriter.finish
    with mock.patch.object(BlockWriter, "finish", meanwhile):
        report = build_cache(items, folder / "cache", side=32, progress=False)
    whole = report.complete and not verify_cache(folder / "cache", False).damaged
    return f"stops: {said[0]} The first: {len(CachedImages(folder / 'cache'))} images, all whole: {whole}."


def two_cache_users(folder: Path) -> str:
    """A run that needs the cache which another process is building."""
    items = films(folder, 8)
    code = """
import json, os, sys, time
from monai_cxrssl.data import open_images
from monai_cxrssl.data.stores.cache import build as cache_build
decode = cache_build._decode
def slow(image, options):
    os.write(1, b"decoding\\n")  # in one piece, of several threads
    time.sleep(0.5)
    return decode(image, options)
cache_build._decode = slow
open_images(json.loads(sys.argv[1]), 32, cache_dir=sys.argv[2], progress=False)
"""
    command = [sys.executable, "-c", code, json.dumps(items), str(folder / "cache")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    with first.stdout:
        assert first.stdout.readline() == "decoding\n"
        with mock.patch("monai_cxrssl.data.stores.cache.build._decode", side_effect=AssertionError("decoded twice")):
            images = open_images(items, 32, cache_dir=folder / "cache", progress=False)
        assert first.wait(timeout=60) == 0
    decoded = DecodedImages(items, side=32, progress=False)
    equal = all(np.array_equal(images.image(index), decoded.image(index)) for index in range(8))
    return f"goes on: after the other, with its {len(images)} images, all right: {equal}"


# What happens, what must be said (a regular expression), how it is brought about in a folder.
CACHE_FAULTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "cache block cut": (r"stops: .*has \d+ bytes, not the \d+ that were published", damaged_cache),
    "bit flipped in the cache while training": (
        r"goes on: unreadable now, replaced .*3\.png .*block-00000\.cxr has changed, its checksum does not match",
        lambda folder: over_cache(folder, rot),
    ),
    "bit flipped in the cache, met by the probe too": (
        r"goes on: The probe leaves out .*3\.png .*its checksum does not match .*unreadable now, replaced .*3\.png",
        probed_cache,
    ),
    "cache block cut before it is mapped": (
        r"stops: .*has \d+ bytes, not the \d+ that were published", lambda folder: over_cache(folder, cut_in_place, opened=False)
    ),
    "cache block cut while it is mapped": (
        r"stops: .*samples can no longer be read.*was cut off", lambda folder: over_cache(folder, cut_in_place)
    ),
    "full disk as a cache is built": (
        r"stops: The disk of .* is full.*run the same command again.*: [1-7] of 8 images were there, all whole: True",
        lambda folder: cache_refused(folder, errno.ENOSPC),
    ),
    "input/output error as a cache is built": (
        r"stops: The cache folder .* cannot be written.*all whole: True", lambda folder: cache_refused(folder, errno.EIO)
    ),
    "two builds of one cache": (
        r"stops: Another process is building .*The first: 8 images, all whole: True", two_builds
    ),
    "two runs that need one cache": (r"goes on: after the other, with its 8 images, all right: True", two_cache_users),
}  # fmt: skip
