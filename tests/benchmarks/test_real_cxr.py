# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of record: who may see whom, its figures, its budget, and that a seed gives the same figures again."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

from monai_cxrssl.metrics import Cohort, auc_intervals
from tests.benchmarks.real_sources import make_sources

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
# The scripts are no package; they import each other from their own folder.
sys.path.insert(0, str(SCRIPTS))
try:
    import real_cxr
    from record import budget, cells, claims, curves, described, figures, report, rows, schedule, stored, table, worth
    from record import tasks as record_tasks
finally:
    sys.path.remove(str(SCRIPTS))

LEAST = {
    "image_size": 32, "pretraining_batch": 32, "epochs_share": 0.01, "steps": 2, "mask_steps": 2, "batch": 8,
}  # fmt: skip
SMALL = [word for name, value in LEAST.items() for word in (f"--{name}", str(value))]
ROW = {row.name: row for row in rows.ROWS}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    make_sources(folder / "data", folder / "corpus")
    return folder


@pytest.fixture(scope="module")
def tasks(sources: Path) -> Any:
    return record_tasks.make_tasks(sources / "data", sources / "corpus", sources / "cache", 32, seed=1)


@pytest.fixture
def threads() -> Iterator[None]:
    """A run computes with one thread and deterministic algorithms; the tests after it as before."""
    of_torch, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    strict = torch.are_deterministic_algorithms_enabled()
    yield
    schedule.loaded.cache_clear()
    torch.set_num_threads(of_torch)
    cv2.setNumThreads(of_opencv)
    torch.use_deterministic_algorithms(strict)


def people(items: Any) -> set[str]:
    return {item["patient_id"] for item in items}


def refuse_seen_patients(found: Any) -> None:
    """No patient of validation or test is trained or pretrained on, whatever the task."""
    every = (*found.labelled.values(), *found.further.values(), *found.masked.values())
    held = set().union(*(people(task.data.items(split)) for task in every for split in ("validation", "test")))
    learnt = people(found.corpus).union(*(people(task.data.items("training")) for task in every))
    assert len(held) > 40
    assert not held & learnt
    for task in every:
        assert not people(task.data.items("validation")) & people(task.data.items("test"))
    assert all(set(item) == {"image", "patient_id", "source"} for item in found.corpus)


def test_no_scored_patient_is_learnt_from(tasks: Any) -> None:
    refuse_seen_patients(tasks)
    names = {Path(item["image"]).name for item in tasks.corpus}
    assert "covid-radiography0.png" not in names  # of ChestX-ray14, whose patients it does not tell
    # Images of scored patients under another name, one by its pixels and two by a table.
    scored = people(tasks.labelled["kermany"].data.items("test") + tasks.labelled["kermany"].data.items("validation"))
    assert ("copy.png" in names) != ("kermany/IM-0001" in scored)
    covid = {f"covid-chestxray/{number}" for number in (1, 2)} - people(tasks.corpus)
    assert {f"h{patient[-1]}.png" for patient in covid} == {"h1.png", "h2.png"} - names
    assert "h0.png" in names


def test_a_near_duplicate_keeps_a_patient_out(sources: Path, tasks: Any) -> None:
    from record.apart import seen_patients

    from monai_cxrssl.data import open_images

    copy_film = sources / "corpus" / "covid-radiography" / "images" / "copy.png"
    original = sources / "corpus" / "kermany-pediatric" / "images" / "IM-0001-0001.jpeg"
    other = sources / "corpus" / "kermany-pediatric" / "images" / "IM-0002-0001.jpeg"
    items = [
        {"image": str(path), "patient_id": name} for path, name in ((copy_film, "c"), (original, "k"), (other, "o"))
    ]
    images = open_images(items, 54, progress=False)
    assert seen_patients(images, [{"patient_id": "k"}]) == {"c"}
    assert seen_patients(images, [{"patient_id": "o"}]) == set()
    assert seen_patients(images, [{"patient_id": "o"}], [("x", "o"), ("y", "c")]) == {"x"}


@pytest.mark.slow
def test_real_sources_are_divided_by_patient(shared_data: Path, tmp_path: Path) -> None:
    corpus = shared_data.parent / "corpus"
    if not corpus.is_dir():
        pytest.skip("the corpus is not there")
    found = record_tasks.make_tasks(shared_data, corpus, tmp_path, 32, seed=1)
    refuse_seen_patients(found)
    assert [len(task.data.classes) for task in found.labelled.values()] == [3, 2]
    assert len(found.corpus) > 4500
    # All images with a finding have pneumonia among them, and few have another one than COVID-19.
    assert any("any finding is no task of its own: its images have the same labels" in note for note in found.notes)
    assert any("COVID-19 or other is no task of its own: with" in note for note in found.notes)


def test_fewer_labels_are_a_part_of_more(tasks: Any) -> None:
    task = tasks.labelled["kermany"]
    few, more, all_films = (task.kept(fraction, 1) for fraction in (0.2, 0.5, 1.0))
    images = [{item["image"] for item in part.items("training")} for part in (few, more, all_films)]
    assert images[0] < images[1] < images[2]
    assert {item["label"] for item in few.items("training")} == {0, 1, 2}
    assert few.items("test") == all_films.items("test")
    five, ten = (tasks.masked["lungs"].kept(count, 0) for count in (5, 10))
    assert [item["image"] for item in ten.items("training")][:5] == [item["image"] for item in five.items("training")]
    assert len(people(ten.items("training"))) == 10
    assert all("lung_mask" in item and "label" not in item for item in ten.items("test"))


def test_a_draw_without_a_class_is_replaced(tasks: Any) -> None:
    # 5 % of 84 patients are four or five: many draws lack a class.
    drawn = [tasks.labelled["kermany"].kept(0.05, draw).items("training") for draw in range(3)]
    assert all({item["label"] for item in items} == {0, 1, 2} for items in drawn)
    assert len({tuple(item["image"] for item in items) for items in drawn}) == 3
    with pytest.raises(ValueError, match="there are only 0"):
        tasks.labelled["kermany"].kept(0.01, 0)


def test_width_is_that_of_the_interval() -> None:
    """As Hanley and McNeil's formula has it, for images of patients of their own."""
    labels = np.repeat([0, 1], 100)
    area = 0.75
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + 99 * (q1 - area**2) + 99 * (q2 - area**2)) / 100**2
    # A macro AUC of two independent columns has half the variance of one.
    found = worth.expected_width(labels, np.arange(200), area, draws=30)
    assert found == pytest.approx(2 * 1.96 * math.sqrt(variance / 2), rel=0.15)


def test_a_cell_comes_back_as_it_was(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], (2, 300))
    gaze = np.array([0.25, np.nan, 1.0])
    stored.write_cell(tmp_path / "a" / "cell.json", 3.21, scores=scores, on_lungs=gaze, curve=[[0, 0.5]])
    found = stored.read_cell(tmp_path / "a" / "cell.json")
    assert found is not None
    assert found["core_seconds"] == 3.2
    assert found["curve"] == [[0, 0.5]]
    np.testing.assert_array_equal(found["on_lungs"], gaze)
    labels = np.arange(300) % 3
    for before, after in zip(scores, found["scores"], strict=True):
        np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
        assert roc_auc_score(labels == 1, after[:, 1]) == pytest.approx(
            roc_auc_score(labels == 1, before[:, 1]), abs=1e-4
        )
    assert stored.read_cell(tmp_path / "none.json") is None
    # Certainty has an end, and no rank is lost before it.
    stored.write_cell(tmp_path / "b.json", 0, scores=np.array([[[0.0, 1.0], [1e-9, 1 - 1e-9], [1e-6, 1 - 1e-6]]]))
    assert np.all(np.diff(stored.read_cell(tmp_path / "b.json")["scores"][0, :, 0]) > 0)


def made_up(work: Path, tasks: Any, shift: float) -> Any:
    """Cells of three seeds of SimCLR and of a random encoder, the one better by about a shift."""
    known = described.described(tasks)
    labels = np.array(known["labelled"]["kermany"]["labels"])
    films = len(known["masked"]["lungs"]["patient_numbers"])
    for row, better in ((ROW["SimCLR"], shift), (ROW["random resnet18"], 0.0)):
        for seed in range(3):
            generator = np.random.default_rng([seed, 5])  # the same noise for both
            odds = generator.normal(size=(2, len(labels), 3)) + (0.5 + better) * np.eye(3)[labels]
            scores = np.exp(odds) / np.exp(odds).sum(-1, keepdims=True)
            folder = work / "cells" / row.folder / str(seed)
            stored.write_cell(folder / "kermany_probe_0.1.json", 60, scores=scores)
            dice = 0.6 + 0.2 * better + 0.1 * generator.random(films)
            stored.write_cell(folder / "lungs_fine-tuned_10.json", 60, dice=dice)
    return figures.Results(work, known)


def test_figures_are_means_over_draws_and_seeds(tasks: Any, tmp_path: Path) -> None:
    results = made_up(tmp_path, tasks, 1.0)
    probe = cells.Cell("kermany", "probe", 0.1)
    task = results.tasks["labelled"]["kermany"]
    labels, patients = np.array(task["labels"]), np.array(task["patient_numbers"])

    def scores(name: str) -> list[np.ndarray]:
        return [results.cell(ROW[name], seed, probe)["scores"] for seed in range(3)]

    def area(draw: np.ndarray) -> float:
        return float(np.mean([roc_auc_score(labels == c, draw[:, c]) for c in range(3)]))

    means = {
        name: [np.mean([area(draw) for draw in seed]) for seed in scores(name)]
        for name in ("SimCLR", "random resnet18")
    }
    value = results.figure(ROW["SimCLR"], figures.What(probe))
    assert value.value == pytest.approx(np.mean(means["SimCLR"]), abs=1e-12)
    assert value.seeds == 3
    found = results.difference(ROW["SimCLR"], figures.What(probe), ROW["random resnet18"])
    assert found.value == pytest.approx(np.mean(np.subtract(*means.values())), abs=1e-12)
    assert 0 < found.low < found.value < found.high
    f1 = results.figure(ROW["SimCLR"], figures.What(probe, "f1"))
    expected = [f1_score(labels, draw.argmax(1), average="macro") for seed in scores("SimCLR") for draw in seed]
    assert f1.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert f1.low < f1.value < f1.high
    # One draw of one pretraining has the interval that the package gives.
    stored.write_cell(tmp_path / "cells" / ROW["BYOL"].folder / "0" / probe.file, 1,
                      scores=1 / (1 + np.exp(-scores("SimCLR")[0][:1])))  # fmt: skip
    one = results.figure(ROW["BYOL"], figures.What(probe))
    plain = auc_intervals(Cohort.of(results.cell(ROW["BYOL"], 0, probe)["scores"][0], labels, patients))["macro_auc"]
    np.testing.assert_allclose(one[:3], [plain.value, plain.ci_low, plain.ci_high], atol=1e-12)
    dice = results.difference(
        ROW["SimCLR"], figures.What(cells.Cell("lungs", "fine-tuned", 10), "dice"), ROW["random resnet18"]
    )
    assert dice.value == pytest.approx(0.2, abs=1e-4)
    assert results.figure(ROW["MICLe"], figures.What(probe)) is None


@pytest.mark.parametrize(("shift", "word"), [(1.5, "shown"), (0.0, "not shown"), (-1.5, "contradicted")])
def test_verdicts_follow_the_interval(tasks: Any, tmp_path: Path, shift: float, word: str) -> None:
    results = made_up(tmp_path, tasks, shift)
    claim = claims.Claim("a paper", "SimCLR", "random resnet18", figures.What(cells.Cell("kermany", "probe", 0.1)))
    assert claims._verdict(results, claim).word == word
    assert claims._verdict(results, claim._replace(margin=-1.0)).word == "shown"
    assert claims._verdict(results, claim._replace(margin=1.0)).word == "contradicted"
    assert claims._verdict(results, claim._replace(row="MICLe")).word == "not run"


def test_claims_are_of_rows_and_cells_that_there_are() -> None:
    made = {(unit.row.name, cell) for unit in rows.units_of() for _, cell in cells.cells_of(unit)}
    for claim in claims.CLAIMS:
        for name, what in ((claim.row, claim.what), (claim.other, claim.instead or claim.what)):
            assert not name or (name, what.cell) in made, claim
    seeds = {name: ROW[name].seeds for name in ("MICLe", "SimCLR", "SPCXR (SiT)", "rotation → jigsaw → MoCo v2")}
    assert seeds == {"MICLe": 5, "SimCLR": 5, "SPCXR (SiT)": 3, "rotation → jigsaw → MoCo v2": 3}
    assert ROW["MICLe"].epochs == ROW["SimCLR"].epochs


def test_flat_is_what_gains_no_more() -> None:
    steps = np.array([0, 50, 100, 200, 300, 400.0])
    losses = np.stack([np.arange(50, 401, 50), [1, 0.8, 0.6, 0.5, 0.45, 0.44, 0.436, 0.435]], axis=1)
    flat = curves.Curve(steps, {"a": np.array([0.5, 0.6, 0.7, 0.75, 0.8, 0.805])}, losses, None, None, 1.0, 1)
    assert flat.probe_gain == pytest.approx(0.005)
    assert flat.loss_fall == pytest.approx((0.45 + 0.44) / 2 / 1 * 0 + (0.44 - 0.435) / 0.44, abs=2e-2)
    assert flat.flat
    assert not flat._replace(areas={"a": np.array([0.5, 0.6, 0.7, 0.75, 0.8, 0.83])}).flat
    falling = np.stack([losses[:, 0], np.linspace(1, 0.3, 8)], axis=1)
    assert not flat._replace(losses=falling).flat


@pytest.mark.parametrize(("part", "expected"), [(0.128, 0.128), (5.0, None), (None, None)])
def test_a_trivial_answer_stands_beside_the_part_that_it_is_of(part: float | None, expected: float | None) -> None:
    class Stored:
        def cell(self, row: Any, seed: int, cell: Any) -> dict[str, Any]:
            return {"curve": [[0, 0.5], [-1, 0.8]], "tasks": ["kermany"]}

        def pretraining(self, row: Any, seed: int) -> dict[str, Any]:
            told = {} if part is None else {"reconstruction_loss": part}
            return {"steps": 40, "losses": [[20, 6.0], [40, 5.1]], "core_seconds": 60.0, "trivial_loss": 0.129, **told}

    curve = curves.curve_of(Stored(), dataclasses.replace(ROW["SPCXR (SiT)"], seeds=1))  # type: ignore[arg-type]
    assert curve is not None
    assert (curve.trivial, curve.reconstruction) == (0.129, expected)


def test_the_important_cells_come_first_and_what_is_left_is_known(tmp_path: Path) -> None:
    jobs = schedule.jobs_of(rows.units_of())
    assert len({(unit, cell) for unit, group in jobs for cell in group}) == sum(len(group) for _, group in jobs)
    names = [unit.row.name for unit, _ in jobs]
    assert names[0] == rows.PIXELS
    first = [unit for unit, _ in jobs[:12]]
    assert {unit.seed for unit in first} == {0}
    assert {"SimCLR", "MICLe", "SPCXR (SiT)"} <= set(names[:12])
    settings = {name: value for name, (value, _) in real_cxr.SETTINGS.items()}
    whole = budget.Budget(tmp_path, settings, 5000, jobs)
    assert 8 < whole.left() / 3600 < 16
    unit, group = jobs[0]
    for cell in group:
        stored.write_cell(tmp_path / "cells" / unit.folder / cell.file, 36)
    after = budget.Budget(tmp_path, settings, 5000, jobs)
    assert after.spent == 36 * len(group)
    assert after.sentence(2).startswith(f"{len(group)} of ")
    assert after.left() == pytest.approx(whole.left() - sum(whole.seconds(unit, cell) for cell in group), rel=1e-6)


def test_columns_line_up() -> None:
    lines = table.aligned([["a", "bc"], ["→ d", "e"]]).splitlines()
    assert lines == ["| a   | bc  |", "| --- | --- |", "| → d | e   |"]


def test_tables_and_plots_of_a_part_of_the_cells(tasks: Any, tmp_path: Path) -> None:
    results = made_up(tmp_path, tasks, 1.0)
    (tmp_path / "tasks.json").write_text(json.dumps(results.tasks))
    page, readme = tmp_path / "page.md", tmp_path / "readme.md"
    page.write_text("<!-- measured -->\n<!-- end of measured -->\n")
    readme.write_text("<!-- real_cxr -->\n<!-- end of real_cxr -->\n")
    real_cxr.main(["--work", str(tmp_path), "--report_only", "--page", str(page), "--readme", str(readme), *SMALL])
    text = page.read_text()
    assert text.count("Not run.") > 3
    assert "core-hours in all" in text
    assert str(tmp_path) not in text + (tmp_path / "tasks.json").read_text()
    assert "| random resnet18" in readme.read_text()
    assert "**0." in readme.read_text()
    for name in ("real_cxr.png", "real_cxr_curves.png"):
        assert (tmp_path / name).stat().st_size > 2000
    made = json.loads((tmp_path / "real_cxr.json").read_text())
    assert report.differing(made, made) is None
    other = copy.deepcopy(made)
    other["figures"]["SimCLR"]["kermany probe 10 %"]["value"][0] += 1e-5
    assert "figures, SimCLR, kermany probe 10 %, value is" in report.differing(made, other)
    with pytest.raises(SystemExit, match=r"steps 2 \(now 3\)"):
        real_cxr.main(["--work", str(tmp_path), "--report_only", *SMALL, "--steps", "3"])


def test_unknown_rows_and_empty_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        real_cxr.main(["--work", str(tmp_path), "--only", "nothing"])
    assert "--only names nothing; the rows are pixels 24 x 24" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"has no tasks.json, and with it no cell to report"):
        real_cxr.main(["--work", str(tmp_path), "--report_only"])


# Two pretrainings and a fine-tuning in processes of their own.
@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_same_seed_same_figures_also_without_the_weights(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = dataclasses.replace(ROW["rotation"], seeds=1)
    wanted = {"curve", "probe", "shift"}

    def few(unit: Any, further: Any = ()) -> list[tuple[int, Any]]:
        found = [pair for pair in cells.cells_of(unit, further) if pair[1].protocol in wanted]
        tuned = [] if unit.row.name == rows.PIXELS else [(1, cells.Cell("kermany", "fine-tuned", 1.0))]
        return [*found, *tuned]

    monkeypatch.setattr(schedule, "cells_of", few)
    monkeypatch.setattr(real_cxr, "units_of", lambda only: [rows.Unit(ROW[rows.PIXELS], 0), rows.Unit(one, 0)])
    work = tmp_path / "work"
    words = ["--data", str(sources / "data"), "--corpus", str(sources / "corpus"), "--work", str(work), *SMALL]
    real_cxr.main([*words, "--minutes", "0"])
    assert not list(work.glob("cells/*/*/*.json"))
    real_cxr.main(words)
    assert "left, about 0.0 hours with 1 process." in capsys.readouterr().out
    made = json.loads((work / "real_cxr.json").read_text())
    cell = made["figures"]["rotation"]["kermany fine-tuned 100 %"]["value"]
    assert cell[1] <= cell[0] <= cell[2]
    assert made["figures"]["rotation"]["kermany fine-tuned 100 % shift"]["value"] is not None
    assert made["attention"]["rotation"]["value"] is None  # it is of 10 % of the labels
    curve = made["curves"]["rotation"]
    assert len(curve["steps"]) >= 4
    assert curve["steps"][0] == 0
    assert not list(work.glob("pretraining/*/*/snapshots"))
    assert made["cost"]["rows"]["rotation"]["pretraining_core_minutes"] > 0
    # Another machine has the small files alone.
    shutil.rmtree(work / "pretraining")
    (work / "cells" / "rotation" / "0" / "kermany_probe_1.json").unlink()
    shutil.copy(work / "real_cxr.json", tmp_path / "before.json")
    real_cxr.main([*words, "--check", str(tmp_path / "before.json")])
    assert "The figures are those of" in capsys.readouterr().out
