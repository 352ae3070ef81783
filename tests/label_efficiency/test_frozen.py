# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Probe and pixel cells on real small files, against scikit-learn on features made by hand."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from monai_cxrssl.data.audit.leak import write_training_patients
from monai_cxrssl.data.datalists.datalist import load_datalist
from monai_cxrssl.data.datalists.predictions import load_predictions
from monai_cxrssl.data.sampling.pretext import ImageDataset
from monai_cxrssl.data.stores.images import open_images
from monai_cxrssl.label_efficiency import Init, Study
from monai_cxrssl.label_efficiency.logistic import LabelledFeatures, fit_logistic
from monai_cxrssl.label_efficiency.rows import run_options
from monai_cxrssl.networks import Encoder
from monai_cxrssl.probing import embed
from monai_cxrssl.transforms import ResizeCXR


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """80 patients with two images of two classes, told apart by a bright corner; some noise."""
    folder = tmp_path_factory.mktemp("films")
    generator = np.random.default_rng(0)
    items = []
    for number in range(160):
        image = generator.normal(90, 40, (48, 48))
        image[:10, :10] += 25 * (number // 2 % 2)
        cv2.imwrite(str(folder / f"{number}.png"), image.clip(0, 255).astype(np.uint8))
        items.append({"image": f"{number}.png", "patient_id": f"p{number // 2}", "label": number // 2 % 2})
    content = {"name": "toy", "classes": ["a", "b"], "task": "multi_class", "training": items}
    (folder / "d.json").write_text(json.dumps(content))
    return folder


def opened(repo, films, **options):
    bundles = {"classification": repo / "bundles" / "classification" / "configs" / "train.json"}
    given = {"image_size": 32, "encoder_name": "resnet18", "amp": False, **options.pop("given", {})}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return Study.open(bundles, options.pop("inits", [Init("random")]), None, str(films / "d.json"), given, words,
                      hows=("probe",), fractions=(0.25, 1.0), draws=2, **options)  # fmt: skip


def test_probe_and_pixels(repo, films, tmp_path, monkeypatch):
    study = opened(repo, films, metrics=("macro_auc", "accuracy"), drifts=("noise", "contrast"))
    assert [row.name for row in study.rows] == ["pixels", "random"]
    assert study.reference == "random"
    content = study.run(tmp_path)
    assert {cell["status"] for cell in content["cells"]} == {"finished"}
    for draw, fraction in ((0, "0.25"), (1, "1")):
        folder = tmp_path / "cells" / "pixels" / f"{fraction}_draw{draw}"
        found = load_predictions(folder / "predictions.csv")
        subset = load_datalist(tmp_path / "subsets" / f"{fraction}_draw{draw}.json")

        def pixels(split, subset=subset):
            items = subset.items(split)
            values = [
                cv2.resize(
                    cv2.imread(item["image"], 0).astype(np.float32) / 255, (24, 24), interpolation=cv2.INTER_AREA
                )
                for item in items
            ]
            return LabelledFeatures(np.stack(values).reshape(len(items), -1).astype(float), np.array([item["label"] for item in items]),
                                    np.array([item["patient_id"] for item in items]))  # fmt: skip

        model = fit_logistic(pixels("training"), 2, pixels("validation"))
        assert json.loads((folder / "probe.json").read_text()) == {
            "inverse_strength": model.strength,
            "chosen_on": "validation",
        }
        np.testing.assert_allclose(found.scores, model(pixels("test").features), atol=0.01)
        assert not {item["patient_id"] for item in subset.items("training")} & {
            item["patient_id"] for item in subset.items("test")
        }
    figures = {(entry["row"], entry["fraction"]): entry for entry in content["metrics"]["macro_auc"]["figures"]}
    assert figures["pixels", 1.0]["value"] > 0.9
    random = figures["random", 1.0]["by_draw"]
    assert random["0"] != random["1"]  # another random encoder in each draw
    assert len(content["drift"]["accuracy"]) == 2 * 2 * 2
    # All is there: nothing is embedded again, and the figures are the same.
    monkeypatch.setattr("monai_cxrssl.label_efficiency.frozen.embed", None)
    again = opened(repo, films, metrics=("macro_auc", "accuracy"), drifts=("noise", "contrast")).run(tmp_path)
    assert again["metrics"] == content["metrics"]
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_embeddings_are_those_of_the_frozen_encoder(repo, films, tmp_path):
    torch.manual_seed(5)
    encoder = Encoder("resnet18")
    torch.save(encoder.state_dict(), tmp_path / "mine.pt")
    study = opened(repo, films, inits=[Init("mine", files=(tmp_path / "mine.pt",))], baselines=False)
    study.run(tmp_path / "out")
    subset = load_datalist(tmp_path / "out" / "subsets" / "1_draw0.json")

    def embedded(split):
        items = subset.items(split)
        features = embed(encoder, ImageDataset(open_images(items, 54), ResizeCXR(32)), "cpu", amp=False)
        return LabelledFeatures(
            features.astype(float), np.array([item["label"] for item in items]), np.arange(len(items)) // 2
        )

    model = fit_logistic(embedded("training"), 2, embedded("validation"))
    found = load_predictions(
        tmp_path / "out" / "cells" / "probe" / "classification" / "recipe" / "mine" / "1_draw0" / "predictions.csv"
    )
    np.testing.assert_allclose(found.scores, model(embedded("test").features), atol=1e-3)


def test_pooling_of_an_encoder_travels_with_it(repo, films, tmp_path):
    """Given as an option, or said by the weights; embeddings of another pooling are not taken for these."""
    torch.save(Encoder("resnet18").state_dict(), tmp_path / "mine.pt")

    def features(**given):
        study = opened(repo, films, inits=[Init("mine", files=(tmp_path / "mine.pt",))], baselines=False, given=given)
        assert {cell["status"] for cell in study.run(tmp_path / "out")["cells"]} == {"finished"}
        return {path: np.load(path)["features"] for path in (tmp_path / "out" / "embeddings").iterdir()}

    before = features()
    [mean] = before.values()
    given = features(pooling="mean+std")
    [both] = [array for path, array in given.items() if path not in before]
    assert (mean.shape[1], both.shape[1]) == (512, 1024)
    np.testing.assert_allclose(both[:, :512], mean, atol=1e-5)
    (tmp_path / "mine.json").write_text(json.dumps({"encoder_name": "resnet18", "pooling": "mean+std"}))
    [said] = [array for path, array in features().items() if path not in given]
    np.testing.assert_array_equal(said, both)


def test_patients_of_the_pretraining_are_not_tested_on(repo, films, tmp_path):
    torch.save(Encoder("resnet18").state_dict(), tmp_path / "mine.pt")
    write_training_patients(load_datalist(films / "d.json").items("training"), tmp_path / "mine.pt", "toy")
    study = opened(repo, films, inits=[Init("mine", files=(tmp_path / "mine.pt",))], baselines=False)
    cells = study.run(tmp_path / "out")["cells"]
    assert {cell["status"] for cell in cells} == {"failed"}
    assert "go on all the same with --allow_leak True" in cells[0]["problem"]


def test_another_data_set_to_test_on(repo, films, tmp_path):
    items = json.loads((films / "d.json").read_text())["training"]
    other = [
        {**item, "image": str(films / item["image"]), "patient_id": f"q{n}", "label": 1 - item["label"]}
        for n, item in enumerate(items[:40])
    ]
    content = {"name": "elsewhere", "classes": ["b", "a"], "task": "multi_class", "training": other}
    (tmp_path / "other.json").write_text(json.dumps(content))
    study = opened(repo, films, given={"test_datalist": str(tmp_path / "other.json")})
    found = study.run(tmp_path / "out")["metrics"]["macro_auc"]
    assert found["test"] == {"images": 40, "patients": 40}
    # The labels are brought onto the classes that were learnt, whose order is another there.
    assert next(f for f in found["figures"] if (f["row"], f["fraction"]) == ("pixels", 1.0))["value"] > 0.9
    same = opened(repo, films)
    assert same.datalist.items("training") == study.datalist.items("training")
    content["name"], content["training"] = "toy", [{**item, "image": str(films / item["image"])} for item in items[:40]]
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match="patients of the test data set toy are among those of toy that are learnt from"
    ):
        opened(repo, films, given={"test_datalist": str(tmp_path / "other.json")})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "none"}, "--reference is 'none'; the rows are 'pixels'; 'random'"),
        ({"metrics": ("dice",)}, "A probe has no dice"),
        ({"given": {"image_size": 3}}, "--image_size is 3"),
        ({"given": {"max_epoch": 3}}, "--max_epoch is no option"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(repo, films, options, message):
    with pytest.raises(ValueError) as caught:
        opened(repo, films, **options)
    assert message in str(caught.value)


def test_options_are_resolved_as_those_of_a_run(repo):
    config = repo / "bundles" / "classification" / "train.json"
    assert (
        run_options(config, {"recipe": "short"}).image_size
        == run_options(config.parent / "configs" / "train.json", {"recipe": "short"}).image_size
        == 96
    )
