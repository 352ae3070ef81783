# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels of one data set in the classes of another: the four pairs of tasks, one table each."""

from __future__ import annotations

import itertools
import math

import pytest

from monai_cxrssl.data.datalists.label_mapping import LabelMapping
from monai_cxrssl.data.sources.layouts import chestxray14, chexpert, kermany
from monai_cxrssl.data.sources.layouts.covid import covid_chestxray
from monai_cxrssl.errors import DatalistError

CLASS, LABEL = "multi_class", "multi_label"
KERMANY = kermany.CLASSES  # No Finding, Bacterial Pneumonia, Viral Pneumonia
COVID = covid_chestxray.CLASSES  # No Finding, COVID-19, Other Pneumonia


@pytest.mark.parametrize(
    ("target", "classes", "label", "expected"),
    [
        (["Effusion", "Mass"], ["Mass", "Edema", "pleural effusion"], [1, 0.25], [0.25, None, 1]),
        (["Effusion", "Mass"], ["Mass", "Edema"], [1, None], None),
        (["Effusion", "Mass"], ["Mass", "Edema"], [1, math.nan], None),
        (["Hernia", "Hiatal hernia", "Mass"], ["Hernia"], [0, 1, 0], [1]),
        (["Hernia", "Hiatal hernia", "Mass"], ["Hernia"], [0, None, 0], None),
        (["Own", "Mass"], ["Own", "own"], [1, 0], [1, None]),  # names that the vocabulary lacks match to the letter
        (["Mass", "Nodule"], ["Lung Lesion", "Mass"], [0, 1], [None, 0]),  # by name, not by kind
    ],
)
def test_multi_label_to_multi_label(target, classes, label, expected):
    assert LabelMapping(target, LABEL, classes, LABEL)(label) == expected


@pytest.mark.parametrize(
    ("target", "classes", "expected"),
    [
        # The images of a class each: what a model of these findings is told of them.
        (KERMANY, ["Pneumonia", "Edema"], [[0, None], [1, None], [1, None]]),
        (["Normal", "Pneumonia", "COVID-19"], ["Pneumonia", "COVID-19"], [[0, 0], [1, 0], [None, 1]]),
        (COVID, ["Pneumonia", "COVID-19"], [[0, 0], [1, 1], [1, 0]]),
        (["Normal", "Pneumonia"], ["Viral Pneumonia", "No Finding"], [[0, 1], [None, 0]]),
        (["Normal", "TB"], ["Tuberculosis", "No Finding"], [[0, 1], [1, 0]]),
        (["Normal", "TB", "Ward 7"], ["Tuberculosis"], [[0], [1], None]),
        (["Edema", "Bacterial"], ["Pneumonia", "Edema"], [[None, 1], [1, 0]]),
        (["Normal", "Ward 7"], ["Edema"], [None, None]),
    ],
)
def test_multi_class_to_multi_label(target, classes, expected):
    mapping = LabelMapping(target, CLASS, classes, LABEL)
    assert [mapping(number) for number in range(len(target))] == expected
    assert mapping(None) is None


@pytest.mark.parametrize(
    ("target", "classes", "expected"),
    [
        (KERMANY, ["Pneumonia", "Normal"], [1, 0, 0]),
        (["Normal", "Pneumonia"], KERMANY, [0, None]),
        (KERMANY[::-1], KERMANY, [2, 1, 0]),
        (["Normal", "Tuberculosis"], ["TB", "healthy"], [1, 0]),
        (["normal", "active tb"], ["No Finding", "Tuberculosis"], [0, 1]),
        (COVID, ["No Finding", "Pneumonia", "COVID-19"], [0, 2, 1]),
        # What Kermany calls viral, and a list without COVID-19 pneumonia, may be COVID-19 for all we know.
        (KERMANY, ["No Finding", "Pneumonia", "COVID-19"], [0, 1, None]),
        (["Normal", "Pneumonia"], ["No Finding", "Pneumonia", "COVID-19"], [0, None]),
        (["Normal", "COVID-19"], ["Pneumonia", "Viral Pneumonia"], [None, 1]),
        (["Mass", "Ward 7"], ["Lung Lesion", "Nodule/Mass", "Edema"], [1, None]),
    ],
)
def test_multi_class_to_multi_class(target, classes, expected):
    mapping = LabelMapping(target, CLASS, classes, CLASS)
    assert [mapping(number) for number in range(len(target))] == expected
    assert mapping.idle == [name for name, number in zip(target, expected, strict=True) if number is None]


@pytest.mark.parametrize(
    ("target", "classes", "label", "expected"),
    [
        (["Pneumonia", "Mass"], ["Normal", "Pneumonia"], [1, 1], 1),
        (["Pneumonia", "Mass"], ["Normal", "Pneumonia"], [0.6, None], 1),
        (["Pneumonia", "Mass"], ["Normal", "Pneumonia"], [0, 0], 0),
        (["Pneumonia", "Mass"], ["Normal", "Pneumonia"], [0, 1], None),  # ill otherwise
        (["Pneumonia", "Mass"], ["Normal", "Pneumonia"], [0, None], None),
        (["Pneumonia", "Mass"], ["Normal", "Pneumonia", "Mass"], [1, 1], None),
        (["Pneumonia", "Mass"], ["Normal", "Edema", "Mass"], [0, 0], None),  # nobody looked for edema
        (["Pneumonia", "Mass"], ["Edema", "Mass"], [0, 0], None),
        (["No Finding", "Edema"], ["Normal", "Pneumonia"], [1, 0], 0),
        (["No Finding", "Pneumonia"], ["Normal", "Pneumonia"], [0, 0], None),
        (["No Finding", "Pneumonia"], ["Normal", "Pneumonia"], [None, 0], 0),
        (["No Finding", "Pneumonia"], ["Normal", "Pneumonia"], [1, 1], None),
        (["Pneumonia", "Mass"], KERMANY, [0, 0], 0),
        (["Pneumonia", "Mass"], KERMANY, [1, 0], None),
        (["Bacterial Pneumonia", "Mass"], ["Normal", "Pneumonia"], [1, 0], 1),
        (["Bacterial Pneumonia", "Mass"], ["Normal", "Pneumonia"], [0, 0], None),  # it may be viral
        (["Pneumonia", "COVID-19"], ["Normal", "Pneumonia", "COVID-19"], [1, 0], 1),
        (["Pneumonia", "COVID-19"], ["Normal", "Pneumonia", "COVID-19"], [1, 1], 2),
        (["Pneumonia", "COVID-19"], ["Normal", "Pneumonia", "COVID-19"], [1, None], None),
        (["Pneumonia"], ["Normal", "Pneumonia", "COVID-19"], [1], None),
    ],
)
def test_multi_label_to_multi_class(target, classes, label, expected):
    assert LabelMapping(target, LABEL, classes, CLASS)(label) == expected


@pytest.mark.parametrize(
    ("target", "target_task", "classes", "task", "expected"),
    [
        (chestxray14.CLASSES, LABEL, chexpert.CLASSES, LABEL,
         ["Cardiomegaly", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"]),
        (KERMANY, CLASS, chestxray14.CLASSES, LABEL, ["Pneumonia"]),
        (chestxray14.CLASSES, LABEL, KERMANY, CLASS, ["No Finding"]),
        (KERMANY, CLASS, COVID, CLASS, ["No Finding"]),
        (["Normal", "TB"], CLASS, ["No Finding", "Tuberculosis"], CLASS, ["No Finding", "Tuberculosis"]),
        (KERMANY, CLASS, ["Fracture", "Mass"], LABEL, []),
        ([], CLASS, KERMANY, CLASS, []),
    ],
)  # fmt: skip
def test_shared_classes(target, target_task, classes, task, expected):
    assert LabelMapping(target, target_task, classes, task).shared == expected


@pytest.mark.parametrize(
    ("target", "target_task", "classes", "task", "class_map", "labels", "expected"),
    [
        (["Ward 7", "x"], LABEL, ["Edema", "Mass"], LABEL, {"Ward 7": "Edema"}, [[1, 0]], [[1, None]]),
        (["COVID-19 Negative", "COVID-19"], CLASS, COVID, LABEL, {"COVID-19 Negative": None}, [0, 1],
         [[None, 0, None], [None, 1, None]]),
        (["COVID-19 Negative", "COVID-19"], CLASS, COVID, CLASS, {"COVID-19 Negative": None}, [0, 1], [None, 1]),
        (["Normal", "Pneumonia"], CLASS, ["Normal", "Pneumonia", "COVID-19"], CLASS, {"Pneumonia": "Pneumonia"},
         [0, 1], [0, 1]),
        (["a", "b"], CLASS, ["Edema", "Ward"], CLASS, {"a": "Ward", "b": "Edema"}, [0, 1], [1, 0]),
        (["Mass", "Edema"], LABEL, ["Mass"], LABEL, {"Mass": None}, [[1, 1]], [None]),
        (["x", "Mass"], LABEL, ["Normal", "Mass"], CLASS, {"x": None}, [[1, 0], [0, 0]], [None, 0]),
    ],
)  # fmt: skip
def test_an_explicit_map_goes_first(target, target_task, classes, task, class_map, labels, expected):
    mapping = LabelMapping(target, target_task, classes, task, class_map)
    assert [mapping(label) for label in labels] == expected


@pytest.mark.parametrize(
    ("class_map", "message"),
    [
        ({"Heart": "Edema"}, "names 'Heart', which is none of the classes of the data set (Effusion)"),
        ({"Effusion": "Fluid"}, "takes 'Effusion' for 'Fluid', which is none of the classes of the model (Edema)"),
    ],
)
def test_unknown_names_in_the_map(class_map, message):
    with pytest.raises(DatalistError) as caught:
        LabelMapping(["Effusion"], LABEL, ["Edema"], LABEL, class_map)
    assert message in str(caught.value)


def test_two_classes_of_the_model_that_are_one_in_the_vocabulary():
    mapping = LabelMapping(["Negative for Pneumonia", "normal"], CLASS, ["Normal", "Negative for Pneumonia"], CLASS)
    assert [mapping(0), mapping(1)] == [1, None]


@pytest.mark.parametrize("task", [CLASS, LABEL])
def test_a_list_onto_itself_keeps_every_label(task):
    """Whatever the names are; only a multi-label image of several classes says nothing to nobody but itself."""
    classes = ["Normal", "Pneumonia", "COVID-19", "Ward 7"]
    mapping = LabelMapping(classes, task, classes, task)
    labels = range(4) if task == CLASS else [list(v) for v in itertools.product((0, 1, None), repeat=4)]
    for label in labels:
        told = mapping(label)
        assert told == label or (told is None and label == [None] * 4)


def test_a_label_that_was_handed_out_can_be_changed():
    mapping = LabelMapping(["Mass"], LABEL, ["Mass", "Edema"], LABEL)
    mapping([1])[1] = 0.0
    assert mapping([1]) == [1, None]
