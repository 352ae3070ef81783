# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The cache on disk: the same pixels as decoding, the same bytes however the build went, and damage is told."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monai_cxrssl.data import CachedImages, DecodedImages, PairDataset, build_cache, join_cache, verify_cache
from monai_cxrssl.data.reading.read import read_cxr_uint
from monai_cxrssl.data.stores.cache import build as cache_build
from monai_cxrssl.data.stores.cache.blocks import map_pixels
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError

BLOCK = 4
SIDE = 24
SHAPES = [(90, 70), (64, 64), (70, 100), (50, 40), (33, 36)]


def write_image(path, number, dtype=np.uint16):
    pixels = np.random.default_rng(number).integers(0, np.iinfo(dtype).max, SHAPES[number % 5], dtype=dtype)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def items(tmp_path):
    """Fourteen items: twelve images, one of them twice, of which one is a text and one has a single value."""
    folder = tmp_path / "films"
    folder.mkdir()
    found = []
    for number in range(12):
        path = folder / f"{number}.png"
        write_image(path, number)
        found.append({"image": str(path), "patient_id": f"p{number // 2}", "label": number % 2})
    Path(found[5]["image"]).write_text("<html>please log in</html>")
    cv2.imwrite(found[9]["image"], np.full((60, 60), 7, np.uint8))
    for number in range(12):
        os.utime(found[number]["image"], ns=(10**18, 10**18 + number))
    return [*found, {**found[3], "label": float("nan")}, dict(found[0])]


def build(items, folder, **options):
    options = {"side": SIDE, "progress": False, "block_images": BLOCK, "workers": 2, **options}
    return build_cache(items, folder, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_are_those_of_decoding(items, tmp_path, bits):
    report = build(items, tmp_path / "cache", bits=bits)
    cached = CachedImages(tmp_path / "cache", items, side=SIDE, bits=bits, window="first")
    decoded = DecodedImages(items, side=SIDE, bits=bits, progress=False)
    assert cached.kept == decoded.kept
    assert len(cached) == len(decoded) == 12
    assert cached.unreadable == decoded.unreadable == report.unreadable
    assert cached.nbytes == decoded.nbytes
    assert cached.in_memory
    for index, item in enumerate(cached.items):
        pixels = cached.image(index)
        assert pixels.dtype == decoded.dtype
        assert not pixels.flags.writeable
        np.testing.assert_array_equal(pixels, decoded.image(index))
        np.testing.assert_array_equal(pixels, read_cxr_uint(item["image"], bits, side=SIDE))
    assert (report.images, report.decoded, report.complete) == (12, 12, True)


def test_stored_items_and_a_choice_of_them(items, tmp_path):
    build(items, tmp_path / "cache")
    assert [item["image"] for item in CachedImages(tmp_path / "cache").items] == [
        item["image"] for number, item in enumerate(items) if number not in (5, 9)
    ]
    assert CachedImages(tmp_path / "cache").items[-2]["label"] is None
    chosen = CachedImages(tmp_path / "cache", [items[7], items[5], items[1]])
    assert chosen.kept == [0, 2]
    assert chosen.unreadable[0]["image"] == items[5]["image"]
    np.testing.assert_array_equal(chosen.image(1), CachedImages(tmp_path / "cache").image(1))


class Corner:
    """Two views: the upper left corner, the second one upside down."""

    def __call__(self, image, key=None, views=(0, 1)):
        both = np.stack([image[:, :16, :16], image[:, 15::-1, :16]])
        return torch.from_numpy(both[list(views)].copy())


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_the_same(items, tmp_path, start):
    build(items, tmp_path / "cache")
    images = CachedImages(tmp_path / "cache")
    images.image(0)  # opened here: neither a fork nor a pickle may be hurt by it
    if start == "spawn":
        images = pickle.loads(pickle.dumps(images))
        assert not images._maps
        np.testing.assert_array_equal(images.image(3), CachedImages(tmp_path / "cache").image(3))
        return
    loader = DataLoader(PairDataset(images, Corner()), batch_size=5, num_workers=2, multiprocessing_context="fork")
    loaded = torch.cat([batch["image"] for batch in loader])
    for index in range(len(images)):
        np.testing.assert_array_equal(loaded[index, 0, 0], images.image(index)[:16, :16])


@pytest.fixture
def items_file(items, tmp_path):
    path = tmp_path / "items.json"
    path.write_text(json.dumps([{key: item[key] for key in ("image", "patient_id")} for item in items]))
    return path


@pytest.mark.slow
def test_killed_anywhere_and_run_again_gives_the_same_bytes(items_file, tmp_path):
    build(json.loads(items_file.read_text()), tmp_path / "whole")
    (tmp_path / "scratch").mkdir()
    program = Path(__file__).with_name("kill_cache_builds.py")
    arguments = [items_file, tmp_path / "whole", tmp_path / "scratch", SIDE, BLOCK]
    done = subprocess.run(
        [sys.executable, program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 40  # points at which it was killed


def test_killed_from_outside(items_file, tmp_path):
    items = json.loads(items_file.read_text())
    build(items, tmp_path / "whole", workers=1)
    code = (
        "import json, sys, time\n"
        "from monai_cxrssl.data import build_cache\nfrom monai_cxrssl.data.stores.cache import build as cache_build\n"
        "decode = cache_build._decode\n"
        "cache_build._decode = lambda image, options: (time.sleep(0.1), decode(image, options))[1]\n"
        f"build_cache(json.load(open(sys.argv[1])), sys.argv[2], {SIDE}, workers=1, block_images={BLOCK})\n"
    )
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, str(items_file), str(folder)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "block-00001.journal").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.15)
    process.kill()
    process.wait()
    assert not (folder / "cache.json").exists()
    assert build(items, folder).decoded < 12
    assert contents(folder) == contents(tmp_path / "whole")


def test_only_a_changed_source_is_decoded_again(items, tmp_path):
    folder = tmp_path / "cache"
    build(items, folder)
    before, unchanged = contents(folder), build(items, folder)
    assert unchanged.decoded == 2  # the two unreadable ones are tried each time
    assert contents(folder) == before
    write_image(items[2]["image"], 100)
    changed = build(items, folder)
    assert changed.decoded == 1 + 2
    after = contents(folder)
    assert {name for name in after if after[name] != before[name]} == {"block-00000.cxr", "cache.json"}
    build(items, tmp_path / "fresh")
    assert after == contents(tmp_path / "fresh")
    assert verify_cache(folder, progress=False).changed == []
    os.utime(items[2]["image"], ns=(5, 5))
    assert verify_cache(folder, progress=False).changed == [items[2]["image"]]


def test_what_was_unreadable_is_tried_again(items, tmp_path, monkeypatch):
    from monai_cxrssl.data.stores.cache import build as cache_build

    decode = cache_build._decode

    def without_decoder(image, options):
        if image[0] == items[2]["image"]:
            return cache_build.Entry(*image, cause="needs a decoder"), None
        return decode(image, options)

    monkeypatch.setattr(cache_build, "_decode", without_decoder)
    assert len(build(items, tmp_path / "cache").unreadable) == 3
    monkeypatch.undo()
    assert len(build(items, tmp_path / "cache").unreadable) == 2
    build(items, tmp_path / "fresh")
    assert contents(tmp_path / "cache") == contents(tmp_path / "fresh")


def test_images_can_be_added_at_the_end(items, tmp_path):
    build(items[:6], tmp_path / "cache")
    report = build(items, tmp_path / "cache")
    assert report.decoded == 6 + 1  # the added ones, and the text
    build(items, tmp_path / "fresh")
    assert contents(tmp_path / "cache") == contents(tmp_path / "fresh")
    with pytest.raises(ConfigurationError, match="is of another list: 6 of its 12 images"):
        build(items[:6], tmp_path / "cache")


def test_shards_joined_are_a_single_build(items, tmp_path):
    build(items, tmp_path / "whole")
    folder = tmp_path / "parts"
    for part in (3, 1):
        assert not build(items, folder, shard=(part, 3)).complete
        with pytest.raises(ConfigurationError, match="is not complete"):
            CachedImages(folder)
    with pytest.raises(ConfigurationError, match=r"1 of the 3 blocks .* are missing \(number 2\)"):
        join_cache(folder, progress=False)
    build(items, folder, shard=(2, 3))
    assert join_cache(folder, progress=False).complete
    assert contents(folder) == contents(tmp_path / "whole")


def change_byte(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("position", [0, 700, -1, -20, -100])
def test_a_damaged_byte_is_found_and_mended(items, tmp_path, position):
    folder = tmp_path / "cache"
    build(items, folder)
    whole = contents(folder)
    change_byte(folder / "block-00001.cxr", position)
    if position >= 0:
        assert len(verify_cache(folder, progress=False).damaged) == 1
        with pytest.raises(ConfigurationError, match="1 images of the cache .* do not match their checksums"):
            join_cache(folder, progress=False)
    else:
        for look in (CachedImages, verify_cache):
            with pytest.raises(ConfigurationError, match="damaged"):
                look(folder)
    (folder / "block-00001.cxr").unlink()
    with pytest.raises(ConfigurationError, match=r"block-00001.cxr cannot be opened"):
        CachedImages(folder)
    assert build(items, folder).decoded == BLOCK + 1
    assert contents(folder) == whole


def test_a_cut_block_is_built_anew(items, tmp_path):
    folder = tmp_path / "cache"
    build(items, folder)
    whole = contents(folder)
    os.truncate(folder / "block-00000.cxr", 1000)
    with pytest.raises(ConfigurationError, match="has 1000 bytes, not the"):
        CachedImages(folder)
    build(items, folder)
    assert contents(folder) == whole


def read_all(images):
    """Pixels of all images, None where reading is refused, and what was said."""
    pixels, told = [], []
    for index in range(len(images)):
        try:
            pixels.append(images.image(index).copy())
        except CXRReadError as error:
            pixels.append(None)
            told.append(error)
    return pixels, told


@pytest.mark.parametrize("bits", [8, 16])
def test_a_changed_byte_costs_its_image_only(items, tmp_path, bits):
    build(items, tmp_path / "cache", bits=bits)
    block = tmp_path / "cache" / "block-00001.cxr"
    expected, _ = read_all(CachedImages(tmp_path / "cache"))
    images = CachedImages(tmp_path / "cache")
    images.image(0)
    change_byte(block, 100)
    for opened in (images, pickle.loads(pickle.dumps(images))):
        for _ in range(2):  # it is refused again, not only the first time
            found, told = read_all(opened)
            assert {error.path for error in told} == {items[4]["image"]}
            assert all("block-00001.cxr has changed, its checksum does not match" in str(error) for error in told)
            for index, item in enumerate(images.items):
                if item["image"] == items[4]["image"]:
                    assert found[index] is None
                else:
                    np.testing.assert_array_equal(found[index], expected[index])
    change_byte(block, 100)
    assert not read_all(images)[1]


def test_pixels_are_compared_once_in_a_process(items, tmp_path, monkeypatch):
    build(items, tmp_path / "cache")
    images = CachedImages(tmp_path / "cache")
    compared = []
    monkeypatch.setattr(
        "monai_cxrssl.data.stores.cache.cached_images.zlib",
        SimpleNamespace(crc32=lambda data: compared.append(1) or zlib.crc32(data)),
    )
    for _ in range(3):
        read_all(images)
    assert len(compared) == len(images)
    read_all(pickle.loads(pickle.dumps(images)))  # as a spawned worker gets it
    assert len(compared) == 2 * len(images)


def test_a_block_cut_while_it_is_mapped(items, tmp_path):
    """Touching the missing pages would end the process, so it is one of its own that reads."""
    big = []
    for number in range(3):
        path = tmp_path / f"big{number}.png"
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (300, 300), dtype=np.uint8))
        big.append({"image": str(path), "patient_id": str(number)})
    build(big, tmp_path / "cache", side=300)
    code = """
import os, sys
from monai_cxrssl.data import CachedImages
from monai_cxrssl.errors import CXRReadError
images = CachedImages(sys.argv[1])
assert all(images.image(index).any() for index in range(3))
os.truncate(sys.argv[1] + "/block-00000.cxr", 91000)
for index in range(3):
    try:
        images.image(index)
    except CXRReadError as error:
        print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [item["image"] for item in big[1:]]
    assert result.stdout.count("block-00000.cxr was cut off.") == 2


@pytest.mark.parametrize("size", [0, 1000])
def test_a_block_cut_between_the_check_and_the_map_is_refused(items, tmp_path, monkeypatch, size):
    build(items, tmp_path / "cache")
    images = CachedImages(tmp_path / "cache")

    def cut_then_map(path):
        os.truncate(path, size)
        return map_pixels(path)

    monkeypatch.setattr("monai_cxrssl.data.stores.cache.cached_images.map_pixels", cut_then_map)
    with pytest.raises(ConfigurationError, match=r"block-00000.cxr (has 1000 bytes, not|cannot be opened)"):
        images.image(0)


def test_a_block_exchanged_under_an_open_cache_is_told(items, tmp_path):
    build(items, tmp_path / "cache")
    images = CachedImages(tmp_path / "cache")
    first = images.image(0).copy()
    write_image(items[0]["image"], 100)
    write_image(items[10]["image"], 101)
    build(items, tmp_path / "cache")
    np.testing.assert_array_equal(images.image(0), first)  # open already: the old file lives on
    with pytest.raises(ConfigurationError, match="a build has changed it"):
        images.image(8)


def test_an_open_cache_follows_a_build_that_adds_images(items, tmp_path):
    """Training opened first, validation added to the same cache: the last block was written anew with more in it."""
    some = items[: BLOCK + 1]
    build(some, tmp_path / "cache")
    images = CachedImages(tmp_path / "cache", some)
    first = images.image(0).copy()  # its block is open before the other build
    expected = CachedImages(tmp_path / "cache", some).image(len(images) - 1).copy()
    build(items, tmp_path / "cache")
    np.testing.assert_array_equal(images.image(len(images) - 1), expected)
    np.testing.assert_array_equal(images.image(0), first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"side": 25}, "was made with side 24, not 25"),
        ({"bits": 16}, "was made with bits 8, not 16"),
        ({"window": [40, 400]}, r"was made with window 'first', not \[40, 400\]"),
    ],
)
def test_other_options_are_another_cache(items, tmp_path, options, words):
    build(items, tmp_path / "cache")
    before = contents(tmp_path / "cache")
    with pytest.raises(ConfigurationError, match=words):
        build(items, tmp_path / "cache", **options)
    with pytest.raises(ConfigurationError, match=words):
        CachedImages(tmp_path / "cache", **options)
    assert contents(tmp_path / "cache") == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 12}, "bits is 12"),
        ({"side": 0}, "side is 0"),
        ({"shard": (4, 3)}, "shard 4/3"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_impossible_arguments(items, tmp_path, options, words):
    with pytest.raises(ConfigurationError, match=words):
        build(items, tmp_path / "cache", **options)
    assert not (tmp_path / "cache").exists()


def test_missing_and_vanished_sources(items, tmp_path):
    Path(items[1]["image"]).unlink()
    report = build(items, tmp_path / "cache")
    assert items[1]["image"] in [bad["image"] for bad in report.unreadable]
    before = contents(tmp_path / "cache")
    Path(items[2]["image"]).unlink()
    with pytest.raises(DatalistError, match=r"files of 1 images .* have vanished, the first .*2\.png"):
        build(items, tmp_path / "cache")
    assert contents(tmp_path / "cache") == before
    with pytest.raises(DatalistError, match="None of the 2 images could be read"):
        build([items[5], items[9]], tmp_path / "bad")
    with pytest.raises(DatalistError, match="1 of 1 images are not in the cache"):
        CachedImages(tmp_path / "cache", [{"image": "/elsewhere.png", "patient_id": "p"}])
    with pytest.raises(DatalistError, match="All 2 images are unreadable"):
        CachedImages(tmp_path / "cache", [items[5], items[9]])
    with pytest.raises(DatalistError, match="is relative"):
        build([{"image": "a.png", "patient_id": "p"}], tmp_path / "relative")


def test_no_cache(tmp_path):
    for look in (CachedImages, verify_cache, join_cache):
        with pytest.raises(ConfigurationError, match="is no cache"):
            look(tmp_path / "none")


def test_full_disk_then_again(items, tmp_path, monkeypatch):
    build(items, tmp_path / "whole")
    write, calls = os.write, []

    def full(handle, data):
        calls.append(handle)
        if len(calls) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ConfigurationError, match="disk of .* is full"):
            build(items, tmp_path / "cache")
    assert build(items, tmp_path / "cache").decoded < 12
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_two_builders_of_one_block(items, tmp_path):
    from monai_cxrssl.data.stores.cache.blocks import BlockWriter, block_path

    (tmp_path / "cache").mkdir()
    with (
        BlockWriter(block_path(tmp_path / "cache", 0), 1, []),
        pytest.raises(ConfigurationError, match="Another process is building"),
    ):
        build(items, tmp_path / "cache")


@pytest.mark.parametrize("name", ["8.jpg", "8.png", "16.png", "16.dcm"])
def test_decoding_leaves_the_interpreter_to_other_threads(tmp_path, dicom, name):
    """So that a build with two threads is nearly twice as fast (benchmarks/archives.py measures it)."""
    from monai_cxrssl.data.stores.cache.manifest import CacheOptions

    bits, kind = name.split(".")
    film = np.random.default_rng(0).integers(0, 2 ** int(bits), (3000, 3000)).astype(np.uint16)
    if kind == "dcm":
        dicom.save(dicom.make_dicom(film), tmp_path / name)
    else:
        assert cv2.imwrite(str(tmp_path / name), film if bits == "16" else film.astype(np.uint8))
    ran, ended = 0, threading.Event()

    def run():
        nonlocal ran
        while not ended.wait(0.001):
            ran += 1

    other = threading.Thread(target=run)
    cache_build._decode((str(tmp_path / name), None), CacheOptions())  # what is imported is imported once
    other.start()
    for _ in range(3):
        entry, _ = cache_build._decode((str(tmp_path / name), None), CacheOptions())
    ended.set()
    other.join()
    assert not entry.cause
    assert ran >= 10


def test_sources_are_looked_for_side_by_side(items, tmp_path, monkeypatch):
    whole = build(items, tmp_path / "cache").images
    barrier, real = threading.Barrier(BLOCK, timeout=30), cache_build.with_source

    def together(image):
        barrier.wait()  # a block at a time
        return real(image)

    monkeypatch.setattr(cache_build, "with_source", together)
    assert build(items, tmp_path / "cache", workers=1).images == whole
