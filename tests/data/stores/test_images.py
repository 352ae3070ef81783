# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images from memory and from a cache are the same, and a cache is built once, whoever asks."""

from __future__ import annotations

import errno
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_cxrssl.data import CachedImages, DecodedImages, ImageStore, build_cache, open_images
from monai_cxrssl.data.stores.cache import build as cache_build
from monai_cxrssl.errors import ConfigurationError, DatalistError

SIDE = 40


def write(path, seed):
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (70 + seed, 60), dtype=np.uint8))


@pytest.fixture
def items(tmp_path):
    """Eight items, of which number 3 is no image."""
    found = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        write(path, number)
        found.append({"image": str(path), "patient_id": f"p{number // 2}", "label": number % 2})
    Path(found[3]["image"]).write_text("<html>please log in</html>")
    return found


@pytest.fixture
def decoded(monkeypatch):
    """Paths that a cache build decodes, in order."""
    paths, decode = [], cache_build._decode

    def count(image, options):
        paths.append(image[0])
        return decode(image, options)

    monkeypatch.setattr(cache_build, "_decode", count)
    return paths


def view_of(images: ImageStore):
    return [images.image(index) for index in range(len(images))]


def open_cache(items, folder, side=SIDE, **options):
    return open_images(items, side, folder, progress=False, **options)


def test_memory_and_cache_are_the_same(items, tmp_path, caplog):
    memory = open_images(items, SIDE, progress=False)
    with caplog.at_level(logging.INFO):
        cached = open_cache(items, tmp_path / "cache")
    assert isinstance(memory, DecodedImages)
    assert isinstance(cached, CachedImages)
    assert "decoded 8 of 8" in caplog.text
    assert "1 unreadable images are left out" in caplog.text
    for name in ("items", "kept", "unreadable", "warnings", "nbytes", "in_memory"):
        assert getattr(memory, name) == getattr(cached, name), name
    assert len(memory) == len(cached) == 7
    for one, other in zip(view_of(memory), view_of(cached), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_second_run_decodes_nothing_and_writes_nothing(items, tmp_path, decoded):
    open_cache(items, tmp_path / "cache")
    assert len(decoded) == 8
    decoded.clear()
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "cache").iterdir()}
    fresh = [{**item, "label": 7} for item in items]
    images = open_cache(fresh, tmp_path / "cache")
    assert decoded == []
    assert images.items[0]["label"] == 7, "labels come from the datalist, not from the cache"
    assert before == {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "cache").iterdir()
    }


def test_only_what_is_new_or_changed_is_decoded(items, tmp_path, decoded):
    open_cache(items[:3], tmp_path / "cache")
    write(items[1]["image"], 20)
    os.utime(items[1]["image"], ns=(5, 5))
    decoded.clear()
    images = open_cache([items[1], items[6], items[0]], tmp_path / "cache")
    assert sorted(decoded) == [items[1]["image"], items[6]["image"]]
    expected = view_of(DecodedImages([items[1], items[6], items[0]], SIDE, progress=False))
    for one, other in zip(view_of(images), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    decoded.clear()
    assert len(open_cache(items[:3], tmp_path / "cache")) == 3
    assert decoded == []


def test_files_that_are_gone_are_served(items, tmp_path, caplog):
    open_cache(items, tmp_path / "cache")
    Path(items[0]["image"]).unlink()
    assert len(open_cache(items, tmp_path / "cache")) == 7
    assert "files of 1 cached images are gone" in caplog.text


def test_a_lost_block_is_built_again(items, tmp_path):
    before = view_of(open_cache(items, tmp_path / "cache"))
    (tmp_path / "cache" / "block-00000.cxr").unlink()
    for one, other in zip(view_of(open_cache(items, tmp_path / "cache")), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_larger_side_is_used_a_smaller_one_refused(items, tmp_path, caplog, decoded):
    open_cache(items, tmp_path / "cache")
    decoded.clear()
    with caplog.at_level(logging.INFO):
        images = open_cache(items, tmp_path / "cache", side=SIDE - 8)
    assert decoded == []
    assert min(images.image(0).shape) == SIDE
    assert f"side {SIDE}, more than the {SIDE - 8}" in caplog.text
    with pytest.raises(ConfigurationError, match=f"holds images of side {SIDE}, but this run needs {SIDE + 1}"):
        open_cache(items, tmp_path / "cache", side=SIDE + 1)


def test_what_cannot_be(items, tmp_path):
    build_cache(items, tmp_path / "deep", SIDE, bits=16, progress=False)
    with pytest.raises(ConfigurationError, match="was made with bits 16, not 8"):
        open_cache(items, tmp_path / "deep")
    with pytest.raises(DatalistError, match="no images"):
        open_cache([], tmp_path / "none")
    with pytest.raises(ConfigurationError, match="empty text"):
        open_cache(items, "")
    for _ in range(2):
        with pytest.raises(DatalistError, match="1 of 8 images are unreadable, more than the 0%"):
            open_cache(items, tmp_path / "strict", max_unreadable=0.0)


def test_builders_at_once_decode_each_image_once(items, tmp_path, decoded, monkeypatch, caplog):
    """The lock belongs to an open file, so that two threads exclude each other as two processes do."""
    decode = cache_build._decode

    def slow(image, options):
        time.sleep(0.05)
        return decode(image, options)

    monkeypatch.setattr(cache_build, "_decode", slow)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: open_cache(items, tmp_path / "cache"), range(2))
    assert sorted(decoded) == sorted(item["image"] for item in items)
    assert "waiting for another process" in caplog.text
    for left, right in zip(view_of(one), view_of(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_without_locks(items, tmp_path, monkeypatch, caplog, processes):
    fcntl = pytest.importorskip("fcntl")

    def refuse(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    if processes == 1:
        assert len(open_cache(items, tmp_path / "cache")) == 7
        assert "no file locks" in caplog.text
        return
    with pytest.raises(ConfigurationError, match="has no file locks .* so 2 processes cannot agree"):
        open_cache(items, tmp_path / "cache")
