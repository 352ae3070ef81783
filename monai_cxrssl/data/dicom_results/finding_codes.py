# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Codes of findings in SNOMED CT, RadLex and DICOM."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from monai_cxrssl.data.datalists.vocabulary import canonical_pathology, finding_key

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

__all__ = ["OWN_SCHEME", "finding_code"]

#: Designator of the codes of findings that the public schemes do not have, or not in this meaning.
OWN_SCHEME = "99CXRSSL"

# By entries of ``vocabulary.PATHOLOGIES``. An entry whose concept would be broader or narrower is left out.
# fmt: off
_CODES: dict[str, tuple[str, str, str]] = {
    "No Finding": ("SCT", "281900007", "No abnormality detected"), "Cardiomegaly": ("SCT", "8186001", "Cardiomegaly"),
    "Heart Failure": ("SCT", "84114007", "Heart failure"),
    "Pulmonary Hypertension": ("SCT", "70995007", "Pulmonary hypertension"),
    "Lymphadenopathy": ("SCT", "30746006", "Lymphadenopathy"), "Atelectasis": ("SCT", "46621007", "Atelectasis"),
    "Consolidation": ("SCT", "95436008", "Lung consolidation"), "Edema": ("SCT", "19242006", "Pulmonary edema"),
    "Infiltration": ("DCM", "112121", "Infiltrate"),
    "Interstitial Pattern": ("DCM", "112004", "Abnormal interstitial pattern"),
    "Lung Opacity": ("DCM", "112001", "Opacity"), "Ground Glass Opacity": ("DCM", "112120", "Ground glass opacity"),
    "Mass": ("SCT", "4147007", "Mass"), "Nodule": ("SCT", "27925004", "Nodule"),
    "Lung Tumor": ("SCT", "126713003", "Neoplasm of lung"),
    "Lung Metastasis": ("SCT", "94391008", "Secondary malignant neoplasm of lung"),
    "Granuloma": ("SCT", "45647009", "Granuloma"), "Calcification": ("RADLEX", "RID5196", "calcification"),
    "Emphysema": ("SCT", "87433001", "Pulmonary emphysema"),
    "COPD": ("SCT", "13645005", "Chronic obstructive pulmonary disease"),
    "Air Trapping": ("SCT", "76171001", "Air-trapping"), "Fibrosis": ("SCT", "51615001", "Fibrosis of lung"),
    "Interstitial Lung Disease": ("SCT", "233703007", "Interstitial lung disease"),
    "Bronchiectasis": ("SCT", "12295008", "Bronchiectasis"),
    "Pleural Effusion": ("SCT", "60046008", "Pleural effusion"), "Pneumothorax": ("SCT", "36118008", "Pneumothorax"),
    "Pneumonia": ("SCT", "233604007", "Pneumonia"), "Bacterial Pneumonia": ("SCT", "53084003", "Bacterial pneumonia"),
    "Viral Pneumonia": ("SCT", "75570004", "Viral pneumonia"), "COVID-19": ("SCT", "840539006", "COVID-19"),
    "Tuberculosis": ("SCT", "154283005", "Pulmonary tuberculosis"),
    "Pneumomediastinum": ("SCT", "16838000", "Pneumomediastinum"), "Hernia": ("SCT", "84089009", "Hiatal hernia"),
    "Fracture": ("SCT", "125605004", "Fracture of bone"), "Rib Fracture": ("SCT", "33737001", "Fracture of rib"),
    "Clavicle Fracture": ("SCT", "58150001", "Fracture of clavicle"),
    "Scoliosis": ("SCT", "298382003", "Scoliosis deformity of spine"),
    "Support Devices": ("RADLEX", "RID29033", "medical device"),
    "Pacemaker": ("SCT", "14106009", "Cardiac pacemaker"),
    "Endotracheal Tube": ("SCT", "26412008", "Endotracheal tube"),
}
# fmt: on


def finding_code(name: str) -> CodedConcept:
    """Return the code of a class by its name, one of :data:`OWN_SCHEME` where the public schemes have none.

    Spellings of one finding have one code (:func:`monai_cxrssl.data.canonical_pathology`).
    """
    from highdicom.sr import CodedConcept

    scheme, value, meaning = _CODES.get(canonical_pathology(name) or "", (OWN_SCHEME, "", name))
    if scheme == OWN_SCHEME:
        value = hashlib.sha256(finding_key(name).encode()).hexdigest()[:12].upper()
    return CodedConcept(value, scheme, meaning[:64])
