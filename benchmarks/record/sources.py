# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images, labels and masks of the sources, read from their folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from monai_cxrssl.data import Datalist, index_folder

__all__ = ["alias_pairs", "read_sources"]

Item = dict[str, Any]


def read_sources(data: Path, corpus: Path) -> dict[str, Datalist]:
    """Read every source of both folders, each in one split, its patients told apart by its name.

    Kermany's images of ``data`` are a part of those of ``corpus``, which alone are read. Of covid-radiography the
    normal images are left out: they come from ChestX-ray14 under names that hide the patient, who may be one that
    is scored.

    Args:
        data: holds ``nih-chestxray14-subset`` and ``covid-chestxray-dataset``.
        corpus: holds all others, and the masks and labels of those two.
    """
    children = index_folder(corpus / "kermany-pediatric")
    human = _table(corpus / "kermany-pediatric" / "human_lung_masks.csv")
    children = _with(children, {path: {"lung_mask": row["lung_mask"]} for path, row in human.items()})
    nih = index_folder(data / "nih-chestxray14-subset")
    findings = pd.read_csv(corpus / "nih-chestxray14-labels" / "Data_Entry_2017.csv", dtype=str)
    said = dict(zip(findings["Image Index"], findings["Finding Labels"], strict=True))
    folder = Path(nih.all_items()[0]["image"]).parent
    nih = _with(nih, {str(folder / name): {"findings": tuple(words.split("|"))} for name, words in said.items()})
    covid = index_folder(data / "covid-chestxray-dataset")
    # Only masks that people drew; those beside the images were made by a model.
    masks: dict[str, dict[str, Any]] = {item["image"]: {"lung_mask": None} for item in covid.all_items()}
    for path, row in _table(corpus / "covid-chestxray-masks" / "human_lung_masks.csv").items():
        masks.setdefault(path, {})["lung_mask"] = row["lung_mask"]
    for path, row in _table(corpus / "covid-chestxray-masks" / "radiologist_masks.csv").items():
        if row.get("infection_mask"):
            masks.setdefault(path, {})["lesion_mask"] = row["infection_mask"]
    covid = _with(covid, masks)
    named = {
        "kermany": children, "chestxray14": nih, "covid-chestxray": covid,
        "hannover": index_folder(corpus / "hannover-covid"),
    }  # fmt: skip
    for name in ("covid-radiography", "jsrt", "openist"):
        rows = _table(corpus / name / "table.csv")
        films = [{"image": path, "patient_id": row["patient_id"], "origin": row.get("origin", "")}
                 for path, row in rows.items()]  # fmt: skip
        films = [film for film in films if "ChestX-ray14" not in film.pop("origin")]
        named[name] = Datalist(name, splits={"training": films})
    return {name: _told_apart(name, source) for name, source in named.items()}


def alias_pairs(corpus: Path) -> list[tuple[str, str]]:
    """Return patients of Hannover who are patients of covid-chestxray too."""
    table = pd.read_csv(corpus / "hannover-covid" / "metadata.csv", dtype=str)
    known = table.dropna(subset=["covid_chestxray_patientid"])
    pairs = zip(known["patientid"], known["covid_chestxray_patientid"], strict=True)
    return sorted({(f"hannover/{own}", f"covid-chestxray/{other}") for own, other in pairs})


def _table(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a table by the absolute path of their image, paths of masks made absolute."""
    rows = {}
    for row in pd.read_csv(path, dtype=str).fillna("").to_dict("records"):
        for name in ("image", *(column for column in row if column.endswith("_mask"))):
            if row[name]:
                row[name] = os.path.normpath(path.parent / row[name])
        rows[row["image"]] = row
    return rows


def _with(source: Datalist, more: Mapping[str, Mapping[str, Any]]) -> Datalist:
    """Lay fields over items, by image; fields of ``None`` are removed."""
    items = []
    for item in source.all_items():
        merged = {**item, **more.get(item["image"], {})}
        items.append({name: value for name, value in merged.items() if value is not None})
    return replace(source, splits={"training": items}, root=None)


def _told_apart(name: str, source: Datalist) -> Datalist:
    items: Sequence[Item] = [
        {**item, "patient_id": f"{name}/{item['patient_id']}", "source": name} for item in source.all_items()
    ]
    return replace(source, name=name, splits={"training": items}, root=None)
