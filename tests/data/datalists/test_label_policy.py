# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label policies against rules written out cell by cell, and the draws' independence of order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_cxrssl.data.datalists.label_policy import LSR_RANGE, apply_label_policy, labels_to_lists
from monai_cxrssl.errors import ConfigurationError

NAN = float("nan")
CLASSES = ("Atelectasis", "Edema", "Cardiomegaly")
CELLS = (1, 0, -1, NAN)


def cell(value, name, policy, blanks):
    """The rule of one cell, as methods.md states it."""
    if isinstance(policy, dict):
        policy = policy.get(name, "ignore")
    if math.isnan(value):
        return 0.0 if blanks == "zero" else None
    if value != -1:
        return float(value)
    if policy == "chexpert":
        policy = "ones" if name in ("Atelectasis", "Edema") else "zeros"
    return {"ignore": None, "ones": 1.0, "zeros": 0.0}.get(policy, policy)


@pytest.mark.parametrize("blanks", ["null", "zero"])
@pytest.mark.parametrize("policy", ["ignore", "ones", "zeros", "chexpert", 0.5, {"Edema": "ones", "Cardiomegaly": 0.3}])
def test_against_rule(policy, blanks):
    labels = np.array([(a, b, c) for a in CELLS for b in CELLS for c in CELLS])
    before = labels.copy()
    values = labels_to_lists(apply_label_policy(labels, CLASSES, policy, blanks))
    expected = [[cell(v, name, policy, blanks) for v, name in zip(row, CLASSES, strict=True)] for row in labels]
    assert values == expected
    assert np.array_equal(labels, before, equal_nan=True)


def test_other_spelling():
    assert apply_label_policy([[-1]], ["Pleural Effusion"], {"Effusion": "ones"}).tolist() == [[1.0]]


@pytest.mark.parametrize(("policy", "low", "high"), [("lsr", *LSR_RANGE), ([0, 0.3], 0, 0.3)])
def test_draws(policy, low, high):
    labels = np.full((4000, 2), -1.0)
    keys = [f"image{n}.png" for n in range(len(labels))]
    values = apply_label_policy(labels, ["Edema", "Mass"], policy, keys=keys)
    assert values.min() >= low
    assert values.max() < high
    # A uniform distribution: mean and every tenth of the range within five standard errors.
    scaled = (values - low) / (high - low)
    assert abs(scaled.mean() - 0.5) < 5 / math.sqrt(12 * scaled.size)
    tenths = np.histogram(scaled, 10, (0, 1))[0]
    assert np.abs(tenths - scaled.size / 10).max() < 5 * math.sqrt(scaled.size * 0.09)
    assert abs(np.corrcoef(scaled.T)[0, 1]) < 5 / math.sqrt(len(labels))


def test_draws_depend_on_key_class_and_seed_only():
    labels = np.full((50, 2), -1.0)
    keys = [f"{n}" for n in range(50)]
    values = apply_label_policy(labels, ["Edema", "Mass"], "lsr", keys=keys, seed=3)
    order = np.random.default_rng(0).permutation(50)[:20]
    again = apply_label_policy(labels[:20], ["Mass", "Edema"], "lsr", keys=[keys[n] for n in order], seed=3)
    assert np.array_equal(again[:, ::-1], values[order])
    assert not np.isin(apply_label_policy(labels, ["Edema", "Mass"], "lsr", keys=keys, seed=4), values).any()


@pytest.mark.parametrize(
    ("policy", "blanks", "message"),
    [
        ("maybe", "null", "label policy is 'maybe'; expected one of ignore, ones"),
        (1.5, "null", "label policy is 1.5"),
        ([0.8, 0.2], "null", "label policy is"),
        ({"Edema": "chexpert"}, "null", "label policy is 'chexpert'"),
        ({"Fracture": "ones"}, "null", "names 'Fracture', which is none of Atelectasis, Edema"),
        ("lsr", "null", "draws labels for Atelectasis, which needs one key per item"),
        ("ones", "skip", "blanks is 'skip'; expected one of null, zero"),
    ],
)
def test_refused(policy, blanks, message):
    with pytest.raises(ConfigurationError, match=message):
        apply_label_policy([[-1, -1, -1]], CLASSES, policy, blanks)


@pytest.mark.parametrize("labels", [[[1, 2, 0]], [[1, 0]], [1, 0, 0]])
def test_wrong_values(labels):
    with pytest.raises(ValueError, match="labels"):
        apply_label_policy(labels, CLASSES)


def test_lists_are_separate():
    lists = labels_to_lists(np.array([[1.0, NAN], [1.0, NAN]]))
    lists[0][0] = 5.0
    assert lists == [[5.0, None], [1.0, None]]
