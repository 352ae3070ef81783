# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``folds`` refuses before anything is run, and what it does when members fail."""

from __future__ import annotations

import json

import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.label_efficiency import grid


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bundle", "micle"], "is no fine-tuning: only that is tested"),
        (["--bundle", "nothing"], "There is no bundle nothing"),
        (["--config", "absent.json"], "absent.json does not exist"),
        (["--bundle", "multitask", "--folds", "1"], "folds is 1; expected 2 to the number of patients"),
        (["--bundle", "multitask", "--folds", "500"], "folds is 500; expected 2 to the number of patients"),
        (["--bundle", "multitask", "--resume", "auto"], "--resume is set by this command for every run"),
        (["--bundle", "multitask", "--test_dataset_dir", "x"], "evaluate the ensemble afterwards"),
        (["--bundle", "multitask", "--max_epoch", "2"], "--max_epoch is no option"),
        (["--bundle", "lung_segmentation", "--metrics", "macro_auc"], "and lung_segmentation is measured by dice here"),
        (
            ["--bundle", "classification", "--metrics", "dice"],
            "--metrics names dice, and classification is measured by",
        ),
    ],
)
def test_wrong_use_is_one_sentence(few_films, tmp_path, capsys, words, message):
    out = tmp_path / "out"
    assert main(["folds", *words, "--output_dir", str(out), "--dataset_dir", str(few_films)]) == 2
    error = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert message in error
    assert not (out / "members").exists()


def test_a_bundle_without_evaluation_is_refused(few_films, repo, tmp_path, capsys):
    bundle = tmp_path / "mine"
    (bundle / "configs").mkdir(parents=True)
    for name in ("train", "recipes"):
        text = (repo / "bundles" / "classification" / "configs" / f"{name}.json").read_text()
        (bundle / "configs" / f"{name}.json").write_text(text)
    words = ["folds", "--config_file", str(bundle / "configs" / "train.json"), "--output_dir", str(tmp_path / "out")]
    assert main([*words, "--dataset_dir", str(few_films)]) == 2
    assert "by which the ensemble would be evaluated" in capsys.readouterr().err


def test_test_patients_in_training_are_refused(few_films, tmp_path, capsys):
    content = json.loads((few_films / "datalist.json").read_text())
    for split in ("training", "validation", "test"):
        for item in content[split]:
            item["image"] = str(few_films / item["image"])
            for key in [key for key in item if key.endswith("_mask")]:
                del item[key]
    content["training"].append({**content["test"][0], "image": content["training"][0]["image"]})
    (tmp_path / "d.json").write_text(json.dumps(content))
    words = ["folds", "--bundle", "classification", "--output_dir", str(tmp_path / "out")]
    assert main([*words, "--datalist", str(tmp_path / "d.json")]) == 2
    assert "patient" in capsys.readouterr().err
    assert not (tmp_path / "out" / "members").exists()


def test_members_that_fail_leave_no_ensemble(few_films, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grid, "run_process", lambda command, output, lock: (1, "no space left"))
    out = tmp_path / "out"
    words = [
        "folds",
        "--bundle",
        "multitask",
        "--folds",
        "2",
        "--output_dir",
        str(out),
        "--dataset_dir",
        str(few_films),
    ]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "failed: fold0: no space left" in said
    assert "There is no ensemble: not all members are finished" in said
    report = json.loads((out / "folds.json").read_text())
    assert report["metrics"]["dice"]["figures"][-1]["reason"] == "no cell with test predictions"
    assert not (out / "model.pt").exists()
