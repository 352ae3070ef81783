# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Several data sets as one datalist: ids that stay apart, labels on one list of classes.

Data sets with the same classes and task keep their labels as they are. Otherwise every label is rewritten, multi-label,
over the union of the classes by their names in :mod:`monai_cxrssl.data.vocabulary`; a class that a source does not
annotate is unknown for its films, never negative. Of a multi-class source, the other classes of its list are negative,
because they exclude each other; only a broader class of the one given is unknown (in a list of COVID-19 and Pneumonia,
the latter means pneumonia of another cause: :data:`BROADER`). A multi-class list with a name that the vocabulary does
not have cannot be rewritten; then the mixture has no labels, and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from monai_cxrssl.data.datalist import SPLITS, Datalist, is_known, is_unknown
from monai_cxrssl.data.vocabulary import BROADER, canonical_pathology

__all__ = ["mix_datalists"]

logger = logging.getLogger(__name__)


def mix_datalists(datalists: Sequence[Datalist]) -> Datalist:
    """Put several data sets into one.

    Patient and study ids get their source as prefix (``"source:id"``), so that patient 5 of one data set is not
    patient 5 of another, and each item gets its ``source``. Splits stay apart; paths become absolute. Labels: see
    :mod:`monai_cxrssl.data.mixing`.

    Raises:
        DatalistError: an image is in two of them.
    """
    labelled = [datalist for datalist in datalists if datalist.has_labels]
    vocabularies = {(tuple(datalist.classes), datalist.task) for datalist in labelled}
    classes: Sequence[str]
    classes, task = vocabularies.pop() if len(vocabularies) == 1 else ((), "multi_class")
    union = _union(labelled) if vocabularies else []
    if union:
        classes, task = union, "multi_label"
    names = _unique_names(datalists)
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for source, datalist in zip(names, datalists, strict=True):
        for split in SPLITS:
            for item in datalist.items(split):
                item["source"] = source
                item["patient_id"] = f"{source}:{item['patient_id']}"
                if item.get("study_id") is not None:
                    item["study_id"] = f"{source}:{item['study_id']}"
                if not classes or not is_known(item.get("label")):
                    item.pop("label", None)
                elif union:
                    item["label"] = _mapped(item["label"], datalist, union)
                splits[split].append(item)
    name = " + ".join(names)
    return Datalist.from_dict({"name": name, "classes": list(classes), "task": task, **splits}, origin=name)


def _union(labelled: Sequence[Datalist]) -> list[str]:
    """The classes of all, by their names in the vocabulary; empty, with a line in the log, where that cannot be."""
    foreign = [
        f"{datalist.name}: {', '.join(unknown)}"
        for datalist in labelled
        if datalist.task == "multi_class"
        and (unknown := [name for name in datalist.classes if canonical_pathology(name) is None])
    ]
    if foreign:
        told = "; ".join(f"{d.name}: {', '.join(d.classes)} ({d.task})" for d in labelled)
        logger.warning(
            "labels dropped, because the mixed data sets do not have the same classes (%s) and the vocabulary lacks "
            "names of exclusive classes (%s)",
            told,
            "; ".join(foreign),
        )
        return []
    union = list(dict.fromkeys(_name(name) for datalist in labelled for name in datalist.classes))
    for datalist in labelled:
        own = {_name(name) for name in datalist.classes}
        logger.warning(
            "%s: labels kept for %d of the %d classes of the mixture, unknown for the others", datalist.name, len(own),
            len(union),
        )  # fmt: skip
    return union


def _mapped(label: Any, datalist: Datalist, union: Sequence[str]) -> list[float | None]:
    """A label over the union of the classes."""
    if datalist.task == "multi_class":
        chosen = _name(datalist.classes[int(label)])
        broader = BROADER.get(chosen, ())
        values = [None if _name(n) in broader else float(_name(n) == chosen) for n in datalist.classes]
    else:
        values = [None if is_unknown(value) else float(value) for value in label]
    known: dict[str, float | None] = {}
    for name, value in zip(datalist.classes, values, strict=True):
        entry = _name(name)
        known[entry] = _either(known[entry], value) if entry in known else value
    return [known.get(name) for name in union]


def _either(first: float | None, second: float | None) -> float | None:
    """Two classes of a source that are one in the vocabulary: positive where one is, negative where both are."""
    given = [value for value in (first, second) if value is not None]
    return max(given) if len(given) == 2 or (given and given[0] >= 0.5) else None


def _name(name: str) -> str:
    return canonical_pathology(name) or name


def _unique_names(datalists: Sequence[Datalist]) -> list[str]:
    """The data sets' names, numbered where two are called the same."""
    names: list[str] = []
    for datalist in datalists:
        name, number = datalist.name, 2
        while name in names:
            name, number = f"{datalist.name}-{number}", number + 1
        names.append(name)
    return names
