# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of starts against scikit-learn and a bootstrap written out, and the verdicts on them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monai_cxrssl.curricula import Start, compare_starts, comparison_table
from monai_cxrssl.curricula.claims import verdict
from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.report.plots.starts import draw_starts

#: AUC and attention rise from start to start; the second single task is best on validation.
SKILL = {"scratch": 0.0, "ImageNet": 0.6, "moco": 0.3, "rotation": 0.8, "rotation > moco": 1.6, "moco > rotation": 1.2}
STARTS = [
    Start("scratch", "scratch"), Start("ImageNet", "given"), Start("moco", "single task"),
    Start("rotation", "single task"), Start("rotation > moco", "curriculum"), Start("moco > rotation", "curriculum"),
]  # fmt: skip


def table(start: str, fraction: float, lungs: bool = True, films: int = 240) -> Predictions:
    """Two images per patient, the first third of them validation; most of the noise is the same for every start."""
    noise = np.random.default_rng(5)
    labels = noise.integers(0, 2, films // 2).repeat(2)
    score = 1 / (1 + np.exp(-(SKILL[start] + fraction) * (labels - 0.5) - noise.normal(size=films)))
    area = noise.uniform(0.2, 0.4, films)
    own = 0.03 * np.random.default_rng(list(SKILL).index(start)).normal(size=films // 2).repeat(2)
    pfs = np.clip(area + 0.05 * SKILL[start] - 0.02 + 0.1 * noise.normal(size=films) + own, 0, 1)
    items = [
        {"image": f"{n}.png", "patient_id": f"p{n // 2}", "split": "validation" if n < films // 3 else "test"}
        for n in range(films)
    ]
    measures = {"pfs": pfs, "lung_area": area, "pointing": (pfs > 0.3) * 1.0, "saliency_iou": pfs / 2}
    scores = np.stack([1 - score, score], axis=1)
    return Predictions(["no", "yes"], "multi_class", items, scores, labels, measures if lungs else {})


@pytest.fixture(scope="module")
def report():
    tables = {(start.name, fraction, 0): table(start.name, fraction) for start in STARTS for fraction in (0.1, 1.0)}
    return compare_starts(tables, STARTS, [0.1, 1.0], 1)


def row_of(report, start, fraction=0.1):
    return next(row for row in report["rows"] if (row["start"], row["fraction"]) == (start, fraction))


def test_figures_are_those_of_the_test_films_and_validation_chooses(report):
    for start in SKILL:
        own, films = row_of(report, start), table(start, 0.1)
        assert own["macro_auc"]["value"] == pytest.approx(roc_auc_score(films.labels[80:], films.scores[80:, 1]))
        assert own["validation_auc"] == pytest.approx(roc_auc_score(films.labels[:80], films.scores[:80, 1]))
        excess = films.measures["pfs"][80:] - films.measures["lung_area"][80:]
        assert own["lung_attention_excess"]["value"] == pytest.approx(excess.mean())
    assert report["chosen"][0] == {"fraction": 0.1, "best_single": "rotation", "best_curriculum": "rotation > moco"}
    assert report["test"] == {"images": 160, "patients": 80}


def test_paired_attention_has_the_interval_of_a_bootstrap_over_patients(report):
    """Written out: patients drawn with replacement, both models on the same draw."""
    one, other = (table(name, 0.1).measures["pfs"][80:].reshape(80, 2) for name in ("rotation > moco", "rotation"))
    drawn = np.random.default_rng(99).integers(0, 80, (4000, 80))
    means = [one[each].mean() - other[each].mean() for each in drawn]
    difference = row_of(report, "rotation > moco")["minus"]["best single"]["lung_attention_excess"]
    assert difference["value"] == pytest.approx(one.mean() - other.mean())
    ends = np.quantile(means, [0.025, 0.975])
    assert [difference["ci_low"], difference["ci_high"]] == pytest.approx(ends, abs=0.1 * np.ptp(ends) + 1e-4)
    # Paired: apart, two means of such noise would differ by far more.
    assert np.ptp(ends) < np.ptp(np.quantile([one[each].mean() for each in drawn], [0.025, 0.975]))


def test_differences_are_from_scratch_the_best_single_and_what_was_given(report):
    assert row_of(report, "scratch")["minus"] == {}
    assert row_of(report, "rotation")["minus"].keys() == {"scratch", "ImageNet"}
    assert row_of(report, "moco")["minus"].keys() == {"scratch", "best single", "ImageNet"}
    own = row_of(report, "moco > rotation")
    for words, reference in (("scratch", "scratch"), ("best single", "rotation"), ("ImageNet", "ImageNet")):
        for metric in ("macro_auc", "pfs", "pointing"):
            expected = own[metric]["value"] - row_of(report, reference)[metric]["value"]
            assert own["minus"][words][metric]["value"] == pytest.approx(expected)


def test_one_sentence_per_claim(report):
    claims = [claim for claim in report["claims"] if claim["fraction"] == 0.1]
    assert [claim["verdict"] for claim in claims[:1]] == ["shown"]
    assert len(claims) == 3 + 1 + 3
    assert claims[0]["text"].startswith(
        "10 % of the labels: the best curriculum (rotation > moco) has a higher AUC than training from scratch: shown, +0."
    )
    assert "than the best single task (rotation)" in claims[1]["text"]
    assert "than chance" in claims[3]["text"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.2, "shown"), (-0.2, -0.01, "contradicted"), (0.0, 0.1, "not shown"), (None, None, "not assessable")],
)
def test_verdicts(low, high, expected):
    assert verdict({"value": 0.1, "ci_low": low, "ci_high": high}) == expected


def test_table_and_picture(report, tmp_path):
    text = comparison_table(report)
    lines = text.splitlines()
    assert lines[0] == "AUC, 10 % of the labels"
    assert lines[2].split("  ")[0] == "start"
    assert len({line.index("scratch") for line in lines if line.startswith("scratch ")}) == 1
    assert "rotation > moco *" in text
    assert "rotation *" in text
    heads = [line for line in lines if line.startswith("start ")]
    assert all("minus scratch" in head and "minus best single" in head and "minus ImageNet" in head for head in heads)
    assert "| rotation > moco * | curriculum |" in comparison_table(report, markdown=True)
    draw_starts(report, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").stat().st_size > 20_000


def test_without_lungs_attention_is_not_assessable(tmp_path):
    tables = {(start.name, 1.0, 0): table(start.name, 1.0, lungs=False) for start in STARTS}
    report = compare_starts(tables, STARTS, [1.0], 1)
    assert [claim["verdict"] for claim in report["claims"]][3:] == ["not assessable"] * 4
    assert report["claims"][0]["verdict"] == "shown"
    assert "no result" in comparison_table(report)
    draw_starts(report, tmp_path / "compare.png")


def test_attention_is_of_the_films_that_every_model_has_it_of():
    tables = {(start.name, 1.0, 0): table(start.name, 1.0) for start in STARTS}
    before = tables["moco", 1.0, 0].measures["pfs"][80:].copy()
    tables["rotation", 1.0, 0].measures["pfs"][100:140] = np.nan  # maps that are 0 everywhere
    report = compare_starts(tables, STARTS, [1.0], 1)
    assert row_of(report, "moco", 1.0)["pfs"]["value"] == pytest.approx(np.delete(before, range(20, 60)).mean())
    assert row_of(report, "moco", 1.0)["minus"]["best single"]["pfs"]["value"] is not None
    assert "Attention: the 120 test images, of 60 patients" in comparison_table(report)


def test_missing_runs_leave_the_others(tmp_path):
    tables = {(name, 1.0, 0): table(name, 1.0) for name in ("scratch", "rotation")}
    report = compare_starts(tables, STARTS, [1.0], 1)
    assert report["chosen"] == [{"fraction": 1.0, "best_single": "rotation", "best_curriculum": None}]
    assert {claim["verdict"] for claim in report["claims"]} == {"not assessable"}
    assert "no curriculum has a macro AUC on validation images" in report["claims"][0]["text"]
    assert "2 differences are shown" in comparison_table(report)
    assert row_of(report, "moco", 1.0)["macro_auc"]["value"] is None
