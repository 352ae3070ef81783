# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Bad tables through the command line: one sentence with the row, exit status 2, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.sources.layouts import chestxray14, chexpert

from .tables import touch, write_csv

CHEXPERT = "CheXpert-v1.0/train/patient{0:05d}/study1/view1_frontal.jpg"
CSV_TABLE = ["--layout", "csv_table", "--option", "label_column=label", "--option", 'classes=["ill", "well"]']

# Per layout: name of the table, its columns, the row of patient n, where that row's image lies, further arguments.
TABLES = {
    "csv_table": (
        "films.csv",
        ["image", "patient_id", "label"],
        lambda n: {"image": f"{n}.png", "patient_id": f"p{n}", "label": "ill"},
        lambda row: row["image"],
        CSV_TABLE,
    ),
    "chexpert": (
        "train.csv",
        list(chexpert.COLUMNS),
        lambda n: {"Path": CHEXPERT.format(n), "Frontal/Lateral": "Frontal", "AP/PA": "AP", "Edema": "1.0"},
        lambda row: row["Path"].split("/", 1)[1],
        [],
    ),
    "chestxray14": (
        "Data_Entry_2017.csv",
        [*chestxray14.REQUIRED, *chestxray14.OPTIONAL],
        lambda n: {"Image Index": f"{n:08d}_000.png", "Finding Labels": "Hernia", "Patient ID": str(n)},
        lambda row: f"images/{row['Image Index']}",
        [],
    ),
    "covid_chestxray": (
        "metadata.csv",
        ["patientid", "offset", "finding", "view", "modality", "folder", "filename"],
        lambda n: {
            "patientid": str(n),
            "finding": "COVID-19",
            "view": "PA",
            "modality": "X-ray",
            "folder": "images",
            "filename": f"{n}.png",
        },
        lambda row: f"images/{row['filename']}",
        [],
    ),
}
# What is wrong with the third record (row 4): the column concerned and what it holds then.
CELLS = {
    "csv_table": {"patient": ("patient_id", " "), "label": ("label", "unwell")},
    "chexpert": {"patient": ("Path", "CheXpert-v1.0/train/study1/view1_frontal.jpg"), "label": ("Edema", "2")},
    "chestxray14": {"patient": ("Patient ID", " "), "label": ("Finding Labels", "Hernia|Cough")},
    "covid_chestxray": {"patient": ("patientid", " "), "label": ("finding", "Cvid-19")},
}
WORDS = {
    "patient": ["row 4"],
    "label": ["row 4;", "--strict_labels"],
    "column": ["lacks the column", "row 1 holds"],
    "absent": ["row 4 ", "does not exist"],
    "duplicate": ["row 5 ", "listed before, in row 4"],
}


def made(folder, layout, fault=None):
    """A data set of three images, its table with a fault, and the arguments of ``index`` for it."""
    name, columns, row_of, image_of, options = TABLES[layout]
    rows = [row_of(n) for n in (1, 2, 3)]
    folder.mkdir()
    touch(folder, *(image_of(row) for row in rows))
    if fault in CELLS[layout]:
        column, cell = CELLS[layout][fault]
        rows[2][column] = cell
    elif fault == "absent":
        (folder / image_of(rows[2])).unlink()
    elif fault == "duplicate":
        rows.append(rows[2])
    elif fault == "column":
        columns = [column for column in columns if column != CELLS[layout]["label"][0]]
    write_csv(folder / name, columns, rows)
    return ["index", str(folder), "--out", str(folder / "out" / "d.json"), *options]


def files_below(folder):
    return sorted(path for path in folder.rglob("*"))


@pytest.mark.parametrize("fault", WORDS)
@pytest.mark.parametrize("layout", TABLES)
def test_bad_input_is_one_sentence_and_changes_nothing(layout, fault, tmp_path, capsys):
    arguments = [*made(tmp_path / "set", layout, fault), *(["--strict_labels"] if fault == "label" else [])]
    before = files_below(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert TABLES[layout][0] in told.err
    for words in WORDS[fault]:
        assert words in told.err
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("layout", TABLES)
def test_allow_absent_leaves_them_out_and_tells_the_rows(layout, tmp_path, capsys, caplog):
    arguments = made(tmp_path / "set", layout, "absent")
    assert main([*arguments, "--allow_absent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    assert "1 of 3" in caplog.text
    assert "row 4" in caplog.text
    assert main([*arguments, "--no-check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3


@pytest.mark.parametrize("layout", TABLES)
def test_the_same_table_without_a_fault(layout, tmp_path, capsys):
    assert main([*made(tmp_path / "set", layout), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["images"], summary["patients"], summary["splits"]["training"]["unknown"]) == (3, 3, 0)


def test_in_a_process_of_its_own(tmp_path):
    arguments = made(tmp_path / "set", "covid_chestxray", "absent")
    command = [sys.executable, "-m", "monai_cxrssl", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "set" / "out").exists()
