# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label maps: what becomes, by hand, of the classes of every layout; contradictions; maps of users."""

from __future__ import annotations

import json
import logging

import pytest

from monai_cxrssl.data.datalists.collapse import Collapse, collapse_labels
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.label_maps import BEFORE_COVID, LABEL_MAPS, LabelMap, load_label_map
from monai_cxrssl.data.sources.registry import LAYOUTS, index_folder
from monai_cxrssl.errors import ConfigurationError, DatalistError

MAPS = ("normal_abnormal", "pneumonia", "covid_pneumonia_normal", "covid_negative_positive", "tuberculosis")
# The new class of the images of each class, "?" where it is unknown, by the maps in the order above.
COVID = ("011", "011", "021", "010", "0??")
EXCLUSIVE = {
    "actualmed": COVID,  # No Finding, COVID-19, Other Pneumonia
    "figure1": COVID,
    "covid_chestxray": COVID,
    "hannover": COVID,
    "covid_qu_ex": COVID,
    "covid_radiography": ("0111", "01?1", "02?1", "0100", "0???"),  # No Finding, COVID-19, Lung Opacity, Viral
    "kermany": ("011", "011", "011", "000", "0??"),  # No Finding, Bacterial, Viral: of before 2020
    "siim_covid": ("0111", "011?", "0???", "0111", "0???"),  # negative, typical, indeterminate, atypical
    "rsna_pneumonia": ("011", "010", "01?", "000", "0??"),  # No Finding, Lung Opacity, No Lung Opacity / Not Normal
    "montgomery": ("01", "0?", "0?", "00", "01"),  # No Finding, Tuberculosis
    "shenzhen": ("01", "0?", "0?", "00", "01"),
    "covidx": ("?1", "?1", "?2", "01", "??"),  # COVID-19 Negative, COVID-19
}
# Of findings: the images on which nothing but these is positive, and all else negative.
CHEXPERT = {
    "No Finding": "00000", "": "10?0?", "Edema": "10?0?", "Pneumonia": "1110?", "Support Devices": "10?0?",
    "No Finding+Support Devices": "00000", "No Finding+Edema": "!!!!!",
}  # fmt: skip
FINDINGS = {
    "chexpert": CHEXPERT,
    "mimic_cxr_jpg": CHEXPERT,
    "brax": CHEXPERT | {"Pneumonia": "11???"},  # reaches into 2020
    "chestxray14": {"": "00000", "Edema": "10?0?", "Pneumonia": "1110?", "Edema+Pneumonia": "1110?"},
    "padchest": {"No Finding": "00000", "": "10?00", "Pneumonia": "11100", "Tuberculosis": "10?01"},
    "vindr_cxr": {"No Finding": "00000", "": "10?00", "Pneumonia": "11??0", "Tuberculosis": "10?01"},
    "vindr_pcxr": {"No Finding": "00000", "": "10?00", "Pneumonia": "11??0", "Bronchopneumonia": "11100"},
    "open_i": {"No Finding": "00000", "": "10?0?", "Pneumonia": "1110?", "Support Devices": "10?0?"},
    "siim_pneumothorax": {"": "???0?", "Pneumothorax": "1??0?"},
    "candid_ptx": {"": "?????", "Pneumothorax": "1????", "Chest Tube": "?????", "Rib Fracture": "1????"},
    "object_cxr": {"": "?????", "Foreign Object": "?????"},
    "chestx_det": {"": "00000", "Consolidation": "1??0?", "Diffuse Nodule": "1??0?"},
    "tbx11k": {
        "No Finding": "00000",
        "": "1??00",
        "Tuberculosis": "1??01",
        "Active Tuberculosis+Tuberculosis": "1??01",
    },
    "jsrt": {"": "???0?", "Nodule": "1??0?"},
}


def classes_of(layout):
    found = getattr(layout, "CLASSES", None) or getattr(layout, "TWO_CLASSES", None)
    return list(found.values() if isinstance(found, dict) else found or ())


def shown(value, contradicts=False):
    return "!" if contradicts else "?" if value is None else str(value)


def test_every_layout_with_classes_is_in_the_tables():
    assert {name for name, layout in LAYOUTS.items() if classes_of(layout)} == set(EXCLUSIVE) | set(FINDINGS)
    assert set(MAPS) == set(LABEL_MAPS)
    assert {layout.NAME for layout in LAYOUTS.values() if hasattr(layout, "NAME")} >= BEFORE_COVID


@pytest.mark.parametrize("name", EXCLUSIVE)
def test_exclusive_classes(name):
    layout = LAYOUTS[name]
    classes = classes_of(layout)
    for label_map, expected in zip(MAPS, EXCLUSIVE[name], strict=True):
        collapse = Collapse(layout.NAME, classes, "multi_class", LABEL_MAPS[label_map])
        assert "".join(shown(collapse(n)) for n in range(len(classes))) == expected, label_map
        assert collapse.idle == [own for own, new in zip(classes, expected, strict=True) if new == "?"]


def test_the_three_classes_of_covidx():
    classes = list(LAYOUTS["covidx"].THREE_CLASSES.values())  # No Finding, Pneumonia, COVID-19
    for label_map, expected in zip(MAPS, ("011", "011", "012", "001", "0??"), strict=True):
        collapse = Collapse("COVIDx", classes, "multi_class", LABEL_MAPS[label_map])
        assert "".join(shown(collapse(number)) for number in range(3)) == expected, label_map


@pytest.mark.parametrize("name", FINDINGS)
def test_findings(name):
    layout = LAYOUTS[name]
    classes = classes_of(layout)
    for positive, expected in FINDINGS[name].items():
        label = [float(each in positive.split("+")) for each in classes]
        made = ""
        for label_map in MAPS:
            collapse = Collapse(layout.NAME, classes, "multi_label", LABEL_MAPS[label_map])
            made += shown(collapse(label), collapse.contradicts_itself(label))
        assert made == expected, positive


@pytest.mark.parametrize(
    ("classes", "label", "label_map", "expected"),
    [
        # Blank is not negative.
        (["No Finding", "Edema", "Pneumonia"], [None, None, 0], "normal_abnormal", None),
        (["No Finding", "Edema", "Pneumonia"], [None, 1, None], "normal_abnormal", 1),
        (["No Finding", "Edema", "Pneumonia"], [None, 1, None], "pneumonia", None),
        (["Cardiomegaly", "Effusion", "Infiltration", "Mass"], [0, 0, 0, None], "normal_abnormal", None),
        (["Cardiomegaly", "Effusion", "Infiltration", "Mass"], [0, 0.4, 0, 0], "normal_abnormal", 0),
        (["Cardiomegaly", "Effusion", "Mass"], [0, 0, 0], "normal_abnormal", None),  # nobody looked at the lungs
        (["Cardiomegaly", "Effusion", "Pneumonia", "Viral Pneumonia"], [0, 0, 0, None], "normal_abnormal", 0),
        # A broader finding says no more than its kinds.
        (["Pneumonia", "COVID-19"], [1, 1], "covid_pneumonia_normal", 2),
        (["Pneumonia", "COVID-19"], [1, 0], "covid_pneumonia_normal", 1),
        (["Pneumonia", "COVID-19"], [1, None], "covid_pneumonia_normal", None),
        (["Pneumonia", "Viral Pneumonia"], [1, 0], "covid_pneumonia_normal", 1),  # COVID-19 would be viral
        (["Bacterial Pneumonia", "COVID-19"], [1, 1], "covid_pneumonia_normal", None),
        (["Bacterial Pneumonia", "Viral Pneumonia"], [0, 0], "pneumonia", None),
        (["Own finding", "No Finding"], [1, 0], "normal_abnormal", 1),
    ],
)
def test_single_labels(classes, label, label_map, expected):
    assert Collapse("x", classes, "multi_label", LABEL_MAPS[label_map])(label) == expected


def source_of(classes, task, labels, name="x"):
    items = [{"image": f"{n}.png", "patient_id": str(n), "label": label} for n, label in enumerate(labels)]
    return Datalist.from_dict({"name": name, "classes": list(classes), "task": task, "training": items})


def labels_of(source):
    return [item.get("label") for item in source.splits["training"]]


def test_a_data_set_is_told_of(caplog):
    caplog.set_level(logging.INFO)
    classes = ["No Finding", "Edema", "Support Devices"]
    source = source_of(classes, "multi_label", [[1, 0, 1], [1, 1, 0], [0, 1, 0], [None, None, 1]])
    new = collapse_labels(source, LABEL_MAPS["normal_abnormal"])
    assert (new.classes, new.task, labels_of(new)) == (("No Finding", "Abnormal"), "multi_class", [0, None, 1, None])
    assert "of 4 labelled images 1 No Finding, 1 Abnormal; 2 unknown" in caplog.text
    assert (
        "1 images have labels that contradict themselves, and are unknown therefore; the first is 1.png" in caplog.text
    )
    assert collapse_labels(new, LABEL_MAPS["normal_abnormal"]) is new
    caplog.clear()
    collapse_labels(source_of(["TB", "Ward 7"], "multi_class", [0, 1]), LABEL_MAPS["normal_abnormal"])
    assert "the map does not say what images of Ward 7 are" in caplog.text
    assert "no image is known to be No Finding" in caplog.text


def test_the_phantom_has_the_grades_of_covid_in_short():
    grades = ["negative", "typical", "indeterminate", "atypical"]
    for label_map, expected in zip(MAPS, EXCLUSIVE["siim_covid"], strict=True):
        collapse = Collapse("phantom", grades, "multi_class", LABEL_MAPS[label_map])
        assert "".join(shown(collapse(number)) for number in range(4)) == expected


OWN = {"classes": ["well", "lung", "heart"], "map": {"ok": "well", "Pneumonia": "lung", "cardiomegaly": "heart"}}


def test_a_map_of_the_user(tmp_path, caplog):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(OWN))
    label_map = load_label_map(str(path))
    assert label_map.name == "mine"
    assert load_label_map(str(OWN)).classes == OWN["classes"]
    assert load_label_map(label_map.model_dump()) == label_map
    new = collapse_labels(source_of(["OK", "viral", "Cardiomegaly", "x"], "multi_class", [0, 1, 2, 3]), label_map)
    assert labels_of(new) == [0, 1, 2, None]
    several = LabelMap(**{**OWN, "task": "multi_label", "map": {**OWN["map"], "No Finding": None, "Edmea": "lung"}})
    new = collapse_labels(
        source_of(["Pneumonia", "Edema", "Cardiomegaly"], "multi_label", [[1, 0, 0], [0, 0, None]]), several
    )
    assert labels_of(new) == [[None, 1, 0], [None, 0, None]]
    assert "'Edmea' of the map is no class of the data set; did you mean Edema?" in caplog.text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("normal_abnormall", "did you mean normal_abnormal\\? The named ones are normal_abnormal, pneumonia"),
        ("{'classes': ", "is no dictionary"),
        ({"classes": ["a", "b"]}, "map: Field required"),
        ({**OWN, "maps": {}}, "maps: Extra inputs"),
        ({**OWN, "rest": "ill"}, "'ill' is none of its classes \\(well, lung, heart\\)"),
        ({"classes": ["a"], "map": {"x": "a"}}, "exclusive classes are two or more"),
        ({"classes": ["a", "a"], "map": {"x": "a"}}, "a class stands twice"),
        ({**OWN, "rest": "well", "task": "multi_label"}, "rest is for exclusive classes only"),
        ([], "expected such as"),
    ],
)
def test_wrong_maps(value, message):
    with pytest.raises(ConfigurationError, match=message):
        load_label_map(value)


def folder_of(path, classes, task, labels, name):
    path.mkdir()
    items = [{"image": f"{n}.png", "patient_id": str(n), "label": label} for n, label in enumerate(labels)]
    for item in items:
        (path / item["image"]).touch()
    (path / "datalist.json").write_text(json.dumps({"name": name, "classes": classes, "task": task, "training": items}))
    return path


def test_data_sets_are_collapsed_before_they_are_mixed(tmp_path):
    """In the union of their classes, neither knows of the other's findings, and no image would be normal."""
    classes = list(LAYOUTS["chestxray14"].CLASSES)
    several = [[0.0] * 14, [1.0] + [0.0] * 13]
    folders = [
        folder_of(tmp_path / "a", classes, "multi_label", several, "ChestX-ray14"),
        folder_of(tmp_path / "b", ["Normal", "PNEUMONIA"], "multi_class", [0, 1], "folders"),
    ]
    mixed = index_folder(folders, collapse=LABEL_MAPS["normal_abnormal"])
    assert (mixed.classes, mixed.task, labels_of(mixed)) == (("No Finding", "Abnormal"), "multi_class", [0, 1, 0, 1])
    with pytest.raises(DatalistError, match="No image of folders has a label that the map tuberculosis brings onto"):
        index_folder(
            folder_of(tmp_path / "c", ["Ward 7", "x"], "multi_class", [0, 1], "folders"),
            collapse=LABEL_MAPS["tuberculosis"],
        )
