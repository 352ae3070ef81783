# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.datalists.predictions import Predictions, save_predictions


def made(path, split="test", films=40, seed=0):
    draw = np.random.default_rng(seed)
    label = np.arange(films) // 2 % 2
    score = draw.random((films, 1)) * 0.5 + label[:, None] * 0.4
    items = [{"image": f"{split}{n}.png", "patient_id": f"{split}{n // 2}", "split": split} for n in range(films)]
    return str(
        save_predictions(Predictions(["sick"], "multi_label", items, score, label[:, None].astype(np.float32)), path)
    )


def test_report_of_two_models(tmp_path, capsys):
    first, second = made(tmp_path / "a.csv"), made(tmp_path / "b.csv", seed=1)
    validation, elsewhere = made(tmp_path / "v.csv", "validation"), made(tmp_path / "elsewhere.csv", "ext", seed=2)
    criteria = tmp_path / "criteria.json"
    criteria.write_text(json.dumps({"criteria": {"discrimination": {"at_least": 0.999}, "segmentation": None}}))
    words = ["report", "--predictions", first, second, "--names", "one", "two", "--out", str(tmp_path / "out"),
             "--validation", validation, "--external", elsewhere, "--criteria", str(criteria),
             "--resamples", "50", "--seed", "3"]  # fmt: skip
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith("Not ready for use by these criteria")
    assert "discrimination" in told
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {"one_minus_two_macro_auc", "external_elsewhere_macro_auc", "threshold_sick"} <= set(figures)
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--resamples", "0"], "--resamples is 0"),
        (["--names", "one", "two"], "2 names for 1 evaluations"),
        (["--criteria", "none.json"], "none.json"),
        (["--validation", "none.csv"], "none.csv"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path, capsys, words, expected):
    given = made(tmp_path / "a.csv")
    assert main(["report", "--predictions", given, "--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert expected in error
    assert error.count("\n") == 1
