# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The VinDr-CXR layout on a miniature of its tree: votes, boxes, and what it says of broken tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from monai_cxrssl.data.datalists.vocabulary import PATHOLOGIES, canonical_pathology
from monai_cxrssl.data.sources.layouts import vindr_cxr
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import ConfigurationError, DatalistError

COLUMNS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,"
    "Tuberculosis,Other diseases,No finding"
)
TRAIN = {("a", "R1"): "ILD", ("a", "R2"): "ILD,Edema", ("a", "R3"): "Edema,ILD,COPD", ("b", "R1"): "No finding"}
TEST = {("t",): "Other disease"}
BOX_HEADER = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
BOXES = ["b,R1,No finding,,,,", "a,R2,ILD,10.5,20,30,40", "a,R2,ILD,10.5,20,30,40", "a,R3,Enlarged PA,1,2,3,4"]
TEST_BOXES = ["t,COPD,5,6,7,8"]


def table(rows, who, columns=COLUMNS):
    """Text of an image_labels table: the classes named are 1, the others 0."""
    lines = [",".join((*who, columns))]
    for key, positive in rows.items():
        lines.append(",".join((*key, *(str(int(name in positive.split(","))) for name in columns.split(",")))))
    return "\n".join(lines) + "\n"


@pytest.fixture
def tree(tmp_path):
    """Writes the data set."""

    def write(labels=None, boxes=BOXES, box_header=BOX_HEADER, films=("train/a.dicom", "train/b.dcm", "test/t.dicom")):
        notes = tmp_path / "annotations"
        for name in (notes, tmp_path / "train", tmp_path / "test"):
            name.mkdir(exist_ok=True)
        (notes / "image_labels_train.csv").write_text(labels or table(TRAIN, ("image_id", "rad_id")))
        columns = COLUMNS.replace("diseases", "disease")
        (notes / "image_labels_test.csv").write_text(table(TEST, ("image_id",), columns))
        (notes / "annotations_train.csv").write_text("\n".join([box_header, *boxes]) + "\n")
        test_header = BOX_HEADER.replace("rad_id,", "")
        (notes / "annotations_test.csv").write_text("\n".join([test_header, *TEST_BOXES]) + "\n")
        for film in films:
            (tmp_path / film).touch()
        return tmp_path

    return write


def test_films_as_png(tree, caplog):
    folder = tree(films=())
    for name, size in (("a", (1600, 2000)), ("b", (512, 512)), ("t", (512, 512))):
        Image.new("L", size).save(folder / f"{'test' if name == 't' else 'train'}/{name}.png")
    datalist = index_folder(folder)
    boxes = {item["patient_id"]: item.get("boxes") for item in datalist.all_items()}
    assert boxes == {"a": [[10.5, 20, 30, 40], [1, 2, 3, 4]], "b": [], "t": None}
    assert "1 images are PNG or JPEG whose size differs from the DICOM file's; they get no boxes" in caplog.text


@pytest.mark.parametrize("sizes", [True, False])
def test_competition_on_kaggle(tmp_path, sizes, caplog):
    rows = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max,width,height"]
    rows += ["a,Cardiomegaly,3,R1,100,200,300,400,1000,2000", "a,Cardiomegaly,3,R2,120,200,300,400,1000,2000"]
    rows += ["a,ILD,5,R1,10,20,30,40,1000,2000", "a,No finding,14,R3,,,,,1000,2000"]
    rows += [f"b,No finding,14,R{n},,,,,1000,2000" for n in (1, 2, 3)]
    top = tmp_path / "vinbigdata"
    (top / "train").mkdir(parents=True)
    (top / "train.csv").write_text("\n".join(row if sizes else row.rsplit(",", 2)[0] for row in rows))
    for name in ("a", "b"):
        Image.new("L", (512, 512)).save(top / "train" / f"{name}.png")
    first, second = index_folder(tmp_path).items()
    told = {canonical_pathology(name) for name in vindr_cxr.COMPETITION}
    assert {name for name, v in zip(vindr_cxr.CLASSES, first["label"], strict=True) if v is not None} == told
    assert [n for n, v in zip(vindr_cxr.CLASSES, first["label"], strict=True) if v] == ["Cardiomegaly"]
    assert [n for n, v in zip(vindr_cxr.CLASSES, second["label"], strict=True) if v] == ["No Finding"]
    assert second["boxes"] == []
    if sizes:
        assert first["boxes"][0] == pytest.approx([51.2, 51.2, 153.6, 102.4])
        assert (first["box_classes"][2], first["box_readers"][1]) == ("Interstitial Lung Disease", "R2")
    else:
        assert "boxes" not in first
        assert "1 images are PNG or JPEG whose size differs" in caplog.text
    fraction = vindr_cxr.read(top, votes="fraction").items()[0]["label"]
    assert fraction[vindr_cxr.CLASSES.index("Cardiomegaly")] == pytest.approx(2 / 3)


def positive(item, threshold=0.5):
    return {name: value for name, value in zip(vindr_cxr.CLASSES, item["label"], strict=True) if value >= threshold}


def test_classes_are_in_the_vocabulary():
    assert len(set(vindr_cxr.CLASSES)) == 28
    assert set(vindr_cxr.CLASSES) <= set(PATHOLOGIES)


def test_items(tree):
    folder = tree()
    assert find_layout(folder) == "vindr_cxr"
    datalist = index_folder(folder)
    assert datalist.task == "multi_label"
    a, b = datalist.items("training")
    (t,) = datalist.items("test")
    assert [Path(item["image"]).relative_to(folder).as_posix() for item in (a, b, t)] == [
        "train/a.dicom",
        "train/b.dcm",
        "test/t.dicom",
    ]
    assert [item["patient_id"] for item in (a, b, t)] == ["a", "b", "t"]
    assert positive(a) == {"Interstitial Lung Disease": 1, "Edema": 1}
    assert positive(b) == {"No Finding": 1}
    assert positive(t) == {"Other Disease": 1}
    assert a["boxes"] == [[10.5, 20, 30, 40], [1, 2, 3, 4]]
    assert a["box_classes"] == ["Interstitial Lung Disease", "Enlarged Pulmonary Artery"]
    assert a["box_readers"] == ["R2", "R3"]
    assert b["boxes"] == []
    assert (t["boxes"], t["box_classes"], "box_readers" in t) == ([[5, 6, 7, 8]], ["COPD"], False)


def test_votes(tree):
    folder = tree()
    a = vindr_cxr.read(folder, votes="any").items("training")[0]
    assert positive(a) == {"Interstitial Lung Disease": 1, "Edema": 1, "COPD": 1}
    a = vindr_cxr.read(folder, votes="fraction").items("training")[0]
    assert positive(a, 0.01) == pytest.approx({"Interstitial Lung Disease": 1, "Edema": 2 / 3, "COPD": 1 / 3})
    with pytest.raises(ConfigurationError, match="expected one of majority, any, fraction"):
        vindr_cxr.read(folder, votes="all")


def test_without_boxes_and_test_films(tree):
    folder = tree()
    for name in ("image_labels_test", "annotations_test", "annotations_train"):
        (folder / "annotations" / f"{name}.csv").unlink()
    datalist = vindr_cxr.read(folder)
    assert (len(datalist.items("training")), len(datalist.items("test"))) == (2, 0)
    assert "boxes" not in datalist.items("training")[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": table(TRAIN, ("image_id", "rad_id"), COLUMNS.replace("ILD,", ""))}, "lacks the column ILD"),
        ({"labels": table(TRAIN, ("image_id", "reader"))}, "lacks the column rad_id"),
        ({"box_header": BOX_HEADER.replace("x_max", "x2")}, "annotations_train.csv lacks the column x_max"),
        ({"films": ("train/a.dicom", "test/t.dicom")}, r"labels_train.csv, row 5 .*listed file does not exist"),
        (
            {"labels": table(TRAIN, ("image_id", "rad_id")).replace("a,R2", "a,R1")},
            r"row 3 .*the reading a of R1 was listed before, in row 2",
        ),
        ({"labels": table(TRAIN, ("image_id", "rad_id")).replace("b,R1", ",R1")}, r"row 5 .*image_id is empty"),
        ({"boxes": ["a,R1,ILD,5,2,3,4"]}, r"row 2 .*the box is no box"),
        ({"boxes": ["a,R1,ILD,1,2,3,"]}, r"row 2 .*the box is no box"),
    ],
)
def test_faults(tree, changed, message):
    folder = tree(**changed)
    with pytest.raises(DatalistError, match=message):
        vindr_cxr.read(folder)
