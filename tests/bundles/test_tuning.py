# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A search of options that trains, without the test images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_cxrssl.apps.cli.main import main

TRAIN = Path(__file__).parents[2] / "bundles" / "classification" / "train.json"


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_search_without_test_images_is_training_without_a_search(run_bundle, few_films, tmp_path):
    """Paused and gone on with, a trial's validations are to the bit those of a run that was never paused."""
    content = json.loads((few_films / "datalist.json").read_text())
    for split in ("training", "validation", "test"):
        for item in content[split]:
            item["image"] = str(few_films / item["image"])
            for key in [key for key in item if key.endswith("_mask")]:
                del item[key]
    for number, item in enumerate(content["test"]):
        item["image"] = str(tmp_path / f"gone{number}.png")
        if number % 2:
            Path(item["image"]).write_bytes(b"no picture")
    (tmp_path / "d.json").write_text(json.dumps(content))
    common = ["--encoder_name", "resnet18", "--image_size", "32", "--max_epochs", "3", "--batch_size", "16",
              "--recipe", "short", "--num_workers", "0", "--ignore_absent", "True"]  # fmt: skip
    out = tmp_path / "out"
    words = ["tune", str(TRAIN), "--tune", "learning_rate=0.001,0.01,0.0001", "--output_dir", str(out)]
    assert main([*words, "--datalist", str(tmp_path / "d.json"), *common]) == 0
    report = json.loads((out / "tuning.json").read_text())
    assert sorted(trial["status"] for trial in report["trials"]) == ["finished", "pruned", "pruned"]
    best = next(trial for trial in report["trials"] if trial["status"] == "finished")
    assert [row["epoch"] for row in best["validation"]] == [1, 2, 3]
    whole = tmp_path / "whole"
    result = run_bundle(
        f"['{TRAIN}','{out / 'best.json'}']", "--datalist", few_films / "datalist.json", "--output_dir", whole,
        "--model_path", whole / "model.pt", *common,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    metrics = json.loads((whole / "metrics.json").read_text())
    assert (metrics["val_score"], metrics["best_epoch"]) == (best["value"], best["best_epoch"])
    paused = json.loads((out / best["folder"] / "paused.json").read_text())
    lines = [line for line in (whole / "log.txt").read_text().splitlines() if "validation after epoch" in line]
    assert len(lines) == len(paused["validation"]) == 3
    for line, row in zip(lines, paused["validation"], strict=True):
        assert f"score {row['val_score']:.4f}" in line
    assert not list((out / "trials").rglob("metrics.json"))
    assert not list((out / "trials").rglob("predictions.csv"))
