# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Table of predictions, one row per image."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.datalists.datalist_schema import TASKS, is_unknown
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Predictions", "join_predictions", "load_predictions", "save_predictions", "take_predictions"]

_ITEM_COLUMNS = ("image", "patient_id", "study_id", "view_position", "sex", "age", "source", "split")
# Columns of tables whose items have these fields, be they empty.
_INFERENCE_COLUMNS = ("warnings", "mask")
_FIXED_COLUMNS = (*_ITEM_COLUMNS, "task", "problem", *_INFERENCE_COLUMNS)
_REQUIRED = ("image", "patient_id", "task")
_LABEL, _SCORE, _DECISION = "label:", "p:", "decision:"
# File names may hold undecodable bytes, which Python keeps as surrogates: written as they are, they come back.
_ERRORS = "surrogatepass"


@dataclass(frozen=True)
class Predictions:
    """What was predicted of a set of images, and what is known of them.

    Args:
        classes: C names.
        task: ``"multi_class"`` or ``"multi_label"``.
        items: N items: ``image``, ``patient_id`` and, where known, ``study_id``, ``view_position``, ``sex``, ``age``,
            ``source``, ``split``, ``warnings`` (a text) and ``mask`` (its file); other fields are not written.
        scores: ``(N, C)`` float64 probabilities in [0, 1]; NaN where the network gave none that is a number.
        labels: ``(N,)`` int64 class numbers, -1 unknown; for multi_label ``(N, C)`` float32 of 0, 1 and NaN unknown.
        measures: further numbers of each image, ``(N,)`` float64, NaN where there is none, such as ``"dice"``.
        unreadable: files of which nothing could be predicted, each with ``image`` and ``cause``.
        decisions: ``(N,)`` float64 of some or all of the classes by name: 1 where the probability reaches the class's
            chosen threshold, 0 where it does not, NaN where there is no probability.

    Raises:
        DatalistError: parts that do not belong together, or values outside these ranges.
    """

    classes: list[str]
    task: str
    items: list[dict[str, Any]]
    scores: np.ndarray
    labels: np.ndarray
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    unreadable: list[dict[str, str]] = field(default_factory=list)
    decisions: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count, width = len(self.items), len(self.classes)
        multi_class = self.task == "multi_class"
        if self.task not in TASKS:
            raise DatalistError(f"The task of the predictions is {self.task!r}; expected one of {', '.join(TASKS)}.")
        shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
            "scores": (self.scores.shape, (count, width)),
            "labels": (self.labels.shape, (count,) if multi_class else (count, width)),
        }
        shapes |= {name: (values.shape, (count,)) for name, values in self.measures.items()}
        shapes |= {f"decisions of {name}": (values.shape, (count,)) for name, values in self.decisions.items()}
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise DatalistError(
                    f"The {name} of {count} predictions for {width} classes are {found}; expected {expected}."
                )
        odd = (self.labels < -1) | (self.labels >= width) if multi_class else _neither(self.labels)
        self._refuse(odd, self.labels, "label", "a class number or -1" if multi_class else "0, 1 or NaN")
        self._refuse(_outside(self.scores), self.scores, "probability", "0 to 1, or NaN")
        for name, values in self.decisions.items():
            if name not in self.classes:
                raise DatalistError(
                    f"There are decisions of {name!r}, which is none of the classes ({', '.join(self.classes)})."
                )
            self._refuse(_neither(values), values, f"decision of {name}", "0, 1 or NaN")
        for name in self.measures:
            if name in _FIXED_COLUMNS or not name or name.startswith((_LABEL, _SCORE, _DECISION)):
                raise DatalistError(f"A measure cannot be called {name!r}, which is another column of the table.")
        for item in self.items:
            if not item.get("image") or not str(item.get("patient_id", "")):
                raise DatalistError(f"The item {item!r} of the predictions lacks its image or its patient_id.")

    def _refuse(self, odd: np.ndarray, values: np.ndarray, what: str, wanted: str) -> None:
        if odd.any():
            place = tuple(np.argwhere(odd)[0])
            image = self.items[place[0]].get("image")
            raise DatalistError(f"The {what} of {image} is {values[place]:g}; expected {wanted}.")


def save_predictions(predictions: Predictions, path: str | os.PathLike) -> Path:
    """Write a table of predictions in one step (a reader finds the old file or the whole new one), and return its path.

    The columns are ``image``, ``patient_id``, ``study_id``, ``view_position``, ``sex``, ``age``, ``source``, ``split``,
    ``task``, ``problem``, then ``label:<class>`` of all classes (0 or 1, empty where unknown; a class number as one 1
    among zeros), ``p:<class>`` of all classes (the probability, 9 significant digits, empty where it is not a number),
    ``decision:<class>`` of the classes that have a threshold (0 or 1, empty without a probability) and the measures.
    Where items have the field ``warnings`` or ``mask``, a column of that name follows ``problem``. An unreadable file
    is a row with its path, and its cause under ``problem``.

    Args:
        predictions: what to write.
        path: the CSV file (UTF-8, comma); its folder is made.

    Returns:
        The file's path.
    """
    import pandas as pd

    path = Path(path).expanduser().absolute()
    items, classes, labels = predictions.items, predictions.classes, _one_hot(predictions)
    columns = {
        name: ["" if is_unknown(item.get(name)) else str(item[name]) for item in items] for name in _ITEM_COLUMNS
    }
    columns |= {"task": [predictions.task] * len(items), "problem": [""] * len(items)}
    for name in _INFERENCE_COLUMNS:
        if any(name in item for item in items):
            columns[name] = [str(item.get(name) or "") for item in items]
    columns |= {_LABEL + name: _texts(labels[:, c], ".0f") for c, name in enumerate(classes)}
    columns |= {_SCORE + name: _texts(predictions.scores[:, c], ".9g") for c, name in enumerate(classes)}
    decisions = predictions.decisions
    columns |= {_DECISION + name: _texts(decisions[name], ".0f") for name in classes if name in decisions}
    columns |= {name: _texts(values) for name, values in predictions.measures.items()}
    unreadable = {
        "image": [entry["image"] for entry in predictions.unreadable],
        "problem": [entry["cause"] or "no cause given" for entry in predictions.unreadable],
    }
    rows = pd.concat([pd.DataFrame(part, dtype=object) for part in (columns, unreadable)]).fillna("")
    with (
        atomic_write(path, sync=True) as partial,
        open(partial, "w", newline="", encoding="utf-8", errors=_ERRORS) as stream,
    ):
        # This line end is what makes the writer quote a carriage return within a cell.
        rows.to_csv(stream, index=False, lineterminator="\r\n")
    return path


def load_predictions(path: str | os.PathLike) -> Predictions:
    """Read a table that :func:`save_predictions` wrote, or a UTF-8 CSV of another tool with the same columns.

    Needed are ``image``, ``patient_id``, ``task`` and ``label:<class>`` for every ``p:<class>``; the order of the
    columns is free, ``decision:<class>``, ``warnings`` and ``mask`` may be there, and every column of another name
    must hold numbers and is a measure. A table of unreadable files only has no task; it is given as multi_class.

    Args:
        path: the CSV file, UTF-8.

    Returns:
        The predictions; an ``age`` that is a number comes back as one, everything else of an item as text.

    Raises:
        DatalistError: the file is no such table; it names the column, and the rows as a spreadsheet counts them (the
            header is row 1).
    """
    path = Path(path).expanduser()
    rows = _read(path)
    classes = _classes(path, list(rows))
    failed = rows[rows["problem"] != ""] if "problem" in rows else rows[:0]
    rows = rows.drop(failed.index)
    for name in ("image", "patient_id"):
        empty = rows.index[rows[name] == ""]
        refuse_rows(path, empty, f"{name} is empty", "fill it in, or tell under problem why nothing was predicted")
    tasks = set(rows["task"])
    if len(tasks) > 1 or not tasks <= set(TASKS):
        raise DatalistError(
            f"{path} has under task {', '.join(map(repr, sorted(tasks)))}; expected one and the same of "
            f"{', '.join(TASKS)} in all rows."
        )
    task = next(iter(tasks), "multi_class")
    scores = np.empty((len(rows), len(classes)))
    labels = np.empty_like(scores)
    for column, name in enumerate(classes):
        scores[:, column] = _numbers(path, rows[_SCORE + name], _outside, "a probability from 0 to 1")
        labels[:, column] = _numbers(path, rows[_LABEL + name], _neither, "0 or 1")
    decisions = {}
    for name in (name.removeprefix(_DECISION) for name in rows if name.startswith(_DECISION)):
        if name not in classes:
            raise DatalistError(f"{path} has the column '{_DECISION}{name}' without '{_SCORE}{name}'; expected both.")
        decisions[name] = _numbers(path, rows[_DECISION + name], _neither, "0 or 1")
    own = {*_FIXED_COLUMNS, *(prefix + name for prefix in (_LABEL, _SCORE, _DECISION) for name in classes)}
    named = [name for name in (*_ITEM_COLUMNS, *_INFERENCE_COLUMNS) if name in rows]
    return Predictions(
        classes=classes,
        task=task,
        items=[_item(record) for record in rows[named].to_dict("records")],
        scores=scores,
        labels=_class_numbers(path, rows.index, labels) if task == "multi_class" else labels.astype(np.float32),
        measures={name: _numbers(path, rows[name]) for name in rows if name not in own},
        unreadable=[{"image": row["image"], "cause": row["problem"]} for row in failed.to_dict("records")],
        decisions=decisions,
    )


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Put tables of the same classes and task below each other; a measure that one lacks is NaN there."""
    names = dict.fromkeys(name for part in parts for name in part.measures)
    absent = [np.full(len(part.items), np.nan) for part in parts]
    measures = {}
    for name in names:
        measures[name] = np.concatenate([p.measures.get(name, none) for p, none in zip(parts, absent, strict=True)])
    return Predictions(
        classes=parts[0].classes,
        # A table of unreadable files only does not know its task.
        task=next((part.task for part in reversed(parts) if part.items), parts[0].task),
        items=[item for part in parts for item in part.items],
        scores=np.concatenate([part.scores for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        measures=measures,
        unreadable=[entry for part in parts for entry in part.unreadable],
    )


def take_predictions(predictions: Predictions, rows: np.ndarray) -> Predictions:
    """Return some rows, by numbers or as a mask, without the unreadable files."""
    numbers = np.flatnonzero(rows) if rows.dtype == bool else rows
    return replace(
        predictions,
        items=[predictions.items[number] for number in numbers],
        scores=predictions.scores[numbers],
        labels=predictions.labels[numbers],
        measures={name: values[numbers] for name, values in predictions.measures.items()},
        unreadable=[],
        decisions={name: values[numbers] for name, values in predictions.decisions.items()},
    )


def _neither(values: np.ndarray) -> np.ndarray:
    """Where there is a number that is neither 0 nor 1."""
    return ~np.isnan(values) & (values != 0) & (values != 1)


def _outside(scores: np.ndarray) -> np.ndarray:
    return ~np.isnan(scores) & ~((scores >= 0) & (scores <= 1))


def _one_hot(predictions: Predictions) -> np.ndarray:
    """Labels as ``(N, C)`` of 0, 1 and NaN."""
    labels = predictions.labels
    if predictions.task != "multi_class":
        return labels
    return np.where(labels[:, None] < 0, np.nan, labels[:, None] == np.arange(len(predictions.classes)))


def _class_numbers(path: Path, rows: pd.Index, labels: np.ndarray) -> np.ndarray:
    if not labels.shape[1]:
        return np.full(len(labels), -1)
    known = ~np.isnan(labels)
    whole = known.all(axis=1) & (np.nansum(labels, axis=1) == 1)
    problem = "the task is multi_class, but the labels are not one 1 among zeros"
    remedy = "give each image one class, or leave all its labels empty if it is unknown"
    refuse_rows(path, rows[~whole & known.any(axis=1)], problem, remedy)
    return np.where(whole, np.nan_to_num(labels).argmax(axis=1), -1)


def _texts(values: np.ndarray, form: str = "") -> list[str]:
    """Numbers as cells, without a format such that they come back exactly; empty where there is none."""
    return ["" if value != value else format(value, form) for value in values.tolist()]


def _read(path: Path) -> pd.DataFrame:
    """The cells as texts; the index holds the row numbers, which pandas' own reader cannot name where rows differ."""
    import pandas as pd

    try:
        with open(path, newline="", encoding="utf-8-sig", errors=_ERRORS) as stream:
            records = list(csv.reader(stream, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise DatalistError(f"{path} cannot be read as a table of predictions ({words}).") from None
    header = records[0] if records else []
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        shown = ", ".join(header)[:200].encode("utf-8", "backslashreplace").decode() or "nothing"
        raise DatalistError(
            f"{path} is no table of predictions: row 1 lacks {', '.join(missing)} (it holds {shown}); give the "
            "predictions.csv of an evaluation."
        )
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DatalistError(f"{path} has two columns {twice!r}; expected one.")
    rows = {number: cells for number, cells in enumerate(records[1:], 2) if cells}
    wrong = [number for number, cells in rows.items() if len(cells) != len(header)]
    remedy = "quote cells that hold commas or line ends, or fetch the file again"
    refuse_rows(path, wrong, f"there are not {len(header)} cells, as in the header", remedy)
    return pd.DataFrame(list(rows.values()), index=list(rows), columns=header, dtype=object)


def _classes(path: Path, header: Sequence[str]) -> list[str]:
    named = {
        prefix: [name.removeprefix(prefix) for name in header if name.startswith(prefix)] for prefix in (_LABEL, _SCORE)
    }
    for prefix, other in ((_LABEL, _SCORE), (_SCORE, _LABEL)):
        missing = [prefix + name for name in named[other] if name not in named[prefix]]
        if missing:
            raise DatalistError(
                f"{path} lacks the column {missing[0]!r} beside {other + missing[0].removeprefix(prefix)!r}; expected "
                "a column of labels and one of probabilities for every class."
            )
    return named[_SCORE]


def _numbers(
    path: Path, cells: pd.Series, odd: Callable[[np.ndarray], np.ndarray] | None = None, expected: str = ""
) -> np.ndarray:
    """A column of numbers, NaN where empty; those that are odd are refused."""
    remedy = "correct it, or leave it empty if unknown"
    texts = [text or "nan" for text in cells]
    refuse_rows(path, cells.index[[not _is_number(text) for text in texts]], f"{cells.name} is no number", remedy)
    values = np.array(texts, dtype=np.float64)
    if odd is not None:
        refuse_rows(path, cells.index[odd(values)], f"{cells.name} is not {expected}", remedy)
    return values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _item(record: Mapping[Any, str]) -> dict[str, Any]:
    item: dict[str, Any] = {name: text for name, text in record.items() if text}
    if "age" in item and _is_number(item["age"]):
        age = float(item["age"])
        item["age"] = int(age) if age.is_integer() and "." not in item["age"] else age
    return item
