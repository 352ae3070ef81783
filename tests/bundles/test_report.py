# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From training by a bundle to its readiness report, by the commands a person types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_cxrssl.apps.pack.evidence import is_of_weights
from monai_cxrssl.data import load_datalist, load_predictions
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.networks import find_description
from monai_cxrssl.transforms import LoadCXR

SMALL = ("--encoder_name", "resnet18", "--image_size", 64, "--batch_size", 16, "--recipe", "short", "--num_workers", 0)


def where(folder: Path) -> tuple[object, ...]:
    return ("--output_dir", folder, "--model_path", folder / "model.pt")


def marked_data_set(phantom_dir: Path, folder: Path) -> Path:
    """The phantom's frontal images with labels that say nothing of the chest, and a marker in a corner that says it."""
    content = {"name": "marked", "classes": ["well", "ill"], "task": "multi_class"}
    source = load_datalist(phantom_dir / "datalist.json")
    for split in ("training", "validation", "test"):
        content[split] = []
        for item in source.items(split):
            number = int(item["patient_id"].removeprefix("PHANTOM"))
            film = (255 * LoadCXR()(item["image"])[0].numpy()).astype(np.uint8)
            side = max(4, film.shape[0] // 9)
            label = number // 5 % 2
            # In an upper corner of the ill, in a lower one of the well: views are flipped left to right.
            top = 2 if label else film.shape[0] - side - 2
            film[top : top + side, 2 : 2 + side] = 255
            name = Path(item["image"]).stem
            cv2.imwrite(str(folder / f"{name}.png"), film)
            cv2.imwrite(str(folder / f"{name}_lung.png"), 255 * read_lung_mask(item["lung_mask"])[0])
            content[split].append(
                {
                    "image": f"{name}.png",
                    "lung_mask": f"{name}_lung.png",
                    "patient_id": item["patient_id"],
                    "label": label,
                }
            )
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_a_planted_shortcut_is_found_and_named(run_bundle, phantom_dir, tmp_path):
    """The label is in a corner marker alone: without lungs the score stays, and no attention goes to them."""
    (tmp_path / "films").mkdir()
    data = marked_data_set(phantom_dir, tmp_path / "films")
    out = tmp_path / "out"
    result = run_bundle(
        "bundles/classification/train.json", "--dataset_dir", data, *where(out), *SMALL, "--max_epochs", 12,
        "--crop_scale", "[0.95,1.0]", "--rotation", 0, "--jitter", 0.1,
        # In bfloat16, where a processor has it, or at a smaller rate, twelve epochs leave the attention to chance.
        "--amp", "false", "--learning_rate", 0.002, "--head_factor", 1.5,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert json.loads((out / "metrics.json").read_text())["macro_auc"] > 0.95, "the marker was not learnt"
    config = "bundles/classification/configs/evaluate.json"
    result = run_bundle(config, "--dataset_dir", data, *where(out))
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((out / "report" / "metrics.json").read_text())
    assert figures["lungs_blanked_macro_auc"] > 0.9
    assert figures["lungs_blanked_macro_auc_ci_low"] > 0.5
    assert figures["lung_attention_excess_ci_high"] < 0
    assert figures["corners_blanked_macro_auc"] < 0.75
    page = (out / "report" / "index.html").read_text()
    assert "the score stays high, so the model reads something outside the lungs" in page
    assert "not above chance" in page


@pytest.fixture(scope="module")
def multitask(fine_tuned, tmp_path_factory) -> Path:
    """Folder of a short training of both branches, to write into."""
    folder = tmp_path_factory.mktemp("multitask") / "run"
    return shutil.copytree(fine_tuned("multitask"), folder, ignore=shutil.ignore_patterns("checkpoints"))


def test_evaluation_writes_the_whole_report(run_bundle, phantom_dir, multitask, tmp_path):
    other = another_data_set(phantom_dir, tmp_path)
    result = run_bundle(
        "bundles/multitask/configs/evaluate.json", "--dataset_dir", phantom_dir, *where(multitask),
        "--external_dataset_dir", other, "--store_calibration", "True", "--resamples", 200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    report = multitask / "report"
    figures = json.loads((report / "metrics.json").read_text())
    for name in (
        "macro_auc",
        "macro_ap",
        "macro_sensitivity",
        "macro_brier",
        "dice",
        "pfs",
        "lung_area",
        "lungs_blanked_macro_auc",
    ):
        assert figures[name] is not None, name
        assert figures[f"{name}_ci_low"] <= figures[name] <= figures[f"{name}_ci_high"]
    assert figures["leaks"] == 0
    assert [path.name for path in (multitask / "external").iterdir()] == ["elsewhere.csv"]
    page = (report / "index.html").read_text()
    assert "elsewhere" in page
    assert "<script" not in page
    splits = [item["split"] for item in load_predictions(report / "predictions.csv").items]
    assert set(splits) == {"validation", "test"}
    fitted = json.loads((report / "temperature.json").read_text())["temperature"]
    assert json.loads((multitask / "model.json").read_text())["temperature"] == pytest.approx(fitted)
    # The file changed when its temperature was stored, the tensors that the report is of did not.
    assert is_of_weights(json.loads((report / "provenance.json").read_text()), multitask / "model.pt")
    assert find_description(multitask / "model.pt")["temperature"] == pytest.approx(fitted)


def another_data_set(phantom_dir: Path, folder: Path) -> Path:
    """Another data set: the phantom's test images under other patients' names."""
    items = load_datalist(phantom_dir / "datalist.json").items("test")
    content = {
        "name": "elsewhere",
        "classes": ["negative", "typical", "indeterminate", "atypical"],
        "task": "multi_class",
    }
    content["test"] = [
        {
            "image": item["image"],
            "patient_id": f"other-{item['patient_id']}",
            "label": item["label"],
            "source": "elsewhere",
        }
        for item in items
    ]
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def test_a_test_split_of_one_class_is_not_assessable(run_bundle, phantom_dir, multitask, tmp_path):
    """No crash, no wrong number: the reason stands in its place."""
    items = [item for item in load_datalist(phantom_dir / "datalist.json").items("test") if item["label"] == 0]
    content = {
        "name": "one class",
        "classes": ["negative", "typical", "indeterminate", "atypical"],
        "task": "multi_class",
    }
    content["test"] = [{key: item[key] for key in ("image", "patient_id", "label")} for item in items]
    (tmp_path / "one.json").write_text(json.dumps(content))
    result = run_bundle(
        "bundles/multitask/configs/evaluate.json", "--datalist", tmp_path / "one.json", "--output_dir", tmp_path / "out",
        "--model_path", multitask / "model.pt", "--resamples", 100,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    assert figures["macro_auc"] is None
    assert any(entry["figure"] == "macro_auc" and entry["reason"] for entry in figures["not_assessable"])
    assert "not assessable" in (tmp_path / "out" / "report" / "index.html").read_text()
