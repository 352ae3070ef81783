# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every pretraining bundle, run from the file the user runs. What is MICLe's own is in test_micle.py."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

VIT = "tu-vit_tiny_patch16_224"
NAMES = ("simclr", "moco", "inpainting", "spcxr", "eva_x", "curricular")
TRANSFORMERS = ("spcxr", "eva_x")
ENCODERS = {name: VIT if name in TRANSFORMERS else "resnet18" for name in (*NAMES, "micle")}
EPOCHS = {name: 3 if name == "curricular" else 2 for name in (*NAMES, "micle")}
SHARES = "{'rotation': 1, 'jigsaw': 1, 'simclr': 1}"
REQUIRED = {
    "encoder_name", "images", "patients", "multi_image_bags", "unreadable", "epochs", "loss_first_epoch",
    "loss_last_epoch", "probe_before", "probe_after", "images_per_second", "seconds", "seed",
}  # fmt: skip


def options(name: str, folder, data) -> list[object]:
    more = ["--tasks", "['rotation','jigsaw','moco']"] if name == "curricular" else []
    return [
        *more,
        "--dataset_dir", data, "--output_dir", folder, "--model_path", folder / "model.pt", "--encoder_name",
        ENCODERS[name], "--image_size", 64, "--batch_size", 16, "--max_epochs", EPOCHS[name], "--recipe", "short",
    ]  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def trained(request, run_bundle, phantom_dir, tmp_path_factory):
    """Name, folder and output of a finished run on the phantom."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    result = run_bundle(f"bundles/{name}/train.json", *options(name, folder, phantom_dir))
    assert result.returncode == 0, result.stderr[-3000:]
    return name, folder, result


def test_run_leaves_what_the_contract_names(trained):
    name, folder, result = trained
    figures = json.loads((folder / "metrics.json").read_text())
    assert set(figures) >= REQUIRED
    assert figures["epochs"] == EPOCHS[name]
    assert 0 <= figures["probe_before"] <= 1
    assert 0 <= figures["probe_after"] <= 1
    assert (-1 if name == "eva_x" else 0) < figures["loss_last_epoch"] < 20
    assert np.isfinite(figures["trivial_loss"])
    assert (folder / "curves.png").stat().st_size > 5000
    assert list(folder.rglob("events*"))
    assert "it/s" in result.stderr or "s/it" in result.stderr, "no progress bar"


def test_weights_fill_the_encoder_of_an_smp_model(trained):
    name, folder, _ = trained
    state = torch.load(folder / "model.pt", weights_only=True)
    model = (
        smp.DPT(VIT, encoder_weights=None, in_channels=1, dynamic_img_size=True, img_size=64)
        if name in TRANSFORMERS
        else smp.Unet("resnet18", encoder_weights=None, in_channels=1)
    )
    result = model.load_state_dict(state, strict=False)
    assert result.unexpected_keys == []
    assert not [key for key in result.missing_keys if key.startswith("encoder.")]


def test_evaluation_takes_other_patients_than_training(trained, run_bundle, phantom_dir, tmp_path):
    name, folder, _ = trained
    where = ("--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--model_path", folder / "model.pt")
    config = f"bundles/{name}/configs/evaluate.json"
    result = run_bundle(config, *where, "--splits", "['training']")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "were trained on" in result.stderr
    result = run_bundle(config, *where)
    assert result.returncode == 0, result.stderr[-3000:]
    assert json.loads((tmp_path / "probe.json").read_text())["images"] > 10


def test_one_bundle_starts_from_another(trained, run_bundle, few_films, tmp_path):
    name, folder, _ = trained
    if name in TRANSFORMERS:
        pytest.skip("the other bundles of this test train a convolutional network")
    result = run_bundle(
        "bundles/simclr/train.json", *options("simclr", tmp_path, few_films), "--pretrained", folder / "model.pt",
        "--train#trainer#max_epochs", 1,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "encoder tensors loaded (100.0% of the values)" in result.stdout


def test_weights_of_another_architecture_are_refused(run_bundle, few_films, tmp_path):
    torch.save({"encoder.conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "other.pt")
    result = run_bundle(
        "bundles/spcxr/train.json", *options("spcxr", tmp_path, few_films), "--pretrained", tmp_path / "other.pt"
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "is it the file of another --encoder_name?" in result.stderr


def test_spcxr_refuses_a_convolutional_network(run_bundle, few_films, tmp_path):
    result = run_bundle(
        "bundles/spcxr/train.json", *options("spcxr", tmp_path, few_films), "--encoder_name", "resnet18"
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "works on the patches of a vision transformer" in result.stderr


@pytest.mark.slow
def test_cache_is_made_once_and_changes_nothing(run_bundle, few_films, tmp_path):
    results = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        result = run_bundle(
            "bundles/simclr/train.json", *options("simclr", folder, few_films), "--cache_dir", tmp_path / "cache"
        )
        assert result.returncode == 0, result.stderr[-3000:]
        results.append(result)
    images = len(json.loads((few_films / "datalist.json").read_text())["training"])
    assert f"decoded {images} of {images} images" in results[0].stdout
    assert "decoded" not in results[1].stdout
    one, other = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("first", "second"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_killed_in_its_second_stage_and_resumed(trained, run_bundle, warm_python, phantom_dir, repo, tmp_path):
    """Rotation, jigsaw, MoCo: SIGKILL in jigsaw, then --resume auto; the weights are those of an uninterrupted run."""
    name, folder, _ = trained
    if name != "curricular":
        pytest.skip("a curriculum is what is killed here")
    words = ["-m", "monai.bundle", "run", "--config_file", "bundles/curricular/train.json"]
    process = warm_python.start([*words, *options(name, tmp_path, phantom_dir), "--checkpoint_minutes", 0], repo)
    second = tmp_path / "stages" / "2_jigsaw"
    deadline = time.monotonic() + 300
    while process.poll() is None and not second.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert second.exists()
    assert not (tmp_path / "model.pt").exists()
    result = run_bundle("bundles/curricular/train.json", *options(name, tmp_path, phantom_dir), "--resume", "auto")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "rotation, was finished before" in result.stdout
    one, other = (torch.load(path / "model.pt", weights_only=True) for path in (folder, tmp_path))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_curriculum_over_data_and_in_greedy_order(run_bundle, phantom_dir, tmp_path):
    content = json.loads((phantom_dir / "datalist.json").read_text())
    patients = sorted({item["patient_id"] for item in content["training"]})
    moved = [item for item in content["training"] if item["patient_id"] in patients[::2]]
    content["training"] = [item for item in content["training"] if item not in moved]
    content["validation"] += content.pop("test") + moved
    content["test"] = []
    for split in ("training", "validation"):
        for item in content[split]:
            item["image"] = str(phantom_dir / item["image"])
            for key in [key for key in item if key.endswith("_mask")]:
                del item[key]
    (tmp_path / "target.json").write_text(json.dumps(content))
    result = run_bundle(
        "bundles/curricular/train.json", "--datalist", tmp_path / "target.json", "--output_dir", tmp_path, "--model_path",
        tmp_path / "model.pt", "--image_size", 32, "--batch_size", 16, "--recipe", "short", "--max_epochs", 4, "--tasks",
        "['rotation','simclr']", "--order", "greedy", "--large_dataset_dir", phantom_dir,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    stages = sorted(path.name for path in (tmp_path / "stages").iterdir() if path.is_dir())
    assert [name.rsplit("_", 1)[1] for name in stages] == ["large"] * 3 + ["target"] * 3
    assert json.loads((tmp_path / "stages" / "1_choice.json").read_text())["chosen"].endswith("_large")
    assert "comes next; linear probe after each candidate" in result.stdout


@pytest.mark.slow
def test_a_transformer_learns_by_masks_and_then_from_a_teacher(trained, run_bundle, phantom_dir, tmp_path):
    name, folder, _ = trained
    if name != "simclr":
        pytest.skip("one teacher is enough")
    result = run_bundle(
        "bundles/curricular/train.json", *options("curricular", tmp_path, phantom_dir), "--max_epochs", 2, "--tasks",
        "['spcxr','distillation']", "--encoder_name", VIT, "--teacher_weights", folder / "model.pt",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert -1 <= figures["distillation_loss_last_epoch"] < 0.5  # minus a cosine
    assert figures["spcxr_loss_last_epoch"] > 0


@pytest.mark.slow
def test_bags_by_study(run_bundle, phantom_dir, tmp_path):
    """MedAug's positives are images of one study: where each image is a study of its own there are none."""
    content = json.loads((phantom_dir / "datalist.json").read_text())
    for split in ("training", "validation", "test"):
        for number, item in enumerate(content[split]):
            item |= {"image": str(phantom_dir / item["image"]), "study_id": f"{split}{number}"}
            for key in [key for key in item if key.endswith("_mask")]:
                del item[key]
    (tmp_path / "studies.json").write_text(json.dumps(content))
    counts = []
    for by in ("patient", "study"):
        folder = tmp_path / by
        result = run_bundle(
            "bundles/micle/train.json", "--datalist", tmp_path / "studies.json", "--output_dir", folder, "--model_path",
            folder / "model.pt", "--image_size", 32, "--batch_size", 32, "--max_epochs", 1, "--recipe", "short",
            "--bags_by", by,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
        counts.append(json.loads((folder / "metrics.json").read_text())["multi_image_bags"])
    assert counts[0] > 5
    assert counts[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "moco", "spcxr", "curricular"])
def test_two_processes(run_bundle, phantom_dir, tmp_path, name):
    configs = f"['bundles/{name}/configs/train.json','bundles/{name}/configs/multi_gpu_train.json']"
    result = run_bundle(configs, *options(name, tmp_path, phantom_dir), processes=2)
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["epochs"] == EPOCHS[name]
    assert 0 < figures["loss_last_epoch"] < 20
    assert (tmp_path / "log.txt").read_text().count("The run is complete") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folder", "images"),
    [
        *((name, "nih-chestxray14-subset", 517) for name in NAMES if name not in ("curricular", "eva_x")),
        ("curricular", "kermany-pediatric", 666),
    ],
)
def test_real_x_rays(run_bundle, shared_data, made_once, tmp_path, name, folder, images):
    """Decoded by the first that reads a source, and taken from its cache by the others."""
    cache = made_once("real_x_rays", lambda _: None)
    result = run_bundle(
        f"bundles/{name}/train.json", "--dataset_dir", shared_data / folder, "--output_dir", tmp_path, "--model_path",
        tmp_path / "model.pt", "--encoder_name", ENCODERS[name], "--image_size", 64, "--max_epochs", EPOCHS[name],
        "--batch_size", 64, "--cache_dir", cache,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["images"] == images
    assert figures["unreadable"] == []
    assert figures["recipe"] == "full"
    assert figures["probe_after"] is not None


@pytest.mark.slow
def test_eva_x_asks_for_a_teacher_and_takes_one(trained, run_bundle, few_films, tmp_path):
    """Real images without a teacher are refused; with a bundle's weights the file says which encoder it is."""
    name, folder, _ = trained
    if name != "simclr":
        pytest.skip("one teacher is enough")
    where = ["--dataset_dir", few_films, "--output_dir", tmp_path, "--model_path", tmp_path / "model.pt"]
    small = [*where, "--encoder_name", VIT, "--image_size", 64, "--batch_size", 4, "--max_epochs", 1]
    result = run_bundle("bundles/eva_x/train.json", *small)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "Masked distillation has no teacher: give --teacher_weights" in result.stderr
    for recipe in ("short", "full"):
        words = [*small, "--recipe", recipe, "--teacher_weights", folder / "model.pt"]
        result = run_bundle("bundles/eva_x/train.json", *words)
        assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert -1 < figures["loss_last_epoch"] < 1
    assert abs(figures["trivial_loss"]) < 1


@pytest.mark.slow
def test_first_epochs_of_the_default_curriculum(run_bundle, default_phantom, tmp_path):
    """Two epochs of each of its tasks; that the probe rises by all of them is tried where whole runs are measured."""
    default_phantom(tmp_path)
    where = ("--output_dir", tmp_path, "--model_path", tmp_path / "model.pt")
    result = run_bundle("bundles/curricular/train.json", *where, "--max_epochs", 6, "--shares", SHARES)
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    for stage in ("rotation", "jigsaw", "simclr"):
        assert figures[f"{stage}_loss_last_epoch"] < figures[f"{stage}_loss_first_epoch"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "inpainting", "spcxr", "eva_x"])
def test_first_epochs_of_the_default_run(run_bundle, default_phantom, tmp_path, name):
    """The whole runs take minutes each; their figures stand in the README. Here the loss has begun to fall.

    MoCo's rises at first, while its queue fills with keys of a better encoder.
    """
    default_phantom(tmp_path)
    where = ("--output_dir", tmp_path, "--model_path", tmp_path / "model.pt")
    result = run_bundle(f"bundles/{name}/train.json", *where, "--max_epochs", 2)
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["recipe"] == "short"
    assert figures["loss_last_epoch"] < figures["loss_first_epoch"]
    if name == "eva_x":
        assert figures["loss_last_epoch"] < figures["trivial_loss"] - 0.1


@pytest.mark.slow
@pytest.mark.parametrize("task", ["byol", "dino", "mae"])
def test_one_method_alone(run_bundle, few_films, tmp_path, task):
    """The encoder that its recipe names, two epochs, and the weights of what is kept."""
    result = run_bundle(
        "bundles/curricular/train.json", "--dataset_dir", few_films, "--output_dir", tmp_path, "--model_path",
        tmp_path / "model.pt", "--recipe", "short", "--batch_size", 8, "--max_epochs", 2, "--tasks", task,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["tasks"] == task
    assert figures["encoder_name"] == ("resnet18" if task == "byol" else VIT)
    assert figures[f"{task}_trivial_loss"] > 0
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(name.startswith("encoder.") for name in state)
    if task == "dino":
        checkpoint = sorted((tmp_path / "stages" / "1_dino" / "checkpoints").glob("*.pt"))[-1]
        method = torch.load(checkpoint, weights_only=True)["parts"]["method"]
        assert all(torch.equal(value, method[f"teacher.network.0.{name}"]) for name, value in state.items())
