# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Subsets of findings: named sets, spellings, and what becomes of the other labels."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.findings import NAMED_FINDINGS, mask_findings, parse_findings, select_findings
from monai_cxrssl.data.sources.layouts import chestxray14, chexpert, kermany
from monai_cxrssl.errors import DatalistError


def datalist(classes, task, labels, name="x"):
    items = [{"image": f"{n}.png", "patient_id": str(n), "label": label} for n, label in enumerate(labels)]
    return Datalist.from_dict({"name": name, "classes": list(classes), "task": task, "training": items})


def labels_of(source):
    return [item.get("label") for item in source.splits["training"]]


MULTI = datalist(["Edema", "Effusion", "Mass"], "multi_label", [[1, 0, 1], [None, None, 1], [0.5, None, 0]])
CLASSES = datalist(["Normal", "Bacterial", "Viral"], "multi_class", [0, 1, 2, None])


def test_named_sets_are_what_the_data_sets_label():
    both = {name for name in chexpert.CLASSES if name in chestxray14.CLASSES}
    assert set(NAMED_FINDINGS["chexpert_chestxray14"]) == both
    for classes in (chexpert.CLASSES, chestxray14.CLASSES):
        assert set(NAMED_FINDINGS["chexpert_competition"]) <= set(classes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Edema", ["Edema"]),
        ("Edema, Pleural Effusion", ["Edema", "Pleural Effusion"]),
        (("Edema", "Mass", "Edema"), ["Edema", "Mass"]),
        (["chexpert_competition", "Mass"], [*NAMED_FINDINGS["chexpert_competition"], "Mass"]),
    ],
)
def test_parse(value, expected):
    assert parse_findings(value) == expected


@pytest.mark.parametrize("value", ["", " , ", [], 3, [1, 2]])
def test_parse_refuses(value):
    with pytest.raises(ValueError, match="finding"):
        parse_findings(value)


def test_select():
    chosen = select_findings(MULTI, ["pleural effusion", "edema"])
    assert (chosen.classes, labels_of(chosen)) == (("Effusion", "Edema"), [[0, 1], None, [None, 0.5]])
    assert select_findings(chosen, ["Pleural Effusion", "Edema"]) is chosen
    chosen = select_findings(CLASSES, ["Viral Pneumonia", "No Finding"])
    assert (chosen.classes, chosen.task, labels_of(chosen)) == (("Viral", "Normal"), "multi_class", [1, None, 0, None])


def test_mask():
    masked = mask_findings(MULTI, ["Effusion"])
    assert (masked.classes, labels_of(masked)) == (MULTI.classes, [[None, 0, None], None, None])
    assert labels_of(mask_findings(CLASSES, ["Normal", "Viral"])) == [0, None, 2, None]


@pytest.mark.parametrize(
    ("source", "findings", "message"),
    [
        (
            MULTI,
            ["Oedma"],
            "names 'Oedma', which x does not label. Did you mean Edema\\? It has Edema, Effusion, Mass.",
        ),
        (MULTI, ["chexpert_competiton"], "Did you mean chexpert_competition"),
        (MULTI, ["Fracture", "Mass"], "names 'Fracture', which x does not label. It has"),
        (datalist([], "multi_class", [None]), ["Mass"], "It has no classes"),
        (CLASSES, ["Viral"], "leaves Viral alone of the exclusive classes of x \\(Normal, Bacterial, Viral\\)"),
    ],
)
def test_refused(source, findings, message):
    with pytest.raises(DatalistError, match=message):
        select_findings(source, findings)


def test_exclusive_classes_of_a_layout():
    assert select_findings(datalist(kermany.CLASSES, "multi_class", [0, 1, 2]), ["bacterial", "viral"]).classes == (
        "Bacterial Pneumonia",
        "Viral Pneumonia",
    )
