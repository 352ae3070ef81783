# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A run's model takes the bundle's place without destroying what stood there."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from monai_cxrssl.data import refuse_leak
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.files import new_folder, write_json
from monai_cxrssl.handlers.run_model import RunModel, place_model, read_run

ITEMS = [{"image": "1.png", "patient_id": "p1"}]


def finish(bundle: Path, name: str, value: float, recipe="full", source="hospital", place=None, **options) -> RunModel:
    """Let a run end whose weights are all ``value``."""
    model = RunModel(bundle / "runs" / name, place or bundle / "models" / "model.pt", recipe, source, **options)
    model.announce()
    network = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(network.weight, value)
    model.write(network, {"encoder_name": "resnet18"}, [{**item, "patient_id": f"p{value}"} for item in ITEMS])
    write_json({"macro_auc": value, "epochs": 3}, model.metrics_path)
    model.place()
    return model


def weight(path: Path) -> float:
    return torch.load(path, weights_only=True)["weight"].item()


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "previous").iterdir()) if (folder / "previous").exists() else []


def test_a_second_run_keeps_the_model_of_the_first(tmp_path, caplog):
    models = tmp_path / "models"
    first = finish(tmp_path, "first", 0.25)
    assert kept(models) == []
    with caplog.at_level(logging.INFO):
        second = finish(tmp_path, "second", 0.5)
    assert weight(models / "model.pt") == weight(second.own_path) == 0.5
    assert weight(first.own_path) == 0.25
    assert read_run(models / "model.pt")["folder"].resolve() == second.folder
    assert json.loads((models / "model.metrics.json").read_text())["macro_auc"] == 0.5
    [previous] = kept(models)
    assert {path.name for path in previous.iterdir()} == {
        "model.pt", "model.json", "model.patients.json", "metrics.json",
    }  # fmt: skip
    assert weight(previous / "model.pt") == 0.25
    assert json.loads((previous / "metrics.json").read_text())["macro_auc"] == 0.25
    lines = [record.getMessage() for record in caplog.records if str(previous) in record.getMessage()]
    assert len(lines) == 1
    assert "(a model of the full recipe on hospital, macro_auc 0.25)" in lines[0]
    for path, patient in ((models / "model.pt", "p0.5"), (previous / "model.pt", "p0.25")):
        with pytest.raises(DatalistError, match="1 of the 1 patients"):
            refuse_leak([{"image": "2.png", "patient_id": patient, "source": "hospital"}], path)
    finish(tmp_path, "third", 0.75)
    assert [weight(folder / "model.pt") for folder in kept(models)] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("recipe", "source", "words"),
    [
        ("full", "phantom", "a model of the full recipe on phantom"),
        ("short", "hospital", "a model of the short recipe on hospital"),
        ("full", "hospital", "a model of the full recipe on hospital"),
        (None, None, "a model of which nobody knows how it was trained"),
    ],
)
def test_a_phantoms_model_replaces_none_of_real_films(tmp_path, recipe, source, words, caplog):
    models = tmp_path / "models"
    finish(tmp_path, "real", 0.25, recipe, source)
    caplog.clear()
    run = finish(tmp_path, "phantom", 0.5, "short", "phantom")
    assert weight(models / "model.pt") == 0.25
    assert weight(run.own_path) == 0.5
    assert kept(models) == []
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2
    assert all(f"{models / 'model.pt'} is {words}, which a phantom's does not replace" in line for line in said)
    assert "will stay in its own folder" in said[0]
    finish(tmp_path, "again", 0.75, "short", "phantom", replace=True)
    assert weight(models / "model.pt") == 0.75
    assert [weight(folder / "model.pt") for folder in kept(models)] == [0.25]


def test_weights_without_a_description_are_nobodys_phantom(tmp_path):
    place = tmp_path / "models" / "model.pt"
    place.parent.mkdir()
    torch.save({"weight": torch.tensor([[9.0]])}, place)
    run = finish(tmp_path, "phantom", 0.5, "short", "phantom")
    assert (weight(place), weight(run.own_path)) == (9.0, 0.5)
    finish(tmp_path, "real", 0.75)
    [previous] = kept(place.parent)
    assert [path.name for path in previous.iterdir()] == ["model.pt"]


def test_real_films_replace_a_phantom_and_a_phantom_another(tmp_path):
    for number, (recipe, source) in enumerate([("short", "phantom"), ("short", "phantom"), ("full", "hospital")], 1):
        finish(tmp_path, str(number), number, recipe, source)
        assert weight(tmp_path / "models" / "model.pt") == number


def test_a_place_in_the_runs_own_folder(tmp_path):
    own = tmp_path / "runs" / "same" / "model.pt"
    finish(tmp_path, "same", 0.25, place=own)
    finish(tmp_path, "same", 0.5, place=own)
    assert weight(own) == 0.5
    assert read_run(own)["folder"].resolve() == own.parent
    [previous] = kept(own.parent)
    assert weight(previous / "model.pt") == 0.25
    assert json.loads((previous / "metrics.json").read_text())["macro_auc"] == 0.25
    with pytest.raises(ConfigurationError, match="give another --output_dir, or --replace True"):
        RunModel(own.parent, own, "short", "phantom").announce()
    RunModel(own.parent, own, "short", "phantom", replace=True).announce()


def test_a_run_that_writes_after_every_round_keeps_what_stood_before_it_only(tmp_path):
    models = tmp_path / "models"
    finish(tmp_path, "before", 0.25)
    run = finish(tmp_path, "rounds", 0.5)
    for _ in range(3):
        run.write(torch.nn.Linear(1, 1), {}, ITEMS)
        run.place()
    assert [weight(folder / "model.pt") for folder in kept(models)] == [0.25]
    assert kept(run.folder) == []


def test_a_run_elsewhere_is_named_by_its_whole_path(tmp_path):
    run = finish(tmp_path / "elsewhere", "one", 0.5, place=tmp_path / "bundle" / "models" / "model.pt")
    folder = json.loads((tmp_path / "bundle" / "models" / "model.json").read_text())["run"]["folder"]
    assert folder == run.folder.as_posix()
    (tmp_path / "elsewhere" / "runs").rename(tmp_path / "gone")
    assert not read_run(tmp_path / "bundle" / "models" / "model.pt")["folder"].exists()


def test_a_disk_that_fails_leaves_the_old_model_whole(tmp_path, monkeypatch):
    models = tmp_path / "models"
    finish(tmp_path, "first", 0.25)
    before = {path.name: path.read_bytes() for path in models.iterdir()}
    second = RunModel(tmp_path / "runs" / "second", models / "model.pt", "full", "hospital")
    second.write(torch.nn.Linear(1, 1), {"encoder_name": "x"}, ITEMS)
    write_json({}, second.metrics_path)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("monai_cxrssl.handlers.run_model.write_json", full)
    with pytest.raises(OSError, match="No space"):
        place_model(second.own_path, models / "model.pt")
    assert {path.name: path.read_bytes() for path in models.iterdir() if path.is_file()} == before


def test_folders_of_one_second_have_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260131_154500")
    names = [new_folder(tmp_path / "runs", name).name for name in ("", "micle", "micle", "")]
    assert names == ["20260131_154500", "20260131_154500_micle", "20260131_154500_micle_2", "20260131_154500_2"]
