# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""CheXpert: 224,316 chest X-rays of 65,240 patients of Stanford Hospital, labelled from their reports.

Folder layout (``CheXpert-v1.0`` or ``CheXpert-v1.0-small``, 320 px)::

    train.csv    223,414 images, labelled by a program that reads the reports
    valid.csv    234 images of 200 studies, labelled by three radiologists
    train/patient00001/study1/view1_frontal.jpg
    valid/patient64541/study1/view1_frontal.jpg

Columns: ``Path, Sex, Age, Frontal/Lateral, AP/PA`` and the 14 classes (:data:`CLASSES`), each 1 (positive), 0
(negative), -1 (uncertain) or blank (not mentioned). ``Path`` begins with the name of the folder that the archive
unpacks to; what precedes ``train/`` or ``valid/`` is passed over, so the folder may be renamed.

Items: ``patient_id`` and ``study_id`` from the path, ``view_position`` (PA, AP, LL, RL; lateral images without one are
LL), ``sex`` (F, M), ``age`` in years, ``label`` with 14 values after the policy of
:mod:`monai_cxrssl.data.datalists.label_policy`.
The official split is kept: train is ``training``, valid is ``validation``.

Licence: Stanford University Dataset Research Use Agreement (non-commercial research).
Citation: J. Irvin, P. Rajpurkar et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert
Comparison", AAAI 2019, arXiv 1901.07031.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.rows import refuse_cells, refuse_rows
from monai_cxrssl.data.sources.tables.label_columns import policy_labels
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import (
    build_items,
    check_unique,
    column,
    has_columns,
    keep_existing,
    read_table,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "detect", "read"]

NAME = "CheXpert"
# fmt: off
CLASSES = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)
# fmt: on
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CLASSES)
TABLES = {"train.csv": "training", "valid.csv": "validation"}
TELLTALE = {"Path", "Frontal/Lateral", "AP/PA", "Enlarged Cardiomediastinum", "Pleural Other", "Support Devices"}
TELLTALE_COLUMNS = 4
PATH_PARTS = r"(?:^|/)((?:train|valid|test)/(patient[^/]+)/(study[^/]+)/[^/]+)$"


def detect(folder: Path) -> bool:
    """Whether a folder holds a ``train.csv`` or ``valid.csv`` with most of the typical columns."""
    return any(has_columns(Path(folder) / name, *TELLTALE, least=TELLTALE_COLUMNS) for name in TABLES)


def read(
    folder: Path,
    policy: str | float | list | Mapping[str, Any] = "ignore",
    blanks: str = "null",
    seed: int = 0,
    frontal_only: bool = False,
    check_files: bool = True,
    allow_absent: bool = False,
    strict_labels: bool = False,
) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds ``train.csv``, ``valid.csv`` or both.
        policy: what an uncertain label becomes, see
            :func:`monai_cxrssl.data.datalists.label_policy.apply_label_policy`.
        blanks: ``"null"`` or ``"zero"``: what a class that the report does not mention becomes.
        seed: of policies that draw.
        frontal_only: leave lateral images out.
        check_files: look for every image.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: a column or an image is missing, or a row is wrong (named by its number).
    """
    folder = Path(folder)
    splits: dict[str, list[dict[str, Any]]] = {}
    for name, split in TABLES.items():
        path = folder / name
        if not path.is_file():
            continue
        table = _read_rows(path)
        if frontal_only:
            table = table[table["Frontal/Lateral"] == "Frontal"]
        if check_files:
            table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
        images = table["image"].tolist()
        labels = policy_labels(path, table, CLASSES, policy, blanks, images, seed, strict_labels)
        lateral = (table["Frontal/Lateral"] == "Lateral") & (table["AP/PA"] == "")
        splits[split] = build_items(
            images,
            table["patient"].tolist(),
            NAME,
            study_id=(table["patient"] + "/" + table["study"]).tolist(),
            view_position=table["AP/PA"].mask(lateral, "LL").tolist(),
            label=labels,
            sex=read_sexes(path, table["Sex"].tolist()),
            age=column(table, "Age", lambda text: float(text) if text else None),
        )
    # The checks above are those of Datalist.from_dict, done on columns: item by item they take minutes' worth here.
    return Datalist(name=NAME, classes=CLASSES, task="multi_label", splits=splits, root=folder)


def _read_rows(path: Path) -> pd.DataFrame:
    table = read_table(path, COLUMNS, filled=("Path",))
    parts = table["Path"].str.replace("\\", "/").str.extract(PATH_PARTS)
    expected = "expected .../train/patient00001/study1/view1_frontal.jpg"
    refuse_cells(path, table["Path"], parts[0].isna(), expected, rest=", which names no patient and study")
    table = table.assign(image=parts[0], patient=parts[1], study=parts[2])
    check_unique(path, table, table["image"])
    table["Frontal/Lateral"] = table["Frontal/Lateral"].str.capitalize()
    wrong = table.index[~table["Frontal/Lateral"].isin(["Frontal", "Lateral"])]
    refuse_rows(path, wrong, "Frontal/Lateral is neither Frontal nor Lateral", "correct it")
    ages = table["Age"].str.fullmatch(r"(\d+(\.\d*)?)?")
    refuse_rows(path, table.index[~ages.astype(bool)], "Age is no number", "expected years, or blank")
    return table
