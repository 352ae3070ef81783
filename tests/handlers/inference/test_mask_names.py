# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of masks: whole, unlike each other on any disk, and short enough for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_cxrssl.handlers.inference.mask_names import mask_names

UID = "1.2.826.0.1.3680043.8.498.10293847561029384756102938475610"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["/x/film.dcm"], ["film"]),
        (["/x/a/1.png", "/x/b/1.png"], ["a_1", "b_1"]),
        (["/x/a/1.png", "/x/a_1.png", "/x/A_1.dcm"], ["a_1", "a_1_2", "A_1.dcm"]),
        (["/x/1.png", "/x/1.dcm", "/x/1.nii.gz"], ["1.png", "1.dcm", "1.nii.gz"]),
        (["/x/a/1.png", "/x/a_1.png", "/x/a_1_2.png"], ["a_1", "a_1_3", "a_1_2"]),
        (["a/1.png", "2.png"], ["a_1", "2"]),
        (["/x/two\nlines, a.png", "/x/\udcff.png", "/x/.png", "/x/lünge.nii.gz"], ["two_lines_a", "image", "png", "lünge"]),
        (["/x/u\u0308.png", "/x/\u00fc.png"], ["\u00fc", "\u00fc_2"]),
        ([f"/x/{UID}.{n}" for n in (1, 2, 10)], [f"{UID}.{n}" for n in (1, 2, 10)]),
        ([f"/x/{UID}.{n}.dcm" for n in (1, 2)], [f"{UID}.{n}" for n in (1, 2)]),
        ([f"/x/{UID}/{UID}.1/{n}" for n in (1, 2)], ["1", "2"]),
        ([f"/x/{UID}.{n}/{UID}.{n}/1.dcm" for n in (1, 2)], [f"{UID}.{n}_{UID}.{n}_1" for n in (1, 2)]),
    ],
)  # fmt: skip
def test_every_mask_has_the_whole_name_of_its_image(paths, names):
    assert mask_names(paths) == names


@pytest.mark.parametrize("letter", ["d", "ü", "胸"])
def test_names_too_long_for_a_disk_stay_apart(letter, tmp_path):
    paths = [f"/x/{n}{letter * 50}/{letter * 60}/{letter * 70}/film_{n}.png" for n in range(3)]
    names = mask_names([*paths, "/x/short.png"])
    assert names[3] == "short"
    assert len(set(names)) == 4
    for n, name in enumerate(names[:3]):
        assert name.endswith(f"{letter}_film_{n}")
        (tmp_path / f"{name}_1000000.nii.gz").touch()
    assert len(list(tmp_path.iterdir())) == 3
    assert names == mask_names([*paths, "/x/short.png"])


def test_many_equal_names_are_numbered_in_order():
    paths = [str(Path("/x", *["a"] * depth, "_".join(["a"] * (5 - depth)) + ".png")) for depth in range(5)]
    assert mask_names(paths) == ["a_a_a_a_a", *(f"a_a_a_a_a_{n}" for n in range(2, 6))]
