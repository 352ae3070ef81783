# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MIMIC-CXR-JPG (and MIMIC-CXR, its DICOM form): 377,110 chest X-rays of 65,379 patients of one Boston hospital.

Folder layout::

    mimic-cxr-2.0.0-split.csv.gz       dicom_id, study_id, subject_id, split (train, validate, test)
    mimic-cxr-2.0.0-metadata.csv.gz    dicom_id, subject_id, study_id, ViewPosition ...           (optional)
    mimic-cxr-2.0.0-chexpert.csv.gz    subject_id, study_id and the 14 classes, one row per study (optional)
    mimic-cxr-2.0.0-negbio.csv.gz      the same by another labeller                               (optional)
    files/p10/p10000032/s50414267/<dicom_id>.jpg    (MIMIC-CXR: .dcm)

Each table may be unpacked (``.csv``). MIMIC-CXR has ``cxr-record-list.csv.gz`` (``subject_id, study_id, dicom_id,
path``) in place of the split table; with it alone all images are ``training``. To read the DICOM tree with labels and
the official split, put the tables of MIMIC-CXR-JPG into its folder. Views of DICOM images that no metadata table tells
are read from their headers.

Items: ``patient_id`` (``p10000032``), ``study_id`` (``s50414267``), ``view_position`` (ViewPosition; LATERAL is LL),
``label`` with 14 values in the order of CheXpert (:data:`CLASSES`): 1, 0, -1 (uncertain) and blank after the policy of
:mod:`monai_cxrssl.data.datalists.label_policy`; a study without a row has no label. Split validate is ``validation``.

Licence: PhysioNet Credentialed Health Data License 1.5.0. Citation: A. E. W. Johnson et al., "MIMIC-CXR-JPG, a large
publicly available database of labeled chest radiographs", arXiv 1901.07042; data: doi 10.13026/jsn5-t979.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.data.sources.layouts.chexpert import CLASSES
from monai_cxrssl.data.sources.tables.dicom_headers import read_headers
from monai_cxrssl.data.sources.tables.label_columns import policy_labels
from monai_cxrssl.data.sources.tables.table import (
    build_items,
    check_unique,
    column,
    has_columns,
    keep_existing,
    read_table,
)
from monai_cxrssl.errors import ConfigurationError, DatalistError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "LABELLERS", "NAME", "detect", "read"]

NAME = "MIMIC-CXR-JPG"
LABELLERS = ("chexpert", "negbio")
EXTENSIONS = (".jpg", ".dcm")
IDS = ("dicom_id", "study_id", "subject_id")
SPLITS = {"train": "training", "validate": "validation", "test": "test"}
PROBED = 100


def detect(folder: Path) -> bool:
    """Whether a folder holds ``mimic-cxr-2.0.0-split.csv`` or ``cxr-record-list.csv``, packed or not."""
    return _index_table(Path(folder)) is not None


def read(
    folder: Path,
    labeller: str = "chexpert",
    policy: str | float | list | Mapping[str, Any] = "ignore",
    blanks: str = "null",
    seed: int = 0,
    check_files: bool = True,
    allow_absent: bool = False,
    headers: bool = True,
    strict_labels: bool = False,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the tables and ``files/``.
        labeller: ``"chexpert"`` or ``"negbio"``: whose labels are taken, when its table is there.
        policy: what an uncertain label becomes, see
            :func:`monai_cxrssl.data.datalists.label_policy.apply_label_policy`; draws are made per study, so that all
            images of a study agree.
        blanks: ``"null"`` or ``"zero"``: what a class that the report does not mention becomes.
        seed: of policies that draw.
        check_files: look for every image; without it the extension is that of the first image found, else ``.dcm``
            with ``cxr-record-list``, ``.jpg`` with the split table.
        allow_absent: leave absent images out instead of refusing the table.
        headers: read ViewPosition of DICOM images from their headers when there is no metadata table; not done without
            check_files.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a table, a column or an image is missing, or a row is wrong (named by its number).
        ConfigurationError: no such labeller or policy.
    """
    if labeller not in LABELLERS:
        raise ConfigurationError(f"labeller is {labeller!r}; expected one of {', '.join(LABELLERS)}.")
    folder = Path(folder)
    path = _index_table(folder)
    if path is None:
        raise DatalistError(
            f"{folder} holds neither mimic-cxr-2.0.0-split.csv.gz nor cxr-record-list.csv.gz; expected one of the two."
        )
    official = "split" in path.name
    table = read_table(path, (*IDS, "split") if official else IDS, filled=IDS, unique=IDS[0])
    for name in ("study_id", "subject_id"):
        wrong = ~table[name].str.fullmatch(r"\d+").astype(bool)
        refuse_rows(path, table.index[wrong], f"{name} is no number", "expected digits, without p or s before them")
    if official:
        wrong = ~table["split"].isin(list(SPLITS))
        refuse_rows(path, table.index[wrong], "split is unknown", f"expected one of {', '.join(SPLITS)}")
    patients, studies = "p" + table["subject_id"], "s" + table["study_id"]
    stems = "files/" + patients.str[:3] + "/" + patients + "/" + studies + "/" + table["dicom_id"]
    table = table.assign(image=stems + _extension(folder, stems.tolist(), official), patient=patients, study=studies)
    if check_files:
        table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
    items = build_items(
        table["image"].tolist(),
        table["patient"].tolist(),
        NAME,
        study_id=table["study"].tolist(),
        view_position=_views(folder, table, headers and check_files),
        label=_labels(folder, table, labeller, policy, blanks, seed, strict_labels),
    )
    splits: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS.values()}
    for split, item in zip(table["split"] if official else itertools.repeat("train", len(items)), items, strict=True):
        splits[SPLITS[split]].append(item)
    return Datalist(name=NAME, classes=CLASSES, task="multi_label", splits=splits, root=folder)


def _table(folder: Path, name: str) -> Path | None:
    return next((folder / f"{name}{end}" for end in (".csv", ".csv.gz") if (folder / f"{name}{end}").is_file()), None)


def _index_table(folder: Path) -> Path | None:
    paths = (_table(folder, name) for name in ("mimic-cxr-2.0.0-split", "cxr-record-list"))
    return next((path for path in paths if path is not None and has_columns(path, "dicom_id")), None)


def _extension(folder: Path, stems: list[str], official: bool) -> str:
    """Extension of the first listed image that is there (the first hundred are tried), else the table's own."""
    for stem, extension in itertools.product(stems[:PROBED], EXTENSIONS):
        if os.path.lexists(folder / f"{stem}{extension}"):
            return extension
    return ".jpg" if official else ".dcm"


def _views(folder: Path, table: pd.DataFrame, headers: bool) -> list[str | None]:
    path = _table(folder, "mimic-cxr-2.0.0-metadata")
    images = table["image"].tolist()
    if path is None and headers and images[0].endswith(".dcm"):
        return [known.get("view_position") for known in read_headers(folder, images, NAME)]
    if path is None:
        return [None] * len(table)
    metadata = read_table(path, ("dicom_id", "ViewPosition"), filled=("dicom_id",), unique="dicom_id")
    texts = column(metadata, "ViewPosition", lambda text: "LL" if text.upper() == "LATERAL" else text.upper())
    views = dict(zip(metadata["dicom_id"], texts, strict=True))
    return [views.get(name) for name in table["dicom_id"]]


def _labels(
    folder: Path, table: pd.DataFrame, labeller: str, policy: Any, blanks: str, seed: int, strict: bool
) -> list[list[float | None] | None]:
    path = _table(folder, f"mimic-cxr-2.0.0-{labeller}")
    if path is None:
        return [None] * len(table)
    rows = read_table(path, ("subject_id", "study_id", *CLASSES), filled=("subject_id", "study_id"))
    check_unique(path, rows, rows["study_id"], "study")
    studies = ("s" + rows["study_id"]).tolist()
    values = policy_labels(path, rows, CLASSES, policy, blanks, studies, seed, strict)
    labels = dict(zip(studies, values, strict=True))
    # A list of its own for each image: items are handed out to be changed.
    return [list(labels[study]) if study in labels else None for study in table["study"]]
