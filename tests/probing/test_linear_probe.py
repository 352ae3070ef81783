# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.probing import embed, one_hot_labels, probe


def data(patients: int = 40, per_patient: int = 3, length: int = 12, signal: float = 1.0, seed: int = 0):
    random = np.random.default_rng(seed)
    ids = np.repeat([f"p{number}" for number in range(patients)], per_patient)
    label = np.repeat(np.arange(patients) % 3, per_patient)
    embeddings = random.normal(size=(len(ids), length))
    embeddings[np.arange(len(ids)), label] += signal
    return embeddings.astype(np.float32), label.tolist(), ids.tolist()


def test_equals_scikit_learn_fold_by_fold():
    embeddings, label, patients = data()
    labels = one_hot_labels(label, 3)
    result = probe(embeddings, labels, patients, ["a", "b", "c"], seed=4)
    for column, name in enumerate("abc"):
        target = np.array(label) == column
        scores = np.zeros(len(target))
        groups = np.unique(patients, return_inverse=True)[1]
        for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=4).split(embeddings, target, groups):
            scaler = StandardScaler().fit(embeddings[train])
            model = LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced")
            model.fit(scaler.transform(embeddings[train]), target[train])
            scores[test] = model.predict_proba(scaler.transform(embeddings[test]))[:, 1]
        assert result[f"auc_{name}"] == pytest.approx(roc_auc_score(target, scores), abs=1e-9)
    assert result["macro_auc"] == pytest.approx(np.mean([result[f"auc_{name}"] for name in "abc"]))


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_tells_signal_from_noise(kind):
    embeddings, label, patients = data(signal=4)
    assert probe(embeddings, one_hot_labels(label, 3), patients, list("abc"), kind)["macro_auc"] > 0.95
    embeddings, label, patients = data(signal=0)
    assert 0.3 < probe(embeddings, one_hot_labels(label, 3), patients, list("abc"), kind)["macro_auc"] < 0.7


def test_a_patient_that_can_be_recognised_gives_nothing_away():
    """Embeddings that name the patient but not the label score near chance only if no patient is in two folds."""
    random = np.random.default_rng(0)
    of_patient = random.normal(size=(40, 64))
    label = random.integers(0, 2, 40)
    embeddings = np.repeat(of_patient, 4, axis=0) + random.normal(scale=0.01, size=(160, 64))
    patients = np.repeat([f"p{number}" for number in range(40)], 4).tolist()
    labels = one_hot_labels(np.repeat(label, 4).tolist(), 2)
    assert probe(embeddings, labels, patients, ["no", "yes"], "knn")["macro_auc"] < 0.75


def test_unknown_labels_do_not_count():
    embeddings, label, patients = data()
    known = one_hot_labels(label, 3)
    extended = probe(
        np.concatenate([embeddings, np.full((5, 12), 1e6, np.float32)]),
        np.concatenate([known, np.full((5, 3), np.nan)]),
        [*patients, *["x"] * 5],
        list("abc"),
    )
    assert extended == probe(embeddings, known, patients, list("abc"))


def test_class_with_few_patients_is_left_out(caplog):
    embeddings, label, patients = data()
    label[0] = 3
    with caplog.at_level("INFO"):
        result = probe(embeddings, one_hot_labels(label, 4), patients, list("abcd"))
    assert set(result) == {"macro_auc", "auc_a", "auc_b", "auc_c"}
    assert "d (1)" in caplog.text


def test_nothing_to_probe():
    embeddings, label, patients = data(patients=3)
    with pytest.raises(DatalistError, match="nothing can be probed"):
        probe(embeddings, one_hot_labels(label, 3), patients, list("abc"))
    with pytest.raises(ConfigurationError, match="'linear' or 'knn'"):
        embeddings, label, patients = data()
        probe(embeddings, one_hot_labels(label, 3), patients, list("abc"), kind="svm")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 2, None], [[1, 0, 0], [0, 0, 1], [np.nan] * 3]),
        ([[1, None, 0], [0, 1, float("nan")]], [[1, np.nan, 0], [0, 1, np.nan]]),
        ([float("nan")], [[np.nan] * 3]),
    ],
)
def test_one_hot_labels(labels, expected):
    np.testing.assert_array_equal(one_hot_labels(labels, 3), np.array(expected, float))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_embed_keeps_order_and_mode(dtype):
    images = torch.arange(7).view(7, 1, 1, 1).expand(7, 1, 8, 8)
    images = images.to(dtype) if dtype is torch.uint8 else images / 255
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Dropout(0.9)).train()
    result = embed(network, [{"image": image} for image in images], "cpu", batch_size=3, amp=False)
    np.testing.assert_allclose(result[:, 0], np.arange(7) / 255, rtol=1e-6)
    assert network.training
