# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math

import pytest

from monai_cxrssl.report.card import NOT_STATED, model_card
from monai_cxrssl.report.provenance import bundle_metadata


def test_blanks_are_shown_as_blanks():
    card = model_card({}, {})
    assert {field.value for field in card} == {NOT_STATED}
    assert len({(field.section, field.field) for field in card}) == len(card)
    sections = [field.section for field in card]
    assert list(dict.fromkeys(sections)) == ["Model", "Use", "Data", "Training", "Governance", "Evaluation"]
    # Sections stand together.
    assert sum(a != b for a, b in itertools.pairwise(sections)) == 5


@pytest.mark.parametrize("blank", [None, "", "  ", [], {}, math.nan])
def test_blank_values(blank):
    assert not any(field.stated for field in model_card({"name": blank, "references": blank}, {"dice": blank}))


@pytest.mark.parametrize(
    ("figures", "field", "value"),
    [
        (
            {"macro_auc": 0.9, "macro_auc_ci_low": 0.85, "macro_auc_ci_high": 0.95},
            "Macro AUROC",
            "0.900 (0.850 to 0.950)",
        ),
        ({"macro_auc": 1.0}, "Macro AUROC", "1.000"),
        ({"macro_auc": 0.9, "macro_auc_ci_low": math.nan, "macro_auc_ci_high": 0.95}, "Macro AUROC", "0.900"),
        ({"images": 12345}, "Test images", "12,345"),
        ({"leaks": 0}, "Leaks between training and test", "0"),
    ],
)
def test_figures(figures, field, value):
    assert [line.value for line in model_card({}, figures) if line.stated] == [value]
    assert next(line for line in model_card({}, figures) if line.field == field).value == value


def test_of_a_bundle_of_this_repository(repo):
    card = {line.field: line.value for line in model_card(bundle_metadata(repo / "bundles" / "simclr"), {})}
    assert "Not a medical device" in card["Intended use"]
    assert ";" in card["References"]
    assert card["Ethical approval"] == NOT_STATED
