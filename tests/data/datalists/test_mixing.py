# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Mixing data sets whose classes differ."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.mixing import mix_datalists
from monai_cxrssl.data.datalists.vocabulary import BROADER, PATHOLOGIES


def made(name, classes, labels, task="multi_label"):
    items = [{"image": f"/{name}/{n}.png", "patient_id": str(n), "label": label} for n, label in enumerate(labels)]
    return Datalist.from_dict({"name": name, "classes": list(classes), "task": task, "training": items})


FIRST = ("a", ("Effusion", "Mass"), [[1, 0], [None, 1]])


def labels(*parts):
    mixed = mix_datalists([made(*part) for part in parts])
    return mixed.classes, mixed.task, [item.get("label") for item in mixed.items()]


def test_multi_label_lists_are_united():
    second = ("b", ("Edema", "Pleural_effusion", "Own Thing"), [[1, 0.5, 0], [0, 1, None]])
    classes, task, found = labels(FIRST, second)
    assert (classes, task) == (("Pleural Effusion", "Mass", "Edema", "Own Thing"), "multi_label")
    assert found == [[1, 0, None, None], [None, 1, None, None], [0.5, None, 1, 0], [1, None, 0, None]]


def test_the_same_classes_in_another_order():
    assert labels(FIRST, ("b", FIRST[1][::-1], [[1, 0]]))[::2] == (
        ("Pleural Effusion", "Mass"),
        [[1, 0], [None, 1], [0, 1]],
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [([0, 1], 1), ([0, 0], 0), ([None, 1], 1), ([None, 0], None), ([0.4, 0.6], 0.6)],
)
def test_two_classes_that_are_one_in_the_vocabulary(given, expected):
    assert labels(FIRST, ("b", ("Hernia", "Hiatal hernia"), [given]))[2][-1] == [None, None, expected]


def test_multi_class_lists_of_the_vocabulary():
    second = ("b", ("Normal", "Pneumonia", "COVID-19"), [0, 1, 2, None], "multi_class")
    classes, task, found = labels(FIRST, second)
    assert (classes, task) == (("Pleural Effusion", "Mass", "No Finding", "Pneumonia", "COVID-19"), "multi_label")
    # Pneumonia beside COVID-19 means pneumonia of another cause, which other data sets do not.
    assert found[2:] == [[None, None, 1, 0, 0], [None, None, 0, 1, 0], [None, None, 0, None, 1], None]


def test_other_multi_class_lists_drop_all_labels(caplog):
    classes, _, found = labels(FIRST, ("b", ("Normal", "Ward 7"), [0, 1], "multi_class"))
    assert (classes, found) == ((), [None] * 4)
    assert "labels dropped" in caplog.text
    assert "(b: Ward 7)" in caplog.text


def test_unlabelled_and_equal_lists_stay_as_they_are():
    unlabelled = ("c", (), [None])
    assert labels(FIRST, unlabelled) == (FIRST[1], "multi_label", [[1, 0], [None, 1], None])
    assert labels(FIRST, ("d", *FIRST[1:])) == (FIRST[1], "multi_label", [[1, 0], [None, 1]] * 2)
    assert labels(unlabelled, ("e", (), [None])) == ((), "multi_class", [None, None])


def test_broader_names_are_entries():
    assert {*BROADER, *(name for names in BROADER.values() for name in names)} <= set(PATHOLOGIES)
