# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""First and last section of the report: images and labels, provenance."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.report.content import Section
from monai_cxrssl.report.findings import Evidence, Findings

__all__ = ["provenance_findings", "summary_findings"]

_SHOWN_FILES = 20


def summary_findings(evidence: Evidence) -> Findings:
    """Say how many images, patients and labels there are; figures ``images``, ``patients``, ``unreadable_images``."""
    test, validation, unreadable = evidence.test, evidence.validation, evidence.model.test.unreadable
    text = list(evidence.model.remarks) or ["Every figure below is of the test images, which chose nothing."]
    figures = {"images": len(test.items), "patients": test.patients, "unreadable_images": len(unreadable)}
    findings = Findings(Section("summary", "What was evaluated", text), figures)
    parts = [(title, films) for title, films in (("Test", test), ("Validation", validation)) if films is not None]
    rows = [
        [title, len(films.items), films.patients, int((~np.isnan(films.cohort.labels)).any(axis=1).sum())]
        for title, films in parts
    ]
    findings.table("Images", ["Split", "Images", "Patients", "With a known label"], rows)
    if test.classes:
        labels = test.cohort.labels
        kinds = (labels == 1, labels == 0, np.isnan(labels))
        counts = [[name, *(int(kind[:, c].sum()) for kind in kinds)] for c, name in enumerate(test.classes)]
        findings.table("Labels of the test images", ["Class", "Positive", "Negative", "Unknown"], counts)
    if not test.items:
        findings.flag("unknown", "There is no test image, so nothing can be assessed.")
    if unreadable:
        findings.flag("warning", f"{len(unreadable)} files could not be read; they are left out of every figure.")
        files = [[entry["image"], entry["cause"]] for entry in unreadable[:_SHOWN_FILES]]
        more = len(unreadable) - _SHOWN_FILES
        findings.table("Unreadable files", ["File", "Cause"], files, f"And {more} more." if more > 0 else "")
    if validation is None:
        findings.flag(
            "unknown", "There are no validation images, so operating points and temperature are not assessable."
        )
    return findings


def provenance_findings(evidence: Evidence) -> Findings:
    """Tell where the figures come from; figure ``leaks``."""
    findings, provenance = Findings(Section("provenance", "Provenance")), evidence.provenance
    audit = provenance["split_audit"]
    leaks, checked = audit["leaks"], " ".join(audit["checked"])
    findings.figures["leaks"] = leaks
    if leaks is None:
        findings.flag("unknown", f"Leaks between training and test are not known. {checked}")
        findings.missing["leaks"] = "the patients of training are not known"
    elif leaks:
        findings.flag(
            "bad", f"There are {leaks} leaks, so every figure here is too good. {' '.join(audit['findings'])}"
        )
    else:
        findings.flag("good", f"No leak was found. {checked}")
    data, weights, bundle = (provenance[name] or {} for name in ("data", "weights", "bundle"))
    if data.get("unchanged") is False:
        findings.flag("bad", f"The datalist {data['file']} was changed after it was split; its hash differs.")
    rows = [
        ["Data", f"{data['name']} ({data['file']})" if data else None],
        ["Manifest, SHA-256", data.get("sha256")],
        ["Weights", weights.get("file")],
        ["Weights, SHA-256", weights.get("sha256")],
        ["Bundle", " ".join(str(bundle[key]) for key in ("name", "version") if bundle[key]) if bundle else None],
        *([name.capitalize(), provenance[name]] for name in ("seed", "command", "python", "platform")),
    ]
    findings.table("Origin", ["What", "Value"], rows)
    if data:
        splits = [[name, split.get("images"), split.get("patients")] for name, split in data["splits"].items()]
        findings.table("Splits of the datalist", ["Split", "Images", "Patients"], splits)
    findings.table("Libraries", ["Library", "Version"], provenance["libraries"].items())
    if "curves" in evidence.pictures:
        findings.section.pictures.append(evidence.pictures["curves"])
    return findings
