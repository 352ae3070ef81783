# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Eleven published data sets on miniatures of their documented trees: recognised, and read as they are described."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.draw import ellipse, polygon

from monai_cxrssl.data.datalists.masks import rle_encode
from monai_cxrssl.data.sources.layouts import brax, chestx_det, object_cxr, open_i, vindr_pcxr
from monai_cxrssl.data.sources.registry import LAYOUTS, find_layout, index_folder
from monai_cxrssl.errors import DatalistError

from .tables import touch, write_csv

ACTUALMED = ["patientid", "offset", "sex", "age", "finding", "survival", "temperature", "pO2 saturation", "view", "modality", "imagename", "artifacts/distortion", "notes"]  # fmt: skip
FIGURE1 = [name for name in ACTUALMED if name != "imagename"]
BRAX = ("DicomPath", "PngPath", "PatientID", "PatientSex", "PatientAge", "AccessionNumber", "ViewPosition")
BOXES = ("image_id", "rad_ID", "class_name", *vindr_pcxr.CORNERS)
SIDE = 1024


def grey(path, shape=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(shape, np.uint8)).save(path)


def a_film(path, dicom, patient):
    path.parent.mkdir(parents=True, exist_ok=True)
    film = dicom.make_dicom(np.zeros((4, 4), np.uint16), PatientID=patient, ViewPosition="AP", PatientAge="004Y")
    film.save_as(path, enforce_file_format=True)


def square(top, left, side):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def actualmed_tree(folder, dicom):
    day = "Inconclusive, date taken (YYYYMMDD): 20200313"
    rows = [
        {"patientid": "ANON1", "finding": "COVID-19", "view": "PA", "imagename": "CR.1.png", "notes": day},
        {"patientid": "ANON1", "finding": "No finding", "view": "AP", "imagename": "DX.2.png", "notes": ""},
        {"patientid": "ANON2", "finding": "", "view": "AP", "imagename": "DX.3.png"},
    ]
    write_csv(folder / "metadata.csv", ACTUALMED, rows)
    touch(folder, "images/CR.1.png", "images/DX.2.png", "images/DX.3.png")


def figure1_tree(folder, dicom):
    rows = [
        {
            "patientid": "COVID-00003a",
            "offset": "8",
            "sex": "M",
            "age": "28",
            "finding": "COVID-19",
            "view": "AP erect",
        },
        {"patientid": "COVID-00003b", "offset": "9", "sex": "M", "age": "28", "finding": "Pneumonia"},
        {"patientid": "COVID-00004", "age": "50+"},
    ]
    write_csv(folder / "metadata.csv", FIGURE1, rows)
    touch(folder, "images/COVID-00003a.jpg", "images/COVID-00003b.png", "images/COVID-00004.jpg")


def hannover_tree(folder, dicom):
    columns = ["patient_id", "image_id", "sex", "age", "admission_offset", "icu_admission_offset",
               "icu_release_offset", "death_offset", "modality", "projection"]  # fmt: skip
    rows = [
        ["042f06a9", "b343e657", "m", "", "0", "0.0", "4.0", "", "CR", "ap"],
        ["042f06a9", "c9280a30", "m", "", "-2", "-5.0", "-1.0", "12.0", "CR", "ap"],
        ["0a359802", "61bc50d1", "f", "", "-13", "", "", "", "DX", "pa"],
    ]
    write_csv(folder / "data.csv", columns, rows)
    touch(folder, *(f"png/{row[1]}.png" for row in rows))


def radiography_tree(folder, dicom):
    for kind in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        touch(folder, f"{kind}/images/{kind}-1.png", f"{kind}/masks/{kind}-1.png", f"{kind}.metadata.xlsx")
    touch(folder, "Normal/images/Normal-2.png", "Normal/images/Thumbs.db")


def open_i_tree(folder, dicom):
    reports = [[1, "normal", "normal"], [2, "Cardiomegaly/borderline;Opacity/lung/base", "Cardiomegaly;Opacity"],
               [3, "No Indexing", ""]]  # fmt: skip
    write_csv(folder / "indiana_reports.csv", ["uid", "MeSH", "Problems"], reports)
    films = [[1, "1_IM-0001-4001.dcm.png", "Frontal"], [1, "1_IM-0001-3001.dcm.png", "Lateral"],
             [2, "2_IM-0652-1001.dcm.png", "Frontal"], [3, "3_IM-1384-1001.dcm.png", "Frontal"]]  # fmt: skip
    write_csv(folder / "indiana_projections.csv", ["uid", "filename", "projection"], films)
    touch(folder, *(f"images/images_normalized/{name}" for _, name, _ in films))


def siim_tree(folder, dicom):
    runs = [rle_encode(square(5, 9, 3), "siim"), rle_encode(square(40, 90, 30), "siim")]
    write_csv(folder / "train-rle.csv", ["ImageId", " EncodedPixels"], [["1.2.3", runs[0]], ["1.2.4", "-1"],
                                                                         ["1.2.3", runs[1]]])  # fmt: skip
    a_film(folder / "dicom-images-train" / "s1" / "r1" / "1.2.3.dcm", dicom, "p1")
    a_film(folder / "dicom-images-train" / "s2" / "r2" / "1.2.4.dcm", dicom, "")


def candid_tree(folder, dicom):
    rows = [["1.2.3", rle_encode(square(5, 9, 3), "siim"), "free text, with commas"], ["1.2.4", "-1", ""]]
    write_csv(folder / "Pneumothorax_reports.csv", ["SOPInstanceUID", "EncodedPixels", "Report"], rows)
    write_csv(folder / "chest_tube.csv", ["anon_SOPUID", "annotation_ref", "mask_rle"], [["1.2.4", "a", "1 2"]])
    a_film(folder / "dataset" / "1.2.3", dicom, "p1")
    a_film(folder / "dataset" / "1.2.4.dcm", dicom, "p1")


def object_tree(folder, dicom):
    shapes = "0 2 3 10 9;1 20 30 41 52;2 1 60 9 60 9 70"
    rows = [["/path/08001.jpg", shapes], ["/path/08002.jpg", ""]]
    write_csv(folder / "train.csv", ["image_path", "annotation"], rows)
    write_csv(folder / "dev.csv", ["image_name", "annotation"], [["08003.jpg", ""]])
    for name in ("train/08001.jpg", "train/08002.jpg", "dev/08003.jpg"):
        grey(folder / name, (80, 64))


def det_tree(folder, dicom):
    corners = [[8, 8], [24, 8], [24, 24], [8, 24]]
    entries = [{"file_name": "36199.png", "syms": ["Effusion", "Mass"], "boxes": [[8, 8, 24, 24], [1, 2, 3, 4]],
                "polygons": [corners, corners]}]  # fmt: skip
    (folder / "ChestX_Det_train.json").write_text(json.dumps(entries))
    (folder / "ChestX_Det_test.json").write_text(json.dumps([{"file_name": "2.png", "syms": [], "boxes": []}]))
    grey(folder / "train_data" / "36199.png", (32, 48))
    grey(folder / "test_data" / "test" / "2.png")


def pcxr_tree(folder, dicom):
    columns = ["image_id", "rad_ID", *vindr_pcxr.COLUMNS]
    rows = [{"image_id": "a", "rad_ID": "R1", **dict.fromkeys(vindr_pcxr.COLUMNS, "0"), "Brocho-pneumonia": "1"}]
    write_csv(folder / "image_labels_train.csv", columns, rows)
    write_csv(folder / "image_labels_test.csv", columns, [{**rows[0], "image_id": "t", "CPAM": "1.0"}])
    boxes = [["a", "R1", "Enlarged PA", 1, 2, 3, 4], ["a", "R1", "Other opacity", 5, 6, 7, 8]]
    write_csv(folder / "annotations_train.csv", BOXES, boxes)
    write_csv(folder / "annotations_test.csv", BOXES, [["t", "R1", "No finding", "", "", "", ""]])
    a_film(folder / "train" / "a.dicom", dicom, "")
    grey(folder / "test" / "t.png")


def brax_tree(folder, dicom):
    where = "id_1/Study_2/Series_3/image-4"
    row = {"DicomPath": f"Anonymized_DICOMs/{where}.dcm", "PngPath": f"images/{where}.png", "PatientID": "id_1",
           "PatientSex": "F", "PatientAge": "85 or more", "AccessionNumber": "7", "ViewPosition": "L", "Edema": "-1.0",
           "Mass": "1"}  # fmt: skip
    write_csv(folder / "master_spreadsheet_update.csv", [*BRAX, *brax.CLASSES], [row])
    touch(folder, row["PngPath"])


def positive(datalist, item):
    label = item.get("label")
    if isinstance(label, list):
        return {name for name, value in zip(datalist.classes, label, strict=True) if value}
    return None if label is None else datalist.classes[label]


# Layout, its tree, the patients of its splits in order, and what each image of training is positive for.
CASES = {
    "actualmed": (actualmed_tree, {"training": ["ANON1", "ANON1", "ANON2"]}, ["COVID-19", "No Finding", None]),
    "figure1": (figure1_tree, {"training": ["COVID-00003", "COVID-00003", "COVID-00004"]},
                ["COVID-19", "Other Pneumonia", None]),
    "hannover": (hannover_tree, {"training": ["042f06a9", "042f06a9", "0a359802"]}, ["COVID-19"] * 3),
    "covid_radiography": (
        radiography_tree,
        {"training": ["COVID/COVID-1", "Lung_Opacity/Lung_Opacity-1", "Normal/Normal-1", "Normal/Normal-2",
                      "Viral Pneumonia/Viral Pneumonia-1"]},
        ["COVID-19", "Lung Opacity", "No Finding", "No Finding", "Viral Pneumonia"],
    ),
    "open_i": (open_i_tree, {"training": ["1", "1", "2", "3"]},
               [{"No Finding"}, {"No Finding"}, {"Cardiomegaly", "Lung Opacity"}, set()]),
    "siim_pneumothorax": (siim_tree, {"training": ["p1", "1.2.4"]}, [{"Pneumothorax"}, set()]),
    "candid_ptx": (candid_tree, {"training": ["p1", "p1"]}, [{"Pneumothorax"}, {"Chest Tube"}]),
    "object_cxr": (object_tree, {"training": ["train/08001", "train/08002"], "validation": ["dev/08003"]},
                   [{"Foreign Object"}, set()]),
    "chestx_det": (det_tree, {"training": ["train/36199"], "test": ["test/2"]}, [{"Pleural Effusion", "Mass"}]),
    "vindr_pcxr": (pcxr_tree, {"training": ["a"], "test": ["t"]}, [{"Bronchopneumonia"}]),
    "brax": (brax_tree, {"training": ["id_1"]}, [set()]),
}  # fmt: skip


@pytest.mark.parametrize("layout", CASES)
def test_a_tree_is_recognised_and_read(layout, tmp_path, dicom):
    write, patients, findings = CASES[layout]
    write(tmp_path, dicom)
    assert find_layout(tmp_path) == layout
    datalist = index_folder(tmp_path)
    assert {
        split: [item["patient_id"] for item in items] for split, items in datalist.splits.items() if items
    } == patients
    training = datalist.items("training")
    assert [positive(datalist, item) for item in training] == findings
    assert all(Path(item["image"]).is_file() for split in patients for item in datalist.items(split))
    assert {item["source"] for item in training} == {LAYOUTS[layout].NAME}


@pytest.mark.parametrize("layout", CASES)
def test_an_absent_film_is_named_or_left_out_when_asked(layout, tmp_path, dicom):
    write, _, _ = CASES[layout]
    write(tmp_path, dicom)
    film = Path(index_folder(tmp_path).items("training")[0]["image"])
    film.unlink()
    if layout == "covid_radiography":  # lists what is there
        assert len(index_folder(tmp_path).splits["training"]) == 4
        return
    with pytest.raises(DatalistError, match=r"do(es)? not exist|are not (in|below)|listed image"):
        LAYOUTS[layout].read(tmp_path)
    if len(CASES[layout][1]["training"]) > 1:
        assert str(film) not in str(LAYOUTS[layout].read(tmp_path, allow_absent=True).items("training"))


def test_what_the_days_of_an_illness_tell(tmp_path, dicom):
    hannover_tree(tmp_path, dicom)
    first, second, third = index_folder(tmp_path).items("training")
    assert (first["study_id"], second["study_id"]) == ("042f06a9-day0", "042f06a9-day2")
    assert (first["in_icu"], second["in_icu"]) == (True, False)
    assert "in_icu" not in third
    assert second["died"] is True
    assert "died" not in first
    assert [item["view_position"] for item in (first, third)] == ["AP", "PA"]
    assert [item["sex"] for item in (first, third)] == ["M", "F"]


def test_films_of_one_patient_differ_by_a_letter(tmp_path, dicom):
    figure1_tree(tmp_path, dicom)
    first, second, third = index_folder(tmp_path).items("training")
    assert (first["study_id"], second["study_id"]) == ("COVID-00003-day8", "COVID-00003-day9")
    assert (first["view_position"], first["age"], first["sex"]) == ("AP", 28.0, "M")
    assert "age" not in third
    assert "study_id" not in third


def test_masks_of_radiography_are_joined_and_films_without_one_counted(tmp_path, dicom, caplog):
    radiography_tree(tmp_path, dicom)
    items = index_folder(tmp_path).items("training")
    assert [Path(item["lung_mask"]).parent.name for item in items if "lung_mask" in item] == ["masks"] * 4
    assert "1 images without a mask" in caplog.text


def test_reports_of_the_library_s_own_archive(tmp_path):
    report = ("<eCitation><uId id='CXR7'/><MedlineCitation><MeSH><major>Calcinosis/lung</major>"
              "<automatic>nodule</automatic></MeSH></MedlineCitation>"
              "<parentImage id='CXR7_IM-1'/><parentImage id='CXR7_IM-2'/></eCitation>")  # fmt: skip
    (tmp_path / open_i.XML).mkdir()
    (tmp_path / open_i.XML / "7.xml").write_text(report)
    (tmp_path / open_i.XML / "8.xml").write_text("<eCitation/>")
    touch(tmp_path, "NLMCXR_png/CXR7_IM-1.png", "NLMCXR_png/CXR7_IM-2.png")
    assert find_layout(tmp_path) == "open_i"
    datalist = index_folder(tmp_path)
    assert [item["patient_id"] for item in datalist.items("training")] == ["7", "7"]
    assert positive(datalist, datalist.items("training")[0]) == {"Calcification", "Nodule"}
    (tmp_path / open_i.XML / "7.xml").write_text("<eCitation>")
    with pytest.raises(DatalistError, match="cannot be read as a report"):
        index_folder(tmp_path)


@pytest.mark.parametrize("layout", ["siim_pneumothorax", "candid_ptx"])
def test_run_lengths_become_masks(layout, tmp_path, dicom):
    top, masks = tmp_path / "set", tmp_path / "masks"
    top.mkdir()
    CASES[layout][0](top, dicom)
    first, second = LAYOUTS[layout].read(top, masks_dir=masks).items("training")
    expected = square(5, 9, 3) | (square(40, 90, 30) if layout == "siim_pneumothorax" else 0)
    np.testing.assert_array_equal(np.asarray(Image.open(first["lesion_mask"])), expected * 255)
    assert "lesion_mask" not in second
    assert (first["view_position"], first["age"]) == ("AP", 4.0)


def test_shapes_become_boxes_and_masks(tmp_path, dicom):
    object_tree(tmp_path, dicom)
    film, clean = LAYOUTS["object_cxr"].read(tmp_path, masks_dir=tmp_path / "masks").items("training")
    np.testing.assert_allclose(film["boxes"], [[2, 3, 10, 9], [20, 30, 41, 52], [1, 60, 9, 70]], atol=1e-6)
    assert clean["boxes"] == []
    assert "lesion_mask" not in clean
    mask = np.asarray(Image.open(film["lesion_mask"])) > 0
    expected = np.zeros((80, 64), bool)
    expected[3:9, 2:10] = True
    expected[ellipse(40.5, 30, 11, 10.5)] = True
    expected[polygon([59.5, 59.5, 69.5], [0.5, 8.5, 8.5])] = True
    # A pixel is in or out by its centre: the outlines of the two ways differ by parts of a pixel.
    assert np.logical_xor(mask, expected).sum() < 0.04 * expected.sum()


@pytest.mark.parametrize("text", ["0 1 2 3", "0 3 1 2 4", "3 1 2 3 4", "2 1 2 3 4", "1 a b c d", "2 1 2 3 4 5 nan"])
def test_a_shape_that_is_none_is_named_by_its_row(text, tmp_path, dicom, caplog):
    assert object_cxr.parse_shapes(text) is None
    object_tree(tmp_path, dicom)
    write_csv(tmp_path / "train.csv", ["image_path", "annotation"], [["08001.jpg", ""], ["08002.jpg", text]])
    with caplog.at_level("WARNING"):
        _, film = index_folder(tmp_path).items("training")
    assert film["label"] == [None]
    assert "boxes" not in film
    assert repr(text) in caplog.text
    with pytest.raises(DatalistError, match="row 3"):
        object_cxr.read(tmp_path, strict_labels=True)


def test_polygons_become_masks(tmp_path, dicom):
    det_tree(tmp_path, dicom)
    (film,) = LAYOUTS["chestx_det"].read(tmp_path, masks_dir=tmp_path / "masks").items("training")
    expected = np.zeros((32, 48), np.uint8)
    expected[8:24, 8:24] = 255
    np.testing.assert_array_equal(np.asarray(Image.open(film["lesion_mask"])), expected)
    assert film["box_classes"] == ["Pleural Effusion", "Mass"]


@pytest.mark.parametrize("content", ["[", '[{"syms": ["Mass"], "boxes": []}]', '[{"syms": 1}]', '{"syms": []}'])
def test_a_list_of_another_form_is_refused(content, tmp_path, dicom):
    det_tree(tmp_path, dicom)
    (tmp_path / "ChestX_Det_train.json").write_text(content)
    with pytest.raises(DatalistError, match=r"cannot be read as JSON|entry 0|no list"):
        chestx_det.read(tmp_path)


def test_children_have_boxes_and_what_their_headers_say(tmp_path, dicom):
    pcxr_tree(tmp_path, dicom)
    datalist = index_folder(tmp_path)
    (child,) = datalist.items("training")
    assert child["boxes"] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert child["box_classes"] == ["Enlarged Pulmonary Artery", "Other opacity"]
    assert (child["view_position"], child["age"]) == ("AP", 4.0)
    (other,) = datalist.items("test")
    assert other["boxes"] == []
    assert positive(datalist, other) == {"Bronchopneumonia", "CPAM"}


def test_uncertain_and_unmentioned_labels_follow_the_policy(tmp_path, dicom):
    brax_tree(tmp_path, dicom)
    (item,) = index_folder(tmp_path).items("training")
    assert (item["view_position"], item["age"], item["study_id"]) == ("LL", 85.0, "7")
    assert set(item["label"]) == {None}
    (item,) = brax.read(tmp_path, policy="ones", blanks="zero").items("training")
    assert item["label"] == [float(name == "Edema") for name in brax.CLASSES]
