# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``index`` through the command line: the real folders, mixtures, options of a layout, absent files."""

from __future__ import annotations

import json

import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import load_datalist


def run(capsys, *arguments):
    assert main(["index", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def table(tmp_path):
    """A csv of three images, of which the second is absent."""
    for name in ("a.png", "c.png"):
        (tmp_path / name).touch()
    path = tmp_path / "films.csv"
    path.write_text("image,who\na.png,1\nb.png,1\nc.png,2\n")
    return path


# Images, patients, patients with several images: the README of the shared data.
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("covid-chestxray-dataset", (286, 162, 67)),
        ("nih-chestxray14-subset", (517, 357, 91)),
        ("kermany-pediatric", (666, 529, 60)),
    ],
)
def test_real_folders_need_no_option(shared_data, name, counts, tmp_path, capsys):
    if not (shared_data / name).is_dir():
        pytest.skip(f"{name} not found among the real X-rays")
    summary = run(capsys, shared_data / name, "--out", tmp_path / "d.json")
    assert (summary["images"], summary["patients"], summary["multi_image_bags"]) == counts
    assert load_datalist(tmp_path / "d.json").summary() == summary


def test_options_of_a_layout(table, capsys):
    out, layout = table.with_name("d.json"), ["--layout", "csv_table", "--option", "patient_column=who"]
    summary = run(capsys, table, "--out", out, *layout, "--option", "name=mine", "--allow_absent")
    assert (summary["name"], summary["images"], summary["patients"]) == ("mine", 2, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layout", "csv"], "--layout is 'csv'; expected one of"),
        (["--layout", "csv_table", "--option", "patient=who"], "layout csv_table has no such option; it has image"),
        (["--layout", "csv_table", "--option", "who"], "expected NAME=VALUE"),
        (["--layout", "csv_table", "--option", "check_files=false"], "expected NAME=VALUE"),
        (["--layout", "csv_table"], "lacks the column patient_id"),
        (["--layout", "csv_table", "--option", "patient_column=who"], "row 3 (the header is row 1)"),
        ([], "is a file; expected a folder"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, words, table, capsys):
    out = table.with_name("d.json")
    assert main(["index", str(table), "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_absent_files_of_a_datalist_file_and_of_a_mixture(tmp_path, capsys, caplog):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.png").touch()
        items = [{"image": image, "patient_id": image[0]} for image in ("a.png", "b.png")]
        (folder / "datalist.json").write_text(json.dumps({"name": name, "training": items}))
    out = tmp_path / "d.json"
    arguments = [str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(out)]
    assert main(["index", *arguments]) == 2
    assert "2 listed images of one + two do not exist" in capsys.readouterr().err
    assert not out.exists()
    summary = run(capsys, *arguments, "--allow_absent")
    assert (summary["images"], summary["patients"]) == (2, 2)
    assert "2 listed images are absent and left out" in caplog.text
    assert run(capsys, *arguments, "--no-check")["images"] == 4


def test_patient_ids_of_dicom_headers(tmp_path, capsys):
    import pydicom
    from pydicom.data import get_testdata_file

    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.Modality, ds.PatientID, ds.PatientName = "CR", "SECRET-4711", "Secret^Name"
    (tmp_path / "films").mkdir()
    ds.save_as(tmp_path / "films" / "a.dcm")

    def indexed(*words):
        assert main(["index", str(tmp_path / "films"), "--out", str(tmp_path / "d.json"), *words]) == 0
        text = (tmp_path / "d.json").read_text()
        assert "Secret" not in text
        return text

    hidden = indexed()
    assert "SECRET" not in hidden
    assert str(ds.StudyInstanceUID) not in hidden
    assert indexed("--patient_ids", "pseudonym") == hidden
    assert indexed("--salt_file", str(tmp_path / "salt")) != hidden
    assert '"SECRET-4711"' in indexed("--patient_ids", "original")
    assert "SECRET" not in "".join(capsys.readouterr())
    # A layout with ids of its own says that it has nothing to hide.
    assert main(["phantom", str(tmp_path / "p"), "--patients", "6", "--size", "64"]) == 0
    words = ["index", str(tmp_path / "p"), "--out", str(tmp_path / "p.json"), "--patient_ids", "original"]
    assert main([*words, "--layout", "csv_table"]) == 2
    assert "not from DICOM headers" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--salt_file", "salt"], ["--patient_ids", "pseudonym"], ["--option", "name=x"]])
def test_options_do_not_pass_over_the_datalist_of_a_folder(tmp_path, capsys, words):
    """Its patients would go into the new file as they are, though pseudonyms were asked for."""
    (tmp_path / "a.png").touch()
    item = {"image": "a.png", "patient_id": "Jane Roe"}
    (tmp_path / "datalist.json").write_text(json.dumps({"name": "clinic", "training": [item]}))
    out = tmp_path / "out.json"
    assert main(["index", str(tmp_path), "--out", str(out), *words]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path} has a datalist.json, whose patients, labels and splits stand as they are; {words[0]}" in told
    assert "--layout" in told
    assert not out.exists()
    assert main(["index", str(tmp_path), "--out", str(out)]) == 0
