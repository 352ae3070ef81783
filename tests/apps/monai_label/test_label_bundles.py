# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI Label reads of the bundles, and the parts of our app that do without it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, decollate_batch
from monai.transforms import Compose

from monai_cxrssl.apps.monai_label import bundle_folders, install, labelled_datalist, train_on_labels
from monai_cxrssl.data.audit.leak import write_training_patients
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.networks import fine_tuned_network
from monai_cxrssl.networks.parts.named_logits import named_logits

CLASSES = ["normal", "pneumonia", "other"]
PARTS = {
    "classification": {"classes": CLASSES, "decoder": None},
    "lung_segmentation": {"classes": [], "decoder": "Unet"},
    "multitask": {"classes": CLASSES, "decoder": "Unet"},
    "ensemble": {"classes": CLASSES, "decoder": "Unet", "members": 2},
    "lungs": {"classes": [], "decoder": "Unet", "members": 2},
}


@pytest.fixture(scope="module")
def bundles(repo, tmp_path_factory):
    """The three bundles with weights of their own, and ensembles."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, parts in PARTS.items():
        source = {"ensemble": "multitask", "lungs": "lung_segmentation"}.get(name, name)
        shutil.copytree(repo / "bundles" / source / "configs", folder / name / "configs")
        (folder / name / "models").mkdir()
        torch.manual_seed(2)
        network = fine_tuned_network(
            "resnet18", parts.get("members", 1), num_classes=len(parts["classes"]), decoder=parts["decoder"]
        )
        torch.save(network.state_dict(), folder / name / "models" / "model.pt")
        about = {
            "encoder_name": "resnet18",
            "image_size": 64,
            "task": "multi_class",
            "mask": "lung",
            "mask_channels": 1,
        }
        about |= {**parts, "temperature": 2.0}
        (folder / name / "models" / "model.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("name", sorted(PARTS))
def test_one_film_through_what_monai_label_reads(bundles, tmp_path, name):
    """As ``BundleInferTask`` does it: no ``initialize``, the bundle's path written into the config."""
    config = ConfigParser()
    config.read_config(bundles / name / "configs" / "inference.json")
    config.config["bundle_root"] = str(bundles / name)
    assert {"device", "network_def", "preprocessing", "postprocessing", "inferer"} <= set(config.config)
    before, network, inferer, after = (
        config.get_parsed_content(key, instantiate=True)
        for key in ("preprocessing", "network_def", "inferer", "postprocessing")
    )
    assert isinstance(before, Compose)
    assert isinstance(after, Compose)
    network.load_state_dict(torch.load(bundles / name / "models" / "model.pt", weights_only=True))
    network.eval()
    film = tmp_path / "film.png"
    cv2.imwrite(str(film), np.random.default_rng(1).integers(0, 255, (150, 90), dtype=np.uint8))
    item = before({"image": str(film)})
    assert item["image"].shape == (1, 64, 64)
    with torch.no_grad():
        logits = network(item["image"][None])
        item["pred"] = decollate_batch(inferer(item["image"][None], network))[0]
    item = after(item)
    # The server's writers ask for metadata, and its last step must find nothing to resize.
    assert isinstance(item["pred"], MetaTensor)
    assert "image" not in item
    if PARTS[name]["classes"]:
        table = item["result"]["prediction"]
        assert [row["label"] for row in table] == CLASSES
        expected = (named_logits(network, logits)["label"][0].double() / 2).softmax(0)
        np.testing.assert_allclose([row["score"] for row in table], expected, rtol=1e-6)
    assert item["pred"].shape == ((90, 150, 1) if PARTS[name]["decoder"] else (3,))


def test_which_bundles_a_server_offers(bundles, tmp_path):
    paths = ",".join(str(bundles / name) for name in sorted(PARTS))
    found = {folder.name: folder for folder in bundle_folders({"bundle": paths}, tmp_path)}
    assert [name for name, folder in found.items() if folder.trains] == ["lung_segmentation"]
    assert found["multitask"].labels == {"lung": 1}
    assert found["classification"].labels == {"normal": 0, "pneumonia": 1, "other": 2}
    assert [folder.name for folder in bundle_folders({"models": "multitask, classification"}, bundles)] == [
        "multitask",
        "classification",
    ]
    with pytest.raises(ConfigurationError, match="lung masks"):
        train_on_labels(found["multitask"], [], tmp_path)


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({}, "--conf bundle"),
        ({"bundle": "absent"}, "no fine-tuned bundle"),
        ({"models": "multitask,multitask"}, "one name"),
    ],
)
def test_bundles_that_are_refused(bundles, conf, words):
    with pytest.raises(ConfigurationError, match=words):
        bundle_folders(conf, bundles)


def pairs(count: int) -> list[dict[str, str]]:
    return [{"image": f"/films/{number:02}.png", "label": f"/labels/{number:02}.png"} for number in range(count)]


def test_a_patient_keeps_its_split(tmp_path):
    """As labels come in, nobody who was tested on is ever trained on."""
    path, splits = tmp_path / "run" / "datalist.json", tmp_path / "splits.json"
    before: dict[str, str] = {}
    for count in (3, 4, 7, 20):
        content = json.loads(labelled_datalist(pairs(count), path, splits).read_text())
        now = {item["patient_id"]: split for split in ("training", "validation", "test") for item in content[split]}
        assert len(now) == count
        assert before.items() <= now.items()
        before = now
    assert sorted(now.values()).count("training") == 12
    assert content["test"][0]["lung_mask"].startswith("/labels/")
    with pytest.raises(DatalistError, match="at least 3"):
        labelled_datalist(pairs(2), path, splits)
    splits.write_text('{"00": "nowhere"}')
    with pytest.raises(ConfigurationError, match="divide anew"):
        labelled_datalist(pairs(4), path, splits)


def test_whom_the_weights_know_is_not_tested_on(tmp_path):
    weights = tmp_path / "model.pt"
    known = [{"image": f"/films/{number:02}.png", "patient_id": f"{number:02}"} for number in (1, 2)]
    write_training_patients(known, weights, name="monai_label")
    path = labelled_datalist(pairs(6), tmp_path / "datalist.json", tmp_path / "splits.json", weights)
    trained = {item["patient_id"] for item in json.loads(path.read_text())["training"]}
    assert {"01", "02"} <= trained
    with pytest.raises(DatalistError, match="other patients"):
        labelled_datalist(pairs(3), path, tmp_path / "new.json", weights)


def test_the_package_does_without_monai_label():
    code = "import sys, monai_cxrssl.apps.monai_label; sys.exit('monailabel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert importlib.util.find_spec("monai_cxrssl.apps.monai_label.main") is not None


def test_where_the_environment_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("CXRSSL_CACHE", str(tmp_path / "cache"))
    assert install.cache_folder() == tmp_path / "cache"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="something else"):
        install.install_environment(tmp_path / "own")
    assert (tmp_path / "own" / "thesis.txt").is_file()
