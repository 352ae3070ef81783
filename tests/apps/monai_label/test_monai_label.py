# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundles behind a real server of MONAI Label: its own app and ours, scores, masks and training."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import itk
import numpy as np
import pytest
import torch

from monai_cxrssl.apps.monai_label import APP_FOLDER
from monai_cxrssl.apps.monai_label.install import cache_folder, install_environment
from monai_cxrssl.data import load_datalist, load_predictions, read_cxr_uint
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from tests.warm_python import WarmPython

from .label_server import label_server, listening

pytestmark = pytest.mark.slow

NAMES = ("multitask", "classification", "lung_segmentation")
WITHOUT = {"classification": ("decoder.", "segmentation_head."), "lung_segmentation": ("classification_head.",)}
WIDE, TALL = "wide", "tall"


class Setting(NamedTuple):
    bundles: Path
    studies: Path
    scores: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    lungs: dict[str, Path]
    films: dict[str, Path]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with MONAI Label, kept between runs of the tests."""
    return install_environment(cache_folder() / "monai_label-tests")


def run(warm: WarmPython, repo: Path, config: str, *options: object) -> None:
    result = warm.run(["-m", "monai.bundle", "run", "--config_file", config, *options], repo)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.fixture(scope="module")
def setting(repo, few_films, warm_python, tmp_path_factory) -> Setting:
    """Three bundles with the weights of one small training, images in a studies folder, and what inference says."""
    folder = tmp_path_factory.mktemp("label")
    phantom = few_films
    trained = folder / "trained"
    run(
        warm_python, repo, "bundles/multitask/train.json", "--dataset_dir", phantom, "--output_dir", trained, "--model_path",
        trained / "model.pt", "--recipe", "short", "--encoder_name", "resnet18", "--image_size", 64, "--batch_size", 8,
        "--max_epochs", 4, "--num_workers", 0, "--average_momentum", 0.8,
    )  # fmt: skip
    state = torch.load(trained / "model.pt", weights_only=True)
    settings = json.loads((trained / "model.json").read_text())
    # A temperature as evaluation stores it, to see that it is used, and a threshold.
    settings |= {"temperature": 1.7, "thresholds": {settings["classes"][0]: 0.25}}
    for name in NAMES:
        bundle = folder / "bundles" / name
        shutil.copytree(repo / "bundles" / name, bundle, ignore=shutil.ignore_patterns("*.pt", "runs"))
        kept = {key: value for key, value in state.items() if not key.startswith(WITHOUT.get(name, ("none",)))}
        torch.save(kept, bundle / "models" / "model.pt")
        own = settings | ({"decoder": None} if name == "classification" else {})
        own |= {"classes": [], "thresholds": {}} if name == "lung_segmentation" else {}
        (bundle / "models" / "model.json").write_text(json.dumps(own))

    studies, lungs, films = folder / "studies", {}, {}
    studies.mkdir()
    listed = [item for item in load_datalist(phantom / "datalist.json").items("training") if item.get("lung_mask")]
    by_patient = {item["patient_id"]: item for item in listed}
    for number, item in enumerate([*by_patient.values()][:6]):
        films[f"film{number}"] = studies / f"film{number}.dcm"
        shutil.copy(item["image"], films[f"film{number}"])
        mask = read_lung_mask(item["lung_mask"])[0]
        lungs[f"film{number}"] = folder / f"film{number}.png"
        cv2.imwrite(str(lungs[f"film{number}"]), mask)
    film = read_cxr_uint(films["film0"])
    # Upside down and to one side: a mask turned or mirrored on its way would not fit.
    films[WIDE] = studies / f"{WIDE}.png"
    films[TALL] = folder / f"{TALL}.png"
    cv2.imwrite(str(films[WIDE]), np.pad(cv2.resize(film, (150, 120)), ((0, 0), (0, 61))))
    cv2.imwrite(str(films[TALL]), np.pad(cv2.resize(film, (110, 140)), ((53, 0), (0, 0))))

    inferred, out = folder / "inferred", folder / "out"
    inferred.mkdir()
    for file in films.values():
        shutil.copy(file, inferred)
    run(
        warm_python, repo, "bundles/multitask/configs/inference.json", "--dataset_dir", inferred, "--output_dir", out,
        "--model_path", folder / "bundles" / "multitask" / "models" / "model.pt",
    )  # fmt: skip
    found = load_predictions(out / "predictions.csv")
    scores = {Path(item["image"]).stem: row for item, row in zip(found.items, found.scores, strict=True)}
    with open(out / "masks.csv", newline="") as file:
        masks = {Path(row["image"]).stem: cv2.imread(str(out / row["mask"]), -1) > 0 for row in csv.DictReader(file)}
    assert set(scores) == set(masks) == set(films)
    assert all(0.02 < mask.mean() < 0.98 for mask in masks.values()), "masks that say nothing"
    return Setting(folder / "bundles", studies, scores, masks, lungs, films)


def agrees(setting: Setting, name: str, film: str, table: dict, file: bytes | None, folder: Path, ext: str) -> None:
    """A reply says what the bundle's own inference says, and its mask lies as the image does."""
    if name != "lung_segmentation":
        found = [row["score"] for row in table["prediction"]]
        np.testing.assert_allclose(found, setting.scores[film], atol=1e-4)
    if name == "classification":
        assert file is None
        return
    path = folder / f"reply{ext}"
    path.write_bytes(file)
    drawn = cv2.imread(str(path), -1) if ext == ".png" else np.asarray(itk.imread(str(path))).squeeze()
    expected = setting.masks[film]
    assert drawn.shape == expected.shape
    assert drawn.shape[0] != drawn.shape[1]
    assert set(np.unique(drawn)) <= {0, 1}
    assert (expected & (drawn > 0)).sum() / (expected | (drawn > 0)).sum() > 0.99
    if ext == ".nrrd":
        there, source = itk.imread(str(path)), itk.imread(str(setting.films[film]))
        np.testing.assert_allclose(list(there.GetSpacing())[:2], list(source.GetSpacing())[:2], rtol=1e-4)
        np.testing.assert_allclose(list(there.GetOrigin())[:2], list(source.GetOrigin())[:2], atol=1e-4)


def ask_all(server, setting: Setting, folder: Path) -> None:
    for name in NAMES:
        agrees(setting, name, TALL, *server.infer(name, setting.films[TALL]), folder, ".png")
        agrees(setting, name, WIDE, *server.infer(name, WIDE), folder, ".png")
        agrees(
            setting,
            name,
            "film1",
            *server.infer(name, setting.films["film1"], result_extension=".nrrd"),
            folder,
            ".nrrd",
        )
        agrees(setting, name, "film2", *server.infer(name, "film2", result_extension=".nrrd"), folder, ".nrrd")


def test_own_app_of_monai_label(setting, python, free_port, tmp_path):
    """The stock app ``monaibundle``: everything that a bundle needs comes from its ``inference.json``."""
    command = [python, "-m", "monailabel.main", "apps", "--download", "--name", "monaibundle", "--output", tmp_path]
    subprocess.run([*map(str, command)], check=True, capture_output=True, cwd=tmp_path)
    app = tmp_path / "monaibundle"
    shutil.copytree(setting.bundles, app / "model")
    conf = {"models": ",".join(NAMES), "zoo_source": "ngc", "sam2": "false", "skip_trainers": "true"}
    films = {"MONAI_LABEL_DATASTORE_FILE_EXT": '["*.dcm", "*.png"]'}
    with label_server(python, app, setting.studies, free_port, tmp_path / "server.log", conf, films) as server:
        models = server.json("/info/")["models"]
        assert {name: models[name]["type"] for name in NAMES} == {
            "multitask": "segmentation", "classification": "classification", "lung_segmentation": "segmentation",
        }  # fmt: skip
        ask_all(server, setting, tmp_path)


def test_app_of_this_package(setting, python, free_port, tmp_path):
    """Our app: any folder, names and decisions from the weights' own settings, and training from labels."""
    app, studies = tmp_path / "app", tmp_path / "studies"
    # The server makes folders in an app's folder; those of the package are left alone.
    shutil.copytree(APP_FOLDER, app, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(setting.studies, studies)
    conf = {"bundle": ",".join(str(setting.bundles / name) for name in NAMES)}
    with label_server(python, app, studies, free_port, tmp_path / "server.log", conf, {}) as server:
        assert listening(free_port) == {"0100007F"}, "127.0.0.1 and no other address"
        info = server.json("/info/")
        assert set(info["models"]) == set(NAMES)
        assert info["models"]["multitask"]["labels"] == {"lung": 1}
        assert list(info["models"]["classification"]["labels"]) == info["models"]["multitask"]["classes"]
        assert list(info["trainers"]) == ["lung_segmentation"]
        assert info["datastore"]["total"] == 7
        ask_all(server, setting, tmp_path)
        table, _ = server.infer("multitask", WIDE)
        score = setting.scores[WIDE][0]
        assert [row.get("decision") for row in table["prediction"]] == [int(score >= 0.25), None, None, None]

        for image, mask in setting.lungs.items():
            server.send(f"/datastore/label?image={image}&tag=final", "PUT", label=mask)
        before = (setting.bundles / "lung_segmentation" / "models" / "model.pt").read_bytes()
        task = server.json("/train/lung_segmentation", "POST", {"max_epochs": 2})
        for _ in range(300):
            task = server.json("/train/")
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                break
            time.sleep(0.5)
        assert task["status"] == "DONE", "\n".join(task["details"])
        [written] = [path for path in (app / "training" / "lung_segmentation").iterdir() if path.is_dir()]
        figures = json.loads((written / "metrics.json").read_text())
        assert 0 <= figures["dice"] <= 1
        assert figures["epochs"] == 2
        content = json.loads((written / "datalist.json").read_text())
        assert {split: len(content[split]) for split in ("training", "validation", "test")} == {
            "training": 4, "validation": 1, "test": 1,
        }  # fmt: skip
        after = (setting.bundles / "lung_segmentation" / "models" / "model.pt").read_bytes()
        [kept] = (setting.bundles / "lung_segmentation" / "models" / "previous").iterdir()
        assert after != before == (kept / "model.pt").read_bytes()
        assert after == (written / "model.pt").read_bytes()
        log = (tmp_path / "server.log").read_text()
        assert "lung_segmentation infers by new weights" in log
        assert "Epoch" in log or "epoch" in log
        server.infer("lung_segmentation", WIDE)
        assert "has new weights" in (tmp_path / "server.log").read_text()
