# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The counts of a datalist as text."""

from __future__ import annotations

from typing import Any

__all__ = ["counts_table"]

# By ``patient_from`` of the items.
EVIDENCE = {
    "data set": "the data set's own table or names", "pattern": "your pattern", "dicom": "DICOM PatientID",
    "name": "the file name of a known data set", "folder": "sub-folder", "study": "study alone",
    "file": "nothing, each its own patient",
}  # fmt: skip


def counts_table(summary: dict[str, Any]) -> str:
    """Lines with aligned columns of what ``Datalist.summary`` returns."""
    lines = [f"{'split':<12}{'images':>9}{'patients':>10}{'unknown':>9}"]
    for split, part in summary["splits"].items():
        lines.append(f"{split:<12}{part['images']:>9}{part['patients']:>10}{part['unknown']:>9}")
    names = list(dict.fromkeys(name for part in summary["splits"].values() for name in part["classes"]))
    width = max((len(name) for name in names), default=0)
    for name in names:
        counts = (part["classes"].get(name, 0) for part in summary["splits"].values())
        lines.append(f"  {name:<{width}}" + "".join(f"{count:>9}" for count in counts))
    lines += [f"with {field}: {count}" for field, count in summary["masks"].items()]
    lines += [f"left out: {kind:<14}{count:>9}" for kind, count in summary["left_out"].items()]
    known = ", ".join(f"{EVIDENCE.get(kind, kind)} {count}" for kind, count in summary["patients_known_by"].items())
    lines.append(f"patients of images known by: {known}")
    lines.append(f"{summary['multi_image_bags']} of {summary['patients']} patients have two images or more")
    return "\n".join(lines)
