# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The vocabulary: spellings of the public data sets, and what stays unknown."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.datalists.vocabulary import PATHOLOGIES, canonical_pathology, map_classes
from monai_cxrssl.data.sources.layouts import chestxray14, chexpert, kermany


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("Effusion", "Pleural Effusion"),
        ("Pleural effusion", "Pleural Effusion"),
        ("Pleural_Thickening", "Pleural Thickening"),
        ("Infiltrate", "Infiltration"),
        ("infiltrates", "Infiltration"),
        ("Airspace Opacity", "Lung Opacity"),
        ("Nodule/Mass", "Nodule/Mass"),
        ("Nodule / Mass", "Nodule/Mass"),
        ("pulmonary edema", "Edema"),
        ("Pulmonary fibrosis", "Fibrosis"),
        ("hiatal hernia", "Hernia"),
        ("ILD", "Interstitial Lung Disease"),
        ("Enlarged PA", "Enlarged Pulmonary Artery"),
        ("No finding", "No Finding"),
        ("normal", "No Finding"),
        ("Negative for Pneumonia", "No Finding"),
        ("Typical Appearance", "Typical Appearance"),
        ("ObsoletePulmonaryTuberculosis", "Latent Tuberculosis"),
        ("covid-19", "COVID-19"),
        ("  Support   Devices ", "Support Devices"),
        ("Calcification of the Aorta", "Aortic Calcification"),
        ("No Lung Opacity / Not Normal", None),
        ("exclude", None),
        ("", None),
    ],
)
def test_canonical(name, entry):
    assert canonical_pathology(name) == entry


def test_entries_map_to_themselves():
    assert [canonical_pathology(name) for name in PATHOLOGIES] == list(PATHOLOGIES)
    assert len(set(PATHOLOGIES)) == len(PATHOLOGIES)


def test_narrower_findings_are_not_merged():
    names = ["Fracture", "Rib fracture", "Clavicle fracture", "Mass", "Nodule", "Nodule/Mass", "Lung Lesion"]
    assert len({canonical_pathology(name) for name in names}) == len(names)


@pytest.mark.parametrize("layout", [chexpert, chestxray14, kermany])
def test_layouts_use_entries(layout):
    assert set(layout.CLASSES) <= set(PATHOLOGIES)


def test_map_classes():
    wanted = ["Effusion", "Edema", "Hernia", "Mystery"]
    assert map_classes(chexpert.CLASSES, wanted) == [10, 5, None, None]
    assert map_classes(["Mystery", "pleural effusion"], wanted) == [1, None, None, 0]
