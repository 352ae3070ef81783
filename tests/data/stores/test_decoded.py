# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images decoded once: what is kept, what is dropped and said, and what happens when memory is short."""

from __future__ import annotations

import logging
import threading
import time

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monai_cxrssl.data.sampling.pretext import ImageDataset
from monai_cxrssl.data.stores.decoded import DecodedImages
from monai_cxrssl.data.stores.memory import available_memory
from monai_cxrssl.data.stores.small_film import shrink
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError

SHAPES = [(100, 80), (64, 64), (40, 300), (500, 400), (33, 32)]


def picture(number, shape, dtype=np.uint8):
    return np.random.default_rng(number).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def good_items(count=5):
    return [{"image": f"{number}", "patient_id": f"p{number}"} for number in range(count)]


def read_picture(path):
    number = int(path)
    return picture(number, SHAPES[number % len(SHAPES)])


def read_some(path):
    """Fails on every kind of bad file, by the item's name."""
    if path == "truncated":
        raise CXRReadError(path, "is truncated", "Copy it again.")
    if path == "odd":
        raise AttributeError("no such tag")
    if path == "small":
        return picture(0, (31, 200))
    if path == "flat":
        return np.full((50, 50), 7, np.uint8)
    return read_picture(path)


BAD = {
    "truncated": "is truncated",
    "odd": "could not be decoded (AttributeError: no such tag)",
    "small": "is 200 x 31 pixels, below the minimum side of 32",
    "flat": "holds one value only (7 everywhere)",
}


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [
        ((100, 80), 40, (50, 40)),
        ((80, 101), 40, (40, 50)),
        ((100, 80), 80, (100, 80)),
        ((100, 80), 200, (100, 80)),
        ((100, 1000), 50, (10, 100)),  # never longer than 2 x side
        ((60, 1000), 500, (60, 1000)),
        ((3000, 10), 20, (40, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shrink_shapes(shape, side, expected, dtype):
    assert shrink(picture(0, shape, dtype), side).shape == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shrink_is_the_area_mean(dtype):
    image = picture(1, (120, 90), dtype)
    blocks = image.astype(np.float64).reshape(40, 3, 30, 3).mean((1, 3))
    assert np.abs(shrink(image, 30) - blocks).max() <= 0.51


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("memory_limit_gb", [None, 0.0])
def test_images(bits, memory_limit_gb):
    dtype = np.uint8 if bits == 8 else np.uint16

    def reader(path):
        return picture(int(path), SHAPES[int(path)], dtype)

    images = DecodedImages(good_items(), side=48, bits=bits, reader=reader, memory_limit_gb=memory_limit_gb)
    assert len(images) == 5
    assert images.in_memory == (memory_limit_gb is None)
    expected = [shrink(picture(number, shape, dtype), 48) for number, shape in enumerate(SHAPES)]
    assert images.nbytes == (sum(e.nbytes for e in expected) if images.in_memory else 0)
    for number, reference in enumerate(expected):
        found = images.image(number)
        assert found.dtype == dtype
        assert not found.flags.writeable
        np.testing.assert_array_equal(found, reference)
    for wrong in (-1, 5):
        with pytest.raises(IndexError, match=f"no image {wrong}; there are 5"):
            images.image(wrong)


@pytest.mark.parametrize("memory_limit_gb", [None, 0.0])
def test_unreadable_files_are_named_and_dropped(memory_limit_gb, caplog):
    items = good_items(6)
    for position, name in zip((0, 2, 3, 7), BAD, strict=True):
        items.insert(position, {"image": name, "patient_id": "bad"})
    with caplog.at_level(logging.INFO):
        images = DecodedImages(
            items, side=48, reader=read_some, memory_limit_gb=memory_limit_gb, max_unreadable=0.5, num_threads=3
        )
    assert images.unreadable == [{"image": name, "cause": cause} for name, cause in BAD.items()]
    assert [item["image"] for item in images.items] == ["0", "1", "2", "3", "4", "5"]
    assert [items[index]["image"] for index in images.kept] == ["0", "1", "2", "3", "4", "5"]
    np.testing.assert_array_equal(images.image(5), shrink(read_picture("5"), 48))
    for name, cause in BAD.items():
        assert f"unreadable: {name}: {cause}" in caplog.text


def test_without_a_check_the_access_fails(caplog):
    items = [{"image": "truncated", "patient_id": "a"}, *good_items(2)]
    images = DecodedImages(items, side=48, reader=read_some, memory_limit_gb=0, check=False)
    assert "they are not kept in memory but decoded at each access" in caplog.text
    assert len(images) == 3
    assert images.image(1).shape == (60, 48)
    with pytest.raises(CXRReadError, match="truncated: is truncated"):
        images.image(0)


@pytest.mark.parametrize("memory_limit_gb", [None, 0.0])
def test_too_many_unreadable(memory_limit_gb):
    bad = [{"image": name, "patient_id": name} for name in BAD]
    options = {"side": 48, "reader": read_some, "memory_limit_gb": memory_limit_gb}
    with pytest.raises(DatalistError, match=r"All 4 images are unreadable; the first: truncated: is truncated; odd"):
        DecodedImages(bad, **options)
    with pytest.raises(DatalistError, match=r"4 of 7 images are unreadable, more than the 5% that a run may leave"):
        DecodedImages(bad + good_items(3), **options)
    assert len(DecodedImages(bad + good_items(3), max_unreadable=1.0, **options)) == 3
    assert len(DecodedImages(bad + good_items(4), max_unreadable=0.5, **options)) == 4
    assert len(DecodedImages(bad[:3] + good_items(3), **options)) == 3
    with pytest.raises(DatalistError, match=r"1 of 4 images are unreadable, more than the 0% that a run may leave"):
        DecodedImages(bad[:1] + good_items(3), max_unreadable=0.0, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bits": 12}, ConfigurationError, "8 or 16 bits"),
        ({"side": 0}, ConfigurationError, "side is 0"),
        ({"max_unreadable": 2}, ConfigurationError, "max_unreadable 2"),
        ({"items": []}, DatalistError, "no images to decode"),
        ({"reader": None, "window": "brain"}, ConfigurationError, "window"),
        ({"bits": 16}, TypeError, "reader gave uint8 .* expected a .H, W. array of uint16"),
    ],
)
def test_faults(options, error, message):
    with pytest.raises(error, match=message):
        DecodedImages(**({"items": good_items(), "reader": read_picture} | options))


def test_many_files_in_order_with_few_waiting():
    """Threads overlap, results stay in order, and no more than a few results wait for a slow file."""
    started: list[int] = []
    waiting: list[int] = []
    lock = threading.Lock()

    def reader(path):
        with lock:
            started.append(int(path))
        if path == "0":
            time.sleep(0.3)
            with lock:
                waiting.append(len(started))
        return picture(int(path), (40, 40))

    images = DecodedImages(good_items(60), side=40, reader=reader, num_threads=2, minimum_side=1, progress=False)
    assert sorted(started) == list(range(60))
    assert waiting[0] <= 8
    for number in range(60):
        np.testing.assert_array_equal(images.image(number), picture(number, (40, 40)))


def test_warnings_of_the_reader_are_kept():
    def reader(path):
        return read_picture(path), {"warnings": ["has no window", "is odd"] if path == "1" else []}

    images = DecodedImages(good_items(2), side=48, reader=reader)
    assert images.warnings == [{"image": "1", "warning": "has no window"}, {"image": "1", "warning": "is odd"}]


def test_progress_bar(capsys):
    DecodedImages(good_items(), side=48, reader=read_picture)
    assert "decoding: 100%" in capsys.readouterr().err
    DecodedImages(good_items(), side=48, reader=read_picture, progress=False)
    assert "decoding" not in capsys.readouterr().err


def test_opencv_has_no_threads_to_fork():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        DecodedImages(good_items(), side=48, reader=read_picture, progress=False)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_share_the_pixels(context, tmp_path):
    # Only classes of the package and of torch: a spawned worker cannot import a test module.
    items = good_items()
    for item in items:
        file = tmp_path / f"{item['image']}.png"
        cv2.imwrite(str(file), read_picture(item["image"]))
        item["image"] = str(file)
    images = DecodedImages(items, side=48, progress=False)
    dataset = ImageDataset(images, torch.tensor)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context=context)
    for number, found in enumerate(loader):
        np.testing.assert_array_equal(found["image"][0].numpy(), images.image(number))
    if context == "spawn":
        assert images._store is not None
        assert images._store.is_shared()


def test_available_memory(tmp_path):
    assert (available_memory() or 0) > 2**26
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:  9 kB\nMemAvailable:       2 kB\nHugePages_Total:       0\n")
    assert available_memory(table) == 2048
    assert available_memory(tmp_path / "none") != 0


def test_real_files_with_the_package_reader(tmp_path):
    image = picture(3, (90, 70))
    cv2.imwrite(str(tmp_path / "good.png"), image)
    cv2.imwrite(str(tmp_path / "bright.png"), np.maximum(image, 1))
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:3000])
    (tmp_path / "text.dcm").write_text("a text file")
    names = ("good.png", "cut.png", "text.dcm", "bright.png", "missing.png")
    items = [{"image": str(tmp_path / name), "patient_id": name} for name in names]
    images = DecodedImages(items, side=64, max_unreadable=1)
    assert [item["patient_id"] for item in images.items] == ["good.png", "bright.png"]
    assert [entry["image"] for entry in images.unreadable] == [str(tmp_path / names[n]) for n in (1, 2, 4)]
    np.testing.assert_array_equal(images.image(0), shrink(image, 64))
