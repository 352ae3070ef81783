# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Kermany's chest X-rays of children aged one to five, healthy or with bacterial or viral pneumonia (Guangzhou).

Two forms are read::

    labels.csv                                     columns X_ray_image_name, patient, label
    images/<X_ray_image_name>                      (or beside labels.csv)

    train/NORMAL/NORMAL-1003233-0001.jpeg          (perhaps below chest_xray/; train, test and perhaps val)
    train/PNEUMONIA/BACTERIA-1008087-0001.jpeg     (disease - patient - number of the patient's image)
    train/PNEUMONIA/VIRUS-1053446-0001.jpeg

The widespread copy of the tree has other names: ``IM-0115-0001.jpeg``, ``NORMAL2-IM-0323-0001.jpeg``,
``person23_bacteria_78.jpeg``, ``person1_virus_6.jpeg``.

Classes (multi-class): 0 ``No Finding`` (Normal), 1 ``Bacterial Pneumonia``, 2 ``Viral Pneumonia`` (labels.csv calls it
``Viral-Other``; its files are named virus). The patient is the column ``patient``, or in the tree the name without the
image number: ``NORMAL-1003233``, ``IM-0115``, ``NORMAL2-IM-0323``, ``person23-bacteria``. Persons of equal number are
two patients when one has bacteria and the other a virus, as in labels.csv. A file name of another form is refused: its
patient is not known. The tree's train, val and test are ``training``, ``validation`` and ``test``; labels.csv has no
split, so all its images are ``training``.

Licence: CC BY 4.0. Citation: D. S. Kermany et al., "Identifying Medical Diagnoses and Treatable Diseases by Image-Based
Deep Learning", Cell 172(5), 2018; data: D. Kermany, K. Zhang, M. Goldbaum, "Labeled Optical Coherence Tomography (OCT)
and Chest X-Ray Images for Classification", Mendeley Data, doi 10.17632/rscbjbr9sj.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.tables.label_columns import class_numbers
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.data.sources.tables.table import build_items, has_columns, keep_existing, read_table
from monai_cxrssl.errors import DatalistError

__all__ = ["CLASSES", "NAME", "detect", "patient_and_class", "read"]

NAME = "Kermany"
CLASSES = ("No Finding", "Bacterial Pneumonia", "Viral Pneumonia")
COLUMNS = ("X_ray_image_name", "patient", "label")
LABELS = ("Normal", "Bacterial", "Viral-Other")
SPLIT_FOLDERS = {"train": "training", "val": "validation", "test": "test"}
CLASS_FOLDERS = ("NORMAL", "PNEUMONIA")
EXTENSIONS = frozenset({".jpeg", ".jpg", ".png"})
KINDS = {"NORMAL": 0, "BACTERIA": 1, "VIRUS": 2}


def detect(folder: Path) -> bool:
    """Whether a folder holds ``labels.csv`` with the column ``X_ray_image_name``, or the tree with its file names."""
    folder = Path(folder)
    # The other two columns are called as in many a hospital's own table.
    return has_columns(folder / "labels.csv", COLUMNS[0]) or _tree_top(folder) is not None


def read(folder: Path, check_files: bool = True, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``labels.csv``, or ``train/`` and ``test/``, or ``chest_xray/`` with these.
        check_files: look for every image of ``labels.csv``; without it they are taken to lie in ``images/``.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, a row is wrong (named by its number), or a file name of the
            tree tells no patient.
    """
    folder = Path(folder)
    if (folder / "labels.csv").is_file():
        splits = {"training": _table_items(folder, check_files, allow_absent, strict_labels)}
    else:
        splits = _tree_items(folder, strict_labels)
    return Datalist(name=NAME, classes=CLASSES, task="multi_class", splits=splits, root=folder)


def patient_and_class(name: str) -> tuple[str, int | None] | None:
    """Patient and class number that a file name of the tree tells, ``None`` for a name of another form.

    The class is ``None`` for a disease that the data set does not have.

    Example:
        >>> patient_and_class("person23_bacteria_78.jpeg"), patient_and_class("NORMAL-1003233-0001.jpeg")
        (('person23-bacteria', 1), ('NORMAL-1003233', 0))
    """
    stem = Path(name).stem
    if match := re.fullmatch(r"((?:NORMAL2-)?IM-\d+)(?:-\d+)+", stem):
        return match[1], 0
    if match := re.fullmatch(r"([A-Z]+)-(\d+)-\d+", stem):
        return f"{match[1]}-{match[2]}", KINDS.get(match[1])
    if match := re.fullmatch(r"(person\d+)_([a-z]+)_\d+", stem):
        return f"{match[1]}-{match[2]}", KINDS.get(match[2].upper())
    return None


def _table_items(folder: Path, check_files: bool, allow_absent: bool, strict: bool) -> list[dict[str, Any]]:
    path = folder / "labels.csv"
    table = read_table(path, COLUMNS, filled=COLUMNS[:2], unique=COLUMNS[0])
    beside = not (folder / "images").is_dir() and check_files
    table = table.assign(image=("" if beside else "images/") + table["X_ray_image_name"])
    if check_files:
        table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
    labels, _ = class_numbers(path, table, "label", LABELS, strict)
    return build_items(table["image"].tolist(), table["patient"].tolist(), NAME, label=labels)


def _tree_top(folder: Path) -> Path | None:
    """The folder that holds train/NORMAL or test/NORMAL with files of a known name, or ``None``."""
    for top, split in itertools.product((folder, folder / "chest_xray"), SPLIT_FOLDERS):
        whole = all((top / split / name).is_dir() for name in CLASS_FOLDERS)
        if whole and any(patient_and_class(path.name) for path in _images(top / split / "NORMAL")):
            return top
    return None


def _images(folder: Path) -> list[Path]:
    # The archive holds "._" files of the system that packed it.
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))


def _tree_items(folder: Path, strict: bool) -> dict[str, list[dict[str, Any]]]:
    top = _tree_top(folder)
    if top is None:
        raise DatalistError(
            f"{folder} holds neither labels.csv nor train/NORMAL and train/PNEUMONIA; expected one of the two."
        )
    splits: dict[str, list[dict[str, Any]]] = {}
    unknown = UnknownLabels(top, (*CLASS_FOLDERS, *KINDS), strict, "image of a class", "images of classes")
    for split, name in SPLIT_FOLDERS.items():
        items = splits.setdefault(name, [])
        for place in _class_folders(top / split):
            for path in _images(top / split / place):
                told, foreseen = patient_and_class(path.name), place in CLASS_FOLDERS
                if told is None and not foreseen:
                    told = f"{place}/{path.stem}", None
                if told is None or (foreseen and told[1] is not None and (told[1] == 0) != (place == "NORMAL")):
                    problem = "no patient" if told is None else "another class"
                    raise DatalistError(
                        f"{path} lies in {place}, and its name tells {problem}; expected names such as "
                        "NORMAL-1003233-0001.jpeg, IM-0115-0001.jpeg or person23_bacteria_78.jpeg. Remove the file, "
                        "or give the patients in a datalist."
                    )
                image = path.relative_to(folder).as_posix()
                item: dict[str, Any] = {"image": image, "patient_id": told[0], "source": NAME}
                if foreseen and told[1] is not None:
                    item["label"] = told[1]
                else:
                    # The disease is what the name of the patient has beside digits.
                    disease = re.sub(r"person|[\d-]", "", told[0])
                    unknown.add(disease if foreseen else place, image)
                items.append(item)
    unknown.tell()
    return splits


def _class_folders(top: Path) -> list[str]:
    """The folders of classes, the foreseen ones first."""
    others = sorted(
        p.name for p in top.glob("*") if p.is_dir() and p.name not in CLASS_FOLDERS and p.name[0] not in "._"
    )
    return [*CLASS_FOLDERS, *others]
