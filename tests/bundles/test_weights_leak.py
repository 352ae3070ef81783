# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A model made from public weights is not measured on the data set that these were trained on."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from monai_cxrssl.networks import find_description

from .conftest import fine_tuning_options


def chestxray14(folder, seed):
    """Draw a folder as ChestX-ray14 unpacks, of 24 patients."""
    (folder / "images").mkdir(parents=True)
    draw = np.random.default_rng(seed)
    with open(folder / "Data_Entry_2017.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "View Position"])
        for number in range(24):
            name = f"{number:08d}_000.png"
            Image.fromarray(draw.integers(0, 255, (96, 96), dtype=np.uint8)).save(folder / "images" / name)
            table.writerow([name, ["Effusion", "No Finding"][number % 2], 0, number, "PA"])
    return folder


def hospital(folder, datalist):
    """Write the same kind of images and labels as the data set of a hospital."""
    content = json.loads(datalist.read_text())
    content["name"] = "hospital"
    for split in ("training", "validation", "test"):
        for item in content.get(split, ()):
            item |= {"source": "hospital", "patient_id": f"h{item['patient_id']}"}
    path = folder / "hospital.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.slow
def test_an_evaluation_on_what_the_public_weights_saw_is_refused(run_bundle, few_films, tmp_path):
    """The weights are recognised by their file name; pretraining and fine-tuning on other images come in between."""
    from monai_cxrssl.apps.cli.main import main

    public = tmp_path / "densenet121_CXR_0.3M_mae.pth"
    torch.save({"model": torchvision.models.densenet121(num_classes=14).state_dict()}, public)
    ours = chestxray14(tmp_path / "ours", 1)
    assert main(["index", str(ours), "--out", str(ours / "indexed.json")]) == 0
    datalist = hospital(ours, ours / "indexed.json")
    start = public
    for bundle in ("simclr", "classification"):
        folder = tmp_path / bundle
        films = (
            ("--dataset_dir", few_films) if bundle == "simclr" else ("--datalist", datalist, "--ignore_absent", True)
        )
        options = (*fine_tuning_options(folder), *films, "--encoder_name", "densenet121", "--max_epochs", 1)
        result = run_bundle(f"bundles/{bundle}/train.json", *options, "--pretrained", start)
        assert result.returncode == 0, result.stderr[-3000:]
        start = folder / "model.pt"
        assert find_description(start)["trained_on"] == ["ChestX-ray14", "CheXpert"]
        assert find_description(start)["input_mean"] == [0.5056]
    assert "medical-mae-densenet121" in find_description(start)["started_from"]
    tree = chestxray14(tmp_path / "nih", 2)
    common = ("bundles/classification/configs/evaluate.json", "--dataset_dir", tree, "--model_path", start,
              "--num_workers", 0, "--report", False, "--resamples", 20)  # fmt: skip
    refused = run_bundle(*common, "--output_dir", tmp_path / "refused")
    assert refused.returncode != 0
    assert "ChestX-ray14 is this evaluation's, and ChestX-ray14 is what" in refused.stderr
    assert "go on all the same with --allow_leak True" in refused.stderr
    allowed = run_bundle(*common, "--output_dir", tmp_path / "allowed", "--allow_leak", True)
    assert allowed.returncode == 0, allowed.stderr[-3000:]
    assert (tmp_path / "allowed" / "predictions.csv").is_file()
