# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The first and the last section: what was evaluated, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.report.content import Flag, Picture, Section, Table
from monai_cxrssl.report.findings import Films, Findings

__all__ = ["provenance_findings", "summary_findings"]


def summary_findings(
    test: Films, validation: Films | None, unreadable: Sequence[Mapping[str, str]], remarks: Sequence[str]
) -> Findings:
    """Say how many films, patients and labels there are; figures ``images``, ``patients``, ``unreadable_images``."""
    parts = [("Test", test)] + ([] if validation is None else [("Validation", validation)])
    rows: list[list[Any]] = []
    for title, films in parts:
        labelled = int((~np.isnan(films.cohort.labels)).any(axis=1).sum()) if films.classes else 0
        rows.append([title, len(films.items), films.patients, labelled])
    tables = [Table("Films", ["Split", "Films", "Patients", "With a known label"], rows)]
    if test.classes:
        counts: list[list[Any]] = [
            [name, *(int(total) for total in _counts(test.cohort.labels[:, c]))] for c, name in enumerate(test.classes)
        ]
        tables.append(Table("Labels of the test films", ["Class", "Positive", "Negative", "Unknown"], counts))
    flags = []
    if not test.items:
        flags.append(Flag("unknown", "There is no test film, so nothing can be assessed."))
    if unreadable:
        flags.append(Flag("warning", f"{len(unreadable)} files could not be read; they are left out of every figure."))
        cells: list[list[Any]] = [[entry["image"], entry["cause"]] for entry in unreadable[:20]]
        more = f"And {len(unreadable) - 20} more." if len(unreadable) > 20 else ""
        tables.append(Table("Unreadable files", ["File", "Cause"], cells, more))
    if validation is None:
        flags.append(
            Flag("unknown", "There are no validation films, so operating points and temperature are not assessable.")
        )
    text = list(remarks) or ["Every figure below is of the test films, which chose nothing."]
    figures = {"images": len(test.items), "patients": test.patients, "unreadable_images": len(unreadable)}
    return Findings(Section("summary", "What was evaluated", text, flags, tables), figures)


def provenance_findings(provenance: Mapping[str, Any], curves: Picture | None) -> Findings:
    """Tell where the figures come from; figure ``leaks``.

    Args:
        provenance: of :func:`~monai_cxrssl.report.collect_provenance`.
        curves: picture of the training, if there is one.
    """
    audit = provenance["split_audit"]
    leaks = audit["leaks"]
    flags: list[Flag] = []
    if leaks is None:
        flags.append(Flag("unknown", f"Leaks between training and test are not known. {' '.join(audit['checked'])}"))
    elif leaks:
        flags.append(
            Flag("bad", f"There are {leaks} leaks, so every figure here is too good. {' '.join(audit['findings'])}")
        )
    else:
        flags.append(Flag("good", f"No leak was found. {' '.join(audit['checked'])}"))
    data, weights, bundle = provenance["data"], provenance["weights"], provenance["bundle"]
    if data is not None and data["unchanged"] is False:
        flags.append(Flag("bad", f"The datalist {data['file']} was changed after it was split; its hash differs."))
    rows: list[list[Any]] = [
        ["Data", None if data is None else f"{data['name']} ({data['file']})"],
        ["Manifest, SHA-256", None if data is None else data["sha256"]],
        ["Weights", None if weights is None else weights["file"]],
        ["Weights, SHA-256", None if weights is None else weights["sha256"]],
        [
            "Bundle",
            None if bundle is None else " ".join(str(bundle[key]) for key in ("name", "version") if bundle[key]),
        ],
        ["Seed", provenance["seed"]],
        ["Command", provenance["command"]],
        ["Python", provenance["python"]],
        ["Platform", provenance["platform"]],
    ]
    libraries: list[list[Any]] = [[name, version] for name, version in provenance["libraries"].items()]
    tables = [Table("Origin", ["What", "Value"], rows), Table("Libraries", ["Library", "Version"], libraries)]
    if data is not None:
        splits: list[list[Any]] = [
            [name, split.get("images"), split.get("patients")] for name, split in data["splits"].items()
        ]
        tables.insert(1, Table("Splits of the datalist", ["Split", "Images", "Patients"], splits))
    section = Section("provenance", "Provenance", [], flags, tables, [] if curves is None else [curves])
    missing = {} if leaks is not None else {"leaks": "the patients of training are not known"}
    return Findings(section, {"leaks": leaks}, missing)


def _counts(column: np.ndarray) -> tuple[int, int, int]:
    return int((column == 1).sum()), int((column == 0).sum()), int(np.isnan(column).sum())
