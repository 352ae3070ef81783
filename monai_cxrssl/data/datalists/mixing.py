# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Several data sets mixed into one datalist.

Data sets with the same classes and task keep their labels. Otherwise every label is rewritten, multi-label, over the
union of the classes by their names in :mod:`monai_cxrssl.data.datalists.vocabulary`, after the rules of
:mod:`monai_cxrssl.data.datalists.label_mapping`: a class that a source does not annotate is unknown for its images,
never negative. A multi-class list with a name that the vocabulary does not have cannot be rewritten; then the mixture
has no labels, and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known
from monai_cxrssl.data.datalists.label_mapping import named_findings, vocabulary_name
from monai_cxrssl.data.datalists.left_out import map_examples, merge_records
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology

__all__ = ["mix_datalists"]

logger = logging.getLogger(__name__)


def mix_datalists(datalists: Sequence[Datalist]) -> Datalist:
    """Put several data sets into one; labels as this module's docstring says.

    Patient and study ids get their source as prefix (``"source:id"``), so that patient 5 of one data set is not patient
    5 of another, and each item gets its ``source``. Splits stay apart; paths become absolute.

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
        entries = [vocabulary_name(name) for name in datalist.classes]
        for split in SPLITS:
            for item in datalist.items(split):
                item["source"] = source
                item["patient_id"] = f"{source}:{item['patient_id']}"
                if item.get("study_id") is not None:
                    item["study_id"] = f"{source}:{item['study_id']}"
                if not classes or not is_known(item.get("label")):
                    item.pop("label", None)
                elif union:
                    known = named_findings(item["label"], entries, datalist.task)
                    item["label"] = [known.get(name) for name in union]
                splits[split].append(item)
    name = " + ".join(names)
    content = {"name": name, "classes": list(classes), "task": task, **splits}
    return Datalist.from_dict(content | _left_out(datalists), origin=name)


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
        cause = f"the mixed data sets do not have the same classes ({told})"
        lacking = f"the vocabulary lacks names of exclusive classes ({'; '.join(foreign)})"
        logger.warning("labels dropped, because %s and %s", cause, lacking)
        return []
    union = list(dict.fromkeys(vocabulary_name(name) for datalist in labelled for name in datalist.classes))
    for datalist in labelled:
        told = f"{len({vocabulary_name(name) for name in datalist.classes})} of the {len(union)} classes"
        logger.warning("%s: labels kept for %s of the mixture, unknown for the others", datalist.name, told)
    return union


def _left_out(datalists: Sequence[Datalist]) -> dict[str, Any]:
    """What all of them left out, the paths of the examples absolute."""

    def absolute(datalist: Datalist) -> dict[str, Any]:
        return map_examples(datalist.extra, lambda path: str(Path(datalist.root or "", path)))

    return merge_records(map(absolute, datalists))


def _unique_names(datalists: Sequence[Datalist]) -> list[str]:
    """The data sets' names, numbered where two are called the same."""
    names: list[str] = []
    for datalist in datalists:
        name, number = datalist.name, 2
        while name in names:
            name, number = f"{datalist.name}-{number}", number + 1
        names.append(name)
    return names
