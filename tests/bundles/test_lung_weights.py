# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The lung segmentation weights that come with the package: what the card says of the file, and how well they do."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.monai_label.bundle_folders import bundle_folders
from monai_cxrssl.data import load_datalist
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.files import sha256
from monai_cxrssl.networks import SegmentLungs, load_trained_network, lung_weights, read_training_range, read_weights
from monai_cxrssl.phantom import make_phantom_dataset
from monai_cxrssl.transforms import LoadSmallCXR

CARD = lung_weights().with_name("README.md")
FIGURES = json.loads(lung_weights().with_name("figures.json").read_text(encoding="utf-8"))


def test_file_is_small_and_the_card_is_of_it():
    path = lung_weights()
    stored = read_weights(path)
    assert path.stat().st_size < 6e6
    assert sum(value.numel() for value in stored.values()) <= 4e6
    assert {value.dtype for value in stored.values() if value.is_floating_point()} == {torch.float16}
    network, settings = load_trained_network(path)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert settings["mask"] == "lung"
    assert read_training_range(path)["films"] > 1000
    card = CARD.read_text(encoding="utf-8")
    assert f"`{sha256(path)}`" in card
    for source in ("children", "JSRT", "OpenIST", "hospital, radiologists' masks"):
        assert f"{FIGURES[source]['dice']['value']:.3f} (" in card
    licences = (Path(__file__).parents[2] / "LICENSE-weights.md").read_text(encoding="utf-8")
    assert path.relative_to(Path(__file__).parents[2]).as_posix() in licences


def dice(segment: SegmentLungs, image: str, mask: str, heart: str | None = None) -> float:
    film = LoadSmallCXR(384).read(image)[0]
    drawn = segment(film)[0].numpy().astype(bool)
    human = read_lung_mask(mask, drawn.shape, image=image)[0].astype(bool)
    outside = True if heart is None else read_lung_mask(heart, drawn.shape)[0] == 0
    return 2 * (drawn & human & outside).sum() / ((drawn & outside).sum() + (human & outside).sum())


@pytest.mark.parametrize(
    ("source", "table", "least"),
    [("children", "kermany-pediatric/human_lung_masks.csv", 0.94), ("JSRT", "jsrt/table.csv", 0.92)],
)
def test_figures_of_the_card(source, table, least, shared_data):
    """On twelve images of those that the card measures; JSRT's lungs end at the heart, so outside of it."""
    folder = shared_data.parent / "corpus"
    if not (folder / table).is_file():
        pytest.skip(f"no {table} in {folder.name!r} beside the checkout's parent")
    from weights.lung_segmentation.films import Films, measured_sources

    items = measured_sources(Films(folder, shared_data))[source][::25][:12]
    segment = SegmentLungs()
    values = [dice(segment, item["image"], item["lung_mask"], item.get("heart_mask")) for item in items]
    assert np.mean(values) > least
    key = "dice" if source == "children" else "dice_outside_heart"
    assert np.mean(values) == pytest.approx(FIGURES[source][key]["value"], abs=0.03)


@pytest.fixture(scope="module")
def phantom(made_once) -> Path:
    return made_once("lung_phantom", lambda folder: make_phantom_dataset(folder, patients=10, size=256))


def test_predict_marks_a_folder(phantom, tmp_path, repo):
    """By one command, with no training: drawn images are unlike real ones, so only about right."""
    frontal = [item for item in load_datalist(phantom / "datalist.json").all_items() if item.get("lung_mask")][:8]
    films = tmp_path / "films"
    films.mkdir()
    for number, item in enumerate(frontal):
        os.link(item["image"], films / f"{number}{Path(item['image']).suffix}")
    assert (
        main(
            [
                "predict",
                str(repo / "bundles/lung_segmentation"),
                str(films),
                "--output_dir",
                str(tmp_path / "out"),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    rows = {Path(row["image"]).stem: row for row in csv.DictReader((tmp_path / "out/lungs.csv").open(encoding="utf-8"))}
    masks = {
        Path(row["image"]).stem: row["mask"]
        for row in csv.DictReader((tmp_path / "out/masks.csv").open(encoding="utf-8"))
    }
    values = []
    for number, item in enumerate(frontal):
        drawn = read_lung_mask(tmp_path / "out" / masks[str(number)])[0].astype(bool)
        human = read_lung_mask(item["lung_mask"], drawn.shape, image=item["image"])[0].astype(bool)
        values.append(2 * (drawn & human).sum() / (drawn.sum() + human.sum()))
        assert (tmp_path / "out" / rows[str(number)]["outline"]).is_file()
    assert np.median(values) > 0.8


def test_monai_label_serves_it_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder,) = bundle_folders({"bundle": "lung_segmentation"}, tmp_path / "model")
    assert folder.name == "lung_segmentation"
    assert folder.path == (tmp_path / "model" / "lung_segmentation").resolve()
    assert folder.trains
    shipped, served = read_weights(lung_weights()), read_weights(folder.weights)
    assert all(torch.equal(served[name], value.float()) for name, value in shipped.items() if value.is_floating_point())
    assert folder.weights.with_suffix(".patients.json").is_file()


@pytest.mark.slow
def test_training_is_repeatable(shared_data, tmp_path, repo):
    """A few steps of both stages, twice: the same weights to the bit."""
    corpus = shared_data.parent / "corpus"
    if not (corpus / "kermany-pediatric").is_dir():
        pytest.skip("no corpus beside the real X-rays")
    from monai_cxrssl.networks.weights.header import tensors_sha256

    found = []
    for run in ("first", "second"):
        command = [sys.executable, "-m", "weights.lung_segmentation.train", "--corpus", corpus, "--data", shared_data]
        stages = "[[64, 8, 4, 0.003, 0.5], [96, 8, 3, 0.002, 1.0]]"
        subprocess.run(
            [*map(str, command), "--output_dir", str(tmp_path / run), "--stages", stages, "--most", "64"],
            check=True,
            cwd=repo,
        )
        found.append(tensors_sha256(tmp_path / run / "stage_1" / "checkpoints" / "best.pt"))
    assert found[0] == found[1]
