# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every fine-tuning bundle, run from the file the user runs."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from monai_cxrssl.data import load_datalist, load_predictions
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.networks import load_trained_network
from tests.bundles.conftest import fine_tuning_options as options

NAMES = ("multitask", "classification", "lung_segmentation")
LABELS = {"macro_auc", "auc_negative", "auc_typical", "auc_indeterminate", "auc_atypical"}
EXPECTED = {"multitask": LABELS | {"dice"}, "classification": LABELS, "lung_segmentation": {"dice"}}


@pytest.fixture(scope="module", params=NAMES)
def trained(request, fine_tuned):
    """Name and folder of a finished run on the phantom, from pretrained weights."""
    return request.param, fine_tuned(request.param)


def test_run_leaves_what_the_contract_names(trained):
    name, folder = trained
    figures = json.loads((folder / "metrics.json").read_text())
    for figure in EXPECTED[name]:
        assert 0 <= figures[f"{figure}_ci_low"] <= figures[figure] <= figures[f"{figure}_ci_high"] <= 1
    assert not {key for key in figures if key.startswith("auc_")} or name != "lung_segmentation"
    assert figures["epochs"] == 2
    assert figures["best_epoch"] in (1, 2)
    assert "encoder tensors loaded (100.0% of the values)" in (folder / "out.txt").read_text()
    assert (folder / "curves.png").stat().st_size > 5000
    assert list(folder.rglob("events*"))
    assert json.loads((folder / "model.json").read_text())["training_range"]["films"] > 30
    assert re.search("it/s|s/it", (folder / "err.txt").read_text()), "no progress bar"


def test_predictions_are_of_the_test_patients_alone(trained, phantom_dir):
    name, folder = trained
    test = load_datalist(phantom_dir / "datalist.json").items("test")
    found = load_predictions(folder / "predictions.csv")
    assert {item["image"] for item in found.items} == {item["image"] for item in test}
    assert {item["split"] for item in found.items} == {"test"}
    if name != "lung_segmentation":
        label = {item["image"]: item["label"] for item in test}
        assert found.labels.tolist() == [label[item["image"]] for item in found.items]
        np.testing.assert_allclose(found.scores.sum(1), 1, atol=1e-6)
    assert ("dice" in found.measures) is (name != "classification")


def test_weights_fill_the_models_of_smp_and_of_this_package(trained):
    name, folder = trained
    network, settings = load_trained_network(folder / "model.pt")
    assert settings["classes"] == ([] if name == "lung_segmentation" else ["negative", "typical", "indeterminate",
                                                                            "atypical"])  # fmt: skip
    assert set(network(torch.zeros(1, 1, 64, 64))) == {
        "multitask": {"label", "mask"}, "classification": {"label"}, "lung_segmentation": {"mask"},
    }[name]  # fmt: skip
    state = torch.load(folder / "model.pt", weights_only=True)
    head = None if name == "lung_segmentation" else {"classes": 4, "dropout": 0.2}
    model = smp.Unet("resnet18", encoder_weights=None, in_channels=1, aux_params=head)
    result = model.load_state_dict(state, strict=False)
    assert result.unexpected_keys == []
    assert all(name == "classification" and key.startswith(("decoder", "segm")) for key in result.missing_keys)


def test_evaluation_refuses_patients_that_chose_the_weights(trained, run_bundle, phantom_dir, tmp_path):
    name, folder = trained
    where = ("--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--model_path", folder / "model.pt")
    config = f"bundles/{name}/configs/evaluate.json"
    if name == "classification":
        for split in ("training", "validation"):
            result = run_bundle(config, *where, "--splits", f"['{split}']")
            assert result.returncode == 1
            assert "Traceback" not in result.stderr
            assert "were trained on" in result.stderr
    result = run_bundle(config, *where)
    assert result.returncode == 0, result.stderr[-3000:]
    once, again = (load_predictions(path / "predictions.csv") for path in (folder, tmp_path))
    tested = np.array([item["split"] == "test" for item in again.items])
    assert [item["image"] for item in again.items if item["split"] == "test"] == [item["image"] for item in once.items]
    np.testing.assert_allclose(again.scores[tested], once.scores, atol=1e-4)
    for measure, values in once.measures.items():
        np.testing.assert_allclose(again.measures[measure][tested], values, atol=1e-4)
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    figures = json.loads((tmp_path / "evaluation.json").read_text())
    assert EXPECTED[name] <= set(figures)


def test_inference_writes_a_row_and_a_mask_per_film(trained, run_bundle, tmp_path):
    name, folder = trained
    films = tmp_path / "films"
    for number, (rows, columns) in enumerate([(90, 70), (64, 100)]):
        (films / str(number)).mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 255, (rows, columns), dtype=np.uint8)
        cv2.imwrite(str(films / str(number) / "film.png"), noise)
    (films / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    result = run_bundle(
        f"bundles/{name}/configs/inference.json", "--dataset_dir", films, "--output_dir", out, "--model_path",
        folder / "model.pt",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    found = load_predictions(out / "predictions.csv")
    assert len(found.items) == 2
    assert [Path(entry["image"]).name for entry in found.unreadable] == ["broken.png"]
    assert found.scores.shape == (2, 0 if name == "lung_segmentation" else 4)
    if name == "classification":
        assert not (out / "masks").exists()
        return
    with open(out / "masks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        mask = cv2.imread(str(out / row["mask"]), cv2.IMREAD_UNCHANGED)
        assert mask.shape == read_film(row["image"]).shape
        assert set(np.unique(mask)) <= {0, 255}


def test_a_linear_probe_keeps_the_encoder(run_bundle, phantom_dir, pretrained, tmp_path):
    result = run_bundle(
        "bundles/classification/train.json", *options(tmp_path, phantom_dir), "--pretrained", pretrained,
        "--linear_probe", "True", "--balanced", "True", "--label_loss", "focal", "--max_epochs", 1,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "The label head starts from a logistic regression on what the encoder makes of" in result.stdout
    before, after = (torch.load(path, weights_only=True) for path in (pretrained, tmp_path / "model.pt"))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any("running_mean" in name for name in before)


def test_a_student_learns_from_a_teacher_on_unlabelled_films(trained, run_bundle, phantom_dir, pretrained, tmp_path):
    name, folder = trained
    if name != "classification":
        pytest.skip("a classification is the teacher here")
    content = json.loads((phantom_dir / "datalist.json").read_text())
    for split in ("training", "validation", "test"):
        for item in content[split]:
            item["image"] = str(phantom_dir / item["image"])
            for key in [key for key in item if key.endswith("_mask")]:
                del item[key]
    for item in content["training"]:
        del item["label"]
    (tmp_path / "unlabelled.json").write_text(json.dumps(content))
    result = run_bundle(
        "bundles/classification/train.json", *options(tmp_path), "--datalist", tmp_path / "unlabelled.json",
        "--teacher", folder / "model.pt", "--temperature", 2, "--ignore_absent", "True", "--max_epochs", 1,
        "--pretrained", pretrained,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "The label head keeps its random start" in result.stdout
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["training_images"] == len(content["training"])
    assert not any("teacher" in key for key in torch.load(tmp_path / "model.pt", weights_only=True))


def test_a_teacher_must_not_know_the_test_patients(trained, run_bundle, phantom_dir, tmp_path):
    name, folder = trained
    if name != "classification":
        pytest.skip("a classification is the teacher here")
    content = json.loads((phantom_dir / "datalist.json").read_text())
    items = {
        split: [
            {"image": str(phantom_dir / item["image"]), **{key: item[key] for key in ("patient_id", "label", "source")}}
            for item in content[split]
        ]
        for split in ("training", "validation", "test")
    }
    swapped = {**content, "training": items["test"], "validation": items["validation"], "test": items["training"]}
    (tmp_path / "swapped.json").write_text(json.dumps(swapped))
    result = run_bundle(
        "bundles/classification/train.json", *options(tmp_path), "--datalist", tmp_path / "swapped.json", "--teacher",
        folder / "model.pt",
    )  # fmt: skip
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "of this fine-tuning were trained on" in result.stderr


def test_another_data_set_is_the_test(run_bundle, phantom_dir, tmp_path):
    """Trained on the phantom, tested on a folder whose classes are two of the phantom's in another order."""
    other = tmp_path / "other"
    items = load_datalist(phantom_dir / "datalist.json").all_items()
    content = {"name": "other", "classes": ["typical", "negative"], "task": "multi_class", "training": []}
    for item in items[:30]:
        named = {1: 0, 0: 1}
        if item["label"] in named:
            content["training"].append(
                {"image": item["image"], "patient_id": item["patient_id"], "label": named[item["label"]]}
            )
    other.mkdir()
    (other / "datalist.json").write_text(json.dumps(content))
    run = ("bundles/classification/train.json", *options(tmp_path, phantom_dir))
    result = run_bundle(*run, "--test_dataset_dir", other, "--max_epochs", 1)
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert (figures["source"], figures["test_source"]) == ("phantom", "other")
    assert figures["test_images"] == len(content["training"])
    assert {"auc_negative", "auc_typical"} <= {key for key, value in figures.items() if value is not None}
    assert figures["auc_atypical"] is None


def broken_datalist(phantom_dir: Path, folder: Path, change) -> Path:
    content = json.loads((phantom_dir / "datalist.json").read_text())
    for split in ("training", "validation", "test"):
        for item in content[split]:
            for key in [key for key in item if key == "image" or (key.endswith("_mask") and item[key])]:
                value = item[key]
                item[key] = (
                    [str(phantom_dir / part) for part in value] if isinstance(value, list) else str(phantom_dir / value)
                )
    change(content, folder)
    path = folder / "broken.json"
    path.write_text(json.dumps(content))
    return path


def label_outside_the_classes(content, folder):
    content["training"][0]["label"] = 7


def mask_of_another_shape(content, folder):
    cv2.imwrite(str(folder / "wide.png"), np.full((20, 90), 255, np.uint8))
    content["training"][0]["lung_mask"] = str(folder / "wide.png")


def validation_without_a_class(content, folder):
    content["validation"] = [item for item in content["validation"] if item["label"] != 2]


def patient_in_two_splits(content, folder):
    content["test"][0]["patient_id"] = content["training"][0]["patient_id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (label_outside_the_classes, "7"),
        (mask_of_another_shape, "the proportions differ"),
        (validation_without_a_class, "indeterminate"),
        (patient_in_two_splits, "split"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_input_ends_in_one_sentence(run_bundle, phantom_dir, tmp_path, change, words):
    datalist = broken_datalist(phantom_dir, tmp_path, change)
    result = run_bundle("bundles/multitask/train.json", *options(tmp_path), "--datalist", datalist)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    sentence = next(line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert words in sentence
    assert not (tmp_path / "model.pt").exists()


def test_weights_of_another_architecture_are_refused(run_bundle, phantom_dir, pretrained, tmp_path):
    result = run_bundle(
        "bundles/multitask/train.json", *options(tmp_path, phantom_dir), "--pretrained", pretrained,
        "--encoder_name", "densenet121",
    )  # fmt: skip
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "is it the file of another --encoder_name?" in result.stderr


def siim_tree(phantom_dir: Path, folder: Path) -> Path:
    """The phantom as SIIM-FISABIO-RSNA publishes: DICOM by study, a table of studies, a table of images with boxes."""
    studies = ["id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance"]
    films = ["id,boxes,label,StudyInstanceUID"]
    for number, item in enumerate(load_datalist(phantom_dir / "datalist.json").all_items()):
        place = folder / "train" / f"st{number}" / "se"
        place.mkdir(parents=True)
        shutil.copy(item["image"], place / f"film{number}.dcm")
        studies.append(f"st{number}_study," + ",".join(str(int(item["label"] == label)) for label in range(4)))
        drawn = read_lung_mask(item["opacity_mask"])[0] if item.get("opacity_mask") else np.zeros((1, 1))
        if not drawn.any():
            films.append(f"film{number}_image,,none 1 0 0 1 1,st{number}")
            continue
        x, y, width, height = cv2.boundingRect((drawn > 0).astype(np.uint8))
        boxes = f"\"[{{'x': {x}, 'y': {y}, 'width': {width}, 'height': {height}}}]\""
        films.append(f"film{number}_image,{boxes},opacity 1 {x} {y} {x + width} {y + height},st{number}")
    (folder / "train_study_level.csv").write_text("\n".join(studies) + "\n")
    (folder / "train_image_level.csv").write_text("\n".join(films) + "\n")
    return folder


def test_four_classes_and_opacity_boxes_as_masks(run_bundle, phantom_dir, tmp_path):
    folder = siim_tree(phantom_dir, tmp_path / "siim")
    result = run_bundle(
        "bundles/multitask/train.json", *options(tmp_path, folder), "--mask", "boxes", "--max_epochs", 1
    )
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["source"].startswith("SIIM")
    assert figures["test_masked"] == figures["test_labelled"] == figures["test_images"]
    assert {"auc_Typical Appearance", "auc_Atypical Appearance", "dice"} <= set(figures)
    assert json.loads((tmp_path / "model.json").read_text())["mask"] == "boxes"


@pytest.mark.slow
def test_two_processes(run_bundle, phantom_dir, tmp_path):
    configs = "['bundles/multitask/configs/train.json','bundles/multitask/configs/multi_gpu_train.json']"
    result = run_bundle(configs, *options(tmp_path, phantom_dir), processes=2)
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["epochs"] == 2
    assert figures["dice"] is not None
    assert (tmp_path / "log.txt").read_text().count("The run is complete") == 1


@pytest.mark.slow
def test_default_run(run_bundle, default_phantom, tmp_path):
    """No option but where to write: on patients never seen, lungs are found and four classes told apart.

    The other two bundles are the halves of this one; the figures of their default runs stand in the README.
    """
    name = "multitask"
    default_phantom(tmp_path)
    result = run_bundle(f"bundles/{name}/train.json", "--output_dir", tmp_path, "--model_path", tmp_path / "model.pt")
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    for figure in EXPECTED[name] & {"macro_auc", "dice"}:
        assert figures[figure] > 0.9
        assert figure in result.stdout


def test_collapsed_labels_and_chosen_findings_travel(run_bundle, few_films, tmp_path):
    """An evaluation finds the map in the weights' description; findings are measured of a model of more classes."""
    where = tmp_path / "collapsed"
    result = run_bundle(
        "bundles/classification/train.json", *options(where, few_films), "--collapse", "covid_negative_positive",
        "--ignore_absent", "True", "--max_epochs", 1,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    description = json.loads((where / "model.json").read_text())
    assert description["classes"] == ["COVID-19 Negative", "COVID-19"]
    assert description["collapse"]["name"] == "covid_negative_positive"
    grades = {item["image"]: item["label"] for item in load_datalist(few_films / "datalist.json").all_items()}
    trained_on = load_predictions(where / "predictions.csv")
    out = tmp_path / "evaluated"
    result = run_bundle(
        "bundles/classification/configs/evaluate.json", "--dataset_dir", few_films, "--output_dir", out, "--model_path",
        where / "model.pt", "--report", "False", "--findings", "COVID-19 Negative,COVID-19",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    found = load_predictions(out / "predictions.csv")
    assert found.classes == description["classes"]
    assert found.labels.tolist() == [int(grades[item["image"]] > 0) for item in found.items]
    assert [item["image"] for item in found.items] == [item["image"] for item in trained_on.items]
