# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The ``cache`` command: build, shards, join, verify, exit status."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import CachedImages, Datalist, load_datalist, save_datalist


@pytest.fixture
def datalist(tmp_path):
    items = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 255, (60, 50), dtype=np.uint8))
        items.append({"image": str(path), "patient_id": f"p{number}"})
    return str(save_datalist(Datalist(splits={"training": items[:3], "test": items[3:]}), tmp_path / "d.json"))


def test_build_and_verify(datalist, tmp_path, capsys):
    out = str(tmp_path / "cache")
    assert main(["cache", datalist, "--out", out, "--side", "40", "--bits", "16", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["decoded"], report["complete"]) == (5, 5, True)
    assert len(CachedImages(out, load_datalist(datalist).items("test"), side=40, bits=16)) == 2
    assert main(["cache", "--out", out, "--verify"]) == 0
    block = next((tmp_path / "cache").glob("*.cxr"))
    data = bytearray(block.read_bytes())
    data[5] ^= 1
    block.write_bytes(data)
    capsys.readouterr()
    assert main(["cache", "--out", out, "--verify"]) == 1
    assert f"damaged: {load_datalist(datalist).all_items()[0]['image']}" in capsys.readouterr().out


def test_shards(datalist, tmp_path, capsys):
    out = str(tmp_path / "cache")
    for shard in ("1/2", "2/2"):
        assert main(["cache", datalist, "--out", out, "--side", "40", "--shard", shard]) == 0
    assert "--join publishes the whole" in capsys.readouterr().out
    assert main(["cache", "--out", out, "--verify"]) == 2
    assert main(["cache", "--out", out, "--join"]) == 0
    assert len(CachedImages(out)) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give a datalist to cache"),
        (["--join", "--shard", "1/2"], "give one of them"),
        (["--join"], "is no cache"),
    ],
)
def test_wrong_use(words, message, tmp_path, capsys):
    assert main(["cache", "--out", str(tmp_path / "none"), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["3", "0/2", "3/2", "a/b"])
def test_no_shard(shard, capsys):
    with pytest.raises(SystemExit):
        main(["cache", "d.json", "--out", "o", "--shard", shard])
    assert "is no shard" in capsys.readouterr().err


def test_window_of_the_command_line(datalist, tmp_path):
    for window, kept in (("none", "none"), ("0", 0), ("40,400", [40.0, 400.0])):
        out = str(tmp_path / window)
        assert main(["cache", datalist, "--out", out, "--side", "40", "--window", window]) == 0
        assert json.loads((tmp_path / window / "items.json").read_text())["options"]["window"] == kept
