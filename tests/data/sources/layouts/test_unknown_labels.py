# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels that nobody foresaw, in each layout: null, named once with the nearest word, refused by --strict_labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.datalists.datalist import is_known, load_datalist
from monai_cxrssl.data.sources import registry
from monai_cxrssl.data.sources.layouts import brax, chexpert, mimic_cxr_jpg, vindr_cxr, vindr_pcxr

from .tables import touch, write_csv


def csv_table(folder, word):
    write_csv(folder / "t.csv", ["image", "patient_id", "label"], [("odd.png", 1, word), ("b.png", 2, "COVID-19")])
    touch(folder, "odd.png", "b.png")
    return ["--layout", "csv_table", "--option", "label_column=label", "--option", 'classes=["COVID-19", "Normal"]']


def csv_columns(folder, word):
    write_csv(folder / "t.csv", ["image", "patient_id", "Mass"], [("odd.png", 1, word), ("b.png", 2, "positive")])
    touch(folder, "odd.png", "b.png")
    return ["--layout", "csv_table", "--option", 'label_columns=["Mass"]']


def covid_chestxray(folder, word):
    columns = ["patientid", "offset", "finding", "view", "modality", "folder", "filename"]
    rows = [("1", "", word, "PA", "X-ray", "images", "odd.png"), ("2", "", "SARS", "PA", "X-ray", "images", "b.png")]
    write_csv(folder / "metadata.csv", columns, rows)
    touch(folder, "images/odd.png", "images/b.png")


def chexpert_set(folder, word):
    path = "CheXpert-v1.0/train/patient0000{}/study1/{}.jpg"
    rows = [(1, "odd", word), (2, "b", "positive")]
    rows = [{"Path": path.format(n, f), "Frontal/Lateral": "Frontal", "AP/PA": "AP", "Edema": w} for n, f, w in rows]
    write_csv(folder / "train.csv", chexpert.COLUMNS, rows)
    touch(folder, "train/patient00001/study1/odd.jpg", "train/patient00002/study1/b.jpg")


def mimic(folder, word):
    films = [("odd", "1", "10000032", "train"), ("b", "2", "10000032", "train")]
    write_csv(folder / "mimic-cxr-2.0.0-split.csv", ["dicom_id", "study_id", "subject_id", "split"], films)
    rows = [{"subject_id": "10000032", "study_id": n, "Edema": w} for n, w in (("1", word), ("2", "1.0"))]
    write_csv(folder / "mimic-cxr-2.0.0-chexpert.csv", ["subject_id", "study_id", *mimic_cxr_jpg.CLASSES], rows)
    touch(folder, *(f"files/p10/p10000032/s{n}/{name}.jpg" for name, n, _, _ in films))


def chestxray14(folder, word):
    rows = [("odd.png", word, "1"), ("b.png", "Hernia", "2")]
    write_csv(folder / "Data_Entry_2017.csv", ["Image Index", "Finding Labels", "Patient ID"], rows)
    touch(folder, "images/odd.png", "images/b.png")


def padchest(folder, word):
    rows = [("odd.png", word, "1", "PA"), ("b.png", "['normal']", "2", "PA")]
    write_csv(folder / "PADCHEST_labels.csv", ["ImageID", "Labels", "PatientID", "Projection"], rows)
    touch(folder, "odd.png", "b.png")


def kermany(folder, word):
    rows = [("odd.jpeg", "p1", word), ("b.jpeg", "p2", "Bacterial")]
    write_csv(folder / "labels.csv", ["X_ray_image_name", "patient", "label"], rows)
    touch(folder, "images/odd.jpeg", "images/b.jpeg")


def kermany_tree(folder, word):
    odd = f"train/{word}/odd-1.jpeg" if word else "train/PNEUMONIA/odd-1.jpeg"
    names = ["train/NORMAL/IM-0115-0001.jpeg", "train/PNEUMONIA/VIRUS-1-0001.jpeg"]
    touch(folder, *names, *([odd] if word else []))


def siim_covid(folder, word):
    grades = ["Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance"]
    write_csv(
        folder / "train_study_level.csv", ["id", *grades], [("s1_study", word, 0, 0, 0), ("s2_study", 0, 1, 0, 0)]
    )
    images = [("odd_image", "none 1 0 0 1 1", "s1"), ("b_image", "none 1 0 0 1 1", "s2")]
    write_csv(folder / "train_image_level.csv", ["id", "label", "StudyInstanceUID"], images)
    touch(folder, "train/s1/x/odd.dcm", "train/s2/x/b.dcm")
    return ["--option", "headers=false"]


def rsna_pneumonia(folder, word):
    columns = ["patientId", "x", "y", "width", "height", "Target"]
    write_csv(folder / "stage_2_train_labels.csv", columns, [("odd", "", "", "", "", 0), ("b", 1, 2, 3, 4, 1)])
    details = [("odd", word), ("b", "Lung Opacity")]
    write_csv(folder / "stage_2_detailed_class_info.csv", ["patientId", "class"], details)
    touch(folder, "stage_2_train_images/odd.dcm", "stage_2_train_images/b.dcm")
    return ["--option", "headers=false"]


def montgomery(folder, word):
    touch(folder, f"CXR_png/MCUCXR_0001_{word}.png", "CXR_png/MCUCXR_0002_1.png")


def shenzhen(folder, word):
    touch(folder, f"CXR_png/CHNCXR_0001_{word}.png", "CXR_png/CHNCXR_0002_0.png")


def vindr(folder, word):
    rows = [{"image_id": "odd", "rad_id": "R1", "Edema": word}, {"image_id": "b", "rad_id": "R1", "Edema": "1"}]
    write_csv(folder / "annotations/image_labels_train.csv", ["image_id", "rad_id", *vindr_cxr.COLUMNS], rows)
    touch(folder, "train/odd.dicom", "train/b.dicom")


def covidx(folder, word):
    (folder / "train.txt").write_text(f"1 odd.png {word} cohen\n2 b.png positive cohen\n")
    touch(folder, "train/odd.png", "train/b.png")


def covid_qu_ex(folder, word):
    films = [f"Train/{word or 'Normal'}/{{}}/odd.png", "Train/COVID-19/{}/b.png"][0 if word else 1 :]
    touch(folder, *(film.format(kind) for film in films for kind in ("images", "lung masks")))


def tbx11k(folder, word):
    names = [f"{word}/odd.png" if word else "odd.png", "tb/b.png"]
    touch(folder, "lists/TBX11K_train.txt", *(f"imgs/{name}" for name in names))
    (folder / "lists/TBX11K_train.txt").write_text("\n".join(names))


def jsrt(folder, word):
    for name in (f"JPC{word}N001.IMG", "JPCLN002.IMG"):
        with (folder / name).open("wb") as stream:
            stream.truncate(8_388_608)


def actualmed(folder, word):
    rows = [("1", word, "odd.png"), ("2", "COVID-19", "b.png")]
    write_csv(folder / "metadata.csv", ["patientid", "finding", "imagename"], rows)
    touch(folder, "images/odd.png", "images/b.png")


def figure1(folder, word):
    columns = ["patientid", "finding", "temperature", "pO2 saturation", "artifacts/distortion"]
    write_csv(folder / "metadata.csv", columns, [("COVID-odd", word, "", "", ""), ("COVID-2", "COVID-19", "", "", "")])
    touch(folder, "images/COVID-odd.jpg", "images/COVID-2.jpg")


def brax_set(folder, word):
    rows = [("odd", word), ("b", "1.0")]
    rows = [{"DicomPath": "", "PngPath": f"images/{n}.png", "PatientID": n, "Edema": w} for n, w in rows]
    write_csv(folder / "master_spreadsheet_update.csv", ["DicomPath", "PngPath", "PatientID", *brax.CLASSES], rows)
    touch(folder, "images/odd.png", "images/b.png")


def vindr_pcxr_set(folder, word):
    rows = [{"image_id": n, "Pneumonia": w} for n, w in (("odd", word), ("b", "1"))]
    write_csv(folder / "image_labels_train.csv", ["image_id", *vindr_pcxr.COLUMNS], rows)
    touch(folder, "train/odd.png", "train/b.png")


def open_i(folder, word):
    write_csv(folder / "indiana_reports.csv", ["uid", "MeSH"], [("1", word), ("2", "Cardiomegaly/mild")])
    films = [("1", "odd.png", "Frontal"), ("2", "b.png", "Frontal")]
    write_csv(folder / "indiana_projections.csv", ["uid", "filename", "projection"], films)
    touch(folder, "images/odd.png", "images/b.png")


def siim_pneumothorax(folder, word):
    write_csv(folder / "train-rle.csv", ["ImageId", "EncodedPixels"], [("odd", word), ("b", "-1")])
    touch(folder, "dicom-images-train/1/1/odd.dcm", "dicom-images-train/2/2/b.dcm")


def candid_ptx(folder, word):
    write_csv(folder / "Pneumothorax_reports.csv", ["SOPInstanceUID", "EncodedPixels"], [("odd", word), ("b", "-1")])
    touch(folder, "images/odd.png", "images/b.png")


def object_cxr(folder, word):
    write_csv(folder / "train.csv", ["image_name", "annotation"], [("odd.jpg", word), ("b.jpg", "0 1 2 3 4")])
    touch(folder, "train/odd.jpg", "train/b.jpg")


def chestx_det(folder, word):
    entries = [{"file_name": "odd.png", "syms": [word], "boxes": [[1, 2, 3, 4]]},
               {"file_name": "b.png", "syms": ["Mass"], "boxes": [[1, 2, 3, 4]]}]  # fmt: skip
    (folder / "ChestX_Det_train.json").write_text(json.dumps(entries))
    touch(folder, "train_data/odd.png", "train_data/b.png")


# Per layout: what builds it, a misspelt label, the word it is nearest to; labels within a file name are letters.
LAYOUTS = {
    "csv_table": (csv_table, "Nromal", "Normal"),
    "csv_table by column": (csv_columns, "postive", "positive"),
    "covid_chestxray": (covid_chestxray, "Cvid-19", "COVID-19"),
    "chexpert": (chexpert_set, "uncertan", "uncertain"),
    "mimic_cxr_jpg": (mimic, "negativ", "negative"),
    "chestxray14": (chestxray14, "Edemaa", "Edema"),
    "padchest": (padchest, "['pleural efusion']", "Pleural Effusion"),
    "kermany": (kermany, "Bactrial", "Bacterial"),
    "kermany tree": (kermany_tree, "PNEUMONA", "PNEUMONIA"),
    "siim_covid": (siim_covid, "absnt", "absent"),
    "rsna_pneumonia": (rsna_pneumonia, "Lung Opacty", "Lung Opacity"),
    "montgomery": (montgomery, "00", "0"),
    "shenzhen": (shenzhen, "11", "1"),
    "vindr_cxr": (vindr, "yess", "yes"),
    "covidx": (covidx, "negtive", "negative"),
    "covid_qu_ex": (covid_qu_ex, "Nrmal", "Normal"),
    "tbx11k": (tbx11k, "helth", "health"),
    "jsrt": (jsrt, "LL", "L"),
    "actualmed": (actualmed, "Cvid-19", "COVID-19"),
    "figure1": (figure1, "Cvid-19", "COVID-19"),
    "brax": (brax_set, "uncertan", "uncertain"),
    "vindr_pcxr": (vindr_pcxr_set, "yess", "yes"),
    "open_i": (open_i, "cardiomegalyy", "Cardiomegaly"),
    "chestx_det": (chestx_det, "Effusionn", "Effusion"),
}
# Labels that are run lengths or shapes have no nearest word, but are unknown like others.
SHAPES = {
    "siim_pneumothorax": (siim_pneumothorax, "", ""),
    "candid_ptx": (candid_ptx, "", ""),
    "object_cxr": (object_cxr, "", ""),
}
# Labels of these are the folders by which they are recognised.
BY_FOLDER = {"covid_radiography", "hannover", "class_folders", "image_mask_folders", "folder"}


def test_every_layout_is_here():
    tried = {name.split()[0] for name in (*LAYOUTS, *SHAPES)}
    assert tried | BY_FOLDER == set(registry.LAYOUTS)


def indexed(folder, build, word, *more):
    """Build a data set whose image ``odd`` has a word for its label, index it, and give status and labels."""
    folder.mkdir()
    options = build(folder, word) or []
    status = main(["index", str(folder), "--out", str(folder / "d.json"), *options, *more])
    if status:
        return status, {}
    items = load_datalist(folder / "d.json").all_items()
    return status, {item["image"]: item.get("label") for item in items}


def odd_one(labels):
    found = [image for image in labels if any(sign in image for sign in ("odd", "0001_", "001.IMG"))]
    return found[0] if found else ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_misspelt_label_is_unknown_and_named_with_the_nearest(tmp_path, caplog, capsys, layout):
    build, word, nearest = LAYOUTS[layout]
    status, labels = indexed(tmp_path / "set", build, word)
    bare = word.strip("[']")
    assert status == 0
    told = labels[odd_one(labels)]
    # Of a multi-label image only the class that is misspelt need be unknown.
    assert told is None or not is_known(told) or None in told
    assert sum(is_known(label) for label in labels.values()) >= 1
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "nearest" in r.getMessage()]
    assert len(warnings) == 1, caplog.text
    assert repr(bare) in warnings[0]
    assert f"nearest: {nearest})" in warnings[0]
    capsys.readouterr()
    assert indexed(tmp_path / "strict", build, word, "--strict_labels")[0] == 2
    error = capsys.readouterr().err
    assert repr(bare) in error
    assert f"nearest: {nearest})" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "strict" / "d.json").exists()


@pytest.mark.parametrize("layout", [name for name in (*LAYOUTS, *SHAPES) if name != "open_i"])
def test_a_label_that_nobody_foresaw_is_unknown_and_named(tmp_path, caplog, layout):
    word = {"jsrt": "Q", "padchest": "hiccups"}.get(layout, "Zebra")
    build = (LAYOUTS | SHAPES)[layout][0]
    status, labels = indexed(tmp_path / "set", build, word)
    assert status == 0
    assert not is_known(labels[odd_one(labels)])
    assert [r.getMessage().count(repr(word)) for r in caplog.records if repr(word) in r.getMessage()] == [1]
    assert indexed(tmp_path / "strict", build, word, "--strict_labels")[0] == 2


@pytest.mark.parametrize("word", ["", "nan", "NaN", "N/A"])
@pytest.mark.parametrize("layout", [name for name in (*LAYOUTS, *SHAPES) if name not in ("chestx_det", "object_cxr")])
def test_a_missing_label_is_unknown_and_no_reason_to_refuse(tmp_path, layout, word):
    if layout == "jsrt" and word:
        pytest.skip("three letters are no name of JSRT's")
    if word == "N/A" and layout in ("kermany tree", "montgomery", "shenzhen", "covid_qu_ex", "tbx11k"):
        pytest.skip("no file name holds a slash")
    status, labels = indexed(tmp_path / "set", (LAYOUTS | SHAPES)[layout][0], word, "--strict_labels")
    assert status == 0
    assert not is_known(labels.get(odd_one(labels)))
    assert sum(is_known(label) for label in labels.values()) >= 1


def test_a_covid_chestxray_finding_made_of_known_words_is_read(tmp_path, caplog):
    for number, (word, label) in enumerate(
        [
            ("Mycoplasma Bacterial Pneumonia", 2),
            ("covid 19", 1),
            ("Pneumonia, Cvid-19", None),
            ("No Finding, Zebra", None),
        ]
    ):
        caplog.clear()
        status, labels = indexed(tmp_path / str(number), covid_chestxray, word)
        assert (status, labels[odd_one(labels)]) == (0, label)
        assert ("nearest" in caplog.text or "no known word" in caplog.text) == (label is None)


def test_part_of_a_label_is_known(tmp_path):
    """What an unknown word may mean is unknown; what stands beside it is not."""
    _, labels = indexed(tmp_path / "nih", chestxray14, "Hernia|Cough")
    assert sorted(map(str, labels[odd_one(labels)])) == ["1.0"] + ["None"] * 13
    _, labels = indexed(tmp_path / "pad", padchest, "['hernia', 'cardiomegali', 'nipple shadow']")
    values = labels[odd_one(labels)]
    assert (values.count(1.0), values.count(None)) == (1, 1)


def test_a_chexpert_table_that_pandas_saved_again(tmp_path):
    import pandas as pd

    chexpert_set(tmp_path, "")
    table = pd.read_csv(tmp_path / "train.csv")
    table.assign(Age=np.nan).to_csv(tmp_path / "train.csv", index=False, na_rep="nan")
    assert main(["index", str(tmp_path), "--out", str(tmp_path / "d.json")]) == 0
    label = json.loads((tmp_path / "d.json").read_text())["training"][1]["label"]
    assert [value for value in label if value is not None] == [1.0]
