# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Testing on another data set than the one trained on."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data import Datalist, index_folder, on_classes_of, open_test_source
from monai_cxrssl.data.audit.audit import patient_of
from monai_cxrssl.data.audit.leak import refuse_leak, write_training_patients
from monai_cxrssl.data.sources.layouts import chestxray14, chexpert, kermany
from monai_cxrssl.errors import DatalistError

CLASS, LABEL = "multi_class", "multi_label"


def made(classes, task, labels, name="Other", split="training", root=None) -> Datalist:
    items = [
        {"image": f"film{n}.png", "patient_id": str(n), "study_id": "s", **({} if v is None else {"label": v})}
        for n, v in enumerate(labels)
    ]
    content = {"name": name, "classes": list(classes), "task": task, split: items, "manifest": {"sha256": "0"}}
    return Datalist.from_dict(content, root)


def written(folder, datalist: Datalist):
    folder.mkdir()
    for item in datalist.all_items():
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / item["image"])
    (folder / "datalist.json").write_text(json.dumps(datalist.to_dict()))
    return folder


def labels_of(datalist: Datalist, split="test") -> list:
    return [item.get("label") for item in datalist.items(split)]


SOURCE = made(chestxray14.CLASSES, LABEL, [[0] * 14], "NIH")


def test_without_another_data_set_nothing_changes():
    assert open_test_source(SOURCE) is SOURCE
    with pytest.raises(DatalistError, match="class_map is given without another data set"):
        open_test_source(SOURCE, class_map={"a": "b"})


@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_all_images_are_test_images_of_other_patients(tmp_path, split):
    other = made(kermany.CLASSES, CLASS, [0, 1, 2, None], "Kermany", split)
    folder = written(tmp_path / "children", other)
    for given in ({"dataset_dir": folder}, {"datalist": folder / "datalist.json"}):
        found = open_test_source(SOURCE, **given)
        assert (found.name, found.classes, found.task) == ("Kermany", SOURCE.classes, LABEL)
        assert [len(found.splits[name]) for name in ("training", "validation", "test")] == [0, 0, 4]
        assert "manifest" not in found.extra
        items = found.items("test")
        assert items[0]["image"] == str(folder / "film0.png")
        assert (items[3]["patient_id"], items[3]["study_id"]) == ("Kermany:3", "Kermany:s")
        # The package's rule says that these are the children of their own data set and of no other.
        assert patient_of("whatever", items[0]) == patient_of("Kermany", other.items(split)[0])
        assert patient_of("whatever", items[0]) != patient_of("NIH", SOURCE.items()[0])


def test_a_model_that_was_trained_on_the_same_data_set_is_found_out(tmp_path):
    folder = written(tmp_path / "a", made(kermany.CLASSES, CLASS, [0, 1, 2], "Kermany"))
    source = index_folder(folder)
    write_training_patients(source.items(), tmp_path / "model.pt", source.name)
    with pytest.raises(DatalistError, match="3 of the 3 patients"):
        refuse_leak(open_test_source(source, folder).items("test"), tmp_path / "model.pt")


def test_a_mixture_keeps_its_sources(tmp_path):
    first = written(tmp_path / "a", made(kermany.CLASSES, CLASS, [0, 1], "A"))
    second = written(tmp_path / "b", made(kermany.CLASSES, CLASS, [2], "B"))
    found = open_test_source(SOURCE, [first, second]).items("test")
    assert [(item["source"], item["patient_id"]) for item in found] == [("A", "A:0"), ("A", "A:1"), ("B", "B:0")]


def test_micle_shift_from_chexpert_to_chestxray14(caplog):
    row = dict.fromkeys(chestxray14.CLASSES, 0) | {"Pneumonia": 1, "Mass": 1}
    nih = made(chestxray14.CLASSES, LABEL, [list(row.values()), [0] * 14])
    with caplog.at_level(logging.INFO):
        found = on_classes_of(nih, chexpert.CLASSES, LABEL)
    ill = dict(zip(chexpert.CLASSES, labels_of(found, "training")[0], strict=True))
    assert {name for name, value in ill.items() if value == 1} == {"Pneumonia"}
    assert {name for name, value in ill.items() if value is None} == {
        "No Finding", "Enlarged Cardiomediastinum", "Lung Opacity", "Lung Lesion", "Pleural Other", "Fracture",
        "Support Devices",
    }  # fmt: skip
    assert "7 of the model's 14 classes are shared (Cardiomegaly, Edema," in caplog.text
    assert "2 of its 2 images have a known label" in caplog.text
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "no positives of Cardiomegaly, Edema" in warning
    assert "Pneumonia" not in warning


def test_kermany_and_chestxray14_both_ways(caplog):
    children = made(kermany.CLASSES, CLASS, [0, 1, 2])
    there = on_classes_of(children, chestxray14.CLASSES, LABEL)
    column = chestxray14.CLASSES.index("Pneumonia")
    assert [label[column] for label in labels_of(there, "training")] == [0, 1, 1]
    assert all(sum(value is not None for value in label) == 1 for label in labels_of(there, "training"))
    assert not caplog.text
    row = dict.fromkeys(chestxray14.CLASSES, 0)
    nih = made(chestxray14.CLASSES, LABEL, [list(row.values()), list((row | {"Pneumonia": 1}).values())])
    back = on_classes_of(nih, kermany.CLASSES, CLASS)
    assert labels_of(back, "training") == [0, None]
    assert "no negatives of No Finding" in caplog.text


def test_zero_shot_paediatric_tuberculosis(tmp_path, caplog):
    adults = made(["No Finding", "Tuberculosis"], CLASS, [0, 1], "Adults")
    folder = written(tmp_path / "x", made(["TB", "normal", "unclear"], CLASS, [0, 1, 2, 0], "Children"))
    with caplog.at_level(logging.INFO):
        assert labels_of(open_test_source(adults, folder)) == [1, 0, None, 1]
    assert "2 of the model's 2 classes are shared (No Finding, Tuberculosis); 3 of its 4 images" in caplog.text
    assert "images of unclear have no class of the model for certain" in caplog.text
    assert labels_of(open_test_source(adults, folder, class_map={"unclear": "Tuberculosis"})) == [1, 0, 1, 1]


@pytest.mark.parametrize("task", [CLASS, LABEL])
def test_the_same_classes_keep_labels_that_the_vocabulary_does_not_know(task):
    labels = [0, 1, None] if task == CLASS else [[0.0, None], [1.0, 0.3], None]
    found = on_classes_of(made(["Ward 7", "Ward 8"], task, labels), ["Ward 7", "Ward 8"], task)
    assert labels_of(found, "training") == labels


def test_a_model_that_only_segments_takes_no_labels():
    found = on_classes_of(made(["a"], CLASS, [0, None]), [], CLASS)
    assert labels_of(found, "training") == [None, None]
    assert found.classes == ()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            made(["Ward 7", "Mass"], CLASS, [0]),
            "share no class: Other has Ward 7, Mass; the model has No Finding, Bact",
        ),
        (made([], CLASS, [None]), "share no class: Other has no classes"),
        (made(["Normal", "Mass"], CLASS, [1, None]), "None of the 2 images of Other has a known label.*Normal, Mass"),
        (made(kermany.CLASSES, CLASS, [None]), "None of the 1 images of Other has a known label"),
    ],
)
def test_nothing_to_test_by_is_one_sentence(target, message):
    with pytest.raises(DatalistError, match=message + ".*class_map"):
        on_classes_of(target, kermany.CLASSES, CLASS)


def test_a_data_set_without_images(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"classes": ["a"], "task": CLASS, "training": []}))
    with pytest.raises(DatalistError):
        open_test_source(SOURCE, datalist=tmp_path / "x.json")


def test_real_children_on_a_chestxray14_model(shared_data):
    folder = shared_data / "kermany-pediatric"
    children, found = index_folder(folder), open_test_source(SOURCE, folder)
    column = chestxray14.CLASSES.index("Pneumonia")
    expected = [float(item["label"] > 0) for item in children.all_items()]
    assert [label[column] for label in labels_of(found)] == expected
    assert len({item["patient_id"] for item in found.items("test")}) == len(children.patients)


def test_labels_are_collapsed_like_those_of_the_training(tmp_path):
    """Names that the map lacks come by class_map."""
    source = made(["No Finding", "Abnormal"], CLASS, [0, 1], "ours")
    folder = written(tmp_path / "other", made(["Edema", "well", "Mass"], CLASS, [0, 1, 2]))
    opened = open_test_source(source, folder, collapse="normal_abnormal", class_map={"well": "No Finding"})
    assert labels_of(opened) == [1, 0, 1]
    assert opened.classes == source.classes


def test_other_findings_do_not_count():
    target = made(["Effusion", "Edema"], LABEL, [[1, 0]], split="test")
    classes = ["Edema", "Mass", "Pleural Effusion"]
    assert labels_of(on_classes_of(target, classes, LABEL, findings="Edema")) == [[0, None, None]]
    with pytest.raises(DatalistError, match="--findings names 'Hernia', which Other does not label"):
        on_classes_of(target, classes, LABEL, findings=["Hernia"])
