# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math

import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.report.criteria import CriterionRule, evaluate_criteria, load_criteria, overall_sentence

GOOD = {
    "macro_auc_ci_low": 0.85,
    "lowest_sensitivity_ci_low": 0.82,
    "ece_scaled": 0.03,
    "dice_ci_low": 0.93,
    "lung_attention_excess_ci_low": 0.1,
    "lungs_blanked_macro_auc": 0.55,
    "largest_subgroup_gap": 0.04,
    "external_drop": 0.01,
    "leaks": 0,
    "smallest_class_patients": 120,
}


def test_defaults_pass_good_figures_and_never_say_ready():
    criteria = load_criteria()
    results = evaluate_criteria(GOOD, criteria)
    assert [result.verdict for result in results] == ["pass"] * len(criteria) == ["pass"] * len(GOOD)
    assert all(rule.reason.endswith(".") and rule.title and rule.remedy for rule in criteria)
    sentence = overall_sentence(results)
    assert "images like those of the test set only" in sentence
    assert "ready" not in sentence.lower()


@pytest.mark.parametrize(
    ("figure", "bad"),
    [
        ("macro_auc_ci_low", 0.799),
        ("lowest_sensitivity_ci_low", 0.5),
        ("ece_scaled", 0.0501),
        ("dice_ci_low", 0.0),
        ("lung_attention_excess_ci_low", 0.0),
        ("lungs_blanked_macro_auc", 0.95),
        ("largest_subgroup_gap", 0.3),
        ("external_drop", 0.2),
        ("leaks", 1),
        ("smallest_class_patients", 99),
    ],
)
def test_each_default_fails_alone(figure, bad):
    results = evaluate_criteria({**GOOD, figure: bad}, load_criteria())
    failed = [result for result in results if result.verdict == "fail"]
    assert len(failed) == 1
    assert failed[0].value == bad
    sentence = overall_sentence(results)
    assert sentence.startswith("Not ready")
    assert f"1 fails ({failed[0].name.replace('_', ' ')})" in sentence


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "n/a", np.float64("nan"), [1]])
def test_without_a_figure_nothing_is_judged(value):
    results = evaluate_criteria({**GOOD, "external_drop": value}, load_criteria())
    (result,) = (result for result in results if result.verdict != "pass")
    assert (result.name, result.verdict, result.value) == ("external_drop", "not assessable", None)
    assert "another hospital" in result.reason
    assert "readiness is not shown" in overall_sentence(results)


def test_nothing_at_all():
    results = evaluate_criteria({}, load_criteria(), {"ece_scaled": "there were no validation labels."})
    assert {result.verdict for result in results} == {"not assessable"}
    (calibration,) = (result for result in results if result.name == "calibration")
    assert calibration.reason.startswith("Not assessable: there were no validation labels. Fit")
    assert "0 pass, 10 could not be assessed" in overall_sentence(results)
    json.dumps([result.to_dict() for result in results], allow_nan=False)


@pytest.mark.parametrize(
    ("bound", "below", "equal", "above"),
    [
        ("at_least", "fail", "pass", "pass"),
        ("above", "fail", "fail", "pass"),
        ("at_most", "pass", "pass", "fail"),
        ("below", "pass", "fail", "fail"),
    ],
)
def test_bounds(bound, below, equal, above):
    rule = CriterionRule("x", "X", "x", bound, 0.5, "Because.")
    for value, expected in ((0.49, below), (0.5, equal), (0.51, above), (np.float32(0.5), equal)):
        assert evaluate_criteria({"x": value}, [rule])[0].verdict == expected


def test_a_near_miss_is_not_shown_as_the_threshold():
    rule = CriterionRule("x", "X", "x", "at_least", 0.8, "Because.")
    (result,) = evaluate_criteria({"x": 0.79999}, [rule])
    assert result.verdict == "fail"
    assert "0.79999;" in result.reason


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_own_file_changes_leaves_out_and_adds(tmp_path):
    own = {
        "discrimination": {"at_least": 0.9},
        "lung_attention": {"at_least": 0.05, "reason": "Ours."},
        "segmentation": None,
        "unreadable": {"title": "Unreadable", "figure": "unreadable_share", "at_most": 0, "reason": "All count."},
    }
    criteria = {rule.name: rule for rule in load_criteria(write(tmp_path / "own.json", {"criteria": own}))}
    defaults = {rule.name: rule for rule in load_criteria()}
    assert criteria["discrimination"].asks == "at least 0.9"
    assert criteria["discrimination"].title == defaults["discrimination"].title
    assert (criteria["lung_attention"].bound, criteria["lung_attention"].reason) == ("at_least", "Ours.")
    assert "segmentation" not in criteria
    assert criteria["unreadable"].remedy == ""
    assert criteria["leaks"] == defaults["leaks"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no JSON"),
        ([], "no file of criteria"),
        ({"criteria": {}, "thresholds": {}}, "no other key"),
        ({"criteria": {"leaks": {"atmost": 1}}}, "unknown key 'atmost'"),
        ({"criteria": {"leaks": {"at_most": "1"}}}, "expected a finite number"),
        ({"criteria": {"leaks": {"at_most": True}}}, "expected a finite number"),
        ('{"criteria": {"leaks": {"at_most": NaN}}}', "expected a finite number"),
        ({"criteria": {"leaks": {"at_most": 10**400}}}, "expected a finite number"),
        ({"criteria": 3}, "no file of criteria"),
        ({"criteria": {"leaks": {"at_most": 1, "above": 0}}}, "2 bounds"),
        ({"criteria": {"leaks": {"reason": 3}}}, "expected text"),
        ({"criteria": {"leaks": 3}}, "expected keys and values"),
        ({"criteria": {"own": {"at_most": 3}}}, "lacks title, figure, reason"),
        ({"criteria": {"own": {"title": "O", "figure": "o", "reason": "O."}}}, "0 bounds"),
        ({"criteria": {"leek": None}}, "is none; choose from discrimination"),
        ('{"criteria": {"leaks": {"at_most": 1}, "leaks": {"at_most": 2}}}', "twice"),
        ({"criteria": dict.fromkeys(rule.name for rule in load_criteria())}, "keep at least one"),
    ],
)
def test_refuses_a_wrong_file(tmp_path, content, words):
    with pytest.raises(ConfigurationError, match=words):
        load_criteria(write(tmp_path / "own.json", content))


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_criteria(tmp_path / "none.json")
