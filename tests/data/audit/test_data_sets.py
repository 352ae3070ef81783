# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Public data sets by any of their names, and a test on one that weights go back to."""

from __future__ import annotations

import logging
import pkgutil
from importlib import import_module

import pytest

from monai_cxrssl.data import refuse_seen_data_sets
from monai_cxrssl.data.audit.data_sets import KNOWN_DATA_SETS, public_name, shared_origin
from monai_cxrssl.data.sources import layouts
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.networks import known_weights


def test_every_layout_of_a_public_data_set_is_known():
    modules = [import_module(m.name) for m in pkgutil.walk_packages(layouts.__path__, f"{layouts.__name__}.")]
    names = {module.NAME for module in modules if hasattr(module, "NAME")}
    assert len(names) > 15
    assert names <= set(KNOWN_DATA_SETS)
    assert {public_name(name) for name in names} == names


def test_the_table_of_weights_names_data_sets_as_the_layouts_do():
    chest = {name for row in known_weights() for name in row.trained_on or () if public_name(name)}
    assert chest <= set(KNOWN_DATA_SETS)
    assert {"ChestX-ray14", "MIMIC-CXR-JPG", "PadChest", "VinDr-CXR"} <= chest


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NIH", "ChestX-ray14"),
        ("nih_chestx-ray14", "ChestX-ray14"),
        ("ChestX-ray14-2", "ChestX-ray14"),
        ("CheXpert-v1.0-small", "CheXpert"),
        ("mimic-cxr", "MIMIC-CXR-JPG"),
        ("rsna", "RSNA Pneumonia"),
        ("SIIM-ACR pneumothorax 2019", "SIIM-ACR Pneumothorax"),
        ("COVIDx CXR-3", "COVIDx"),
        ("covid-chestxray-dataset", "covid-chestxray-dataset"),
        ("hospital", None),
        ("shenzhen hospital 3", None),
        ("COVID X-ray", None),
        ("phantom", None),
        ("", None),
    ],
)
def test_names(name, known):
    assert public_name(name) == known


def test_sets_that_share_images():
    assert shared_origin("RSNA Pneumonia", "nih") == "ChestX-ray14"
    assert shared_origin("ChestX-ray14", "COVIDx") == "ChestX-ray14"
    assert shared_origin("COVIDx", "SIIM-FISABIO-RSNA COVID-19") == "SIIM-FISABIO-RSNA COVID-19"
    assert shared_origin("CheXpert", "ChestX-ray14") is None
    assert shared_origin("ImageNet-1k", "CheXpert") is None
    assert shared_origin("our own", "our own") == "our own"


def films(source: str | None, number: int = 2):
    return [{"image": f"{source}-{k}.png", "patient_id": str(k)} | ({"source": source} if source else {})
            for k in range(number)]  # fmt: skip


def test_a_test_on_what_the_weights_saw_is_refused_and_told(caplog):
    seen = ["CheXpert", "ChestX-ray14"]
    with pytest.raises(DatalistError, match=r"ChestX-ray14 is this evaluation's.*xrv\.pt goes back to.*allow_leak"):
        refuse_seen_data_sets(films("ChestX-ray14"), seen, "xrv.pt")
    with pytest.raises(DatalistError, match="both hold images of ChestX-ray14"):
        refuse_seen_data_sets(films("RSNA Pneumonia"), seen, "xrv.pt")
    with pytest.raises(DatalistError, match="NIH is this evaluation's"):
        refuse_seen_data_sets(films(None), seen, "xrv.pt", name="NIH")
    caplog.set_level(logging.WARNING)
    findings = refuse_seen_data_sets(films("ChestX-ray14") + films("PadChest"), seen, "xrv.pt", allow_leak=True)
    assert [finding.items for finding in findings] == [("ChestX-ray14-0.png", "ChestX-ray14-1.png")]
    assert "allow_leak is given" in caplog.text
    assert refuse_seen_data_sets(films("PadChest") + films("hospital"), seen, "xrv.pt") == []
    assert refuse_seen_data_sets(films("ChestX-ray14"), [], "xrv.pt") == []
