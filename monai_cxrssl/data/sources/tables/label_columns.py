# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.label_policy import apply_label_policy, labels_to_lists
from monai_cxrssl.data.datalists.rows import refuse_cells, refuse_rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["class_numbers", "policy_labels", "report_labels"]


def class_numbers(
    path: Path, table: pd.DataFrame, label_column: str, classes: Sequence[str] | None = None
) -> tuple[list[int | None], tuple[str, ...]]:
    """Read the labels of a column that holds one class name per row, blank where unknown.

    ``classes`` gives the names in label order, by default the column's values, sorted. Returns one class number or
    ``None`` per row, and the class names.

    Raises:
        DatalistError: a class that is not among the given ones, named with its rows.
    """
    texts = table[label_column]
    names = tuple(classes or sorted(set(texts) - {""}))
    for text in texts.unique():
        if text and text not in names:
            rows = table.index[texts == text]
            refuse_rows(path, rows, f"{label_column} is {text!r}", f"expected one of {', '.join(names)}, or blank")
    index = {text: number for number, text in enumerate(names)}
    return [index.get(text) for text in texts], names


def policy_labels(
    path: Path, table: pd.DataFrame, classes: tuple[str, ...], policy: Any, blanks: str, keys: Sequence[str], seed: int
) -> list[list[float | None]]:
    """Labels of :func:`report_labels` after a policy, see :mod:`monai_cxrssl.data.datalists.label_policy`."""
    values = apply_label_policy(report_labels(path, table, classes), classes, policy, blanks, keys, seed)
    return labels_to_lists(values)


def report_labels(path: Path, table: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """Labels of a table of the CheXpert or NegBio labeller as ``(N, C)`` of 1, 0, -1 and NaN.

    Raises:
        DatalistError: another value, named with its row.
    """
    import numpy as np
    import pandas as pd

    labels = np.empty((len(table), len(classes)))
    for index, name in enumerate(classes):
        codes, texts = pd.factorize(table[name])
        numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=float)
        wrong = ~np.isin(numbers, (-1, 0, 1)) & (np.asarray(texts) != "")
        refuse_cells(path, table[name], wrong[codes], "expected 1, 0, -1 (uncertain) or blank")
        labels[:, index] = numbers[codes]
    return labels
