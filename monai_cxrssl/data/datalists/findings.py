# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Subsets of a data set's findings, named ones among them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known
from monai_cxrssl.data.datalists.vocabulary import finding_key
from monai_cxrssl.errors import DatalistError

__all__ = ["NAMED_FINDINGS", "mask_findings", "parse_findings", "select_findings"]

NAMED_FINDINGS: dict[str, tuple[str, ...]] = {
    # J. Irvin et al., "CheXpert", AAAI 2019: the five by whose mean AUC the competition ranks.
    "chexpert_competition": ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"),
    # What CheXpert and ChestX-ray14 both label.
    "chexpert_chestxray14": (
        "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "Pneumonia", "Pneumothorax",
    ),
}  # fmt: skip


def parse_findings(value: Any) -> list[str]:
    """Return the names that an option means: a named set, one name, several with commas between, or a list.

    Raises:
        ValueError: it is none of these.
    """
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("names of findings, or one of " + ", ".join(NAMED_FINDINGS))
    listed = [each for name in names for each in NAMED_FINDINGS.get(name.strip(), (name.strip(),)) if each]
    if not listed:
        raise ValueError("at least one name of a finding")
    return list(dict.fromkeys(listed))


def select_findings(datalist: Datalist, findings: Sequence[str]) -> Datalist:
    """Keep only these classes of a data set, in this order.

    Of exclusive classes, images of the others become unknown.

    Raises:
        DatalistError: a name is no class of the data set, or a single one of exclusive classes is chosen.
    """
    numbers = _numbers(datalist, findings)
    classes = [datalist.classes[number] for number in numbers]
    if classes == list(datalist.classes):
        return datalist
    if datalist.task == "multi_class" and len(classes) < 2:
        raise DatalistError(
            f"--findings leaves {classes[0]} alone of the exclusive classes of {datalist.name} "
            f"({', '.join(datalist.classes)}); choose two or more, or tell it from the others with --collapse."
        )
    new = {old: position for position, old in enumerate(numbers)}

    def selected(label: Any) -> Any:
        if not is_known(label):
            return None
        if not isinstance(label, list | tuple):
            return new.get(label)
        values = [label[number] for number in numbers]
        return values if is_known(values) else None

    return datalist.with_labels(map(selected, _labels(datalist)), classes, datalist.task)


def mask_findings(datalist: Datalist, findings: Sequence[str]) -> Datalist:
    """Keep all classes, but make all labels unknown that are of other findings than these.

    Raises:
        DatalistError: a name is no class of the data set.
    """
    numbers = set(_numbers(datalist, findings))

    def masked(label: Any) -> Any:
        if not isinstance(label, list | tuple):
            return label if is_known(label) and label in numbers else None
        values = [value if number in numbers else None for number, value in enumerate(label)]
        return values if is_known(values) else None

    return datalist.with_labels(map(masked, _labels(datalist)), datalist.classes, datalist.task)


def _labels(datalist: Datalist) -> list[Any]:
    return [item.get("label") for split in SPLITS for item in datalist.splits[split]]


def _numbers(datalist: Datalist, findings: Sequence[str]) -> list[int]:
    """The numbers of the classes that are named."""
    keys = {finding_key(name): number for number, name in enumerate(datalist.classes)}
    exact = {name: number for number, name in enumerate(datalist.classes)}
    numbers = [exact.get(name, keys.get(finding_key(name))) for name in findings]
    unknown = [name for name, number in zip(findings, numbers, strict=True) if number is None]
    if unknown:
        known = {name.lower(): name for name in (*datalist.classes, *NAMED_FINDINGS)}
        near = [known[key] for name in unknown for key in difflib.get_close_matches(name.lower(), known, 1, 0.6)]
        remedy = f" Did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
        raise DatalistError(
            f"--findings names {', '.join(map(repr, unknown))}, which {datalist.name} does not label.{remedy} It has "
            f"{', '.join(datalist.classes) or 'no classes'}."
        )
    return list(dict.fromkeys(number for number in numbers if number is not None))
