# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label columns of a table."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.label_policy import apply_label_policy, labels_to_lists
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.label_words import (
    TRUTH,
    UnknownLabels,
    alike_classes,
    class_key,
    class_spellings,
    truth_value,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["class_numbers", "known_class", "policy_labels", "report_labels"]

logger = logging.getLogger(__name__)


def known_class(classes: Sequence[str], text: str) -> int | None:
    """Return the number of the one class that a text spells, by its name or by its entry in the vocabulary.

    Example:
        >>> known_class(["No Finding", "COVID-19"], "covid 19"), known_class(["No Finding", "COVID-19"], "normal")
        (1, 0)
    """
    if text in classes:
        return list(classes).index(text)
    entry = canonical_pathology(text)
    same = [n for n, name in enumerate(classes) if class_key(name) == class_key(text)]
    same = same or [n for n, name in enumerate(classes) if entry is not None and canonical_pathology(name) == entry]
    return same[0] if len(same) == 1 else None


def class_numbers(
    path: Path, table: pd.DataFrame, label_column: str, classes: Sequence[str] | None = None, strict: bool = False
) -> tuple[list[int | None], tuple[str, ...]]:
    """Read the labels of a column that holds one class name per row, blank where unknown.

    ``classes`` gives the names in label order, by default the column's values, sorted; spellings of one class are one,
    by its most frequent spelling. Returns one class number or ``None`` per row, and the class names. A label that is
    none of the given classes is unknown: :class:`~monai_cxrssl.data.sources.tables.label_words.UnknownLabels`.

    Raises:
        DatalistError: with ``strict``, an unknown label, or two classes that may be one, misspelt.
    """
    texts = table[label_column]
    if classes:
        names, index = tuple(classes), {text: known_class(classes, text) for text in texts.unique()}
        unknown = UnknownLabels(path, names, strict, f"cell of {label_column}", f"cells of {label_column}")
        for text, number in index.items():
            if number is None:
                unknown.add(text, *table.index[texts == text])
        unknown.tell()
    else:
        names, index = _own_classes(path, texts, strict)
    return [index.get(text) for text in texts], names


def _own_classes(path: Path, texts: pd.Series, strict: bool) -> tuple[tuple[str, ...], dict[str, int | None]]:
    """The classes of a column by its own words, and the class of each word."""
    spelling = class_spellings(texts)
    names = tuple(sorted(set(spelling.values())))
    count = Counter(texts)
    merged = [f"{text!r} {count[text]} as {name!r}" for text, name in spelling.items() if text != name]
    if merged:
        logger.warning("%s: spellings of one class in %s taken together (%s)", path, texts.name, ", ".join(merged[:8]))
    doubtful = UnknownLabels(path, names, strict, "class", "classes")
    for one, other in alike_classes(names):
        rare, common = sorted((one, other), key=lambda name: sum(count[t] for t, n in spelling.items() if n == name))
        doubtful.add_alike(rare, common, *texts.index[texts.map(spelling) == rare])
    doubtful.tell()
    return names, {text: names.index(name) for text, name in spelling.items()}


def policy_labels(
    path: Path,
    table: pd.DataFrame,
    classes: tuple[str, ...],
    policy: Any,
    blanks: str,
    keys: Sequence[str],
    seed: int,
    strict: bool = False,
) -> list[list[float | None]]:
    """Labels of :func:`report_labels` after a policy, see :mod:`monai_cxrssl.data.datalists.label_policy`."""
    values = apply_label_policy(report_labels(path, table, classes, strict), classes, policy, blanks, keys, seed)
    return labels_to_lists(values)


def report_labels(path: Path, table: pd.DataFrame, classes: tuple[str, ...], strict: bool = False) -> np.ndarray:
    """Labels of a table of the CheXpert or NegBio labeller as ``(N, C)`` of 1, 0, -1 and NaN.

    Words are read, too, such as yes and no (:data:`~monai_cxrssl.data.sources.tables.label_words.TRUTH`). Another value
    is unknown: :class:`~monai_cxrssl.data.sources.tables.label_words.UnknownLabels`.

    Raises:
        DatalistError: with ``strict``, another value.
    """
    import numpy as np
    import pandas as pd

    labels = np.empty((len(table), len(classes)))
    known = [words[0] for words in TRUTH.values()] + [word for words in TRUTH.values() for word in words[1:]]
    unknown = UnknownLabels(path, known, strict, "label", "labels", "1, 0, -1 (uncertain)")
    for index, name in enumerate(classes):
        codes, texts = pd.factorize(table[name])
        numbers = np.array([np.nan if (value := truth_value(text)) is None else value for text in texts])
        for code in np.flatnonzero(np.isnan(numbers)):
            unknown.add(texts[code], *table.index[codes == code], column=name)
        labels[:, index] = numbers[codes]
    unknown.tell()
    return labels
