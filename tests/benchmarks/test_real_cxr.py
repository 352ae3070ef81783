# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of record: who may see whom, its statistics, its tables, and that a seed gives the same figures again."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.benchmarks.real_sources import make_sources

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
# The scripts are no package; they import each other from their own folder.
sys.path.insert(0, str(SCRIPTS))
try:
    import draw_intervals
    import page_marks
    import real_cells
    import real_cxr
    import real_figures
    import real_plot
    import real_table
    import real_tasks
finally:
    sys.path.remove(str(SCRIPTS))

RUNS = ("random resnet18", "rotation")
LEAST = {
    "image_size": 32, "batch_size": 16, "epochs": 1, "draws": 2, "full_draws": 1,
    "steps": 2, "full_steps": 2, "mask_steps": 2,
}  # fmt: skip
SMALL = [word for name, value in LEAST.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    make_sources(folder)
    return folder


@pytest.fixture(scope="module")
def tasks(sources: Path) -> Any:
    return real_tasks.make_tasks(sources, seed=1)


@pytest.fixture
def threads() -> Iterator[None]:
    """A run computes with one thread and deterministic algorithms; the tests after it as before."""
    of_torch, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    strict = torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(of_torch)
    cv2.setNumThreads(of_opencv)
    torch.use_deterministic_algorithms(strict)


def refuse_seen_test_patients(tasks: Any) -> None:
    """No patient stands on two sides of a source, whatever the task."""
    learnt: set[tuple[str, str]] = {(item["source"], item["patient_id"]) for item in tasks.corpus}
    scored: set[tuple[str, str]] = set()
    for task in tasks.labelled.values():
        learnt |= {(item["source"], item["patient_id"]) for item in task.data.items("training")}
        scored |= {(item["source"], item["patient_id"]) for item in task.data.items("test")}
        assert not task.data.items("validation")
    learnt |= {(item["source"], item["patient_id"]) for item in tasks.lungs.training}
    scored |= {(item["source"], item["patient_id"]) for item in tasks.lungs.test}
    assert len(scored) > 20
    assert not learnt & scored
    assert all(set(item) == {"image", "patient_id", "source"} for item in tasks.corpus)


def test_no_test_patient_is_learnt_from(tasks: Any) -> None:
    refuse_seen_test_patients(tasks)
    assert {len(task.data.classes) for task in tasks.labelled.values()} == {2, 3}
    images = {item["image"] for item in tasks.labelled["covid"].data.all_items()}
    assert not any(image.endswith("c5.png") for image in images)  # a lateral film


def test_real_sources_are_divided_by_patient(shared_data: Path) -> None:
    tasks = real_tasks.make_tasks(shared_data, seed=1)
    refuse_seen_test_patients(tasks)
    assert len(tasks.lungs.training) >= max(real_cells.MASKS)
    assert [len(task.data.classes) for task in tasks.labelled.values()] == [3, 2, 2]


def test_fewer_labels_are_a_part_of_more(tasks: Any) -> None:
    for task in tasks.labelled.values():
        few, many = ({item["image"] for item in task.kept(fraction, 1)} for fraction in (0.1, 1.0))
        assert few < many
        for draw in task.draws(0.3, 3):
            assert {item["label"] for item in task.kept(0.3, draw)} == set(range(len(task.data.classes)))
    five, ten = ([item["image"] for item in tasks.lungs.kept(count, 0)] for count in (5, 10))
    assert ten[:5] == five
    assert five != [item["image"] for item in tasks.lungs.kept(5, 1)]


def test_masks_are_of_different_patients_first() -> None:
    films = [{"image": f"{number}.png", "patient_id": str(number % 4)} for number in range(12)]
    task = real_tasks.MaskTask("lungs", films, [])
    kept = [item["patient_id"] for item in task.kept(12, 0)]
    assert [sorted(kept[start : start + 4]) for start in (0, 4, 8)] == [["0", "1", "2", "3"]] * 3


def test_no_figure_is_made_of_one_class(tasks: Any) -> None:
    # 1 % of some twenty patients is one of them, who has one class.
    assert tasks.labelled["kermany"].draws(0.01, 3) == []
    cells = real_cells.cells_of(tasks, 2, 1)
    assert not [cell for cell in cells if cell.amount == 0.01]
    assert not [cell for cell in cells if cell.amount == 50]
    assert len({cell.file for cell in cells}) == len(cells)


def test_weighted_auc_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 3, 60), generator.integers(0, 9, (60, 3)) / 9.0
    weights = generator.integers(0, 4, (5, 60)).astype(float)
    found = draw_intervals.auc_of_draw(scores, labels)(weights)
    for row, value in zip(weights, found, strict=True):
        expected = [roc_auc_score(labels == number, scores[:, number], sample_weight=row) for number in range(3)]
        assert value == pytest.approx(np.mean(expected), abs=1e-12)


def test_intervals_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(1)
    patients = np.array([f"p{number}" for number in generator.integers(0, 15, 40)])
    labels = generator.integers(0, 2, 40)
    models = generator.random((2, 3, 40, 2))
    own, other = ([draw_intervals.auc_of_draw(draw, labels) for draw in model] for model in models)
    found = draw_intervals.intervals(own, other, patients, labels, resamples=60)

    def auc(rows: np.ndarray, scores: np.ndarray) -> float:
        return float(np.mean([roc_auc_score(labels[rows] == c, scores[rows, c]) for c in (0, 1)]))

    draws = np.random.default_rng(0)
    groups = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    resampled = []
    while len(resampled) < 60:
        rows = np.concatenate([groups[index] for index in draws.integers(0, len(groups), len(groups))])
        if len(np.unique(labels[rows])) == 2:
            chosen = draws.integers(0, 3, 3)
            first, second = (np.mean([auc(rows, model[draw]) for draw in chosen]) for model in models)
            resampled.append((first, first - second))
    whole = [np.mean([auc(np.arange(40), draw) for draw in model]) for model in models]
    for name, value, column in (("value", whole[0], 0), ("difference", whole[0] - whole[1], 1)):
        ends = np.percentile(np.array(resampled)[:, column], [2.5, 97.5])
        np.testing.assert_allclose(found[name], [value, *ends], atol=1e-12)


def test_interval_of_a_mean_holds_it() -> None:
    """Against the standard error of a mean of independent patients."""
    values = np.random.default_rng(2).normal(0.8, 0.05, 400)
    parts = [draw_intervals.mean_of_draw(values)]
    value, low, high = draw_intervals.intervals(parts, parts, np.arange(400))["value"]
    assert value == pytest.approx(values.mean(), abs=1e-12)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_page_keeps_what_is_around_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- real_cxr -->\nold\n<!-- end of real_cxr -->\nafter\n")
    for _ in range(2):
        page_marks.into_page(page, "| new |\n", "real_cxr")
        assert page.read_text() == "before\n<!-- real_cxr -->\n| new |\n\n<!-- end of real_cxr -->\nafter\n"
    with pytest.raises(ValueError, match="<!-- measured -->"):
        page_marks.into_page(page, "text")


def test_columns_line_up() -> None:
    lines = real_table.aligned([["a", "bc"], ["→ d", "e"]]).splitlines()
    assert lines == ["| a   | bc  |", "| --- | --- |", "| → d | e   |"]


def test_unknown_rows_and_other_settings_are_refused(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--work", str(tmp_path), "--data", str(sources), "--report_only"]
    with pytest.raises(SystemExit):
        real_cxr.main([*words, "--only", "nothing"])
    assert "--only names nothing; the rows are random resnet18" in capsys.readouterr().err
    real_cxr.main([*words, "--epochs", "2"])
    text = " ".join((tmp_path / "real_cxr.md").read_text().split())
    assert "not run" in text
    reason = "1 % of the labels is 1 patient with at most 2 films, and in none of 200 draws a film of each class"
    assert text.count(f"Kermany, 3 classes, 1 %: no figure, since {reason}.") == 1
    with pytest.raises(SystemExit, match=r"epochs 2 \(now 3\)"):
        real_cxr.main([*words, "--epochs", "3"])


# Two pretrainings in processes of their own.
@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_same_seed_same_figures_also_after_a_stop(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    once, again = tmp_path / "once", tmp_path / "again"
    page = tmp_path / "page.md"
    page.write_text("<!-- measured -->\n<!-- end of measured -->\n")
    words = ["--data", str(sources), *SMALL, "--only", *RUNS]
    real_cxr.main(["--work", str(once), "--page", str(page), "--image", str(tmp_path / "images" / "plot.png"), *words])
    report = json.loads((once / "real_cxr.json").read_text())
    text = page.read_text()
    assert "no figure" in text
    assert "points" in text
    assert "rotation" in real_table.readme_text(report)
    assert (tmp_path / "images" / "plot.png").stat().st_size > 20_000
    cell = report["figures"]["rotation"]["kermany"]["fine-tuned 100 %"]
    assert cell["value"][1] <= cell["value"][0] <= cell["value"][2]
    assert cell["draws"] == 1
    assert report["figures"]["random resnet18"]["kermany"]["linear 100 %"]["difference"] == [0, 0, 0]
    assert report["figures"]["rotation"]["lungs"]["fine-tuned 10 masks"]["draws"] == 2
    assert 0 < report["attention"]["rotation"]["chance"] < 1
    assert report["cost"]["runs"]["rotation"]["pretraining_core_minutes"] > 0

    whole = real_cells.CellMaker.make
    made: list[str] = []

    def stopped(maker: Any, cell: Any, file: Path) -> None:
        if len(made) == 7:
            file.with_suffix(".partial").write_bytes(b"half a file")
            raise KeyboardInterrupt
        made.append(cell.file)
        whole(maker, cell, file)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(real_cells.CellMaker, "make", stopped)
        real_cxr.main(["--work", str(again), *words])
    check = ["--check", str(once / "real_cxr.json")]
    real_cxr.main(["--work", str(again), *check, *words])
    assert "The figures are those of" in capsys.readouterr().out
    other = copy.deepcopy(report)
    other["figures"]["rotation"]["covid"]["linear 100 %"]["value"][0] += 1e-9
    (once / "real_cxr.json").write_text(json.dumps(other))
    with pytest.raises(SystemExit, match="figures, rotation, covid, linear 100 %, value is"):
        real_cxr.main(["--work", str(again), "--report_only", *check, *words])
    assert real_figures.differing(report, report) is None
    real_plot.plot(report, tmp_path / "plot.png")
