# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every format with a bit turned, and cut off, at 200 places: the image, an image of its shape, or a refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness.small_files import CHECKSUMMED, SHAPE, small_files

PLACES = 200
# One bit of a header without a checksum can make another sound image, which nothing in the file contradicts: a width with
# the same padding, the axes' directions, the rows or columns of a JPEG.
ANOTHER_SHAPE = 3


def swept(repo: Path, seed: int) -> dict[str, dict]:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs the address-space limit of Linux")
    command = [sys.executable, "-m", "tests.robustness.damage", str(PLACES), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repo)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told(repo):
    return swept(repo, 0)


def check(name: str, result: dict) -> None:
    wrong = result["wrong"]
    shapes = [sentence for sentence in wrong if "shape (" in sentence and sentence.startswith("flip")]
    assert len(shapes) <= (0 if name in CHECKSUMMED else ANOTHER_SHAPE), (name, shapes)
    assert [sentence for sentence in wrong if sentence not in shapes] == []
    assert sum(result["flip"]) == sum(result["cut"]) == PLACES
    assert result["cut"][2] >= PLACES - 5


@pytest.mark.parametrize("name", small_files())
def test_damaged_files(told, name):
    check(name, told[name])
    if name in CHECKSUMMED:
        assert told[name]["flip"][1] == 0
        assert told[name]["flip"][2] > 0.9 * PLACES


@pytest.mark.slow
def test_other_places_and_bits(repo):
    for name, result in swept(repo, 1).items():
        check(name, result)


def test_undamaged_files_load(tmp_path):
    from monai_cxrssl.data import read_cxr

    for name, content in small_files().items():
        (tmp_path / "film").write_bytes(content)
        film, metadata = read_cxr(tmp_path / "film")
        assert film.shape == SHAPE, name
        assert film.std() > 0.1, name
        assert metadata["warnings"] == [], name
