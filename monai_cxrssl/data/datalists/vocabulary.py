# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Vocabulary of finding names and their spellings.

:data:`PATHOLOGIES` merges the labels of CheXpert, MIMIC-CXR-JPG (with the additions of CXR-LT), ChestX-ray14, PadChest,
VinDr-CXR, RSNA Pneumonia, SIIM-FISABIO-RSNA COVID-19, TBX11K, Montgomery, Shenzhen, COVIDx, COVID-QU-Ex and the Kermany
children. Where two data sets mean the same by two names they share one entry (``Effusion`` and ``Pleural Effusion``). A
narrower or broader finding keeps an entry of its own (``Rib Fracture`` beside ``Fracture``, ``Lung Lesion`` beside
``Mass``): an image without a rib fracture says nothing on other fractures, so merging them would turn unknown into
negative.

Names that describe no finding, or several at once (``No Lung Opacity / Not Normal``, ``exclude``), have no entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

__all__ = ["BROADER", "PATHOLOGIES", "canonical_pathology", "finding_key", "map_classes"]

# fmt: off
# Order: healthy; heart, vessels, mediastinum; lungs; pleura; infections; air and hernia; bones; devices; the rest.
PATHOLOGIES: tuple[str, ...] = (
    "No Finding",
    "Cardiomegaly", "Enlarged Cardiomediastinum", "Mediastinal Enlargement", "Aortic Enlargement",
    "Aortic Elongation", "Tortuous Aorta", "Aortic Calcification", "Aortic Atheromatosis", "Enlarged Pulmonary Artery",
    "Pulmonary Hypertension", "Heart Failure", "Mediastinal Shift", "Hilar Enlargement", "Lymphadenopathy",
    "Atelectasis", "Consolidation", "Alveolar Pattern", "Edema", "Infiltration", "Interstitial Pattern", "Lung Opacity",
    "Ground Glass Opacity", "Volume Loss", "Lung Lesion", "Mass", "Nodule", "Nodule/Mass", "Lung Tumor",
    "Lung Metastasis", "Granuloma", "Calcification", "Lung Cavity", "Lung Cyst", "Emphysema", "COPD", "Hyperinflation",
    "Air Trapping", "Fibrosis", "Interstitial Lung Disease", "Bronchiectasis",
    "Pleural Effusion", "Costophrenic Angle Blunting", "Pleural Thickening", "Pleural Plaque", "Pleural Other",
    "Pneumothorax", "Hydropneumothorax",
    "Pneumonia", "Bacterial Pneumonia", "Viral Pneumonia", "COVID-19", "Other Pneumonia",
    "Tuberculosis", "Active Tuberculosis",
    "Latent Tuberculosis", "Tuberculosis Sequelae", "Typical Appearance", "Indeterminate Appearance",
    "Atypical Appearance",
    "Subcutaneous Emphysema", "Pneumomediastinum", "Pneumoperitoneum", "Hernia", "Diaphragm Elevation",
    "Fracture", "Rib Fracture", "Clavicle Fracture", "Vertebral Fracture", "Scoliosis", "Kyphosis",
    "Vertebral Degenerative Changes",
    "Support Devices", "Pacemaker", "Endotracheal Tube",
    "Other Lesion", "Other Disease",
)

# What a finding is a kind of: where it is positive, so is the broader one in the sense of other data sets.
BROADER: dict[str, tuple[str, ...]] = {
    "Bacterial Pneumonia": ("Pneumonia",), "Viral Pneumonia": ("Pneumonia",),
    "COVID-19": ("Pneumonia", "Viral Pneumonia"), "Other Pneumonia": ("Pneumonia",),
    "Active Tuberculosis": ("Tuberculosis",), "Latent Tuberculosis": ("Tuberculosis",), "Rib Fracture": ("Fracture",),
    "Clavicle Fracture": ("Fracture",), "Vertebral Fracture": ("Fracture",), "Mass": ("Nodule/Mass", "Lung Lesion"),
    "Nodule": ("Nodule/Mass", "Lung Lesion"), "Nodule/Mass": ("Lung Lesion",),
}

# Spellings that differ from the entry by more than case, spaces, underscores and hyphens.
_ALIASES: dict[str, tuple[str, ...]] = {
    "No Finding": ("normal", "healthy", "negative for pneumonia", "no findings"), "Cardiomegaly": ("enlarged heart",),
    "Enlarged Cardiomediastinum": ("enlarged cardiomediastinal silhouette",), "Aortic Enlargement": ("enlarged aorta",),
    "Tortuous Aorta": ("aortic tortuosity",), "Aortic Calcification": ("calcification of the aorta", "calcified aorta"),
    "Enlarged Pulmonary Artery": ("enlarged pa", "pulmonary artery enlargement"),
    "Heart Failure": ("heart insufficiency", "congestive heart failure"), "Lymphadenopathy": ("adenopathy",),
    "Atelectasis": ("atelectases",), "Consolidation": ("consolidations",),
    "Edema": ("oedema", "pulmonary edema", "pulmonary oedema", "lung edema"),
    "Infiltration": ("infiltrate", "infiltrates"), "Lung Opacity": ("airspace opacity", "pulmonary opacity", "opacity"),
    "Ground Glass Opacity": ("ground glass pattern", "ground glass opacities"), "Mass": ("pulmonary mass", "lung mass"),
    "Nodule": ("pulmonary nodule", "lung nodule", "nodules"), "Nodule/Mass": ("nodule or mass", "mass/nodule"),
    "Lung Tumor": ("lung tumour",), "Lung Cavity": ("cavitation", "cavity"), "Lung Cyst": ("cyst",),
    "COPD": ("chronic obstructive pulmonary disease", "copd signs"), "Hyperinflation": ("hyperinflated lung",),
    "Fibrosis": ("pulmonary fibrosis", "lung fibrosis"), "Interstitial Lung Disease": ("ild",),
    "Pleural Effusion": ("effusion",), "Pleural Thickening": ("pleura thickening",),
    "Pleural Plaque": ("pleural plaques",), "Hydropneumothorax": ("hydro pneumothorax",),
    "Bacterial Pneumonia": ("bacterial", "pneumonia bacterial"), "Viral Pneumonia": ("viral", "pneumonia viral"),
    "COVID-19": ("covid", "covid19", "sars cov 2 pneumonia"), "Tuberculosis": ("tb",),
    "Active Tuberculosis": ("activetuberculosis", "active tb"),
    "Latent Tuberculosis": ("obsoletepulmonarytuberculosis", "obsolete pulmonary tuberculosis", "latent tb"),
    "Typical Appearance": ("typical",), "Indeterminate Appearance": ("indeterminate",),
    "Atypical Appearance": ("atypical",), "Pneumoperitoneum": ("pneumoperitoneo",), "Hernia": ("hiatal hernia",),
    "Diaphragm Elevation": ("hemidiaphragm elevation", "elevated hemidiaphragm"), "Rib Fracture": ("rib fractures",),
    "Support Devices": ("support device",), "Other Disease": ("other diseases",),
}
# fmt: on


def _key(name: str) -> str:
    """The name without what spellings differ in: case, spaces, underscores, hyphens; no blanks around a slash."""
    words = re.sub(r"[\s_\-]+", " ", name.strip().lower())
    return re.sub(r"\s*/\s*", "/", words).strip()


_NAMES = {_key(name): name for name in PATHOLOGIES}
_NAMES |= {_key(alias): name for name, aliases in _ALIASES.items() for alias in aliases}


@lru_cache(maxsize=4096)
def canonical_pathology(name: str) -> str | None:
    """Name of a finding in :data:`PATHOLOGIES`, ``None`` when the list has none: such a label is unknown, not negative.

    Case, spaces, underscores and hyphens of ``name`` do not count.

    Example:
        >>> canonical_pathology("Effusion"), canonical_pathology("Pleural_Thickening"), canonical_pathology("unchanged")
        ('Pleural Effusion', 'Pleural Thickening', None)
    """
    return _NAMES.get(_key(name))


def finding_key(name: str) -> str:
    """Return what is equal of two names of one finding: the entry of the vocabulary, else the name in small letters."""
    return canonical_pathology(name) or _key(name)


def map_classes(classes: Sequence[str], target: Iterable[str]) -> list[int | None]:
    """Where the classes of one data set are found in another, by their names in :data:`PATHOLOGIES`.

    Gives for each name of ``target`` its index in ``classes``, or ``None`` where these do not have it (unknown).

    Example:
        >>> map_classes(["Effusion", "Mass"], ["Pleural Effusion", "Fracture"])
        [0, None]
    """
    index: dict[str, int] = {}
    for number, name in enumerate(classes):
        index.setdefault(canonical_pathology(name) or name, number)
    return [index.get(canonical_pathology(name) or name) for name in target]
