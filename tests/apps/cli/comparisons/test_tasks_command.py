# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Several tasks from one encoder: the words of tasks, one table, and one run from phantom to table."""

from __future__ import annotations

import json

import pytest
import torch

from monai_cxrssl.apps.cli.comparisons.tasks import Task, read_tasks
from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.label_efficiency import Study
from monai_cxrssl.networks import Encoder


def test_words_of_tasks(tmp_path):
    (tmp_path / "d.json").write_text("{}")
    (tmp_path / "a:b").mkdir()
    odd = str(tmp_path / "a:b")
    words = [
        f"covid={tmp_path}",
        f"lungs={odd}:bundle=lung_segmentation:mask=lung",
        f"health={tmp_path}/d.json:collapse=normal_abnormal",
    ]
    assert read_tasks(words) == [
        Task("covid", str(tmp_path), "classification", ()),
        Task("lungs", odd, "lung_segmentation", ("--mask", "lung")),
        Task("health", f"{tmp_path}/d.json", "classification", ("--collapse", "normal_abnormal")),
    ]
    for wrong, message in (
        (["covid"], "is no task; write NAME=DATA"),
        (["../x=."], "is no task"),
        (["x=absent"], "'absent' is neither a folder nor a datalist"),
        ([f"x={tmp_path}", f"x={odd}"], "names x twice"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_tasks(wrong)


def test_probes_of_two_tasks_as_one_table(repo, few_films, tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    torch.save(Encoder("resnet18").state_dict(), tmp_path / "mine.pt")
    words = [str(tmp_path / "mine.pt"), "--task", f"one={few_films}", f"two={few_films}:image_size=64",
             "--how", "probe", "--draws", "2", "--metrics", "accuracy", "macro_f1", "macro_auc", "--drift", "noise",
             "--output_dir", str(tmp_path / "out"), "--image_size", "32", "--encoder_name", "resnet18"]  # fmt: skip
    assert main(["tasks", *words]) == 0
    told = capsys.readouterr().out
    lines = [line.split() for line in told.splitlines() if line.split()[:1] in (["one"], ["two"])]
    assert [line[:2] for line in lines] == [
        [task, row]
        for rows in (["pixels", "mine", "random"], ["pixels", "random"])
        for task in ("one", "two")
        for row in rows
    ]
    assert all(line.count("[no") or len(line) > 8 for line in lines)
    content = json.loads((tmp_path / "out" / "tasks.json").read_text())["tasks"]
    assert content["two"]["settings"]["rows"][1]["options"][-2:] == ["--image_size", "64"]
    assert {entry["row"] for entry in content["one"]["drift"]["accuracy"]} == {"pixels", "mine", "random"}
    assert (tmp_path / "out" / "tasks.md").read_text().startswith("**Tasks**")
    # Every task is opened before the first begins.
    monkeypatch.setattr(Study, "run", None)
    assert main(["tasks", *words, "--max_epoch", "3"]) == 2
    assert "--max_epoch is no option" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_one_grid_of_everything_through_the_bundles(few_films, tmp_path, capsys):
    """Single- and multi-task, trained and frozen, on phantoms: masks, attention and drift."""
    torch.manual_seed(0)
    torch.save(Encoder("resnet18").state_dict(), tmp_path / "mine.pt")
    words = ["fractions", "--bundle", "classification", "multitask", "--dataset_dir", str(few_films), "--fractions", "1",
             "--init", f"mine={tmp_path / 'mine.pt'}", "--encoder_name", "resnet18", "--how", "both", "--draws", "1",
             "--metrics", "macro_auc", "macro_f1", "dice", "lung_attention", "--drift", "blur", "--no_baselines",
             "--output_dir", str(tmp_path / "out"), "--", "--image_size", "32", "--batch_size", "8", "--max_epochs", "1",
             "--ignore_absent", "True"]  # fmt: skip
    assert main(words) == 0, capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "fractions.json").read_text())
    names = [row["name"] for row in content["settings"]["rows"]]
    assert names == ["mine, probe", "classification, mine, fine-tuned", "multitask, mine, fine-tuned"]
    assert content["metrics"]["dice"]["without"] == names[:2]
    assert content["metrics"]["lung_attention"]["without"] == names[:1]
    attention = {entry["row"]: entry["value"] for entry in content["metrics"]["lung_attention"]["figures"]}
    assert all(-1 < attention[name] < 1 for name in names[1:])
    assert len(content["drift"]["macro_auc"]) == 3
    assert len(content["drift"]["dice"]) == 1
    told = capsys.readouterr().out
    assert "mean Dice under drift" in told
    assert main(words) == 0
    assert "3 cells: 3 finished, 0 left to run" in capsys.readouterr().out
