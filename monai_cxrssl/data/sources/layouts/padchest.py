# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""PadChest: more than 160,000 chest X-rays of 67,000 patients of the Hospital San Juan, Alicante, with its reports.

Folder layout::

    PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv    (or another date, or none; may be packed, .csv.gz)
    0/<ImageID> ... 54/<ImageID>        16-bit PNG, in the folder that ImageDir names; or all in one folder;
                                        either may lie in a sub-folder, such as images/

Columns: ``ImageID, PatientID, Projection, Labels`` (required), ``ImageDir, StudyID, StudyDate_DICOM, PatientBirth,
PatientSex_DICOM, MethodLabel`` (optional). ``Labels`` is the text of a list: ``['cardiomegaly', 'pleural effusion']``.
The reports, and where in the chest a finding lies (``Localizations``), are not read.

Classes (multi-label, :data:`CLASSES`): the terms that :mod:`monai_cxrssl.data.datalists.vocabulary` has, named as there
(``infiltrates`` is ``Infiltration``). A narrower term counts for its broader one, too (``laminar atelectasis`` is an
``Atelectasis``): :data:`NARROWER`, mostly the data set's own tree of terms. Terms without a class (``nipple shadow``
...) are left out and counted in the log. A class is 1 where a term names it, else 0, but unknown where the report
leaves it open (``unchanged``, ``suboptimal study``). ``No Finding`` is 1 for ``['normal']``, 0 where anything else is
named. An empty ``Labels``, and one with ``exclude``, is no label at all.

Items: ``patient_id``, ``study_id``, ``view_position`` (``AP_horizontal`` is AP, ``L`` is LL, ``COSTAL`` stays, ``UNK``
is left out), ``sex``, ``age`` in years (study year less year of birth, so up to one too many), ``label``,
``label_method`` (``Physician``, or ``RNN_model`` for the three quarters that a network labelled). Images of the
Projection ``EXCLUDE`` are left out, with a line in the log. There is no official split: all items are ``training``.

Licence: research use after registration with BIMCV (PADCHEST Dataset Research Use Agreement).
Citation: A. Bustos, A. Pertusa, J.-M. Salinas, M. de la Iglesia-Vaya, "PadChest: A large chest x-ray image dataset with
multi-label annotated reports", Medical Image Analysis 66, 2020, arXiv 1901.07441.
"""

from __future__ import annotations

import ast
import logging
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels, class_key, nearest_word
from monai_cxrssl.data.sources.tables.sex_words import read_sexes
from monai_cxrssl.data.sources.tables.table import build_items, column, has_columns, keep_existing, read_table
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import ask_all

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLASSES", "NAME", "NARROWER", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "PadChest"
# fmt: off
CLASSES = (
    "No Finding",
    "Cardiomegaly", "Mediastinal Enlargement", "Aortic Elongation", "Aortic Atheromatosis", "Enlarged Pulmonary Artery",
    "Pulmonary Hypertension", "Heart Failure", "Mediastinal Shift", "Hilar Enlargement", "Lymphadenopathy",
    "Atelectasis", "Consolidation", "Alveolar Pattern", "Interstitial Pattern", "Ground Glass Opacity", "Edema",
    "Infiltration", "Volume Loss", "Mass", "Nodule", "Lung Metastasis", "Granuloma", "Lung Cavity", "Lung Cyst",
    "Emphysema", "COPD", "Hyperinflation", "Air Trapping", "Fibrosis", "Bronchiectasis",
    "Pleural Effusion", "Costophrenic Angle Blunting", "Pleural Thickening", "Pleural Plaque", "Pneumothorax",
    "Hydropneumothorax", "Pneumonia", "Tuberculosis", "Tuberculosis Sequelae",
    "Subcutaneous Emphysema", "Pneumomediastinum", "Pneumoperitoneum", "Hernia", "Diaphragm Elevation",
    "Fracture", "Rib Fracture", "Clavicle Fracture", "Vertebral Fracture", "Scoliosis", "Kyphosis",
    "Vertebral Degenerative Changes",
    "Support Devices", "Pacemaker", "Endotracheal Tube",
)
NARROWER: dict[str, tuple[str, ...]] = {
    "Mediastinal Enlargement": ("superior mediastinal enlargement",),
    "Aortic Elongation": ("ascendent aortic elongation", "descendent aortic elongation"),
    "Pulmonary Hypertension": ("pulmonary artery hypertension", "pulmonary venous hypertension"),
    "Hilar Enlargement": ("vascular hilar enlargement",),
    "Lymphadenopathy": ("calcified adenopathy", "calcified mediastinal adenopathy"),
    "Atelectasis": ("atelectasis basal", "laminar atelectasis", "lobar atelectasis", "round atelectasis",
                    "segmental atelectasis", "total atelectasis"),
    "Consolidation": ("air bronchogram",),
    "Alveolar Pattern": ("consolidation", "air bronchogram"),
    "Interstitial Pattern": ("ground glass pattern", "miliary opacities", "reticular interstitial pattern",
                             "reticulonodular interstitial pattern"),
    "Infiltration": ("air bronchogram", "alveolar pattern", "consolidation", "ground glass pattern",
                     "interstitial pattern", "miliary opacities", "reticular interstitial pattern",
                     "reticulonodular interstitial pattern"),
    "Nodule": ("multiple nodules",),
    "Granuloma": ("calcified granuloma",),
    "Pleural Effusion": ("empyema", "hemothorax", "hydropneumothorax", "loculated fissural effusion",
                         "loculated pleural effusion"),
    "Pleural Thickening": ("apical pleural thickening", "calcified pleural thickening"),
    "Pleural Plaque": ("calcified pleural plaques",),
    "Pneumothorax": ("hydropneumothorax",),
    "Pneumonia": ("atypical pneumonia",),
    "Fracture": ("callus rib fracture", "clavicle fracture", "humeral fracture", "rib fracture", "vertebral fracture"),
    "Rib Fracture": ("callus rib fracture",),
    "Support Devices": ("artificial aortic heart valve", "artificial heart valve", "artificial mitral heart valve",
                        "catheter", "central venous catheter", "central venous catheter via jugular vein",
                        "central venous catheter via subclavian vein", "central venous catheter via umbilical vein",
                        "chest drain tube", "dai", "dual chamber device", "electrical device", "endotracheal tube",
                        "nsg tube", "pacemaker", "reservoir central venous catheter", "single chamber device",
                        "tracheostomy tube"),
    "Pacemaker": ("dual chamber device", "single chamber device"),
}
# fmt: on
REQUIRED = ("ImageID", "PatientID", "Projection", "Labels")
OPTIONAL = ("ImageDir", "StudyID", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "MethodLabel")
TABLE = re.compile(r"padchest\w*labels.*\.csv(\.gz)?", re.IGNORECASE)
VIEWS = {"PA": "PA", "AP": "AP", "AP_HORIZONTAL": "AP", "L": "LL", "COSTAL": "COSTAL", "UNK": "", "": ""}
EXCLUDED = "EXCLUDE"
# Terms that say nothing on findings which the report does not name.
OPEN = frozenset({"unchanged", "suboptimal study"})
OLDEST = 120
MISSPELT = 0.85
SHOWN_TERMS = 8


def detect(folder: Path) -> bool:
    """Whether a folder holds ``PADCHEST_..._labels_....csv`` with at least three of its required columns."""
    return any(has_columns(path, *REQUIRED, least=3) for path in _tables(Path(folder)))


def read(folder: Path, check_files: bool = True, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the table; of several the last by name is taken, with a line in the log.
        check_files: look for every image; without it they are taken to lie in ``<ImageDir>/<ImageID>``.
        allow_absent: leave absent images out instead of refusing the table.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: the table, a column or an image is missing, or a row is wrong (named by its number).
    """
    folder = Path(folder)
    tables = _tables(folder)
    if not tables:
        raise DatalistError(f"{folder} holds no table such as PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.")
    path = tables[-1]
    if len(tables) > 1:
        logger.warning("%s: %d tables of PadChest, %s is taken", folder, len(tables), path.name)
    table = read_table(path, REQUIRED, OPTIONAL, filled=("ImageID", "PatientID"), unique="ImageID")
    excluded = table["Projection"].str.upper() == EXCLUDED
    if excluded.any():
        logger.warning("%s: %d images of the Projection %s left out", path, int(excluded.sum()), EXCLUDED)
        table = table[~excluded]
    table = table.assign(image=_images(folder, table, check_files))
    if check_files:
        table = keep_existing(path, table, table["image"].tolist(), folder, allow_absent)
    items = build_items(
        table["image"].tolist(),
        table["PatientID"].tolist(),
        NAME,
        study_id=column(table, "StudyID"),
        view_position=_views(path, table),
        label=_labels(path, table, strict_labels),
        sex=read_sexes(path, column(table, "PatientSex_DICOM", str)),
        age=_ages(table),
        label_method=column(table, "MethodLabel"),
    )
    return Datalist(name=NAME, classes=CLASSES, task="multi_label", splits={"training": items}, root=folder)


def _tables(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if TABLE.fullmatch(entry.name) and entry.is_file())
    except OSError:
        return []


def _images(folder: Path, table: pd.DataFrame, check_files: bool) -> list[str]:
    """Each image's path relative to the folder; where it is found, else where the table says."""
    places = [re.sub(r"\.0+$", "", text or "") for text in column(table, "ImageDir")]
    listed = [f"{place}/{name}" if place else name for place, name in zip(places, table["ImageID"], strict=True)]
    if not check_files:
        return listed
    with os.scandir(folder) as entries:
        below = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".") and not e.name.isdigit())
    tops = ["", *(f"{name}/" for name in below)]
    known: dict[str, bool] = {}

    def exists(path: str) -> bool:
        return known[path] if path in known else os.path.lexists(folder / path)

    images: list[str] = []
    for place, name in zip(listed, table["ImageID"], strict=True):
        for number, top in enumerate(tops):
            found = next((top + path for path in (place, name) if exists(top + path)), None)
            if found is not None:
                # The next image most likely lies beside this one.
                tops.insert(0, tops.pop(number))
                break
        if not images:  # where the first one lies, all of them are looked for at once
            paths = [tops[0] + path for pair in zip(listed, table["ImageID"], strict=True) for path in pair]
            known.update(zip(paths, ask_all(exists, paths), strict=True))
        images.append(found or place)
    return images


def _views(path: Path, table: pd.DataFrame) -> list[str]:
    texts = table["Projection"].str.upper()
    unknown = Counter(texts[~texts.isin(list(VIEWS))])
    if unknown:
        told = ", ".join(f"{text} {count}" for text, count in unknown.most_common(SHOWN_TERMS))
        logger.warning("%s: %d images of an unknown Projection get no view (%s)", path, unknown.total(), told)
    return [VIEWS.get(text, "") for text in texts]


def _ages(table: pd.DataFrame) -> list[float | None]:
    dates, births = column(table, "StudyDate_DICOM"), column(table, "PatientBirth")
    ages: list[float | None] = []
    for date, birth in zip(dates, births, strict=True):
        studied, born = re.match(r"(\d{4})", date or ""), re.match(r"(\d{4})", birth or "")
        years = int(studied[1]) - int(born[1]) if studied and born else -1
        ages.append(float(years) if 0 <= years <= OLDEST else None)
    return ages


def _terms(text: str) -> list[str] | None:
    """The terms of ``Labels``, stripped, lower case, no empty ones; ``None`` when the text is no list of texts."""
    if not text:
        return []
    try:
        terms = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        return None
    return [" ".join(term.lower().split()) for term in terms if term.strip()]


def _label(terms: list[str], classes_of: dict[str, set[str]], misspelt: Mapping[str, str]) -> list[float | None] | None:
    if not terms or "exclude" in terms:
        return None
    found = set(terms) - OPEN - {"normal"}
    named = {name for term in found for name in classes_of[term]}
    absent = None if OPEN.intersection(terms) and "normal" not in terms else 0.0
    healthy = 0.0 if found else 1.0 if "normal" in terms else None
    doubtful = {misspelt[term] for term in found if term in misspelt}
    label = [healthy, *(1.0 if name in named else None if name in doubtful else absent for name in CLASSES[1:])]
    return None if all(value is None for value in label) else label


def _misspelt(term: str) -> str | None:
    """The class that a term without one most likely means; terms that the data set has beside its classes mean none."""
    near = nearest_word(term, CLASSES[1:], MISSPELT)
    return near if near and len(class_key(term)) - len(class_key(near)) in (-2, -1, 0, 1, 2) else None


def _labels(path: Path, table: pd.DataFrame, strict: bool) -> list[list[float | None] | None]:
    parsed = {text: _terms(text) for text in table["Labels"].unique()}
    expected = "a list such as ['cardiomegaly', 'pleural effusion']"
    unknown = UnknownLabels(path, CLASSES, strict, expected=expected)
    for text in (text for text, terms in parsed.items() if terms is None):
        unknown.add(text, *table.index[table["Labels"] == text])
    classes_of: dict[str, set[str]] = {}
    for term in {term for terms in parsed.values() for term in terms or ()}:
        name = canonical_pathology(term)
        classes_of[term] = {name} if name in CLASSES[1:] and name is not None else set()
        classes_of[term] |= {broader for broader, narrower in NARROWER.items() if term in narrower}
    counts = Counter(term for text in table["Labels"] for term in parsed[text] or ())
    left_out = Counter({term: count for term, count in counts.items() if not classes_of[term]})
    for told in ("normal", "exclude", *OPEN):
        left_out.pop(told, None)
    misspelt = {term: near for term in left_out if (near := _misspelt(term))}
    for term in misspelt:
        unknown.add(term, *table.index[[term in (parsed[text] or ()) for text in table["Labels"]]])
    unknown.tell()
    if left_out:
        most = ", ".join(f"{term} {count}" for term, count in left_out.most_common(SHOWN_TERMS))
        logger.info("%s: %d terms without a class left out of the labels, most often %s", path, len(left_out), most)
    labels = {text: _label(terms or [], classes_of, misspelt) for text, terms in parsed.items()}
    # A list of its own for each image: items are handed out to be changed.
    return [None if (label := labels[text]) is None else list(label) for text in table["Labels"]]
