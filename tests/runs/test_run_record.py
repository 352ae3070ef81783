# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run says of itself, and the list of a bundle's runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.files import write_json
from monai_cxrssl.runs import finish_run, list_runs, start_run
from monai_cxrssl.runs.run_record import command_line, read_record

CONFIG = {
    "max_epochs": "$@recipes[@recipe]['max_epochs']",
    "seed": 0,
    "balanced": False,
    "recipes": {"full": {"max_epochs": 200, "batch_size": 64}, "short": {"max_epochs": 20, "batch_size": 16}},
}


@pytest.fixture
def command(tmp_path, monkeypatch):
    """``command("--seed", "7")``: this process is as if started by ``monai.bundle run`` with these words."""
    write_json(CONFIG, tmp_path / "train.json")

    def started(*words: object) -> None:
        words = ("bundle", "run", "--config_file", tmp_path / "train.json", *words)
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])

    return started


def test_a_record_from_start_to_end(tmp_path, command):
    command("--dataset_dir", "films", "--seed", 7, "--balanced=True", "--max_epochs", 20, "--batch_size", 8)
    folder = tmp_path / "runs" / "20250101_000000_x"
    start_run(folder, "train", "hospital", "short")
    record = read_record(folder)
    assert (record["status"], record["kind"], record["data"], record["recipe"]) == (
        "running", "train", "hospital", "short",
    )  # fmt: skip
    assert record["config"] == [str(tmp_path / "train.json")]
    assert record["options"]["dataset_dir"] == "films"
    assert record["changed"] == {"seed": 7, "balanced": True, "batch_size": 8}
    write_json({"macro_auc": 0.875, "dice": None, "loss_last_epoch": 0.5, "seconds": 61.0}, folder / "metrics.json")
    finish_run(folder)
    record = read_record(folder)
    assert record["status"] == "complete"
    assert record["metrics"] == {"macro_auc": 0.875, "loss_last_epoch": 0.5}
    assert 0 <= record["seconds"] < 60
    assert record["started"] <= record["finished"]


def test_a_training_that_goes_on_keeps_its_beginning(tmp_path, command):
    command()
    start_run(tmp_path / "a", "train", "hospital", "short")
    begun = read_record(tmp_path / "a")["started"]
    start_run(tmp_path / "a", "train", "hospital", "short")
    write_json({"seconds": 3600.0}, tmp_path / "a" / "metrics.json")
    finish_run(tmp_path / "a")
    record = read_record(tmp_path / "a")
    assert record["started"] == begun
    assert len(record["resumed"]) == 1
    assert record["seconds"] == 3600.0
    start_run(tmp_path / "a", "train")
    assert "resumed" not in read_record(tmp_path / "a"), "complete before, so this is another run"


def test_recipes_in_a_file_of_their_own(tmp_path, monkeypatch):
    write_json({"batch_size": None}, tmp_path / "train.json")
    write_json(CONFIG["recipes"], tmp_path / "recipes.json")
    words = ["bundle", "run", "--config_file", str(tmp_path / "train.json"), "--batch_size", "16", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", words)
    start_run(tmp_path / "a", "train", recipe="short")
    assert read_record(tmp_path / "a")["changed"] == {"seed": 1}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pytest", "-q"], ([], {})),
        (["bundle", "run", "--config_file", "['a.json','b.yaml']"], (["a.json", "b.yaml"], {})),
        (["x", "run", "--strict", "--config_file=a.json", "--train#trainer#max_epochs", "2"],
         (["a.json"], {"train#trainer#max_epochs": 2})),
        (["bundle", "run", "training", "--config_file", "a.json"], (["a.json"], {})),
    ],
)  # fmt: skip
def test_words_of_a_command(words, expected):
    assert command_line(words) == expected


@pytest.fixture
def bundle(tmp_path, command) -> Path:
    """A bundle with a complete training, an interrupted one, an evaluation, an inference and the phantom."""
    runs = tmp_path / "bundle" / "runs"
    command("--seed", 7)
    start_run(runs / "1_x", "train", "hospital", "full")
    write_json({"probe_after": 0.91, "loss_last_epoch": 0.25}, runs / "1_x" / "metrics.json")
    finish_run(runs / "1_x")
    command()
    write_json({"kind": "train", "status": "running", "started": "2000-01-01"}, runs / "2_x" / "run.json")
    start_run(runs / "3_x_evaluate", "evaluate", "hospital")
    write_json({"linear": {"macro_auc": 0.75}}, runs / "3_x_evaluate" / "probe.json")
    finish_run(runs / "3_x_evaluate")
    start_run(runs / "4_x_inference", "inference", "hospital")
    (runs / "4_x_inference" / "predictions.csv").write_text('image\n"two\nlines"\nother\n')
    finish_run(runs / "4_x_inference")
    (runs / "phantom_24x96").mkdir()
    return runs.parent


def test_runs_are_listed(bundle, capsys):
    assert main(["runs", str(bundle)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "kind", "status", "data", "recipe", "options", "metrics", "time"]
    assert [line.split()[0] for line in lines[1:]] == ["2_x", "1_x", "3_x_evaluate", "4_x_inference"]
    assert "incomplete" in lines[1]
    for text in ("complete", "hospital", "full", "seed 7", "probe_after 0.91, loss_last_epoch 0.25"):
        assert text in lines[2]
    assert "macro_auc 0.75" in lines[3]
    assert "images 2" in lines[4]
    # Columns are aligned: every cell begins where its heading does.
    column = lines[0].index("metrics")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines[1:])


def test_runs_as_json(bundle, capsys):
    assert main(["runs", str(bundle), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert records == list_runs(bundle)
    assert [record["status"] for record in records] == ["incomplete", "complete", "complete", "complete"]
    assert records[1]["changed"] == {"seed": 7}
    assert main(["runs", str(bundle / "runs" / "1_x"), "--json"]) == 0
    assert [Path(record["folder"]).name for record in json.loads(capsys.readouterr().out)] == ["1_x"]


def test_without_runs(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 0
    assert "There are no runs in" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "none")]) == 2
    assert "There is no folder" in capsys.readouterr().err
