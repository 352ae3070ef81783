# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of predictions: what is written comes back, other tools can read it, and what is none is refused."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from monai_cxrssl.data import Predictions, load_predictions, save_predictions
from monai_cxrssl.errors import DatalistError

FIXED = ["image", "patient_id", "study_id", "view_position", "sex", "age", "source", "split", "task", "problem"]
HOSTILE = ["plain.png", 'a "quoted", name.png', "two\nlines.png", "cr\r.png", "\udcff\udc80.png", " spaced .png"]


def multi_class(count: int = 6, classes=("normal", "TB, active", "ma\nss"), **changed) -> Predictions:
    random = np.random.default_rng(0)
    fields = {
        "classes": list(classes),
        "task": "multi_class",
        "items": [{"image": HOSTILE[n % 6] * (1 + n // 6), "patient_id": f"p{n // 2}"} for n in range(count)],
        "scores": random.dirichlet(np.ones(len(classes)), count).astype(np.float32).astype(np.float64),
        "labels": np.arange(count) % (len(classes) + 1) - 1,
        "measures": {"dice": np.where(np.arange(count) % 2, random.random(count), np.nan)},
        "unreadable": [
            {"image": "br\udcf6ken.png", "cause": "is a\ntext file"},
            {"image": "b.png", "cause": "is empty"},
        ],
    }
    return Predictions(**(fields | changed))


def decided() -> Predictions:
    """With warnings and decisions, some of each missing."""
    base = multi_class(3)
    texts = ["lateral view; odd, too", "two\nlines"]
    items = [{**item, "warnings": text} for item, text in zip(base.items, texts, strict=False)] + base.items[2:]
    decisions = {"ma\nss": np.array([1, 0, np.nan]), "normal": np.array([0.0, 0.0, 1.0])}
    return multi_class(3, items=items, decisions=decisions)


def multi_label(count: int = 6) -> Predictions:
    base = multi_class(count)
    labels = np.resize(np.array([0, 1, np.nan, 1], np.float32), (count, 3))
    scores = np.where(np.isnan(labels), np.nan, base.scores)
    return Predictions(base.classes, "multi_label", base.items, scores, labels)


def assert_same(found: Predictions, expected: Predictions):
    assert (found.classes, found.task, found.items) == (expected.classes, expected.task, expected.items)
    assert found.unreadable == expected.unreadable
    assert found.labels.dtype == expected.labels.dtype
    np.testing.assert_array_equal(found.labels, expected.labels)
    # 9 significant digits bring a float32 back exactly.
    np.testing.assert_array_equal(found.scores.astype(np.float32), expected.scores.astype(np.float32))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=5e-9)
    assert list(found.measures) == list(expected.measures)
    for name, values in expected.measures.items():
        np.testing.assert_array_equal(found.measures[name], values)
    assert set(found.decisions) == set(expected.decisions)
    for name, values in expected.decisions.items():
        np.testing.assert_array_equal(found.decisions[name], values)


@pytest.mark.parametrize(
    "predictions",
    [
        multi_class(),
        multi_label(),
        multi_class(40, classes=[f"c{n}" for n in range(14)]),
        multi_class(classes=(), labels=np.full(6, -1), scores=np.zeros((6, 0))),
        multi_class(items=[], labels=np.zeros(0, np.int64), scores=np.zeros((0, 3)), measures={}),
        decided(),
    ],
    ids=["multi_class", "multi_label", "14 classes", "masks only", "all unreadable", "warnings and decisions"],
)
def test_what_is_written_comes_back(predictions, tmp_path):
    path = save_predictions(predictions, tmp_path / "new" / "predictions.csv")
    assert_same(load_predictions(path), predictions)
    assert [file.name for file in path.parent.iterdir()] == ["predictions.csv"]
    before = path.read_bytes()
    save_predictions(load_predictions(path), path)
    assert path.read_bytes() == before


def test_all_that_is_known_of_an_image(tmp_path):
    item = {"image": "a.png", "patient_id": 7, "study_id": "s", "view_position": "PA", "sex": "F", "age": 61.5}
    items = [item | {"label": 1, "source": "x", "split": "test"}, {"image": "b", "patient_id": "q", "age": 40}]
    predictions = multi_class(items=items, labels=np.array([1, -1]), scores=np.ones((2, 3)) / 3, measures={})
    found = load_predictions(save_predictions(predictions, tmp_path / "p.csv")).items
    assert found[0] == {**item, "patient_id": "7", "source": "x", "split": "test"}
    assert found[1] == items[1]
    assert isinstance(found[1]["age"], int)


def test_the_table_as_other_tools_see_it(tmp_path):
    predictions = multi_class()
    path = save_predictions(predictions, tmp_path / "p.csv")
    with open(path, newline="", encoding="utf-8", errors="surrogatepass") as file:
        rows = list(csv.DictReader(file))
    names = [f"{kind}:{name}" for kind in ("label", "p") for name in predictions.classes]
    assert list(rows[0]) == [*FIXED, *names, "dice"]
    assert [rows[2][f"label:{name}"] for name in predictions.classes] == ["0", "1", "0"]
    assert [rows[0][f"label:{name}"] for name in predictions.classes] == ["", "", ""]
    assert rows[0]["dice"] == ""
    assert rows[3]["p:normal"] == f"{predictions.scores[3, 0]:.9g}"
    assert {key: value for key, value in rows[-1].items() if value} == {"image": "b.png", "problem": "is empty"}
    table = pd.read_csv(path, encoding_errors="surrogatepass")
    np.testing.assert_allclose(table["p:TB, active"].dropna(), predictions.scores[:, 1], rtol=5e-9)


def test_warnings_and_decisions_as_other_tools_see_them(tmp_path):
    path = save_predictions(decided(), tmp_path / "p.csv")
    with open(path, newline="", encoding="utf-8", errors="surrogatepass") as file:
        header, first, second, third, *_ = list(csv.reader(file))
    assert header[:11] == [*FIXED, "warnings"]
    # In the order of the classes, before the measures.
    assert header[-3:] == ["decision:normal", "decision:ma\nss", "dice"]
    assert [row[10] for row in (first, second, third)] == ["lateral view; odd, too", "two\nlines", ""]
    assert [row[-3:-1] for row in (first, second, third)] == [["0", "1"], ["0", "0"], ["1", ""]]
    # An inference without a warning keeps the column; tables of evaluations have none.
    quiet = multi_class(items=[{**item, "warnings": ""} for item in multi_class().items])
    assert save_predictions(quiet, path).read_text(errors="ignore").startswith(",".join([*FIXED, "warnings"]))


def test_a_table_of_another_tool(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("\ufeffp:a,label:a,task,patient_id,image\n0.5,1,multi_label,1,x.png\n\nnan,,multi_label,2,y.png\n")
    found = load_predictions(path)
    assert found.items == [{"image": "x.png", "patient_id": "1"}, {"image": "y.png", "patient_id": "2"}]
    np.testing.assert_array_equal(found.scores, [[0.5], [np.nan]])
    np.testing.assert_array_equal(found.labels, [[1], [np.nan]])


HEAD = "image,patient_id,task,problem,label:a,label:b,p:a,p:b"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "row 1 lacks image, patient_id, task .it holds nothing"),
        ("name;age\n1;2\n", "no table of predictions: row 1 lacks image"),
        ("image,patient_id,task,label:a\n", "lacks the column 'p:a' beside 'label:a'"),
        ("image,patient_id,task,p:a\n", "lacks the column 'label:a' beside 'p:a'"),
        ("image,patient_id,task,task\n", "two columns 'task'"),
        (f"{HEAD}\nx,1,multi_label,,0,2,.5,.5\n", "row 2 .*label:b is not 0 or 1"),
        (f"{HEAD}\nx,1,multi_label,,0,yes,.5,.5\n", "row 2 .*label:b is no number"),
        (f"{HEAD}\nx,1,multi_label,,0,1,.5,.5\ny,1,multi_label,,0,1,.5,1.5\n", "row 3 .*p:b is not a probability"),
        (f"{HEAD}\nx,1,multi_label,,0,1,inf,.5\n", "row 2 .*p:a is not a probability"),
        (f"{HEAD}\n" + "x,1,multi_class,,0,1,.5,.5\n" * 3 + "y,1,multi_class,,1,1,.5,.5\n", "row 5 .*one 1 among zeros"),
        (f"{HEAD}\ny,1,multi_class,,0,0,.5,.5\n", "row 2 .*one 1 among zeros"),
        (f"{HEAD}\ny,1,multi_class,,,1,.5,.5\n", "row 2 .*one 1 among zeros"),
        (f"{HEAD}\ny,,multi_class,,0,1,.5,.5\n", "row 2 .*patient_id is empty"),
        (f"{HEAD}\ny,1,ranking,,0,1,.5,.5\n", "under task 'ranking'; expected one"),
        (f"{HEAD}\ny,1,multi_class,,0,1,.5,.5\nz,1,multi_label,,0,1,.5,.5\n", "'multi_class', 'multi_label'; expected"),
        (f"{HEAD}\ny,1,multi_class,,0,1,.5\n", "row 2 .*not 8 cells"),
        (f"{HEAD},decision:a\ny,1,multi_class,,0,1,.5,.5,.5\n", "row 2 .*decision:a is not 0 or 1"),
        (f"{HEAD},decision:c\ny,1,multi_class,,0,1,.5,.5,1\n", "'decision:c' without 'p:c'"),
        (f"{HEAD},remark\ny,1,multi_class,,0,1,.5,.5,good\n", "row 2 .*remark is no number"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "cannot be read as a table of predictions"),
    ],
)  # fmt: skip
def test_what_is_no_such_table(text, words, tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatalistError, match=words) as caught:
        load_predictions(path)
    assert str(path) in str(caught.value)


def test_no_such_file(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DatalistError, match="cannot be read as a table of predictions"):
            load_predictions(path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"scores": np.full((6, 3), 1.5)}, "probability of plain.png is 1.5"),
        ({"scores": np.zeros((6, 2))}, r"expected \(6, 3\)"),
        ({"labels": np.full(6, 3)}, "label of plain.png is 3"),
        ({"labels": np.full((6, 3), 0.5), "task": "multi_label"}, "label of plain.png is 0.5"),
        ({"task": "ranking"}, "task of the predictions is 'ranking'"),
        ({"measures": {"dice": np.zeros(5)}}, "dice of 6 predictions"),
        ({"measures": {"p:x": np.zeros(6)}}, "cannot be called 'p:x'"),
        ({"measures": {"decision:x": np.zeros(6)}}, "cannot be called 'decision:x'"),
        ({"decisions": {"x": np.zeros(6)}}, "decisions of 'x', which is none"),
        ({"decisions": {"normal": np.zeros(5)}}, "decisions of normal of 6 predictions"),
        ({"decisions": {"normal": np.full(6, 0.5)}}, "decision of normal of plain.png is 0.5"),
        ({"items": [{"image": "a"}] * 6}, "lacks its image or its patient_id"),
    ],
)
def test_what_cannot_be_predictions(changed, words):
    with pytest.raises(DatalistError, match=words):
        multi_class(**changed)
