# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables as spreadsheets, databases and pandas write them, through ``label``, ``csv_table`` and two layouts."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist, save_datalist
from monai_cxrssl.data.sources.tables.table import read_header, read_table
from monai_cxrssl.errors import DatalistError

IMAGES = ("a.png", "b.png", "c.png")
FINDINGS = ("Mass", "Fibrosis", "Mass")


def encoded(table, encoding, separator=",", before=""):
    return (before + table.to_csv(index=False, sep=separator)).encode(encoding)


FORMS = {
    "plain": lambda table: encoded(table, "utf-8"),
    "utf-8 with a mark": lambda table: encoded(table, "utf-8-sig"),
    "utf-16": lambda table: encoded(table, "utf-16", "\t"),
    "utf-16 big end": lambda table: b"\xfe\xff" + encoded(table, "utf-16-be", "\t"),
    "utf-32": lambda table: encoded(table, "utf-32"),
    "semicolons": lambda table: encoded(table, "utf-8", ";"),
    "bars": lambda table: encoded(table, "utf-8", "|"),
    "sep=": lambda table: encoded(table, "utf-8", ";", "sep=;\n"),
    "quoted sep= of DOS": lambda table: encoded(table, "utf-16", "\t", '"sep=\t"\r\n'),
    "packed": lambda table: gzip.compress(encoded(table, "utf-8")),
    "blanks and capitals": lambda table: encoded(table.rename(columns=lambda name: f" {name.upper()}\u00a0"), "utf-8"),
}


def workbook(path, *sheets):
    with pd.ExcelWriter(path.with_suffix(".xlsx")) as writer:
        for number, sheet in enumerate(sheets):
            sheet.to_excel(writer, sheet_name=f"Sheet{number}", index=False)
    content = path.with_suffix(".xlsx").read_bytes()
    path.with_suffix(".xlsx").unlink()
    return content


def table_of(consumer):
    if consumer == "chestxray14":
        return pd.DataFrame({"Image Index": IMAGES, "Finding Labels": FINDINGS, "Patient ID": ["1", "02", "1"]})
    if consumer == "kermany":
        kinds = ["Bacterial" if name == "Mass" else "Viral-Other" for name in FINDINGS]
        return pd.DataFrame({"X_ray_image_name": IMAGES, "patient": ["p1", "p2", "p1"], "label": kinds})
    return pd.DataFrame(
        {"image": IMAGES, "patient_id": ["p1", "p2", "p1"], "finding": FINDINGS, "note": ["Zoé", "", ""]}
    )


PLACES = {"chestxray14": "Data_Entry_2017.csv", "kermany": "labels.csv", "csv_table": "t.csv", "label": "t.csv"}


def labels(folder, consumer, content):
    """Status of the command, and the names of the labels of the three images."""
    folder.mkdir(exist_ok=True)
    for name in IMAGES:
        (folder / name).touch()
    path, out = folder / PLACES[consumer], folder / "d.json"
    path.write_bytes(content)
    if consumer == "label":
        items = [{"image": name, "patient_id": name} for name in IMAGES]
        save_datalist(Datalist(splits={"training": items}, root=folder), out)
        arguments = ["label", str(out), str(path), "--match", "image=file", "--label_column", "finding"]
    else:
        more = ["--layout", "csv_table", "--option", "label_column=finding"] if consumer == "csv_table" else []
        arguments = ["index", str(folder), *more]
    status = main([*arguments, "--out", str(out)])
    if status:
        return status, []
    datalist = load_datalist(out)
    given = [item["label"] for item in datalist.items()]
    single = [label if isinstance(label, int) else label.index(1.0) for label in given]
    return status, [datalist.classes[label] for label in single]


@pytest.mark.parametrize("form", [*FORMS, "workbook"])
@pytest.mark.parametrize("consumer", PLACES)
def test_every_form_is_read_alike(tmp_path, consumer, form):
    if form == "blanks and capitals" and consumer in ("chestxray14", "kermany"):
        pytest.skip("known by the names of its columns")
    table = table_of(consumer)
    content = workbook(tmp_path / "t", table) if form == "workbook" else FORMS[form](table)
    expected = {"kermany": ["Bacterial Pneumonia", "Viral Pneumonia", "Bacterial Pneumonia"]}.get(
        consumer, list(FINDINGS)
    )
    assert labels(tmp_path / "set", consumer, content) == (0, expected)


@pytest.mark.parametrize("consumer", PLACES)
def test_letters_of_another_encoding_are_refused_where_they_are_read(tmp_path, capsys, consumer):
    table = table_of(consumer)
    assert labels(tmp_path / "set", consumer, encoded(table.assign(remark="é"), "cp1252"))[0] == 0
    column = {"chestxray14": "Patient ID", "kermany": "patient"}.get(consumer, "finding")
    capsys.readouterr()
    assert labels(tmp_path / "set", consumer, encoded(table.assign(**{column: ["Éa", "b", "É"]}), "cp1252"))[0] == 2
    error = capsys.readouterr().err
    assert f"rows 2, 4 (the header is row 1): {column} holds letters that are not in UTF-8" in error
    assert "CSV UTF-8" in error


@pytest.mark.parametrize("second", ["{}", " {}", "{}.1"])
@pytest.mark.parametrize("consumer", PLACES)
def test_a_column_that_is_there_twice_is_refused(tmp_path, capsys, consumer, second):
    table = table_of(consumer)
    column = {"chestxray14": "Finding Labels", "kermany": "label"}.get(consumer, "finding")
    place = list(table.columns).index(column) + 1
    for name in (second.format(column), second.format(column.upper())):
        twice = pd.concat([table, table[column].rename(name)], axis=1)
        capsys.readouterr()
        assert labels(tmp_path / "set", consumer, encoded(twice, "utf-8"))[0] == 2
        error = capsys.readouterr().err
        assert (
            f"has the column {column} 2 times: column {place} ({column!r}) and column {len(twice.columns)} ({name!r})"
            in error
        )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 no workbook", "is a workbook or an archive, and cannot be read as a table"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it holds zero bytes"),
        ("image,finding\na.png,Mass\n".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"image,finding\na.png,Mass,more\n", "its rows have more cells than its header"),
        (b"image,findings\na.png,Mass\n", "lacks the column finding (row 1 holds image, findings, nearest: findings)"),
        (b"", "lacks the columns image, finding"),
        (b"image,finding\n", "lists nothing below its header"),
    ],
)
def test_what_is_no_table_is_named_with_the_remedy(tmp_path, capsys, content, words):
    assert labels(tmp_path / "set", "label", content)[0] == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert error.count("cannot be read as a table") <= 1


def test_the_sheet_that_has_the_columns(tmp_path):
    table, notes = table_of("label"), pd.DataFrame({"legend": ["n = normal"]})
    (tmp_path / "t.xlsx").write_bytes(workbook(tmp_path / "t", notes, table))
    assert list(read_table(tmp_path / "t.xlsx", ("image", "finding"))["finding"]) == list(FINDINGS)
    assert read_header(tmp_path / "t.xlsx") == ["legend"]
    (tmp_path / "t.xlsx").write_bytes(workbook(tmp_path / "t", table, notes, table))
    with pytest.raises(DatalistError, match=r"2 sheets with these columns \(Sheet0, Sheet2\)"):
        read_table(tmp_path / "t.xlsx", ("image", "finding"))


def test_cells_of_a_workbook_are_as_they_are_shown(tmp_path):
    table = pd.DataFrame({"a": [1, 2], "b": [1.5, None], "c": ["007", "NA"], "d": [True, False]})
    (tmp_path / "t.xlsx").write_bytes(workbook(tmp_path / "t", table))
    read = read_table(tmp_path / "t.xlsx", ("a", "b", "c", "d"))
    assert read.values.tolist() == [["1", "1.5", "007", "True"], ["2", "", "", "False"]]
    assert list(read.index) == [2, 3]


def test_words_for_no_value_and_whole_numbers(tmp_path, caplog):
    words = ["nan", "NaN", "NA", "N/A", "None", "null", "#N/A", "<NA>", "NaT", "-", "?", "Unknown", "\\N", "k.A."]
    rows = [f"{n}.0,{word},+" for n, word in enumerate(words)] + ["99,-,-", "100,Nil,-"]
    (tmp_path / "t.csv").write_text("\n".join(["id,finding,sign", *rows]))
    table = read_table(tmp_path / "t.csv", ("id", "finding", "sign"))
    assert list(table["finding"]) == [""] * 15 + ["Nil"]
    assert list(table["id"]) == [*map(str, range(14)), "99", "100"]
    # Beside +, a dash is a value.
    assert list(table["sign"][-2:]) == ["-", "-"]
    assert "15 cells of finding hold a word for no value and are taken for blank" in caplog.text
    assert list(read_table(tmp_path / "t.csv", ("finding",), kept=("NA",))["finding"]) == ["NA", "Nil"]


def test_spellings_of_one_class(tmp_path, caplog):
    names = ["COVID-19", "covid 19", "Covid_19", "COVID-19", "Normal", "Nromal", "1-2", "12"]
    (tmp_path / "t.csv").write_text(
        "image,patient_id,f\n" + "\n".join(f"{n}.png,{n},{name}" for n, name in enumerate(names))
    )
    for number in range(8):
        (tmp_path / f"{number}.png").touch()
    arguments = [
        "index",
        str(tmp_path),
        "--layout",
        "csv_table",
        "--option",
        "label_column=f",
        "--out",
        str(tmp_path / "d.json"),
    ]
    assert main(arguments) == 0
    datalist = load_datalist(tmp_path / "d.json")
    assert datalist.classes == ("1-2", "12", "COVID-19", "Normal", "Nromal")
    assert [datalist.classes[item["label"]] for item in datalist.items()][:4] == ["COVID-19"] * 4
    assert "'covid 19' 1 as 'COVID-19'" in caplog.text
    assert "1 class may be another one, misspelt, and stay as they are: 'N" in caplog.text
    assert main([*arguments, "--strict_labels"]) == 2
    # Classes that are asked for by name are found in any spelling, and a word for no value may be one of them.
    (tmp_path / "t.csv").write_text(
        "image,patient_id,f\n0.png,0,normal\n1.png,1,COVID19\n2.png,2,unknown\n3.png,3,NA\n"
    )
    assert main([*arguments, "--option", 'classes=["No Finding", "covid-19", "unknown"]']) == 0
    content = json.loads((tmp_path / "d.json").read_text())
    assert [item.get("label") for item in content["training"]] == [0, 1, 2, None]


def test_findings_in_words(tmp_path):
    (tmp_path / "t.csv").write_text("image,patient_id,A;B\n")
    rows = ["0,yes;1,0", "1,NEGATIVE;-1.0", "2,TRUE;01", "3,uncertain;n/a", "4,nein;7"]
    text = "image;patient_id;A;B\n" + "\n".join(f"{r[0]}.png;p;{r[2:]}" for r in rows)
    (tmp_path / "t.csv").write_text(text)
    for number in range(5):
        (tmp_path / f"{number}.png").touch()
    arguments = ["index", str(tmp_path / "t.csv"), "--layout", "csv_table", "--option", 'label_columns=["A", "B"]']
    assert main([*arguments, "--option", "policy=0.5", "--out", str(tmp_path / "d.json")]) == 0
    found = [item["label"] for item in load_datalist(tmp_path / "d.json").items()]
    assert found == [[1.0, 1.0], [0.0, 0.5], [1.0, 1.0], [0.5, None], [0.0, None]]
