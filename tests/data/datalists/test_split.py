# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, load_datalist
from monai_cxrssl.data.datalists.split import fold_datalists, label_fraction, manifest_hash, save_split, split_datalist
from monai_cxrssl.errors import ConfigurationError, DatalistError


def made(patients=1000, task="multi_class", split="training", start=0):
    rng = np.random.default_rng(0)
    items = []
    for n in range(start, start + patients):
        label = int(n % 10 == 0) if task == "multi_class" else [float(n % 20 == 0), None if n % 7 else 1.0]
        for k in range(1 + int(rng.integers(3))):
            items.append({"image": f"{n}_{k}.png", "patient_id": f"p{n}", "label": label, "view_position": "PA"})
    return Datalist(classes=("a", "b"), task=task, splits={split: items})


def sides(datalist):
    return {item["patient_id"]: split for split in SPLITS for item in datalist.splits[split]}


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_split_is_disjoint_and_stratified(task):
    whole = made(task=task)
    parts = split_datalist(whole, (0.7, 0.1, 0.2), seed=3)
    patients = [{item["patient_id"] for item in parts.splits[s]} for s in SPLITS]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 1000
    assert [len(p) for p in patients] == pytest.approx([700, 100, 200], abs=4)
    rare = {p for p in set().union(*patients) if int(p[1:]) % (10 if task == "multi_class" else 20) == 0}
    for found, share in zip(patients, (0.7, 0.1, 0.2), strict=True):
        assert len(found & rare) == pytest.approx(share * len(rare), abs=2)
    turned = Datalist(classes=("a", "b"), task=task, splits={"training": whole.splits["training"][::-1]})
    assert sides(split_datalist(turned, (0.7, 0.1, 0.2), seed=3)) == sides(parts)
    assert sides(split_datalist(whole, (0.7, 0.1, 0.2), seed=4)) != sides(parts)


def test_split_is_stable_when_patients_are_added():
    small, large = split_datalist(made(1000)), split_datalist(made(1100))
    before, after = sides(small), sides(large)
    assert sum(after[p] != side for p, side in before.items()) < 30
    kept = sides(split_datalist(made(1100), previous=small))
    assert all(kept[p] == side for p, side in before.items())
    assert Counter(kept.values())["test"] == pytest.approx(220, abs=20)


def test_official_splits_are_kept_or_refused():
    test = made(50, split="test", start=5000).splits["test"]
    whole = replace(made(500), splits={**made(500).splits, "test": test})
    parts = split_datalist(whole, (0.7, 0.1, 0.2))
    assert parts.splits["test"] == test
    assert len({i["patient_id"] for i in parts.splits["validation"]}) == pytest.approx(500 / 8, abs=3)
    assert all(fold.splits["test"] == test for fold in fold_datalists(whole, 3))
    assert split_datalist(whole, keep_official=False).splits["test"] != test
    leaky = replace(whole, splits={**whole.splits, "test": [*test, {"image": "x.png", "patient_id": "p1"}]})
    for call in (split_datalist, fold_datalists):
        with pytest.raises(DatalistError, match="p1"):
            call(leaky)


def test_folds_partition_the_patients():
    folds = fold_datalists(made(), 5)
    parts = [{i["patient_id"] for i in f.splits["validation"]} for f in folds]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 1000
    assert all(len(p) == pytest.approx(200, abs=3) for p in parts)
    for fold, part in zip(folds, parts, strict=True):
        assert not part & {i["patient_id"] for i in fold.splits["training"]}


def test_label_fractions_are_nested():
    whole = made()

    def of(fraction, draw=0):
        return {i["patient_id"] for i in label_fraction(whole, fraction, draw).splits["training"]}

    assert of(0.01) < of(0.1) < of(0.5) < of(1.0)
    assert [len(of(f)) for f in (0.001, 0.01, 0.1, 1.0)] == [1, 10, 100, 1000]
    assert of(0.1) != of(0.1, draw=1)


def test_manifest_is_stored_and_tells_a_change(tmp_path):
    parts = replace(split_datalist(made(30)), root=tmp_path)
    for item in parts.splits["training"][:1]:
        (tmp_path / item["image"]).touch()
    digest = save_split(parts, tmp_path / "s.json", {"seed": 0})
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["manifest"] == {"sha256": digest, "recipe": {"seed": 0}}
    assert manifest_hash(content) == digest
    assert load_datalist(tmp_path / "s.json").extra["manifest"]["sha256"] == digest
    content["test"].append(content["training"].pop())
    assert manifest_hash(content) != digest


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_wrong_fractions_are_refused(fractions):
    with pytest.raises(ConfigurationError, match="sum is 1"):
        split_datalist(made(10), fractions)
