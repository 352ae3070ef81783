# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""SIIM-FISABIO-RSNA COVID-19: 6,334 chest X-rays of 6,054 studies, each study graded, opacities boxed.

Folder layout (the Kaggle competition ``siim-covid19-detection``)::

    train_study_level.csv
    train_image_level.csv
    train/<study>/<series>/<image>.dcm
    test/<study>/<series>/<image>.dcm        (labels not public: left out)

``train_study_level.csv`` has the columns ``id, Negative for Pneumonia, Typical Appearance, Indeterminate Appearance,
Atypical Appearance``; an ``id`` is the StudyInstanceUID and ``_study``, and exactly one of the four is 1.
``train_image_level.csv`` has ``id, boxes, label, StudyInstanceUID``; an ``id`` is the file's name and ``_image``.
``label`` is ``none 1 0 0 1 1`` or any number of ``opacity 1 x1 y1 x2 y2``; ``boxes`` says the same and is not read.

Classes (multi-class, of the study): :data:`CLASSES`, where ``Negative for Pneumonia`` is called ``No Finding`` as in
:mod:`monai_cxrssl.data.datalists.vocabulary`.

Items: ``study_id``, ``label``, ``boxes`` (``[x1, y1, x2, y2]`` in pixels of the DICOM file as stored, whose size the
tables do not tell; ``[]`` when the readers saw no opacity). In a study of several images mostly one was annotated: a
image without a box beside one with boxes has no ``boxes``, which means unknown. From the DICOM header: ``patient_id``
(a patient may have several studies; the study's UID where the header has none), ``view_position``, ``sex``, ``age``.
There is no public split: all items are ``training``.

Licence: the competition's rules (non-commercial); the images are BIMCV-COVID19's and MIDRC-RICORD's, on their terms.
Citation: P. Lakhani, J. Mongan et al., "The 2021 SIIM-FISABIO-RSNA Machine Learning COVID-19 Challenge: Annotation and
Standard Exam Classification of COVID-19 Chest Radiographs", J Digit Imaging 2023.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.rows import refuse_cells, refuse_rows, shown_rows
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.dicom_headers import read_headers
from monai_cxrssl.data.sources.tables.label_columns import report_labels
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.data.sources.tables.table import build_items, check_unique, has_columns, keep_existing, read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "detect", "parse_boxes", "read"]

logger = logging.getLogger(__name__)

NAME = "SIIM-FISABIO-RSNA COVID-19"
GRADES = ("Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance")
CLASSES = tuple(canonical_pathology(grade) or grade for grade in GRADES)
STUDIES = "train_study_level.csv"
IMAGES = "train_image_level.csv"


def detect(folder: Path) -> bool:
    """Whether a folder holds the tables of studies and images, told by their names and first column."""
    return all(has_columns(Path(folder) / name, "id") for name in (STUDIES, IMAGES))


def read(folder: Path, headers: bool = True, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the two tables and ``train``.
        headers: read the DICOM headers; without them each study is taken for its own patient.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
    """
    import pandas as pd

    folder = Path(folder)
    grades = _grades(folder / STUDIES, strict_labels)
    path = folder / IMAGES
    columns = ("id", "label", "StudyInstanceUID")
    table = read_table(path, columns, filled=("id", "StudyInstanceUID"))
    wrong = table.index[~table["id"].str.endswith("_image")]
    refuse_rows(path, wrong, "the id does not end in _image", "expected the ids of the data set's own file")
    check_unique(path, table, table["id"])
    unknown = table.index[~table["StudyInstanceUID"].isin(list(grades))]
    refuse_rows(path, unknown, f"the study is not in {STUDIES}", "add it there or remove the row")
    strange = _strange_words(path, table["label"], strict_labels)
    boxes = [
        None if is_strange else parse_boxes(label) for label, is_strange in zip(table["label"], strange, strict=True)
    ]
    expected = "expected 'none 1 0 0 1 1' or 'opacity 1 x1 y1 x2 y2 ...'"
    broken = [found is None and not is_strange for found, is_strange in zip(boxes, strange, strict=True)]
    refuse_cells(path, table["label"], broken, expected, "the label")
    table["boxes"] = pd.Series(boxes, index=table.index, dtype=object)

    files = {(film.parts[-3], film.stem): film for film in (folder / "train").glob("*/*/*.dcm")}
    stems = table["id"].str.removesuffix("_image")
    found = [files.get(key) for key in zip(table["StudyInstanceUID"], stems, strict=True)]
    table["image"] = ["" if film is None else film.relative_to(folder).as_posix() for film in found]
    table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
    images, studies = table["image"].tolist(), table["StudyInstanceUID"].tolist()
    known: list[dict[str, Any]] = read_headers(folder, images, NAME) if headers else [{} for _ in images]
    items = build_items(
        images,
        [header.pop("patient_id", study) for header, study in zip(known, studies, strict=True)],
        NAME,
        study_id=studies,
        label=[grades[study] for study in studies],
        boxes=_known_boxes(studies, table["boxes"].tolist()),
    )
    items = [item | header for item, header in zip(items, known, strict=True)]
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(path))


def parse_boxes(label: str) -> list[list[float]] | None:
    """Boxes of a label of ``train_image_level.csv``; ``None`` when it is no such label.

    Example:
        >>> parse_boxes("opacity 1 10 20 30.5 40"), parse_boxes("none 1 0 0 1 1"), parse_boxes("opacity 1 10")
        ([[10.0, 20.0, 30.5, 40.0]], [], None)
    """
    parts = label.split()
    if not parts or len(parts) % 6:
        return None
    boxes = []
    for start in range(0, len(parts), 6):
        name, *numbers = parts[start : start + 6]
        try:
            _, *box = map(float, numbers)
        except ValueError:
            return None
        if name == "none" and len(parts) == 6:
            return []
        if name != "opacity" or not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
            return None
        boxes.append(box)
    return boxes


def _strange_words(path: Path, labels: pd.Series, strict: bool) -> list[bool]:
    """Which labels are blank or hold a word other than the two that name boxes."""
    unknown = UnknownLabels(path, ("opacity", "none"), strict)
    strange = []
    for row, text in labels.items():
        words = [word for word in text.split()[::6] if word not in ("opacity", "none")]
        if words and not re.fullmatch(r"[\d.+-]+", words[0]):
            unknown.add(words[0], row)
        strange.append(not text or bool(words and not re.fullmatch(r"[\d.+-]+", words[0])))
    unknown.tell()
    return strange


def _grades(path: Path, strict: bool) -> dict[str, int | None]:
    """Class number of each study, ``None`` where no grade is 1."""
    table = read_table(path, ("id", *GRADES), filled=("id",))
    wrong = table.index[~table["id"].str.endswith("_study")]
    refuse_rows(path, wrong, "the id does not end in _study", "expected the ids of the data set's own file")
    check_unique(path, table, table["id"], "study")
    flags = table[list(GRADES)]
    values = report_labels(path, flags, GRADES, strict)
    refuse_rows(path, table.index[(values == 1).sum(axis=1) > 1], "several of the four grades are 1", "leave one")
    none = ~(values == 1).any(axis=1)
    if (empty := (values == 0).all(axis=1)).any():
        told = shown_rows(table.index[empty])
        logger.warning(
            "%s: in %d studies none of the four grades is 1, so theirs is unknown (%s)", path, empty.sum(), told
        )
    chosen = (values == 1).argmax(axis=1).tolist()
    numbers = [None if lacking else number for number, lacking in zip(chosen, none.tolist(), strict=True)]
    return dict(zip(table["id"].str.removesuffix("_study"), numbers, strict=True))


def _known_boxes(studies: list[str], boxes: list[list | None]) -> list[list | None]:
    """Boxes of each image, ``None`` for one without a box in a study of which another image has some."""
    boxed = Counter(study for study, found in zip(studies, boxes, strict=True) if found)
    return [None if not found and boxed[study] else found for study, found in zip(studies, boxes, strict=True)]
