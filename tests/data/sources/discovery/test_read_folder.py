# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Known data sets found where people have them: too high, too low, doubled, several in one folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import load_datalist
from monai_cxrssl.data.sources.layouts import chestxray14, chexpert
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.errors import DatalistError

NIH = {f"{patient:08d}_{number:03d}.png": str(patient) for patient in (13, 14) for number in range(3)}


def files(root, *names, content=""):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def nih(root, table="Data_Entry_2017.csv", images="images_001/images"):
    rows = [f"{name},No Finding,{int(name[-7:-4])},{patient},060Y,M,PA" for name, patient in NIH.items()]
    columns = ",".join((chestxray14.REQUIRED[0], "Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender"))
    files(root, *(f"{images}/{name}" for name in NIH))
    return files(root, table, content="\n".join([columns + ",View Position", *rows]))


def chexpert_small(root):
    images = [f"train/patient{n:05d}/study1/view1_frontal.jpg" for n in (1, 2)]
    head = ",".join(chexpert.COLUMNS)
    rows = [f"CheXpert-v1.0-small/{image},Male,60,Frontal,AP,{',' * 13}" for image in images]
    files(root, *images)
    return files(root, "train.csv", content="\n".join([head, *rows]))


def kermany(root):
    names = ("NORMAL/IM-0115-0001.jpeg", "PNEUMONIA/person1_virus_6.jpeg", "PNEUMONIA/person1_virus_7.jpeg")
    return files(root, *(f"{split}/{name}" for split in ("train", "test") for name in names))


def tuberculosis(root):
    return files(root, "CXR_png/CHNCXR_0001_0.png", "CXR_png/MCUCXR_0001_1.png", "masks/MCUCXR_0001_1.png")


def qu_ex(root, part="Lung"):
    top = f"{part} Segmentation Data/{part} Segmentation Data/Train/COVID-19"
    return files(root, *(f"{top}/{kind}/covid_1.png" for kind in ("images", "lung masks", "infection masks")))


def rsna(root):
    files(root, "stage_2_train_images/a1.png", "stage_2_train_images/b2.png")
    files(root, "stage_2_train_labels.csv", content="patientId,x,y,width,height,Target\na1,,,,,0\nb2,,,,,0")
    return files(root, "stage_2_detailed_class_info.csv", content="patientId,class\na1,Normal\nb2,Normal")


def sources(datalist):
    counts: dict[str, int] = {}
    for item in datalist.all_items():
        counts[item["source"]] = counts.get(item["source"], 0) + 1
    return counts


# What makes a tree, the folder that is given, and who then has how many images and patients.
TREES = {
    "one above": (nih, "data", "data/nih", "ChestX-ray14", 6, 2),
    "two above": (nih, "data", "data/outer/nih", "ChestX-ray14", 6, 2),
    "images of": (nih, "nih/images_001/images", "nih", "ChestX-ray14", 6, 2),
    "one below": (nih, "nih/images_001", "nih", "ChestX-ray14", 6, 2),
    "chexpert in archive": (chexpert_small, "archive", "archive/CheXpert-v1.0-small", "CheXpert", 2, 2),
    "chexpert train": (chexpert_small, "CheXpert/train", "CheXpert", "CheXpert", 2, 2),
    "chexpert patient": (chexpert_small, "CheXpert/train/patient00001/study1", "CheXpert", "CheXpert", 1, 1),
    "kermany doubled": (kermany, "archive", "archive/chest_xray/chest_xray", "Kermany", 6, 2),
    "kermany split": (kermany, "chest_xray/train", "chest_xray", "Kermany", 3, 2),
    "kermany class": (kermany, "chest_xray/train/PNEUMONIA", "chest_xray", "Kermany", 2, 1),
    "qu-ex": (qu_ex, "archive", "archive/COVID-QU-Ex Dataset", "COVID-QU-Ex", 1, 1),
    "qu-ex lungs": (qu_ex, "a/Lung Segmentation Data", "a", "COVID-QU-Ex", 1, 1),
    "qu-ex images": (
        qu_ex,
        "a/Lung Segmentation Data/Lung Segmentation Data/Train/COVID-19/images",
        "a",
        "COVID-QU-Ex",
        1,
        1,
    ),
    "rsna as png": (rsna, "archive", "archive/rsna", "RSNA Pneumonia", 2, 2),
    "sample": (lambda root: nih(root, "sample_labels.csv", "sample/images"), "sample", "sample", "ChestX-ray14", 6, 2),
    "sample doubled": (
        lambda root: nih(nih(root, "sample_labels.csv", "sample/images") / "sample", "sample_labels.csv").parent,
        "archive",
        "archive",
        "ChestX-ray14",
        6,
        2,
    ),
    "sample inside": (
        lambda root: nih(root, "sample_labels.csv", "sample/images"),
        "archive/sample",
        "archive",
        "ChestX-ray14",
        6,
        2,
    ),
}


@pytest.mark.parametrize("case", TREES)
def test_one_level_off(tmp_path, case, caplog):
    make, given, top, name, images, patients = TREES[case]
    make(tmp_path / top)
    files(tmp_path / given, "__MACOSX/chest_xray/train/NORMAL/._IM-0115-0001.jpeg")
    with caplog.at_level(logging.WARNING):
        datalist = index_folder(tmp_path / given)
    summary = datalist.summary()
    assert (summary["name"], summary["images"], summary["patients"]) == (name, images, patients)
    assert all(Path(item["image"]).is_file() for item in datalist.all_items())
    if given != top and case != "qu-ex lungs":  # which is known there, too
        told = [text for text in caplog.messages if "--layout folder reads the folder as plain images" in text]
        assert len(told) == 1
        assert str(tmp_path / given) in told[0]


def test_several_below_are_mixed_with_the_rest(tmp_path, caplog):
    nih(tmp_path / "nih")
    kermany(tmp_path / "other" / "chest_xray")
    files(tmp_path, "ours/p1/a.png", "ours/p1/b.png", "ours/p2/c.png")
    datalist = index_folder(tmp_path)
    assert sources(datalist) == {"ChestX-ray14": 6, "Kermany": 6, tmp_path.name: 3}
    assert len([patient for patient in datalist.patients if patient.startswith(f"{tmp_path.name}:")]) == 2
    assert {len(datalist.items(split)) for split in ("training", "test")} == {12, 3}
    (told,) = (text for text in caplog.messages if "data sets below it" in text)
    assert "nih (layout chestxray14, 6 images, 2 patients)" in told
    assert "other (layout kermany, 6 images" in told
    assert "plain images without labels: 3 images, 2 patients beside" in told


def test_one_beside_one_that_is_known_at_the_top(tmp_path, caplog):
    kermany(tmp_path / "chest_xray")
    nih(tmp_path / "nih")
    assert sources(index_folder(tmp_path)) == {"ChestX-ray14": 6, "Kermany": 6}
    assert "holds 2 data sets" in caplog.text


def test_a_copy_is_read_once(tmp_path, caplog):
    tuberculosis(tmp_path / "Lung Segmentation")
    tuberculosis(tmp_path / "data" / "Lung Segmentation")
    assert sources(index_folder(tmp_path)) == {"Montgomery": 1, "Shenzhen": 1}
    assert caplog.text.count("a copy (1 images of the same names and sizes as those read before); left out") == 2


def test_nothing_is_left_out_without_a_count(tmp_path, caplog):
    films = tmp_path / "films"
    nih(films / "nih")
    nih(films / "nih-copy")
    tuberculosis(films / "tb")
    files(films, "nih/images_001/images/@eaDir/SYNO_THUMB.jpg", "nih/more/stray.png", "tb/CXR_png/foreign.png")
    files(films, "tb/masks/OTHER_0001_1_mask.png")
    out = tmp_path / "d.json"
    assert main(["index", str(films), "--out", str(out)]) == 0
    datalist = load_datalist(out)
    assert sources(datalist) == {"ChestX-ray14": 6, "Montgomery": 1, "Shenzhen": 1}
    left_out = datalist.extra["left_out"]
    counts = {kind: record["count"] for kind, record in left_out.items()}
    assert counts == {"copy": 6, "thumbnail": 1, "unlisted": 3}
    assert "3 (more 1, CXR_png 1, masks 1)" in caplog.text
    assert main(["index", str(films), "--out", str(out), "--keep", "copy"]) == 0
    assert sources(load_datalist(out)) == {"ChestX-ray14": 6, "ChestX-ray14-2": 6, "Montgomery": 1, "Shenzhen": 1}


def test_a_table_without_images_does_not_stop_the_others(tmp_path, caplog):
    kermany(tmp_path / "chest_xray_2017" / "chest_xray")
    shutil.rmtree(nih(tmp_path / "labels") / "images_001")
    assert sources(index_folder(tmp_path)) == {"Kermany": 6}
    assert "looks like layout chestxray14, which cannot read it" in caplog.text
    shutil.rmtree(tmp_path / "chest_xray_2017")
    files(tmp_path, "images/a.png")
    with pytest.raises(DatalistError, match="labels another way: its table by --layout csv_table"):
        index_folder(tmp_path)


def test_a_layout_gives_way_to_the_next(tmp_path, caplog):
    files(tmp_path, "metadata.csv", content="patientid,finding,view,modality\n1,COVID-19,PA,X-ray")
    with pytest.raises(DatalistError, match=r"lacks the column filename.* its images alone by --layout folder\.$"):
        index_folder(files(tmp_path, "images/1.png"))
    kermany(tmp_path)
    assert sources(index_folder(tmp_path)) == {"Kermany": 6}
    assert "looks like layout covid_chestxray, which cannot read it" in caplog.text
    assert "read by layout kermany instead; --layout NAME chooses one" in caplog.text


def test_a_named_layout_is_looked_for_alone(tmp_path, capsys):
    nih(tmp_path / "nih")
    kermany(tmp_path / "kermany")
    words = ["index", str(tmp_path), "--out", str(tmp_path / "d.json"), "--layout"]
    assert main([*words, "chestxray14"]) == 0
    assert sources(load_datalist(tmp_path / "d.json")) == {"ChestX-ray14": 6}
    assert main([*words, "folder"]) == 0
    assert load_datalist(tmp_path / "d.json").summary()["images"] == 12
    assert main([*words, "padchest"]) == 2
    assert "holds no table such as PADCHEST" in capsys.readouterr().err


def test_options_go_to_the_layouts_that_have_them(tmp_path, capsys):
    chexpert_small(tmp_path / "CheXpert")
    kermany(tmp_path / "kermany")
    words = ["index", str(tmp_path), "--out", str(tmp_path / "d.json"), "--option"]
    assert main([*words, "blanks=zero"]) == 0
    assert load_datalist(tmp_path / "d.json").items()[0]["label"].count(0.0) == 14
    capsys.readouterr()
    assert main([*words, "votes=any"]) == 2
    assert "layout chexpert and kermany and image_mask_folders and folder has no such" in capsys.readouterr().err


def test_folders_of_patients_are_not_looked_into(tmp_path):
    for number in range(61):
        files(tmp_path, f"p{number}/a.png")
    nih(tmp_path / "p0")
    datalist = index_folder(tmp_path)
    assert not datalist.has_labels
    # Names of ChestX-ray14 tell their patient wherever they lie.
    assert len(datalist.patients) == 63


@pytest.mark.parametrize("images", ["films", "films/2020"])
def test_a_table_above_that_names_none_of_the_images_is_not_used(tmp_path, images):
    nih(tmp_path)
    files(tmp_path, f"{images}/a.png")
    assert index_folder(tmp_path / images).summary()["name"] == Path(images).name


def test_shared_folders_in_one(shared_data):
    if not all((shared_data / name).is_dir() for name in ("covid-chestxray-dataset", "kermany-pediatric")):
        pytest.skip("the real X-rays are not there")
    assert sources(index_folder(shared_data)) == {"covid-chestxray-dataset": 286, "Kermany": 666, "ChestX-ray14": 517}
