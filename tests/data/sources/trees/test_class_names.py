# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of classes told from folders of patients."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.sources.trees.class_names import find_classes


def many(folders, count):
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (many(("NORMAL", "TURBERCULOSIS"), 4), {"NORMAL", "TURBERCULOSIS"}),
        (many(("COVID/images", "Lung_Opacity/images", "Viral Pneumonia/images"), 4), None),
        (many([f"{s}/{c}" for s in ("train", "test") for c in ("Sick A", "Well")], 4), {"Sick A", "Well"}),
        (many([f"{s}/{c}" for s in ("train", "val") for c in ("alpha", "beta")], 4), {"alpha", "beta"}),
        (many([f"{c}/{s}" for s in ("train", "val") for c in ("alpha", "beta")], 4), {"alpha", "beta"}),
        (many(("data/train/NORMAL", "data/test/Normal", "data/test/COVID-19", "data/train/Covid19"), 2), None),
        (many(("COVID19 cases Italy", "Group B", "Group C"), 3), {"COVID19 cases Italy", "Group B", "Group C"}),
        (many(("site/NORMAL/p1", "site/NORMAL/p2", "site/COVID/p3"), 3), {"NORMAL", "COVID"}),
        (many(("one/NORMAL", "one/COVID", "two/NORMAL"), 3), {"NORMAL", "COVID"}),
        (many(("alpha", "beta"), 20), {"alpha", "beta"}),
        (many(("1", "2"), 50), {"1", "2"}),
    ],
)
def test_classes(images, expected):
    found = find_classes(images)
    assert found is not None
    if expected is None:
        expected = {image.split("/")[-2 if image.split("/")[-2] != "images" else -3] for image in images}
        assert set(found.names) == expected
    else:
        assert set(found.counts) == expected
    assert sum(found.counts.values()) == len(images)


@pytest.mark.parametrize(
    "images",
    [
        many(("p1", "p2"), 4),
        many(("patient00001/study1", "patient00002/study1"), 3),
        many(("COVID_001", "COVID_002", "NORMAL_001"), 2),
        many(("train/p1", "train/p2", "test/p1", "test/p2"), 3),
        many(("train/1", "test/1", "train/2"), 3),
        many(("Smith", "Jones"), 6),
        many(("siteA/p1", "siteA/p2", "siteB/p3"), 30),
        many(("images",), 6),
        many(("NORMAL",), 6),
        many((f"normal{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), 2),
        ["a.png", "b.png"],
        [],
    ],
)
def test_no_classes(images):
    assert find_classes(images) is None


def test_spellings_of_one_class_and_split():
    found = find_classes(many(("train/COVID-19", "train/NORMAL", "test/Covid19", "test/normal"), 2))
    assert found is not None
    assert found.counts == {"COVID-19": 4, "NORMAL": 4}
    assert (found.name("test/Covid19/0.png"), found.split("test/Covid19/0.png")) == ("COVID-19", "test")
    assert (found.name("test/x.png"), found.split("x.png")) == (None, None)
