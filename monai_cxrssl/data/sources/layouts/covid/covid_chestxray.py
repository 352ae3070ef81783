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

Everything else (ARDS or tuberculosis alone, "Unknown", "todo", empty) has no label; a finding of which no part is one
of these words (a misspelt one) is refused. Images of one patient belong to
one study when they have the same ``offset`` (days since the first symptoms or admission), or without an offset the
same day in ``date``; otherwise the study is unknown. The data set has no split: all items are ``training``.

The images come from many sources and the healthy ones mostly not from those of COVID-19, so a classifier can learn
the source; judge a model on labels within one source.

Citation: J. P. Cohen, P. Morrison, L. Dao, K. Roth, T. Duong, M. Ghassemi, "COVID-19 Image Data Collection:
Prospective Predictions Are the Future", MELBA 2020, arXiv 2006.11988. Licences differ per image and stand in
``metadata.csv``.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.rows import refuse_rows, shown_rows
from monai_cxrssl.errors import DatalistError

__all__ = ["CLASSES", "NAME", "detect", "finding_to_label", "read"]

logger = logging.getLogger(__name__)

NAME = "covid-chestxray-dataset"
CLASSES = ("No Finding", "COVID-19", "Other Pneumonia")
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
UNLABELLED = frozenset({"ards", "tuberculosis", "unknown", "todo"})
KNOWN = PNEUMONIAS | UNLABELLED | {"covid-19", "no finding"}
VIEWS = {"L": "LL", "LATERAL": "LL", "LL": "LL", "PA": "PA", "AP": "AP", "AP SUPINE": "AP", "AP ERECT": "AP"}


def detect(folder: Path) -> bool:
    """Whether a folder holds this data set: a ``metadata.csv`` with most of its typical columns."""
    table = Path(folder) / "metadata.csv"
    if not table.is_file():
        return False
    try:
        with table.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            columns = next(csv.reader(stream), [])
    except (OSError, csv.Error):
        return False
    return len(TYPICAL.intersection(name.strip().lower() for name in columns)) >= TELLTALE_COLUMNS


def read(folder: Path, check_files: bool = True, allow_absent: bool = True) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``metadata.csv``.
        check_files: look for every image.
        allow_absent: leave absent images out, with a line in the log, instead of refusing the table. True here, since
            copies of this data set are often partial; the command ``index`` asks for False.

    Returns:
        its X-rays, all in ``training``, with ``patient_id, study_id?, view_position?, lung_mask?, label?, sex?, age?``.

    Raises:
        DatalistError: a column is missing, X-ray rows lack a patient or a file name, name the same image or a finding
            that nobody knows (rows named), or listed images do not exist.
    """
    folder = Path(folder)
    table = folder / "metadata.csv"
    rows = _x_ray_rows(table)
    items: list[dict[str, Any]] = []
    absent: dict[int, str] = {}
    row_of: dict[str, int] = {}
    for number, row in rows:
        image = (Path(row.get("folder") or "images") / row["filename"]).as_posix()
        if row_of.setdefault(image, number) != number:
            problem = f"the image {image} was listed before, in row {row_of[image]}"
            refuse_rows(table, [number], problem, "remove the duplicate row")
        # lexists: a broken link or an unreadable file is the reader's to refuse, by name.
        if check_files and not os.path.lexists(folder / image):
            absent[number] = image
            continue
        items.append(_item(folder, image, row))
    if absent:
        example = next(iter(absent.values()))
        if not items:
            raise DatalistError(
                f"{table} lists {len(rows)} X-rays and none of their files exists (looked for {folder / example}, for "
                "one); expected the images below the same folder as metadata.csv."
            )
        if not allow_absent:
            files = "the listed files do" if len(absent) > 1 else "the listed file does"
            remedy = "put the images there, or leave such rows out with allow_absent=True (index: --allow_absent)"
            refuse_rows(table, absent, f"{files} not exist (looked for {folder / example})", remedy)
        told = f"{len(absent)} of {len(rows)} X-rays are listed but absent, such as {example} ({shown_rows(absent)})"
        logger.warning("%s: %s", NAME, told)
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(table))


def finding_to_label(finding: str) -> int | None:
    """Class number of a finding in either of the data set's two notations; ``None`` when it fits no class.

    Example:
        >>> finding_to_label("Pneumonia/Viral/COVID-19"), finding_to_label("COVID-19, ARDS"), finding_to_label("ARDS")
        (1, 1, None)
    """
    parts = _parts(finding)
    if "covid-19" in parts:
        return 1
    if parts & PNEUMONIAS:
        return 2
    return 0 if parts == {"no finding"} else None


def _parts(finding: str) -> set[str]:
    return {part.strip().lower() for part in re.split(r"[,/]", finding) if part.strip()}


def _x_ray_rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Row number and cells of the X-rays."""
    try:
        with table.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            reader = csv.DictReader(stream)
            columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            missing = [name for name in REQUIRED if name not in columns]
            if missing:
                raise DatalistError(
                    f"{table} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
                    f"(row 1 holds {', '.join(columns) or 'nothing'}); expected the data set's own metadata.csv."
                )
            reader.fieldnames = columns
            # Rows are counted as a spreadsheet shows them: the header is row 1.
            rows = [(n, {k: (v or "").strip() for k, v in row.items() if k}) for n, row in enumerate(reader, 2)]
    except (OSError, csv.Error) as error:
        raise DatalistError(f"{table} cannot be read as a table ({error}).") from error
    x_rays = [(number, row) for number, row in rows if _is_x_ray(row["modality"])]
    if not x_rays:
        raise DatalistError(f"{table} lists no X-ray among its {len(rows)} rows; expected modality X-ray in some.")
    for column in ("patientid", "filename"):
        empty = [number for number, row in x_rays if not row[column]]
        if empty:
            shown = ", ".join(map(str, empty[:5])) + (" ..." if len(empty) > 5 else "")
            raise DatalistError(
                f"{table} has {len(empty)} X-ray rows without {column} (row {shown}, the header being row 1); "
                "fill it in or remove these rows."
            )
    strange = [(n, row["finding"]) for n, row in x_rays if row["finding"] and not _parts(row["finding"]) & KNOWN]
    if strange:
        expected = "expected a finding of the data set (COVID-19, Pneumonia, No Finding, ARDS, ...), or blank"
        refuse_rows(table, [n for n, _ in strange], f"finding is {strange[0][1]!r}, which is unknown", expected)
    others = Counter(row["modality"] or "none" for _, row in rows if not _is_x_ray(row["modality"]))
    if others:
        counted = ", ".join(f"{name} {count}" for name, count in others.most_common())
        logger.info("%s: %d rows that are no X-ray left out (modality %s)", NAME, sum(others.values()), counted)
    return x_rays


def _is_x_ray(modality: str) -> bool:
    return modality.lower().replace("-", "").replace(" ", "") == "xray"


def _item(folder: Path, image: str, row: dict[str, str]) -> dict[str, Any]:
    mask = f"annotations/lungVAE-masks/{Path(image).stem}_mask.png"
    view = row["view"].upper()
    known = {
        "study_id": _study_id(row),
        "view_position": VIEWS.get(view, view) or None,
        "lung_mask": mask if (folder / mask).is_file() else None,
        "label": finding_to_label(row["finding"]),
        "sex": row.get("sex", "").upper() or None,
        "age": _number(row.get("age", "")),
    }
    item: dict[str, Any] = {"image": image, "patient_id": row["patientid"], "source": NAME}
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
