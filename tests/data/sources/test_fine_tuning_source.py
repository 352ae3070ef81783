# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set made ready for fine-tuning: the division, and a class that a split lacks."""

from __future__ import annotations

import logging

import pytest

from monai_cxrssl.data import Datalist, classes_to_learn, divided_source, require_classes
from monai_cxrssl.data.audit.leak import refuse_shared_patients
from monai_cxrssl.data.datalists.datalist import SPLITS
from monai_cxrssl.data.datalists.split import split_datalist
from monai_cxrssl.errors import ConfigurationError, DatalistError

CLASS, LABEL = "multi_class", "multi_label"


def made(task=CLASS, classes=("a", "b"), **labels) -> Datalist:
    """Two images per patient; the patients of a split are numbered on from those of the one before."""
    start, splits = 0, {}
    for split, values in labels.items():
        splits[split] = [
            {"image": f"{split}{n}.png", "patient_id": str(start + n // 2), **({} if v is None else {"label": v})}
            for n, v in enumerate(values)
        ]
        start += len(values)
    return Datalist.from_dict({"name": "Set", "classes": list(classes), "task": task, **splits})


def images(datalist: Datalist, split: str) -> set[str]:
    return {item["image"] for item in datalist.splits[split]}


def test_three_splits_stay():
    whole = made(training=[0], validation=[0], test=[1])
    assert divided_source(whole) is whole


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ({}, (0.7, 0.1, 0.2)),
        ({"test": 40}, (0.875, 0.125, None)),
        ({"validation": 40}, (0.7 / 0.9, None, 0.2 / 0.9)),
    ],
)
def test_only_what_is_missing_is_divided_off(given, shares, caplog):
    source = made(training=[n // 2 % 2 for n in range(400)], **{split: [0, 1] * (n // 2) for split, n in given.items()})
    with caplog.at_level(logging.INFO):
        divided = divided_source(source, seed=3)
    for split, share in zip(SPLITS, shares, strict=True):
        if share is None:
            assert images(divided, split) == images(source, split)
            assert f"its {split} split is kept" in caplog.text
        else:
            assert len(divided.splits[split]) == pytest.approx(400 * share, abs=6)
    assert refuse_shared_patients(divided) == []
    assert sum(len(divided.splits[split]) for split in SPLITS) == sum(len(source.splits[split]) for split in SPLITS)
    assert divided.splits == split_datalist(source, seed=3).splits
    assert divided.splits != divided_source(source, seed=4).splits
    assert len(caplog.records) == 1
    assert "divided by patient with seed 3" in caplog.text


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"test": [0, 1]}, "Set has no training images"),
        ({"training": [0, 1]}, "Set: validation would be empty, since all 2 images are of one patient"),
    ],
)
def test_what_cannot_be_divided(labels, message):
    with pytest.raises(DatalistError, match=message):
        divided_source(made(**labels))
    with pytest.raises(ConfigurationError, match="whose sum is 1"):
        divided_source(made(training=[0, 1]), fractions=(0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("task", "training", "validation", "message"),
    [
        (CLASS, [0, 1], [1, 0], None),
        (CLASS, [0, 1], [1, None], "Set: the validation split has no image of a. "),
        (CLASS, [0, None], [0, 1], "Set: the training split has no image of b. "),
        (CLASS, [0, 1], [None], "the validation split has no image of a, b"),
        (CLASS, [None], [None], None),
        (LABEL, [[1, 1]], [[1, 0], [0, 1]], None),
        (LABEL, [[1, 0.4]], [[1, 0], [0, 1]], "the training split has no positive image of b"),
        (LABEL, [[1, 1]], [[1, None], [0, 1]], "the validation split has no negative image of b"),
        (LABEL, [[None, 1]], [[0, 1], [None, 0]],
         "Set: the training split has no positive image of a; the validation split has no positive image of a. "),
    ],
)  # fmt: skip
def test_a_class_that_a_split_lacks(task, training, validation, message, caplog):
    source = made(task, training=training, validation=validation, test=[None])
    if message is None:
        require_classes(source)
        return
    with pytest.raises(DatalistError) as caught:
        require_classes(source)
    assert message in str(caught.value)
    for remedy in ("split command", "another seed", "--ignore_absent"):
        assert remedy in str(caught.value)
    with caplog.at_level(logging.WARNING):
        require_classes(source, ignore_absent=True)
    assert message.rstrip(" ") in caplog.text


def test_nothing_labelled_has_nothing_to_check():
    require_classes(made(classes=(), training=[None], validation=[None]))


def test_classes_are_needed_where_nothing_else_is_learned(repo):
    nameless = made(classes=(), training=[None], validation=[None])
    assert classes_to_learn(nameless, masks=True) == ()
    with pytest.raises(DatalistError, match=r"^Set has no classes to learn, and the network has no decoder for masks"):
        classes_to_learn(nameless)
    assert classes_to_learn(made(training=[None])) == classes_to_learn(made(training=[None]), masks=True) != ()
