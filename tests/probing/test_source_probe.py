# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.probing import one_hot_labels, predict_source, probe


def data(sources: int = 3, patients: int = 30, signal: float = 1.0, seed: int = 0):
    random = np.random.default_rng(seed)
    ids = np.repeat([f"p{number}" for number in range(patients)], 3)
    number = np.repeat(np.arange(patients) % sources, 3)
    embeddings = random.normal(size=(len(ids), 10))
    embeddings[np.arange(len(ids)), number] += signal
    return embeddings.astype(np.float32), [f"site {k}" for k in number], ids.tolist()


@pytest.mark.parametrize("sources", [2, 3])
def test_equals_the_probe(sources):
    embeddings, source, patient = data(sources)
    found = predict_source(embeddings, source, patient, seed=3, resamples=100)
    names = [f"site {k}" for k in range(sources)]
    labels = one_hot_labels([names.index(name) for name in source], sources)
    expected = probe(embeddings, labels, patient, names, seed=3)
    assert found.macro_auc is not None
    assert found.macro_auc.value == pytest.approx(expected["macro_auc"], abs=1e-9)
    assert {f"auc_{name}": area.value for name, area in found.auc.items()} == pytest.approx(
        {name: area for name, area in expected.items() if name != "macro_auc"}, abs=1e-9
    )
    assert found.macro_auc.ci_low < found.macro_auc.value < found.macro_auc.ci_high
    assert found.images == {name: source.count(name) for name in names}


@pytest.mark.parametrize(("signal", "words"), [(4.0, "The source can be read off"), (0.0, "cannot be read off")])
def test_says_what_it_found(signal, words):
    found = predict_source(*data(2, signal=signal), resamples=200)
    assert words in found.text
    assert "site 0 (45), site 1 (45)" in found.text
    assert (found.macro_auc.value > 0.95) is bool(signal)


def test_patients_are_not_shared_by_folds():
    """Features that name the patient but not the source give nothing away."""
    random = np.random.default_rng(0)
    embeddings = np.repeat(random.normal(size=(40, 64)), 4, axis=0) + random.normal(scale=0.01, size=(160, 64))
    source = np.repeat(random.permutation(np.arange(40) % 2), 4).astype(str)
    found = predict_source(embeddings, source, np.repeat(np.arange(40), 4).astype(str), resamples=50)
    assert found.macro_auc.value < 0.75


def test_small_and_unknown_sources_are_left_out():
    embeddings, source, patient = data(2)
    expected = predict_source(embeddings, source, patient, resamples=50)
    extended = predict_source(
        np.concatenate([embeddings, np.full((4, 10), np.nan, np.float32)]),
        [*source, None, "", "rare", "rare"],
        [*patient, "x", "y", "z", "z"],
        resamples=50,
    )
    assert extended.macro_auc == expected.macro_auc
    assert extended.auc == expected.auc
    assert extended.left_out == {"rare": 1}
    assert "rare (1)" in extended.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": ["here"] * 90}, "of one source, 'here'"),
        ({"source": [None] * 90}, "no image has a known source"),
        ({"source": ["here"] * 87 + ["there"] * 3}, r"1 of 2 have as many; too few have there \(1\)"),
        ({"embeddings": np.full((90, 10), np.nan)}, "90 of 90 images are not finite"),
        ({"patient": ["only"] * 90}, "too few have"),
    ],
)
def test_not_assessable(change, words):
    given = dict(zip(("embeddings", "source", "patient"), data(2), strict=True)) | change
    found = predict_source(**given)
    assert found.macro_auc is None
    assert not found.auc
    assert found.text.startswith("Not assessable")
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(found.text)


def test_lengths_that_differ():
    embeddings, source, patient = data(2)
    with pytest.raises(DatalistError, match="89 sources"):
        predict_source(embeddings, source[1:], patient)
