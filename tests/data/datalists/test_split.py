# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
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


UID = "1.2.840.99"


def of_studies(patients, study, **more):
    """Two images of each patient; ``study`` gives the study of a patient's number."""
    items = [
        {"image": f"{n}_{k}.png", "patient_id": patient, "study_id": study(n), **more}
        for n, patient in enumerate(patients)
        for k in range(2)
    ]
    return Datalist(name="set", splits={"training": items})


def torn_studies(*datalists):
    """Studies that lie in two splits of a datalist."""
    return [
        study
        for datalist in datalists
        for study in {item["study_id"] for item in datalist.splits["training"]}
        if any(item["study_id"] == study for split in ("validation", "test") for item in datalist.splits[split])
    ]


def test_patients_of_one_study_stay_together():
    merged = of_studies([f"p{n}" for n in range(400)], lambda n: f"{UID}.{n // 2}")
    parts = split_datalist(merged, (0.5, 0.2, 0.3))
    assert torn_studies(parts, *fold_datalists(merged, 4)) == []
    assert [len(parts.splits[name]) for name in SPLITS] == pytest.approx([400, 160, 240], abs=8)
    # Numbers of the patient's own studies, days, and a value that all images share join nobody.
    for study in (lambda n: "1", lambda n: f"2023-01-{n % 9 + 10}", lambda n: UID):
        separate = of_studies([f"p{n}" for n in range(400)], study)
        assert sides(split_datalist(separate)) == sides(split_datalist(of_studies([f"p{n}" for n in range(400)], str)))


def test_ids_of_two_writings_stay_together():
    ids = [writing for n in range(1, 101) for writing in (f"{n}", f"{n:06d}")]
    listed = of_studies(ids, lambda n: None)
    for parts in (split_datalist(listed, (0.5, 0.2, 0.3)), *fold_datalists(listed, 3)):
        where = sides(parts)
        assert all(where[f"{n}"] == where[f"{n:06d}"] for n in range(1, 101))


def test_a_second_id_follows_the_previous_split(caplog):
    first = of_studies([f"p{n}" for n in range(60)], lambda n: f"{UID}.{n}")
    parts = split_datalist(first)
    more = of_studies([f"q{n}" for n in range(60)], lambda n: f"{UID}.{n}").splits["training"]
    later = replace(
        first, splits={"training": [*first.splits["training"], *({**i, "image": "q" + i["image"]} for i in more)]}
    )
    where = sides(split_datalist(later, seed=5, previous=parts))
    assert {f"p{n}": where[f"p{n}"] for n in range(60)} == sides(parts)
    assert all(where[f"q{n}"] == where[f"p{n}"] for n in range(60))
    assert not caplog.text
    # Two ids that were apart before anyone knew stay apart, which is said.
    before = split_datalist(of_studies([*(f"p{n}" for n in range(60)), *(f"q{n}" for n in range(60))], lambda n: None))
    assert sides(split_datalist(later, previous=before)) == sides(before)
    assert "persons of several ids were in several splits of the previous division" in caplog.text


def test_a_second_id_of_an_official_test_patient_is_refused():
    listed = of_studies([f"p{n}" for n in range(60)], lambda n: f"{UID}.{n}")
    test = [{"image": "t.png", "patient_id": "t", "study_id": f"{UID}.7"}]
    for call in (split_datalist, fold_datalists):
        with pytest.raises(DatalistError, match="patient t is in test and also in training as p7, by a shared study"):
            call(replace(listed, splits={**listed.splits, "test": test}))


@pytest.mark.parametrize(
    ("patients", "known_by", "words"),
    [
        (["anon"] * 12, "dicom", "training would be empty, since all 24 images are of one patient.*patient_from=study"),
        (["anon"] * 12, "folder", "all 24 images are of one patient.*patient_from=study"),
        (["a"] * 3, "data set", "correct the patient_id of its items"),
        (["0012", "12", " 12"], "dicom", "of one patient"),
    ],
)
def test_all_images_of_one_patient(patients, known_by, words):
    listed = of_studies(patients, lambda n: None, patient_from=known_by)
    messages = []
    for seed in range(8):
        with pytest.raises(DatalistError) as error:
            split_datalist(listed, (0.3, 0.3, 0.4), seed)
        messages.append(str(error.value))
    assert any(re.search(words, message) for message in messages)
    with pytest.raises(ConfigurationError, match=r"the number of patients .1.; if they are of several"):
        fold_datalists(listed, 2)


def test_an_empty_split_that_was_asked_for_is_refused():
    listed = made(3)
    with pytest.raises(DatalistError, match=r"would be empty, since \d+% of 3 patients is too few"):
        split_datalist(listed, (0.98, 0.01, 0.01))
    # Zero is asked for, too.
    assert not split_datalist(listed, (1.0, 0.0, 0.0)).splits["test"]
    whole = Datalist(splits={"validation": made(5).splits["training"], "test": made(5, start=10).splits["training"]})
    with pytest.raises(DatalistError, match="training would be empty, since all images stay in validation and test"):
        split_datalist(whole)
    strata = [{"image": f"{n}.png", "patient_id": f"{n}", "view_position": v} for n, v in enumerate(("PA", "AP", "LL"))]
    with pytest.raises(DatalistError, match="fold [012] of 3 would be empty, since there are 3 patients"):
        for seed in range(20):
            fold_datalists(Datalist(splits={"training": strata}), 3, seed)
