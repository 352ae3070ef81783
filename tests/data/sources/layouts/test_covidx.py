# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The COVIDx layout on a miniature of its tree, and what it says of broken lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_cxrssl.data.sources.layouts.covid import covidx
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

TRAIN = [
    "3 SARS-10.1148-g04.jpeg negative cohen",
    "419639-003251 MIDRC-1C-0.png positive ricord",
    "",
    "3 x.png negative rsna",
]
TEST = ["COVID-1 COVID (1).png positive sirm"]
FILMS = ("train/SARS-10.1148-g04.jpeg", "train/MIDRC-1C-0.png", "train/x.png", "test/COVID (1).png")


@pytest.fixture
def tree(tmp_path):
    """Writes lists and empty images."""

    def write(lists=None, films=FILMS):
        for name, lines in (lists or {"train.txt": TRAIN, "test.txt": TEST}).items():
            (tmp_path / name).write_text("\n".join(lines) + "\n")
        for film in films:
            (tmp_path / film).parent.mkdir(exist_ok=True)
            (tmp_path / film).touch()
        return tmp_path

    return write


@pytest.mark.parametrize("names", [("train.txt", "test.txt"), ("train_COVIDx9A.txt", "test_COVIDx9A.txt")])
def test_two_classes(tree, names):
    folder = tree(dict(zip(names, (TRAIN, TEST), strict=True)))
    assert find_layout(folder) == "covidx"
    datalist = index_folder(folder)
    assert datalist.classes == ("COVID-19 Negative", "COVID-19")
    train, test = datalist.items("training"), datalist.items("test")
    assert [Path(item["image"]).relative_to(folder).as_posix() for item in train + test] == list(FILMS)
    assert [item["label"] for item in train + test] == [0, 1, 0, 1]
    assert [item["patient_id"] for item in train] == ["cohen-3", "ricord-419639-003251", "rsna-3"]


def test_three_classes_without_source(tree):
    lists = {"train_COVIDx2.txt": ["1 a.png normal", "2 b.jpg pneumonia"], "val.txt": ["7 c.png COVID-19"]}
    datalist = covidx.read(tree(lists, ("train/a.png", "train/b.jpg", "val/c.png")))
    assert datalist.classes == ("No Finding", "Pneumonia", "COVID-19")
    items = datalist.items("training") + datalist.items("validation")
    assert [(item["patient_id"], item["label"]) for item in items] == [("1", 0), ("2", 1), ("7", 2)]


def test_other_lists_are_not_covidx(tmp_path):
    # COVIDx-CT has boxes in its lists; others have a file name only.
    (tmp_path / "train_COVIDx_CT-3A.txt").write_text("NCP_96_1328_0032.png 2 9 94 512 405\n")
    (tmp_path / "test.txt").write_text("a.png\n")
    (tmp_path / "training.txt").write_text("1 a.png positive cohen\n")
    assert not covidx.detect(tmp_path)


def test_absent_films_may_be_left_out(tree, caplog):
    datalist = covidx.read(tree(films=FILMS[1:]), allow_absent=True)
    assert len(datalist.items("training")) == 2
    assert "1 of 3 listed images are absent" in caplog.text


@pytest.mark.parametrize(
    ("lists", "films", "message"),
    [
        (
            None,
            FILMS[:1] + FILMS[2:],
            r"train.txt, line 2: the listed file does not exist \(looked for .*MIDRC-1C-0.png",
        ),
        (
            {"train.txt": [*TRAIN, TRAIN[0]]},
            FILMS,
            r"line 5: the image train/SARS-10.1148-g04.jpeg was listed .* line 1",
        ),
        ({"train.txt": [*TRAIN, "9 positive"]}, FILMS, r"line 5: '9 positive' is no line of the form"),
        ({"train.txt": [*TRAIN, "9 x.png normal rsna"]}, FILMS, r"line 5: the class is one of three"),
        (
            {"train.txt": TRAIN, "train_COVIDx8B.txt": TRAIN},
            FILMS,
            r"several lists of the split train \(train.txt, train_",
        ),
        ({"train.txt": [""]}, FILMS, "lists nothing"),
        ({"other.txt": TRAIN}, FILMS, "holds no list of images"),
    ],
)
def test_faults(tree, lists, films, message):
    folder = tree(lists, films)
    with pytest.raises(DatalistError, match=message):
        covidx.read(folder)
