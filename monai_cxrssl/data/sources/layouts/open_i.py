# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Open-I (Indiana University): 7,470 chest X-rays of 3,955 reports, findings coded by MeSH terms.

Folder layout of the copy on Kaggle (``raddar/chest-xrays-indiana-university``)::

    indiana_reports.csv         uid, MeSH, Problems, image, indication, comparison, findings, impression
    indiana_projections.csv     uid, filename, projection (Frontal or Lateral)
    images/images_normalized/<filename>       (or images_normalized/, images/)

and of the library's own archives (``NLMCXR_reports.tgz``, ``NLMCXR_png.tgz`` or ``NLMCXR_dcm.tgz``)::

    ecgen-radiology/<uid>.xml
    NLMCXR_png/CXR<uid>_IM-*.png              (or below any other folder; DICOM files too)

Classes (multi-label): those of :data:`CLASSES`. People coded each report by terms such as ``Cardiomegaly/borderline``,
of which the part before the slash names the finding, or ``normal``. A class that is not coded is negative; of a report
that was not indexed, or whose image was unsatisfactory, all are unknown. Terms of places, devices' parts and findings
without a class are passed over.

Items: ``patient_id`` and ``study_id`` (the report's uid: the makers took one report of each patient), ``label``, and
``view_position`` LL for lateral images of the Kaggle copy (PA and AP are not told apart). There is no split: all items
are ``training``.

Licence: CC BY-NC-ND 4.0 (images).
Citation: D. Demner-Fushman, M. D. Kohli et al., "Preparing a collection of radiology examinations for distribution and
retrieval", J Am Med Inform Assoc 2016, doi 10.1093/jamia/ocv080.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension, image_stem
from monai_cxrssl.data.datalists.rows import refuse_rows
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels, is_missing, nearest_word
from monai_cxrssl.data.sources.tables.table import build_items, column, has_columns, keep_existing, read_table
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import ordered_map

__all__ = ["CLASSES", "NAME", "detect", "mesh_labels", "read"]

logger = logging.getLogger(__name__)

NAME = "Open-I"
REPORTS, PROJECTIONS, XML = "indiana_reports.csv", "indiana_projections.csv", "ecgen-radiology"
# MeSH terms whose names are not those of the vocabulary.
# fmt: off
TERMS = {
    "pulmonary atelectasis": "Atelectasis", "opacity": "Lung Opacity", "airspace disease": "Lung Opacity",
    "calcified granuloma": "Granuloma", "granulomatous disease": "Granuloma", "calcinosis": "Calcification",
    "fractures, bone": "Fracture", "hernia, hiatal": "Hernia", "pulmonary emphysema": "Emphysema",
    "bullous emphysema": "Emphysema", "pulmonary disease, chronic obstructive": "COPD",
    "lung, hyperdistention": "Hyperinflation", "lung diseases, interstitial": "Interstitial Lung Disease",
    "hypertension, pulmonary": "Pulmonary Hypertension", "medical device": "Support Devices",
    "implanted medical device": "Support Devices", "catheters, indwelling": "Support Devices",
    "tube, inserted": "Support Devices", "spondylosis": "Vertebral Degenerative Changes",
    "osteophyte": "Vertebral Degenerative Changes",
}
CLASSES = (
    "No Finding", "Cardiomegaly", "Heart Failure", "Pulmonary Hypertension", "Atelectasis", "Consolidation", "Edema",
    "Infiltration", "Lung Opacity", "Pneumonia", "Nodule", "Mass", "Granuloma", "Calcification", "Emphysema", "COPD",
    "Hyperinflation", "Fibrosis", "Interstitial Lung Disease", "Bronchiectasis", "Pleural Effusion", "Pneumothorax",
    "Hydropneumothorax", "Hernia", "Subcutaneous Emphysema", "Pneumoperitoneum", "Fracture", "Scoliosis", "Kyphosis",
    "Vertebral Degenerative Changes", "Support Devices",
)
NEARLY = 0.9
UNKNOWN = frozenset({"", "no indexing", "technical quality of image unsatisfactory"})
# fmt: on


def detect(folder: Path) -> bool:
    """Whether a folder holds the two tables of the Kaggle copy, or reports of the library's archive."""
    folder = Path(folder)
    tables = all(has_columns(folder / name, "uid") for name in (REPORTS, PROJECTIONS))
    return tables or next((folder / XML).glob("*.xml"), None) is not None


def read(folder: Path, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the tables or reports, and the images at any depth below.
        allow_absent: leave absent images out instead of refusing the table; reports without any image, which the
            archive has, are always left out.
        strict_labels: refuse terms that are nearly one of a class, which otherwise make it unknown, named in one
            warning.

    Raises:
        DatalistError: a column or an image is missing, or a report cannot be read.
    """
    folder = Path(folder)
    read_form = _from_tables if (folder / REPORTS).is_file() else _from_reports
    content = {
        "name": NAME,
        "classes": list(CLASSES),
        "task": "multi_label",
        "training": read_form(folder, allow_absent, strict_labels),
    }
    return Datalist.from_dict(content, folder, origin=str(folder))


def mesh_labels(terms: Iterable[str]) -> list[float | None]:
    """The labels that a report's terms stand for, one for each of :data:`CLASSES`.

    Example:
        >>> [name for name, value in zip(CLASSES, mesh_labels(["Opacity/lung/base/left"])) if value]
        ['Lung Opacity']
        >>> set(mesh_labels(["No Indexing"]))
        {None}
    """
    heads = _heads(terms)
    if not heads - UNKNOWN:
        return [None] * len(CLASSES)
    names = {_class_of(head) for head in heads}
    doubtful = {_class_of(near) for head in heads if (near := _nearly(head))}
    return [1.0 if name in names else None if name in doubtful else 0.0 for name in CLASSES]


def _heads(terms: Iterable[str]) -> set[str]:
    return {head for term in terms if not is_missing(head := term.split("/")[0].strip().lower())}


def _class_of(head: str) -> str | None:
    return TERMS.get(head) or canonical_pathology(head)


@lru_cache(maxsize=4096)
def _nearly(head: str) -> str | None:
    """The term of a class that a head is nearly; of places and other terms none is near enough."""
    return None if _class_of(head) in CLASSES else nearest_word(head, (*TERMS, *map(str.lower, CLASSES)), NEARLY)


def _from_tables(folder: Path, allow_absent: bool, strict: bool) -> list[dict[str, Any]]:
    reports = read_table(folder / REPORTS, ("uid", "MeSH"), filled=("uid",))
    labels = {uid: mesh_labels(text.split(";")) for uid, text in zip(reports["uid"], reports["MeSH"], strict=True)}
    unknown = UnknownLabels(folder / REPORTS, (*TERMS, *CLASSES), strict, "term", "terms", "MeSH terms")
    for row, text in reports["MeSH"].items():
        for head in filter(_nearly, _heads(text.split(";"))):
            unknown.add(head, row)
    unknown.tell()
    path = folder / PROJECTIONS
    table = read_table(path, ("uid", "filename", "projection"), filled=("uid", "filename"), unique="filename")
    strange = table.index[~table["uid"].isin(list(labels))]
    refuse_rows(path, strange, f"the uid has no row in {REPORTS}", "add it there or remove the row")
    places = ("images/images_normalized", "images_normalized", "images", ".")
    place = next((p for p in places if (folder / p / table["filename"].iloc[0]).exists()), places[0])
    images = [(Path(place) / name).as_posix() for name in table["filename"]]
    table = keep_existing(path, table.assign(image=images), images, folder, allow_absent)
    uids = table["uid"].tolist()
    views = column(table, "projection", lambda text: "LL" if text.lower() == "lateral" else None)
    label = [labels[uid] for uid in uids]
    return build_items(table["image"].tolist(), uids, NAME, study_id=uids, view_position=views, label=label)


def _parsed(report: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise DatalistError(f"{report} cannot be read as a report ({error}); unpack it again.") from error


def _from_reports(folder: Path, allow_absent: bool, strict: bool) -> list[dict[str, Any]]:
    files = (file for file in folder.rglob("*") if file_extension(file.name) in IMAGE_EXTENSIONS)
    films = {image_stem(file.name): file.relative_to(folder).as_posix() for file in files}
    images: list[str] = []
    uids: list[str] = []
    labels = []
    absent = []
    unknown = UnknownLabels(folder / XML, (*TERMS, *CLASSES), strict, "term", "terms", "MeSH terms")
    reports = sorted((folder / XML).glob("*.xml"), key=lambda path: (len(path.stem), path.stem))
    for report, root in zip(reports, ordered_map(_parsed, reports, name="reports"), strict=True):
        terms = [term.text or "" for term in root.iterfind(".//MeSH/*")]
        label = mesh_labels(terms)
        for head in filter(_nearly, _heads(terms)):
            unknown.add(head, report.name)
        for parent in root.iterfind(".//parentImage"):
            name = parent.get("id", "")
            if name not in films:
                absent.append(name)
                continue
            images.append(films[name])
            uids.append(report.stem)
            labels.append(label)
    unknown.tell()
    if absent and (not allow_absent or not images):
        raise DatalistError(
            f"{folder / XML} names {len(absent)} images that are not below {folder} (such as {absent[0]}); unpack the "
            "images there, or leave them out with allow_absent=True (index: --allow_absent)."
        )
    if absent:
        logger.warning("%s: %d listed images are absent, such as %s; left out", NAME, len(absent), absent[0])
    return build_items(images, uids, NAME, study_id=uids, label=labels)
