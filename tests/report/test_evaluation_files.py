# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from monai_cxrssl.data.datalists.predictions import Predictions, join_predictions, save_predictions
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.report.evaluation_files import read_evaluation


def made(split, films=4, classes=("a", "b"), **measures):
    items = [
        {"image": f"{split}{n}.png", "patient_id": f"{n}", **({"split": split} if split else {})} for n in range(films)
    ]
    scores = np.full((films, len(classes)), 0.5)
    return Predictions(list(classes), "multi_class", items, scores, np.arange(films) % len(classes), measures)


def test_folder_with_all_there_may_be(tmp_path):
    whole = join_predictions([made("validation"), made("test", dice=np.full(4, 0.9))])
    assert np.isnan(whole.measures["dice"][:4]).all()
    save_predictions(join_predictions([made("training"), whole]), tmp_path / "predictions.csv")
    save_predictions(made("test"), tmp_path / "blanked" / "lungs.csv")
    save_predictions(made("test"), tmp_path / "external" / "elsewhere.csv")
    (tmp_path / "checks.json").write_text(json.dumps({"lung_mask_from": "model"}))
    (tmp_path / "source_prediction.json").write_text(json.dumps({"macro_auc": None, "text": "Not assessable: x."}))
    (tmp_path / "galleries").mkdir()
    (tmp_path / "galleries" / "attention.png").write_bytes(b"x")
    found = read_evaluation(tmp_path)
    assert [len(part.items) for part in (found.test, found.validation, found.predictions)] == [4, 4, 8]
    assert list(found.blanked) == ["lungs"]
    assert list(found.external) == ["elsewhere"]
    assert found.checks["lung_mask_from"] == "model"
    assert list(found.pictures) == ["attention"]
    assert "4 rows of split 'training' were left out" in found.remarks[0]
    # The table itself means its folder too; one of another name is alone.
    assert list(read_evaluation(tmp_path / "predictions.csv").blanked) == ["lungs"]
    (tmp_path / "predictions.csv").rename(tmp_path / "mine.csv")
    assert not read_evaluation(tmp_path / "mine.csv").blanked


def test_table_without_splits_is_test_and_validation_is_another(tmp_path):
    test, other = save_predictions(made(""), tmp_path / "t.csv"), save_predictions(made("test", 6), tmp_path / "v.csv")
    found = read_evaluation(test, validation=other)
    assert (len(found.test.items), len(found.validation.items)) == (4, 6)
    assert {item["split"] for item in found.validation.items} == {"validation"}


@pytest.mark.parametrize(
    ("validation", "words"),
    [(made("test", classes=("a", "c")), "give predictions of the same model"), (made("validation"), "leave one out")],
)
def test_validation_that_does_not_fit(tmp_path, validation, words):
    given = made("test") if "same model" in words else join_predictions([made("validation"), made("test")])
    paths = save_predictions(given, tmp_path / "t.csv"), save_predictions(validation, tmp_path / "v.csv")
    with pytest.raises(DatalistError, match=words):
        read_evaluation(paths[0], validation=paths[1])


def test_damaged_json_is_told(tmp_path):
    save_predictions(made("test"), tmp_path / "predictions.csv")
    (tmp_path / "checks.json").write_text("{")
    with pytest.raises(DatalistError, match=r"checks\.json cannot be read as JSON"):
        read_evaluation(tmp_path)
