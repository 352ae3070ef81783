# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The Kermany layout: the table, the public tree, broken input, and the real subset."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts import kermany
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

from .tables import touch, write_csv

ROWS = (
    ("IM-0461-0001.jpeg", "IM-0461", "Normal"),
    ("person23_bacteria_78.jpeg", "person23-bacteria", "Bacterial"),
    ("person23_bacteria_80.jpeg", "person23-bacteria", "Bacterial"),
    ("person1_virus_6.jpeg", "person1-virus", "Viral-Other"),
)
TREE = {
    "train/NORMAL/IM-0115-0001.jpeg": ("IM-0115", 0),
    "train/NORMAL/IM-0666-0001-0002.jpeg": ("IM-0666", 0),
    "train/NORMAL/NORMAL2-IM-0666-0001.jpeg": ("NORMAL2-IM-0666", 0),
    "train/NORMAL/NORMAL-1003233-0001.jpeg": ("NORMAL-1003233", 0),
    "train/PNEUMONIA/BACTERIA-1008087-0001.jpeg": ("BACTERIA-1008087", 1),
    "train/PNEUMONIA/BACTERIA-1008087-0002.jpeg": ("BACTERIA-1008087", 1),
    "train/PNEUMONIA/person7_virus_9.jpeg": ("person7-virus", 2),
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": ("NORMAL2-IM-1427", 0),
    "val/PNEUMONIA/person1946_bacteria_4874.jpeg": ("person1946-bacteria", 1),
    "test/NORMAL/IM-0001-0001.jpeg": ("IM-0001", 0),
    "test/PNEUMONIA/VIRUS-40699-0001.jpeg": ("VIRUS-40699", 2),
}


def write(folder, rows=ROWS, columns=kermany.COLUMNS, place="images/"):
    write_csv(folder / "labels.csv", columns, rows)
    touch(folder, *(f"{place}{row[0]}" for row in rows if row[0]))
    return folder


@pytest.mark.parametrize("place", ["images/", ""])
def test_table(tmp_path, place):
    write(tmp_path, place=place)
    assert find_layout(tmp_path) == "kermany"
    datalist = index_folder(tmp_path)
    assert [item["label"] for item in datalist.items()] == [0, 1, 1, 2]
    assert datalist.multi_image_bags == 1
    assert datalist.items()[0]["image"] == str(tmp_path / f"{place}IM-0461-0001.jpeg")
    Datalist.from_dict(datalist.to_dict(), tmp_path)


@pytest.mark.parametrize("top", ["", "chest_xray/"])
def test_tree(tmp_path, top):
    touch(tmp_path, *(top + name for name in TREE), f"{top}train/NORMAL/._IM-0115-0001.jpeg", f"{top}train/.DS_Store")
    assert find_layout(tmp_path) == "kermany"
    datalist = index_folder(tmp_path)
    for split, folder in (("training", "train"), ("validation", "val"), ("test", "test")):
        found = {item["image"]: (item["patient_id"], item["label"]) for item in datalist.splits[split]}
        assert found == {top + name: told for name, told in TREE.items() if name.startswith(folder)}


@pytest.mark.parametrize(
    ("name", "message"),
    [("train/NORMAL/scan1.jpeg", "tells no patient"), ("test/NORMAL/person1_virus_6.jpeg", "tells another class")],
)
def test_tree_with_a_strange_file(tmp_path, name, message):
    touch(tmp_path, *TREE, name)
    with pytest.raises(DatalistError, match=f"{name} lies in NORMAL, and its name {message}; expected names such as"):
        index_folder(tmp_path)


def test_another_tree_of_these_names_is_not_taken(tmp_path):
    touch(tmp_path, "train/NORMAL/a.jpeg", "train/PNEUMONIA/b.jpeg")
    assert find_layout(tmp_path) == "folder"


@pytest.mark.parametrize("missing", kermany.COLUMNS)
def test_missing_column(tmp_path, missing):
    keep = [n for n, c in enumerate(kermany.COLUMNS) if c != missing]
    write(tmp_path, [[r[n] for n in keep] for r in ROWS], [kermany.COLUMNS[n] for n in keep])
    with pytest.raises(DatalistError, match=f"labels.csv lacks the column {missing} "):
        kermany.read(tmp_path)
    # Without the telling column, this may be anybody's table.
    assert kermany.detect(tmp_path) == (missing != "X_ray_image_name")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROWS[0], "row 6 .*listed before, in row 2"),
        (("x.jpeg", "", "Normal"), "row 6 .*patient is empty"),
        (("", "p", "Normal"), "row 6 .*X_ray_image_name is empty"),
    ],
)
def test_broken_rows(tmp_path, row, message):
    with pytest.raises(DatalistError, match=message):
        index_folder(write(tmp_path, [*ROWS, row]))


def test_absent(tmp_path):
    write(tmp_path)
    (tmp_path / "images" / ROWS[1][0]).unlink()
    with pytest.raises(DatalistError, match="row 3 .*the listed file does not exist"):
        index_folder(tmp_path)
    assert len(kermany.read(tmp_path, allow_absent=True).items()) == 3
    assert len(kermany.read(tmp_path, check_files=False).items()) == 4


def test_real_subset(shared_data):
    datalist = index_folder(shared_data / "kermany-pediatric")
    told = datalist.summary()
    assert (told["images"], told["patients"], told["multi_image_bags"]) == (666, 529, 60)
    # The table's own columns confirm the rule that the tree needs.
    for item in datalist.splits["training"]:
        assert kermany.patient_and_class(item["image"]) == (item["patient_id"], item["label"])
