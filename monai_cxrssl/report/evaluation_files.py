# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The files that an evaluation left, read for a report."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.predictions import Predictions, join_predictions, load_predictions, take_predictions
from monai_cxrssl.errors import DatalistError

__all__ = ["EvaluationFiles", "REGIONS", "external_table", "read_evaluation", "split_predictions"]

#: Regions of the shortcut probes, files of the same names under ``blanked``.
REGIONS = ("lungs", "outside_lungs", "corners", "border")


@dataclass(frozen=True)
class EvaluationFiles:
    """One model's evaluation."""

    name: str  #: of the model.
    predictions: Predictions  #: all rows that are used.
    test: Predictions  #: rows of split ``test``, or all of a table without splits.
    validation: Predictions | None = None  #: rows of split ``validation``; None without any.
    external: dict[str, Predictions] = field(default_factory=dict)  #: predictions on other sets, by name.
    blanked: dict[str, Predictions] = field(default_factory=dict)  #: of test images, by the region blanked.
    source_prediction: dict[str, Any] | None = None  #: content of the file of that name; None without it.
    checks: dict[str, Any] = field(default_factory=dict)  #: content of ``checks.json``.
    pictures: dict[str, Path] = field(default_factory=dict)  #: ``attention``, ``segmentation``, ``curves``.
    remarks: list[str] = field(default_factory=list)  #: sentences on what was left out.


def external_table(name: str) -> str:
    """Return where predictions on another data set of this name stand, below an evaluation's folder.

    Example:
        >>> external_table("CheXpert v1/small")
        'external/CheXpert v1_small.csv'
    """
    # Three of the characters that file systems refuse would do, but a report is handed on to others.
    plain = "".join(letter if letter.isalnum() or letter in " ._-+" else "_" for letter in name).strip(" .")
    return f"external/{plain[:80] or 'external'}.csv"


def read_evaluation(
    path: str | os.PathLike,
    name: str | None = None,
    validation: str | os.PathLike | None = None,
    external: Sequence[str | os.PathLike] = (),
) -> EvaluationFiles:
    """Read an evaluation.

    Args:
        path: its folder, or a table of predictions. What else the folder holds (``blanked``, ``external``,
            ``galleries`` ...) is read with a table that is called ``predictions.csv``, as they belong to that one.
        validation: a table whose rows are validation images, whatever split it names.
        external: tables of predictions on other sets, named after their files.

    Raises:
        DatalistError: a table that cannot be read, of other classes, or validation images in two places.
    """
    given = Path(path).expanduser()
    table = given / "predictions.csv" if given.is_dir() else given
    folder = table.parent if table.name == "predictions.csv" else None
    whole = load_predictions(table)
    parts, remarks = split_predictions(whole)
    test, from_split = parts["test"], parts["validation"]
    if validation is not None:
        if from_split is not None:
            raise DatalistError(
                f"{table} has rows of split validation, and {validation} is given as validation too; leave one out."
            )
        from_split = load_predictions(validation)
        _refuse_other_classes(test, from_split, validation)
        from_split = replace(from_split, items=[{**item, "split": "validation"} for item in from_split.items])
    used = test if from_split is None else join_predictions([from_split, test])
    tables = {Path(file).stem: Path(file) for file in external}
    if len(tables) < len(external):
        raise DatalistError("Two external tables have the same file name; name them after their data sets.")
    if folder is None:
        return EvaluationFiles(
            name or table.stem, used, test, from_split, {key: load_predictions(file) for key, file in tables.items()},
            remarks=remarks,
        )  # fmt: skip
    tables = {file.stem: file for file in sorted((folder / "external").glob("*.csv"))} | tables
    blanked = {region: folder / "blanked" / f"{region}.csv" for region in REGIONS}
    pictures = {kind: folder / "galleries" / f"{kind}.png" for kind in ("attention", "segmentation")}
    pictures["curves"] = folder / "curves.png"
    source = folder / "source_prediction.json"
    return EvaluationFiles(
        name or folder.resolve().name,
        used,
        test,
        from_split,
        {key: load_predictions(file) for key, file in tables.items()},
        {region: load_predictions(file) for region, file in blanked.items() if file.is_file()},
        _read_json(source) if source.is_file() else None,
        _read_json(folder / "checks.json") if (folder / "checks.json").is_file() else {},
        {kind: file for kind, file in pictures.items() if file.is_file()},
        remarks,
    )


def split_predictions(whole: Predictions) -> tuple[dict[str, Any], list[str]]:
    """Divide a table by its column ``split``; without one, all rows are test rows.

    Return ``{"test": Predictions, "validation": Predictions or None}``, and sentences on what was left out.
    """
    splits = np.array([str(item.get("split") or "") for item in whole.items], dtype=object)
    remarks: list[str] = []
    if not any(splits):
        return {"test": whole, "validation": None}, remarks
    for name in sorted(set(splits) - {"test", "validation"}):
        told = f"of split {name!r}" if name else "without a split"
        remarks.append(f"{int((splits == name).sum())} rows {told} were left out; test and validation images count.")
    test = replace(take_predictions(whole, splits == "test"), unreadable=whole.unreadable)
    validation = take_predictions(whole, splits == "validation") if (splits == "validation").any() else None
    return {"test": test, "validation": validation}, remarks


def _refuse_other_classes(test: Predictions, other: Predictions, path: str | os.PathLike) -> None:
    if (other.classes, other.task) != (test.classes, test.task):
        raise DatalistError(
            f"{path} has the classes {', '.join(other.classes)} ({other.task}), and the test images "
            f"{', '.join(test.classes)} ({test.task}); give predictions of the same model."
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatalistError(f"{path} cannot be read as JSON ({error}); run the evaluation again.") from None
    if not isinstance(content, dict):
        raise DatalistError(f"{path} is no JSON object; run the evaluation again.")
    return content
