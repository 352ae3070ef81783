# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The covid-chestxray-dataset: X-rays of COVID-19 and other pneumonias collected from publications.

Folder layout::

    metadata.csv
    images/<filename>                                  (named by the columns folder and filename)
    annotations/lungVAE-masks/<image stem>_mask.png    (model-made lung masks, white = lung; for some images)

Columns used: ``patientid, finding, view, modality, filename`` (required), ``offset, date, folder, sex, age``
(optional). Only rows of modality X-ray are taken; CT slices are counted and left out.

Classes (multi-class), from ``finding`` in its older form (``"COVID-19, ARDS"``) and its newer one
(``"Pneumonia/Viral/COVID-19"``):

- 0 ``No Finding``: the finding is "No Finding" and nothing else;
- 1 ``COVID-19``: COVID-19 is among the findings;
- 2 ``Other Pneumonia``: a pneumonia or one of its organisms or kinds is named, and no COVID-19.

Everything else (ARDS or tuberculosis alone, "Unknown", "todo", empty) has no label. A part that is none of these words
(a misspelt one) is unknown and named in a warning; one that is made of them ("Mycoplasma Bacterial Pneumonia") is read.

Images of one patient belong to
one study when they have the same ``offset`` (days since the first symptoms or admission), or without an offset the
same day in ``date``; otherwise the study is unknown. The data set has no split: all items are ``training``.

The images come from many sources and the healthy ones mostly not from those of COVID-19, so a classifier can learn
the source; judge a model on labels within one source.

Citation: J. P. Cohen, P. Morrison, L. Dao, K. Roth, T. Duong, M. Ghassemi, "COVID-19 Image Data Collection:
Prospective Predictions Are the Future", MELBA 2020, arXiv 2006.11988. Licences differ per image and stand in
``metadata.csv``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.left_out import LeftOut
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels, class_key, is_missing, nearest_word
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import (
    check_filled,
    check_unique,
    column,
    has_columns,
    keep_existing,
    read_table,
)
from monai_cxrssl.errors import DatalistError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "detect", "finding_to_label", "read", "tell_unknown_findings"]

NAME = "covid-chestxray-dataset"
CLASSES = ("No Finding", "COVID-19", "Other Pneumonia")
OPTIONAL = ("offset", "date", "folder", "sex", "age")
REQUIRED = ("patientid", "finding", "view", "modality", "filename")
# Enough to tell this metadata.csv from another data set's, and still detect one that lacks a required column.
TYPICAL = {"patientid", "offset", "finding", "view", "modality", "filename", "folder", "intubated", "went_icu"}
TELLTALE_COLUMNS = 4
# fmt: off
PNEUMONIAS = frozenset({
    "pneumonia", "viral", "bacterial", "fungal", "lipoid", "aspiration", "sars", "mers", "mers-cov", "influenza",
    "h1n1", "varicella", "herpes", "streptococcus", "klebsiella", "legionella", "e.coli", "nocardia", "mycoplasma",
    "chlamydophila", "staphylococcus", "mrsa", "pneumocystis", "aspergillosis",
})
# fmt: on
# Findings that are on purpose in no class.
UNLABELLED = frozenset({"ards", "tuberculosis", "todo"})
WORDS = ("COVID-19", "No Finding", *sorted(word.capitalize() for word in PNEUMONIAS | UNLABELLED))
_KEYS = {class_key(word): word.lower() for word in WORDS}
VIEWS = {"L": "LL", "LATERAL": "LL", "LL": "LL", "PA": "PA", "AP": "AP", "AP SUPINE": "AP", "AP ERECT": "AP"}


def detect(folder: Path) -> bool:
    """Whether a folder holds this data set: a ``metadata.csv`` with most of its typical columns."""
    return has_columns(Path(folder) / "metadata.csv", *TYPICAL, least=TELLTALE_COLUMNS)


def read(
    folder: Path,
    check_files: bool = True,
    allow_absent: bool = True,
    strict_labels: bool = False,
    left_out: LeftOut | None = None,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``metadata.csv``.
        check_files: look for every image.
        allow_absent: leave absent images out, with a line in the log, instead of refusing the table. True here, since
            copies of this data set are often partial; the command ``index`` asks for False.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.
        left_out: counts the rows of other modalities whose image is there; keeps them when it keeps ``modality``.

    Returns:
        its X-rays, all in ``training``, with ``patient_id, study_id?, view_position?, lung_mask?, label?, sex?, age?``.

    Raises:
        DatalistError: a column is missing, X-ray rows lack a patient or a file name or name the same image (rows
            named), or listed images do not exist.
    """
    folder = Path(folder)
    path = folder / "metadata.csv"
    table = _x_rays(folder, path, LeftOut() if left_out is None else left_out)
    images = table["image"].tolist()
    check_unique(path, table, images)
    if check_files:
        table = keep_existing(path, table, images, folder, allow_absent)
    tell_unknown_findings(path, table["finding"], strict_labels)
    table["sex"] = read_sexes(path, column(table, "sex"))
    items = [_item(folder, row) for row in table.to_dict("records")]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))


def finding_to_label(finding: str) -> int | None:
    """Class number of a finding in either of the data set's two notations; ``None`` when it fits no class.

    Example:
        >>> finding_to_label("Pneumonia/Viral/COVID-19"), finding_to_label("COVID-19, ARDS"), finding_to_label("ARDS")
        (1, 1, None)
        >>> finding_to_label("Mycoplasma Bacterial Pneumonia"), finding_to_label("Pneumonia, Cvid-19")
        (2, None)
    """
    parts, strange = _parts(finding)
    if "covid-19" in parts:
        return 1
    if any(nearest_word(part, WORDS) == "COVID-19" for part in strange):
        return None
    if parts & PNEUMONIAS:
        return 2
    return 0 if parts == {"no finding"} and not strange else None


def tell_unknown_findings(path: Path, findings: pd.Series, strict_labels: bool) -> None:
    """Name the parts of findings that nobody foresaw in one warning; with ``strict_labels`` refuse them."""
    unknown = UnknownLabels(path, WORDS, strict_labels)
    for row, finding in findings.items():
        for part in _parts(finding)[1]:
            unknown.add(part, row)
    unknown.tell()


@lru_cache(maxsize=1024)
def _parts(finding: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The known parts of a finding, and those that nobody foresaw; a part all of whose words are known is known."""
    known: set[str] = set()
    strange = []
    for part in filter(None, map(str.strip, re.split(r"[,/;|]", finding))):
        words = {word.lower() for word in part.split()}
        if class_key(part) in _KEYS:
            known.add(_KEYS[class_key(part)])
        elif words <= PNEUMONIAS:
            known |= words
        elif not is_missing(part):
            strange.append(part)
    return frozenset(known), tuple(strange)


def _x_rays(folder: Path, path: Path, left_out: LeftOut) -> pd.DataFrame:
    """The rows of X-rays with the column ``image``."""
    table = read_table(path, REQUIRED, OPTIONAL)
    x_ray = table["modality"].map(lambda text: class_key(text) == "xray")
    if not x_ray.any():
        raise DatalistError(f"{path} lists no X-ray among its {len(table)} rows; expected modality X-ray in some.")
    places = [place or "images" for place in column(table, "folder")]
    table["image"] = [(Path(p) / name).as_posix() for p, name in zip(places, table["filename"], strict=True)]
    for number in table.index[~x_ray]:
        image = table["image"][number]
        x_ray[number] = (folder / image).is_file() and not left_out.add(
            "modality", str(folder / image), table["modality"][number] or "none"
        )
    table = table[x_ray]
    check_filled(path, table, "patientid", "filename")
    return table


def _item(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    mask = f"annotations/lungVAE-masks/{Path(row['image']).stem}_mask.png"
    view = row["view"].upper()
    known = {
        "study_id": _study_id(row),
        "view_position": VIEWS.get(view, view) or None,
        "lung_mask": mask if (folder / mask).is_file() else None,
        "label": finding_to_label(row["finding"]),
        "sex": row["sex"],
        "age": _number(row.get("age", "")),
    }
    item: dict[str, Any] = {"image": row["image"], "patient_id": row["patientid"], "source": NAME}
    return item | {key: value for key, value in known.items() if value is not None}


def _study_id(row: dict[str, str]) -> str | None:
    offset = row.get("offset", "")
    if offset:
        number = _number(offset)
        return f"{row['patientid']}-day{offset if number is None else f'{number:g}'}"
    date = row.get("date", "")
    return f"{row['patientid']}-{date}" if _names_a_day(date) else None


def _names_a_day(date: str) -> bool:
    """Whether a date as people write it is a day ("March 5, 2020", "03/09/20", "January 12"), not a month or year."""
    parts = re.findall(r"[A-Za-z]+|\d+", date)
    if len(parts) >= 3:
        return True
    return len(parts) == 2 and any(p.isalpha() for p in parts) and any(p.isdigit() and int(p) <= 31 for p in parts)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
