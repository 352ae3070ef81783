# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a datalist or a csv file holds, the outcome is a sound datalist or a ``DatalistError``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist, save_datalist
from monai_cxrssl.data.sources.layouts import chestxray14, chexpert
from monai_cxrssl.data.sources.layouts.covid import covid_chestxray
from monai_cxrssl.data.sources.layouts.plain import csv_table
from monai_cxrssl.errors import DatalistError

texts = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["", " ", "a.png", "b.png", "./a.png", "p1", "0", "\0", "\ud800", "x" * 5000, "../..", "/", "é", "𝟙"]
    ),
)
numbers = st.one_of(
    st.integers(-2, 3), st.integers(), st.sampled_from([10**400, -(10**400), 2**63]), st.floats(), st.booleans()
)
scalars = st.one_of(st.none(), numbers, texts)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
labels = st.one_of(st.none(), st.integers(0, 2), st.floats(0, 1), st.lists(scalars, max_size=3), anything)
items = st.one_of(
    st.fixed_dictionaries(
        {"image": st.one_of(texts, texts, anything), "patient_id": st.one_of(texts, st.integers(), anything)},
        optional={
            "label": labels,
            "lung_mask": st.one_of(texts, st.lists(texts, min_size=2, max_size=2), anything),
            "study_id": anything,
            "age": anything,
            "boxes": anything,
            "lesion_mask": anything,
        },
    ),
    anything,
)
contents = st.one_of(
    st.fixed_dictionaries(
        {"training": st.one_of(st.lists(items, max_size=4), anything)},
        optional={
            "validation": st.one_of(st.lists(items, max_size=2), anything),
            "test": st.one_of(st.lists(items, max_size=2), anything),
            "classes": st.one_of(st.lists(texts, max_size=3, unique=True), anything),
            "task": st.one_of(st.sampled_from(["multi_class", "multi_label"]), anything),
            "name": anything,
            "manifest": anything,
        },
    ),
    anything,
)


def check_is_sound(datalist: Datalist, folder: Path) -> None:
    """Counts agree, and what is written reads back as the same."""
    summary = datalist.summary()
    assert summary["images"] == len(datalist.all_items()) > 0
    assert all(isinstance(item["image"], str) and item["patient_id"].strip() for item in datalist.all_items())
    for item in datalist.all_items():
        label = item.get("label")
        assert label is None or isinstance(label, int if datalist.task == "multi_class" else list)
    try:
        path = save_datalist(datalist, folder / "written.json")
    except DatalistError:  # an infinite number somewhere, which JSON does not know
        assert not (folder / "written.json").exists()
        return
    again = load_datalist(path, check_files=False)
    assert again.to_dict(folder) == datalist.to_dict(folder)
    path.unlink()


@given(contents)
def test_parsed_content(tmp_path, content: Any):
    try:
        datalist = Datalist.from_dict(content, tmp_path)
    except DatalistError as error:
        assert str(error).startswith("Datalist ")  # noqa: PT017
        return
    check_is_sound(datalist, tmp_path)


@given(st.one_of(st.binary(max_size=60), contents.map(lambda content: json.dumps(content).encode())), st.data())
def test_file_content(tmp_path, content: bytes, data: st.DataObject):
    path = tmp_path / "datalist.json"
    if data.draw(st.booleans()) and content:
        place = data.draw(st.integers(0, len(content) - 1))
        content = content[:place] + data.draw(st.binary(max_size=3)) + content[place + data.draw(st.integers(0, 3)) :]
    path.write_bytes(content)
    try:
        datalist = load_datalist(path, check_files=data.draw(st.booleans()))
    except DatalistError:
        return
    check_is_sound(datalist, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"training": ' + "[" * 100_000,
        '{"training": [{"image": "a", "patient_id": ' + "9" * 5000 + "}]}",
        '{"training": [{"image": "a", "patient_id": "p", "label": 1' + "0" * 400 + '}], "classes": ["a"], "task": "multi_class"}',
        '{"training": [{"image": "a", "patient_id": "p", "label": 1e999}], "classes": ["a"], "task": "multi_class"}',
    ],
    ids=["nested", "nested split", "number of 5,000 digits", "label of 400 digits", "infinite label"],
)  # fmt: skip
def test_hostile_json(tmp_path, content):
    (tmp_path / "datalist.json").write_text(content)
    with pytest.raises(DatalistError):
        load_datalist(tmp_path / "datalist.json")


def test_infinite_number_is_not_written(tmp_path):
    (tmp_path / "a.json").write_text('{"training": [{"image": "a", "patient_id": "p", "age": Infinity}]}')
    datalist = load_datalist(tmp_path / "a.json", check_files=False)
    with pytest.raises(DatalistError, match="infinite"):
        save_datalist(datalist, tmp_path / "b.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


cells = st.one_of(
    st.sampled_from(["", "0", "1", "-1", "1.0", "2", "nan", "NaN", "inf", "1e400", "PA", "ill", "train", " ", '"', "é", "\0",
                     "a.png", "b.png", "p1", "Frontal", "AP", "Hernia", "Hernia|Edema", "071Y", "9" * 400, "=1+1", "\n", ",",
                     "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"]),
    st.text(max_size=5),
)  # fmt: skip
COLUMNS = ["image", "patient_id", "label", "a", "b", "age", "sex", "split", "study", "view", "mask"]
OPTIONS = {
    "label_column": "label", "age_column": "age", "sex_column": "sex", "split_column": "split",
    "study_column": "study", "view_column": "view", "mask_column": "mask", "label_columns": ["a", "b"],
}  # fmt: skip


def csv_text(header: list[str], rows: list[list[str]], quoted: bool) -> str:
    if not quoted:
        return "\n".join(",".join(cells) for cells in [header, *rows])
    return "\r\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in cells) for cells in [header, *rows])


@given(
    st.lists(st.lists(cells, min_size=9, max_size=13), max_size=4),
    st.sets(st.sampled_from(sorted(OPTIONS))),
    st.booleans(),
    st.booleans(),
    st.one_of(st.just(b""), st.binary(max_size=4)),
)
def test_csv_rows(tmp_path, rows, options, quoted, exact, noise):
    if exact:
        rows = [(row + [""] * 2)[: len(COLUMNS)] for row in rows]
    chosen = {key: OPTIONS[key] for key in options if key != "label_columns" or "label_column" not in options}
    path = tmp_path / "films.csv"
    path.write_bytes(noise + csv_text(COLUMNS, rows, quoted).encode("utf-8", "surrogatepass"))
    try:
        datalist = csv_table.read(path, **chosen, check_files=False)
    except DatalistError as error:
        assert "films.csv" in str(error)  # noqa: PT017
        return
    check_is_sound(datalist, tmp_path)


LAYOUTS = [
    (chexpert, "train.csv", list(chexpert.COLUMNS)),
    (chestxray14, "Data_Entry_2017.csv", [*chestxray14.REQUIRED, *chestxray14.OPTIONAL]),
    (covid_chestxray, "metadata.csv", ["patientid", "offset", "finding", "view", "modality", "folder", "filename"]),
]


@pytest.mark.parametrize(("layout", "name", "header"), LAYOUTS, ids=[name for _, name, _ in LAYOUTS])
@given(data=st.data())
def test_rows_of_public_tables(tmp_path, layout, name, header, data: st.DataObject):
    width = st.integers(len(header) - 1, len(header) + 1) if data.draw(st.booleans()) else st.just(len(header))
    rows = [[data.draw(cells) for _ in range(data.draw(width))] for _ in range(data.draw(st.integers(0, 3)))]
    (tmp_path / name).write_bytes(csv_text(header, rows, data.draw(st.booleans())).encode("utf-8", "surrogatepass"))
    try:
        datalist = layout.read(tmp_path, check_files=False)
    except DatalistError:
        return
    check_is_sound(datalist, tmp_path)
