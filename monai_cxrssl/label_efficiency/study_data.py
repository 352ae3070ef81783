# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Data set of a grid in three splits, for its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from monai_cxrssl.data.audit.audit import patient_of
from monai_cxrssl.data.audit.leak import refuse_shared_patients
from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known
from monai_cxrssl.data.datalists.findings import parse_findings, select_findings
from monai_cxrssl.data.datalists.label_maps import load_label_map
from monai_cxrssl.data.datalists.split import manifest_hash, split_datalist
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.data.stores.decoded_masks import MASK_FIELDS
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.label_efficiency.measures import METRICS

__all__ = ["SHARES", "check_patients", "divided_for", "opened_data", "other_test_data"]

#: Of the patients, for the splits that a data set comes without.
SHARES = (0.7, 0.1, 0.2)


def opened_data(dataset_dir: Sequence[str] | None, datalist: str | None, given: Mapping[str, Any]) -> Datalist:
    """Open a data set with the classes that the runs learn: by their options ``collapse`` and ``findings``.

    Raises:
        ConfigurationError: the options are no label map, or no names of findings.
        DatalistError: the data cannot be used, or have no such classes.
    """
    opened = index_folder(dataset_dir, datalist, load_label_map(given.get("collapse")))
    if given.get("findings") is None:
        return opened
    try:
        findings = parse_findings(given["findings"])
    except ValueError as error:
        raise ConfigurationError(f"--findings is {given['findings']!r}; expected {error}.") from None
    return select_findings(opened, findings)


def divided_for(opened: Datalist, metrics: Sequence[str], seed: int) -> Datalist:
    """Return a data set in three splits, with the images that count for a metric.

    Raises:
        DatalistError: it has nothing that a metric needs, or too few patients, or shares patients between splits.
    """
    masks = "dice" in metrics
    labels = not masks or any(METRICS[name].of_labels for name in metrics)

    def has_mask(item: Mapping[str, Any]) -> bool:
        return any(item.get(field) for field in MASK_FIELDS.values())

    def counts(item: Mapping[str, Any]) -> bool:
        return (masks and has_mask(item)) or (labels and is_known(item.get("label")))

    splits = {split: [item for item in opened.splits[split] if counts(item)] for split in SPLITS}
    left_out = sum(len(opened.splits[split]) - len(splits[split]) for split in SPLITS)
    kept = list(chain(*splits.values()))
    missing = {
        "label": labels and not (opened.classes and any(is_known(item.get("label")) for item in kept)),
        "mask": masks and not any(has_mask(item) for item in kept),
    }
    for kind, is_missing in missing.items():
        if is_missing:
            needs = next(name for name in metrics if (name == "dice") == (kind == "mask"))
            raise DatalistError(
                f"No image of {opened.name} has a known {kind}, which {needs} needs; choose other data."
            )
    kind = " or ".join(["label"] * labels + ["mask"] * masks)
    if left_out:
        print(f"{left_out} images without a known {kind} are left out.")
    datalist = replace(opened, splits=splits)
    if not (splits["validation"] and splits["test"]):
        datalist = split_datalist(datalist, SHARES, seed)
    refuse_shared_patients(datalist)
    for split in SPLITS:
        if not datalist.splits[split]:
            raise DatalistError(
                f"{datalist.name} has too few patients with a {kind}: its {split} split is empty; bring more, or "
                "divide it with the split command and give the result as --datalist."
            )
    return datalist


def check_patients(fractions: Sequence[float], datalist: Datalist) -> None:
    """Raise a ConfigurationError for a fraction that holds no training patient."""
    patients = len({item["patient_id"] for item in datalist.splits["training"]})
    # label_fraction would keep one patient all the same, and two fractions would then be one.
    empty = [fraction for fraction in fractions if round(fraction * patients) < 1]
    if empty:
        raise ConfigurationError(
            f"The fraction {empty[0]:g} of {patients} training patients holds no patient; expected "
            f"{1 / patients:.2g} or more."
        )


def other_test_data(datalist: Datalist, given: Mapping[str, Any]) -> str | None:
    """Return what tells another data set to test on from others, or nothing where there is none.

    Raises:
        DatalistError: a patient of it is among those learnt from.
    """
    folders, file = given.get("test_dataset_dir"), given.get("test_datalist")
    if folders is None and file is None:
        return None
    other = index_folder(folders, file, load_label_map(given.get("collapse")))
    learnt = {patient_of(datalist.name, item) for split in ("training", "validation") for item in datalist.items(split)}
    both = learnt & {patient_of(other.name, item) for item in other.all_items()}
    if both and not given.get("allow_leak"):
        raise DatalistError(
            f"{len(both)} patients of the test data set {other.name} are among those of {datalist.name} that are "
            "learnt from, so figures on them would be too good; leave them out of one of the two."
        )
    return manifest_hash(replace(other, extra={}).to_dict())
