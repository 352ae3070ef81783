# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of one bundle, as a person starts them without saying where: none destroys another's files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from monai_cxrssl.apps.pack.package import pack_bundle
from monai_cxrssl.report.evaluation_files import read_evaluation
from monai_cxrssl.runs import list_runs

SMALL = ("--encoder_name", "resnet18", "--image_size", 64, "--batch_size", 8, "--max_epochs", 1, "--num_workers", 0)


@pytest.fixture(scope="module")
def bundle(repo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("anywhere") / "other name"
    shutil.copytree(repo / "bundles" / "classification", folder, ignore=shutil.ignore_patterns("*.pt", "runs"))
    return folder


def kept(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_runs_leave_each_others_files(bundle, run_bundle, few_films):
    def run(config: str, *options: object) -> Path:
        before = {record["folder"] for record in list_runs(bundle)}
        result = run_bundle(f"configs/{config}.json", "--dataset_dir", few_films, *options, cwd=bundle)
        assert result.returncode == 0, result.stderr[-3000:]
        [folder] = {record["folder"] for record in list_runs(bundle)} - before
        return Path(folder)

    first = run("train", *SMALL, "--ignore_absent", "True", "--seed", 1)
    files = kept(first)
    assert {
        "run.json",
        "metrics.json",
        "curves.png",
        "log.txt",
        "model.pt",
        "model.json",
        "model.patients.json",
    } <= set(files)
    assert first.name.endswith("_other name")
    assert (bundle / "models" / "model.pt").read_bytes() == files["model.pt"]
    second = run("train", *SMALL, "--ignore_absent", "True", "--seed", 2, "--recipe", "short")
    assert kept(first) == files
    # The second is a phantom's by the short recipe, the first by the full one.
    assert (bundle / "models" / "model.pt").read_bytes() == files["model.pt"] != (second / "model.pt").read_bytes()
    third = run("train", *SMALL, "--ignore_absent", "True", "--seed", 2, "--recipe", "short", "--replace", "True")
    [previous] = (bundle / "models" / "previous").iterdir()
    assert (previous / "model.pt").read_bytes() == files["model.pt"]
    assert (previous / "metrics.json").read_bytes() == files["metrics.json"]
    states = [torch.load(path / "model.pt", weights_only=True) for path in (second, third)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

    evaluated = run("evaluate", "--max_checked", 4, "--resamples", 20)
    inferred = run("inference")
    assert kept(first) == files
    assert (inferred / "predictions.csv").is_file()
    assert evaluated.name.endswith("_other name_evaluate")
    # The curves are those of the training, which the model's description names.
    assert (evaluated / "report" / "figures" / "curves.png").read_bytes() == (third / "curves.png").read_bytes()

    records = list_runs(bundle)
    assert [record["kind"] for record in records] == ["train", "train", "train", "evaluate", "inference"]
    assert {record["status"] for record in records} == {"complete"}
    assert [record["recipe"] for record in records[:3]] == ["full", "short", "short"]
    assert [record["changed"]["seed"] for record in records[:3]] == [1, 2, 2]
    assert {record["data"] for record in records} == {"phantom"}
    assert all(record["seconds"] > 0 for record in records)

    packed = pack_bundle(bundle, "chest_xray_classification", bundle.parent / "dist")
    assert (packed.path / "report" / "index.html").is_file()
    assert not list(packed.path.rglob("runs"))
    assert "folder" not in json.loads((packed.path / "models" / "model.json").read_text())["run"]
    assert read_evaluation(evaluated).pictures.get("curves") is None


def test_a_training_that_failed_is_gone_on_with(bundle, run_bundle, few_films):
    options = ("--dataset_dir", few_films, *SMALL, "--ignore_absent", "True", "--recipe", "short", "--seed", 3)
    number = len(list_runs(bundle))
    # Its record was begun when the trainer could not be built; that of a killed run tells the same.
    failing = ("--train#handlers#0#_target_", "monai_cxrssl.nothing")
    assert run_bundle("configs/train.json", *options, *failing, cwd=bundle).returncode != 0
    records = list_runs(bundle)
    assert [record["status"] for record in records[number:]] == ["incomplete"]
    result = run_bundle("configs/train.json", *options, "--resume", "auto", cwd=bundle)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Going on with the newest incomplete training of this bundle" in result.stdout
    records = list_runs(bundle)
    assert [record["status"] for record in records[number:]] == ["complete"]
    assert len(records[-1]["resumed"]) == 1


@pytest.mark.parametrize(
    "place", [*(pytest.param(place, marks=pytest.mark.slow) for place in ("its own folder", "beside it")), "elsewhere"]
)
def test_a_bundle_is_where_its_config_is(repo, run_bundle, few_films, tmp_path, place):
    """Trained, evaluated and asked from any working folder, it touches nothing but its own folder."""
    bundle = tmp_path / "any where" / "a name"
    shutil.copytree(repo / "bundles" / "multitask", bundle, ignore=shutil.ignore_patterns("*.pt", "runs"))
    elsewhere = tmp_path / "work"
    (elsewhere / "bundles").mkdir(parents=True)
    shutil.copytree(repo / "bundles" / "multitask", elsewhere / "bundles" / "multitask")
    folders = {
        "its own folder": (bundle, Path("configs")),
        "beside it": (bundle.parent, Path("a name", "configs")),
        "elsewhere": (elsewhere, bundle / "configs"),
    }
    cwd, configs = folders[place]
    others = {path: kept(path) for path in (elsewhere, repo / "bundles" / "multitask" / "models")}
    for config, options in (
        ("train", (*SMALL, "--ignore_absent", "True")),
        ("evaluate", ("--report", "False", "--resamples", 20)),
        ("inference", ("--dicom_results", "none")),
    ):
        result = run_bundle(configs / f"{config}.json", "--dataset_dir", few_films, *options, cwd=cwd)
        assert result.returncode == 0, result.stderr[-3000:]
    assert (bundle / "models" / "model.pt").is_file()
    assert [record["kind"] for record in list_runs(bundle)] == ["train", "evaluate", "inference"]
    assert {path: kept(path) for path in others} == others
    assert {path.name for path in bundle.parent.iterdir()} == {"a name"}
    assert {path.name for path in (bundle / "configs").iterdir()} == {
        path.name for path in (repo / "bundles" / "multitask" / "configs").iterdir()
    }
