# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""File names as other systems write them, matched by ``label`` and ``csv_table``."""

from __future__ import annotations

import unicodedata

import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist, save_datalist
from monai_cxrssl.data.sources.layouts import kermany
from monai_cxrssl.data.sources.tables.file_names import FileNames, FolderNames

FILES = ["p0/Röntgen.png", "p1/film.dcm", "p2/film.dcm", "scan.nii.gz"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("p0\\Röntgen.png", 0),
        (unicodedata.normalize("NFD", "P0/RÖNTGEN.PNG"), 0),
        ("Röntgen.jpg", 0),
        ("C:\\archive\\p1\\FILM.dcm", 1),
        ("/old/disk/p2/film", 2),
        ("./p2/../p1/film.dcm", 1),
        ("scan", 3),
        # Several files, another folder, none.
        ("film.dcm", None),
        ("p3/film.dcm", None),
        ("p1/Röntgen.png", None),
        ("", None),
    ],
)
def test_the_only_file_that_a_name_may_mean(text, place):
    assert FileNames(FILES).find(text) == place


def test_folder_by_folder(tmp_path):
    for name in ("Images/A.PNG", "Images/b.jpeg", "Images/b.txt", "two/c.png", "Two/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = FolderNames(tmp_path)
    assert names.find("images\\a.png") == "Images/A.PNG"
    assert names.find("Images/B.png") == "Images/b.jpeg"
    assert names.find("two/C.png") == "two/c.png"
    assert names.find("TWO/c.png") is None
    assert names.find("other/a.png") is None


@pytest.mark.parametrize(
    ("match", "write"),
    [
        ("path", "films\\p{0}\\img{0}.png"),
        ("path", "D:\\x\\films\\p{0}\\IMG{0}.PNG"),
        ("file", "IMG{0}.PNG"),
        ("file", "p{0}/img{0}.png"),
        ("file", "img{0}.jpg"),
        ("patient_id", "{0}"),
        ("patient_id", "{0}.0"),
        ("patient_id", "00{0}"),
    ],
)
def test_label_joins_other_spellings(tmp_path, caplog, match, write):
    items = [{"image": f"films/p{n}/img{n}.png", "patient_id": f"0{n}"} for n in range(3)]
    save_datalist(Datalist(splits={"training": items}, root=tmp_path), tmp_path / "d.json")
    (tmp_path / "t.csv").write_text("film,f\n" + "\n".join(f"{write.format(n)},c{n}" for n in range(3)))
    arguments = ["label", str(tmp_path / "d.json"), str(tmp_path / "t.csv"), "--out", str(tmp_path / "l.json")]
    assert main([*arguments, "--match", f"film={match}", "--label_column", "f"]) == 0
    assert [item["label"] for item in load_datalist(tmp_path / "l.json", check_files=False).items()] == [0, 1, 2]
    assert "rows 2, 3, 4: film names its image in another spelling" in caplog.text


@pytest.mark.parametrize(
    ("patients", "texts", "words"),
    [
        (["1", "01", "2"], ["001"], "1 would but for leading zeros"),
        (["01", "2"], ["1", "001"], "2 would but for leading zeros"),
        (["123456789012"], ["1.23457E+11"], "1 are numbers that a spreadsheet rounded"),
    ],
)
def test_what_is_not_certain_is_a_hint(tmp_path, capsys, patients, texts, words):
    items = [{"image": f"{n}.png", "patient_id": patient} for n, patient in enumerate(patients)]
    save_datalist(Datalist(splits={"training": items}, root=tmp_path), tmp_path / "d.json")
    (tmp_path / "t.csv").write_text("id,f\n" + "\n".join(f"{text},A" for text in texts))
    arguments = ["label", str(tmp_path / "d.json"), str(tmp_path / "t.csv"), "--out", str(tmp_path / "l.json")]
    assert main([*arguments, "--match", "id=patient_id", "--label_column", "f"]) == 2
    assert words in capsys.readouterr().err


def test_csv_table_finds_other_spellings_and_no_file_twice(tmp_path, caplog):
    for name in ("p0/a.png", unicodedata.normalize("NFD", "p1/ö.png"), "p2/c.png", "d.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows = ["films\\p0\\a.png", unicodedata.normalize("NFC", "p1/ö.png"), "c.png", "d.png"]
    (tmp_path / "t.csv").write_text("image,patient_id\n" + "\n".join(f"{row},{n}" for n, row in enumerate(rows)))
    arguments = ["index", str(tmp_path), "--layout", "csv_table", "--out", str(tmp_path / "d.json")]
    assert main(arguments) == 0
    assert "4 names differ from their files'" in caplog.text
    assert all((tmp_path / item["image"]).is_file() for item in load_datalist(tmp_path / "d.json").items())
    (tmp_path / "t.csv").write_text("image,patient_id\nd.PNG,1\nd.png,2\n")
    assert main(arguments) == 2


def test_layouts_find_them_in_their_folder(tmp_path, caplog):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "A.JPEG").touch()
    (tmp_path / "labels.csv").write_text("X_ray_image_name,patient,label\na.jpeg,1,normal\n")
    (item,) = kermany.read(tmp_path).items()
    assert (item["image"], item["label"]) == (str(tmp_path / "images/A.JPEG"), 0)
    assert "1 names differ" in caplog.text
