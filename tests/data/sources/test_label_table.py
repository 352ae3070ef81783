# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels of a table joined with images, against pandas' merge and an archive whose ids are pseudonyms."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import index_folder, load_datalist, save_datalist
from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist
from monai_cxrssl.data.datalists.split import manifest_hash, save_split, split_datalist
from monai_cxrssl.data.sources.label_table import label_datalist
from monai_cxrssl.errors import ConfigurationError, DatalistError

FINDINGS = ("normal", "pneumonia", "covid-19")


@pytest.fixture
def archive(tmp_path, dicom):
    """Twelve images of six patients, two per study, the last without an accession number; what each header says."""
    rows = []
    for number in range(12):
        patient, accession = f"{4711 + number // 2:06d}", "" if number >= 10 else f"ACC{number // 2:03d}"
        path = tmp_path / "archive" / f"1.2.{number}"
        path.parent.mkdir(exist_ok=True)
        film = dicom.make_dicom(
            dicom.stored_film(seed=number), PatientID=patient, StudyInstanceUID=f"1.9.{number // 2}",
            AccessionNumber=accession,
        )  # fmt: skip
        film.save_as(path, enforce_file_format=True)
        rows.append((str(path), path.name, patient, accession))
    return tmp_path / "archive", pd.DataFrame(rows, columns=["image", "file", "PatientID", "AccessionNumber"])


def write(path, frame, **options):
    frame.to_csv(path, index=False, **options)
    return path


def labels_of(datalist):
    return {item["image"]: item.get("label") for item in datalist.all_items()}


@pytest.mark.parametrize("key", ["AccessionNumber", "PatientID"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_join_by_header_is_a_merge(archive, tmp_path, key, separator):
    folder, films = archive
    names = sorted(set(films[key]) - {""})
    table = pd.DataFrame(
        {"who": [*names[1:], "elsewhere"], "finding": [*(FINDINGS * 2)[: len(names) - 1], "of no image"]}
    )
    # What a spreadsheet adds: blanks around a name, a row that is blank throughout.
    written = pd.concat([table.assign(who=" " + table["who"]), pd.DataFrame({"who": [""], "finding": [""]})])
    path = write(tmp_path / "t.csv", written, sep=separator)
    labelled, join = label_datalist(index_folder(folder), path, ("who", key), label_column="finding", progress=False)
    merged = films.merge(table, left_on=key, right_on="who", how="left")
    expected = dict(zip(merged["image"], merged["finding"], strict=True))
    found = {image: None if label is None else labelled.classes[label] for image, label in labels_of(labelled).items()}
    assert found == {image: None if finding != finding else finding for image, finding in expected.items()}
    assert (labelled.classes, labelled.task) == (tuple(sorted(FINDINGS)), "multi_class")
    nameless = int((films[key] == "").sum())
    known = int(merged["finding"].notna().sum())
    assert (join.rows, join.rows_without_film) == (len(table), (len(table) + 1,))
    assert (join.films, join.films_without_name, join.films_without_row) == (12, nameless, 12 - nameless - known)
    assert join.labelled == known


def test_no_number_of_the_headers_is_kept(archive, tmp_path, caplog, capsys):
    folder, films = archive
    table = films[["AccessionNumber"]].drop_duplicates().assign(finding="normal", mrn=films["PatientID"])
    path = write(tmp_path / "t.csv", table[table["AccessionNumber"] != ""])
    assert main(["index", str(folder), "--out", str(tmp_path / "d.json")]) == 0
    for column, key in (("AccessionNumber", "AccessionNumber"), ("mrn", "PatientID")):
        out = tmp_path / f"{key}.json"
        arguments = [str(tmp_path / "d.json"), str(path), "--out", str(out), "--match", f"{column}={key}"]
        with caplog.at_level(logging.DEBUG):
            assert main(["label", *arguments, "--label_column", "finding"]) == 0
        told = out.read_text() + caplog.text + "".join(capsys.readouterr())
        assert not [number for number in (*films["PatientID"], "ACC0") if number in told]
        assert load_datalist(out).summary()["splits"]["training"]["unknown"] == 2


@pytest.mark.parametrize(
    ("name", "listed"), [("1.2.{}", "1.2.{}"), ("1.2.{}.dcm", "1.2.{}"), ("1.2.{}.dcm", "1.2.{}.dcm")]
)
def test_by_file_name_with_or_without_extension(tmp_path, name, listed):
    """A UID has dots of its own, none of which begins an extension."""
    items = [{"image": f"x/{name.format(number)}", "patient_id": str(number)} for number in range(4)]
    table = pd.DataFrame({"film": [listed.format(number) for number in (2, 0)], "finding": ["b", "a"]})
    path = write(tmp_path / "t.csv", table)
    labelled, _ = label_datalist(Datalist(splits={"training": items}), path, ("film", "file"), label_column="finding")
    assert [item.get("label") for item in labelled.items()] == [0, None, 1, None]


def test_by_path_and_by_entry(tmp_path):
    items = [{"image": f"{p}/a.png", "patient_id": p, "study_id": f"s{p}"} for p in "xyz"]
    datalist = Datalist(splits={"training": items[:1], "test": items[1:]}, root=tmp_path)
    table = pd.DataFrame({"path": ["y/../x/a.png", str(tmp_path / "z/a.png")], "study": ["sx", "sz"], "f": ["n", "p"]})
    path = write(tmp_path / "t.csv", table)
    for match in (("path", "path"), ("study", "study_id")):
        labelled, _ = label_datalist(datalist, path, match, label_column="f", classes=("p", "n"))
        assert [item.get("label") for item in labelled.all_items()] == [1, None, 0]
        assert [len(labelled.splits[split]) for split in SPLITS] == [1, 0, 2]
    write(path, pd.DataFrame({"film": ["a.png"], "f": ["n"]}))
    with pytest.raises(DatalistError, match=r"row 2 .*film is a file name that several images have; match by path"):
        label_datalist(datalist, path, ("film", "file"), label_column="f")


def test_several_findings_follow_the_policy(tmp_path):
    """Blank and uncertain cells of named images follow the policy; images of no row stay unknown whatever it says."""
    items = [{"image": f"{number}.png", "patient_id": str(number)} for number in range(4)]
    datalist = Datalist(splits={"training": items})
    table = pd.DataFrame({"film": ["0", "1", "2"], "Edema": [1, -1, None], "Mass": [0, None, -1]})
    path = write(tmp_path / "t.csv", table)
    options = {"label_columns": ["Edema", "Mass"], "policy": {"Edema": "lsr", "Mass": 0.5}, "blanks": "zero"}
    labelled, join = label_datalist(datalist, path, ("film", "file"), **options)
    (first, second, third, fourth) = [item.get("label") for item in labelled.items()]
    assert (first, second[1], third, fourth) == ([1.0, 0.0], 0.0, [0.0, 0.5], None)
    assert 0.55 <= second[0] < 0.85
    assert (labelled.task, join.labelled) == ("multi_label", 3)
    # What is drawn is the image's, whatever row or order it stands in.
    again, _ = label_datalist(datalist, write(path, table[::-1]), ("film", "file"), **options)
    assert labels_of(again) == labels_of(labelled)
    other, _ = label_datalist(datalist, path, ("film", "file"), **options, seed=1)
    assert other.items()[1]["label"][0] != second[0]


def test_rows_that_contradict_each_other(tmp_path):
    datalist = Datalist(splits={"training": [{"image": "a.png", "patient_id": "1"}]})
    path = write(tmp_path / "t.csv", pd.DataFrame({"film": ["a", "b", "a.png"], "f": ["n", "n", "n"]}))
    assert label_datalist(datalist, path, ("film", "file"), label_column="f")[1].rows_without_film == (3,)
    write(path, pd.DataFrame({"film": ["a", "b", "a.png"], "f": ["n", "n", "p"]}))
    with pytest.raises(DatalistError, match=r"rows 2, 4 .*same image with different labels"):
        label_datalist(datalist, path, ("film", "file"), label_column="f")


def test_labels_are_given_up_only_on_demand(tmp_path):
    items = [{"image": "a.png", "patient_id": "1", "label": 0}, {"image": "b.png", "patient_id": "2", "label": 1}]
    datalist = Datalist(classes=("x", "y"), splits={"training": items})
    path = write(tmp_path / "t.csv", pd.DataFrame({"film": ["a"], "f": ["n"]}))
    with pytest.raises(DatalistError, match="has labels already"):
        label_datalist(datalist, path, ("film", "file"), label_column="f")
    labelled, _ = label_datalist(datalist, path, ("film", "file"), label_column="f", replace_labels=True)
    assert (labelled.classes, [item.get("label") for item in labelled.items()]) == (("n",), [0, None])


def test_a_split_stays_one(tmp_path, capsys):
    items = [{"image": f"{number}.png", "patient_id": str(number // 2)} for number in range(40)]
    split = split_datalist(Datalist(splits={"training": items}, root=tmp_path))
    digest = save_split(split, tmp_path / "s.json", {"seed": 0})
    table = write(tmp_path / "t.csv", pd.DataFrame({"film": range(40), "f": np.arange(40) // 2 % 2}))
    arguments = [str(tmp_path / "s.json"), str(table), "--out", str(tmp_path / "l.json"), "--match", "film=file"]
    assert main(["label", *arguments, "--label_column", "f", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["join"] == {
        "rows": 40, "rows_without_film": [], "films": 40, "films_without_name": 0, "films_without_row": 0,
        "labelled": 40,
    }  # fmt: skip
    content = json.loads((tmp_path / "l.json").read_text())
    assert content["manifest"]["recipe"] == {"labels": "t.csv", "of": digest}
    assert content["manifest"]["sha256"] == manifest_hash(content) != digest
    for name in SPLITS:
        assert [item["image"] for item in content[name]] == [item["image"] for item in split.splits[name]]
        assert all(item["label"] == int(item["patient_id"]) % 2 for item in content[name])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--match", "film"], "expected COLUMN=WHAT"),
        (["--match", "film=Accession"], "neither file nor path, no entry"),
        (["--match", "film=AccessionNumber"], "No image of archive has AccessionNumber in its header"),
        (["--match", "nothing=file"], "lacks the column nothing"),
        (["--match", "finding=file"], "No row of"),
        (["--match", "film=file", "--label_column", "empty"], "empty is blank in every row that names an image"),
        (["--match", "film=file", "--policy", "ones"], "--policy is for --label_columns"),
        (["--match", "film=file", "--classes", "a", "b"], "no image that it names a known label"),
    ],
)
def test_wrong_use_is_a_sentence(tmp_path, capsys, arguments, words):
    items = [{"image": f"{name}.png", "patient_id": f"00{name}"} for name in "12"]
    for item in items:
        (tmp_path / item["image"]).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    save_datalist(Datalist(name="archive", splits={"training": items}), tmp_path / "d.json")
    table = pd.DataFrame({"film": ["1", "2"], "number": ["1", "2"], "finding": "normal", "empty": ""})
    path = write(tmp_path / "t.csv", table)
    head = ["label", str(tmp_path / "d.json"), str(path), "--out", str(tmp_path / "l.json")]
    assert main([*head, "--label_column", "finding", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "l.json").exists()


def test_a_damaged_header_leaves_its_film_unlabelled(archive, tmp_path, caplog):
    folder, _ = archive
    whole = (folder / "1.2.0").read_bytes()
    (folder / "1.2.0").write_bytes(whole[:150])
    (folder / "1.2.1").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    datalist = index_folder(folder)
    path = write(tmp_path / "t.csv", pd.DataFrame({"a": ["ACC000", "ACC001"], "f": ["n", "n"]}))
    _, join = label_datalist(datalist, path, ("a", "AccessionNumber"), label_column="f", progress=False)
    # A cut header ends before the number, a picture has none; only of the second can be told that it is no DICOM.
    assert (join.films_without_name, join.labelled) == (4, 2)
    assert "1 of 12 headers cannot be read; first: " in caplog.text
    assert "1.2.1" in caplog.text
    with pytest.raises(ConfigurationError, match="either label_column"):
        label_datalist(datalist, path, ("a", "AccessionNumber"))
