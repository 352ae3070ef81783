# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
import re
import runpy
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.export.check import CheckFilms, int8_cost, largest_differences, open_check_films
from monai_cxrssl.apps.export.description import describe_preprocessing
from monai_cxrssl.apps.export.onnx_export import ExportedNetwork, open_exported
from monai_cxrssl.data.stores.images import open_images
from monai_cxrssl.data.stores.small_film import decoded_side
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.normalisation import Normalisation
from monai_cxrssl.networks.prediction_head import PredictionHead
from monai_cxrssl.transforms import ResizeCXR

SIZE = 64


def made(folder, encoder="resnet18", classes=("negative", "typical", "indeterminate", "atypical"), decoder="Unet",
         task="multi_class", **further):  # fmt: skip
    torch.manual_seed(0)
    network = MultiTaskNet(encoder, num_classes=len(classes), decoder=decoder)
    settings = {
        **described_encoder(network), "image_size": SIZE, "classes": list(classes), "task": task, "decoder": decoder,
        "mask": "lung" if decoder else None, "mask_channels": 1, **further,
    }  # fmt: skip
    write_model(network, folder / "model.pt", settings, None)
    return folder / "model.pt"


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("onnx")
    weights = made(folder, temperature=2.5)
    assert main(["export", str(weights), "--int8"]) == 0
    return folder / "model.onnx"


def logits_of(weights, images):
    """What the network says, in float64, without anything of the export."""
    settings = json.loads(weights.with_suffix(".json").read_text())
    network = MultiTaskNet(settings["encoder_name"], len(settings["classes"]), settings["decoder"])
    network.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad():
        output = network.double().eval()(torch.from_numpy(images).double())
    return {name: value.numpy() for name, value in output.items()}


def films(count, seed=0):
    return np.random.default_rng(seed).random((count, 1, SIZE, SIZE), dtype=np.float32)


def test_onnx_gives_probabilities_at_the_stored_temperature_for_any_batch(onnx_file):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file))
    assert [entry.name for entry in session.get_outputs()] == ["label", "mask"]
    assert session.get_inputs()[0].shape[1:] == [1, SIZE, SIZE]
    for count in (1, 2, 5):
        label, mask = session.run(["label", "mask"], {"image": films(count)})
        expected = logits_of(onnx_file.with_suffix(".pt"), films(count))
        np.testing.assert_allclose(label, softmax(expected["label"] / 2.5, axis=1), atol=1e-5)
        np.testing.assert_allclose(mask, expit(expected["mask"]), atol=1e-5)


def test_onnx_metadata_say_how_to_use_it(onnx_file):
    import onnx

    model = onnx.load(onnx_file)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["class_names"]) == ["negative", "typical", "indeterminate", "atypical"]
    assert (about["task"], about["image_size"], about["temperature"]) == ("multi_class", "64", "2.5")
    assert json.loads(about["preprocessing"]) == describe_preprocessing({"image_size": SIZE})
    assert json.loads(about["outputs"])["label"]["activation"].startswith("softmax")
    assert len(about["weights_sha256"]) == 64
    small = onnx.load(onnx_file.with_name("model.int8.onnx"))
    kept = {entry.key: entry.value for entry in small.metadata_props}
    assert kept.pop("quantization").startswith("dynamic")
    assert kept == about
    assert small.ByteSize() < model.ByteSize() / 3


def test_multi_label_at_a_given_temperature_in_a_new_folder(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    weights = made(tmp_path, task="multi_label", classes=["a", "b"])
    path = tmp_path / "x" / "m.onnx"
    assert main(["export", str(weights), "--temperature", "0.5", "--out", str(path)]) == 0
    differences = re.findall(r"(?:label|mask) (\d\S+?)[,.]? ?(?=mask|\n)", capsys.readouterr().out)
    assert len(differences) == 2
    assert all(float(value) <= 1e-4 for value in differences)
    label = open_exported(path, ["label"])(films(4))["label"]
    np.testing.assert_allclose(label, expit(logits_of(weights, films(4))["label"] / 0.5), atol=1e-5)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_vision_transformer_with_dpt(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    weights = made(tmp_path, encoder="tu-vit_tiny_patch16_224", decoder="DPT", classes=["sick"], task="multi_label")
    cv2.imwrite(str(tmp_path / "film.png"), (films(1)[0, 0] * 255).astype(np.uint8))
    # The command itself compares the file with PyTorch.
    assert main(["export", str(weights), "--check_images", str(tmp_path / "film.png")]) == 0
    assert re.search("Largest difference from PyTorch .* on 1 images, batches of 1 and 3", capsys.readouterr().out)
    found = open_exported(tmp_path / "model.onnx", ["label", "mask"])(films(2))
    assert (found["label"].shape, found["mask"].shape) == ((2, 1), (2, 1, SIZE, SIZE))


@pytest.mark.parametrize(("classes", "decoder", "names"), [([], "Unet", ["mask"]), (["a", "b"], None, ["label"])])
def test_one_branch(tmp_path, capsys, classes, decoder, names):
    onnxruntime = pytest.importorskip("onnxruntime")
    weights = made(tmp_path, classes=classes, decoder=decoder)
    assert main(["export", str(weights)]) == 0
    assert capsys.readouterr().out.endswith(f"; {names[0]})\n")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert [entry.name for entry in session.get_outputs()] == names


def test_encoder_of_pretraining_gives_embeddings(tmp_path):
    pytest.importorskip("onnxruntime")
    network = Encoder("resnet18")
    write_model(network, tmp_path / "model.pt", {"encoder_name": "resnet18", "image_size": SIZE}, None)
    assert main(["export", str(tmp_path / "model.pt"), "--opset", "21"]) == 0
    import onnx

    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 21
    found = open_exported(tmp_path / "model.onnx", ["embedding"])(films(3))["embedding"]
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(films(3))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--temperature", "0"], "--temperature is 0"),
        (["--check_images", "nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_use_is_one_sentence(onnx_file, tmp_path, capsys, words, expected):
    weights = onnx_file.with_suffix(".pt")
    assert main(["export", str(weights), "--out", str(tmp_path / "new" / "model.onnx"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_opset_that_torch_cannot_write(onnx_file, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    assert main(["export", str(onnx_file.with_suffix(".pt")), "--out", str(out), "--opset", "5"]) == 2
    assert re.search(r"error: torch wrote opset \d+ instead of 5; give --opset \d+", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_exported(tmp_path, capsys):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "model.pt")
    assert main(["export", str(tmp_path / "model.pt")]) == 2
    assert "does not say what it was trained for" in capsys.readouterr().err
    (tmp_path / "model.json").write_text(json.dumps({"encoder_name": "resnet18", "image_size": SIZE}))
    assert main(["export", str(tmp_path / "model.pt")]) == 2
    error = capsys.readouterr().err
    assert "does not fit the network of" in error
    assert "Its description says the encoder resnet18" in error


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_absent_packages_are_named(tmp_path, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(tmp_path / "model.pt")]) == 2
    error = capsys.readouterr().err
    assert f"needs {package}" in error
    assert 'pip install "monai-cxrssl[export]"' in error


def test_an_export_that_differs_is_not_kept(tmp_path, capsys, monkeypatch):
    import monai_cxrssl.apps.export.check as check

    before = logging.root.manager.disable
    monkeypatch.setattr(check, "largest_differences", lambda *_: {"label": float("nan")})
    assert main(["export", str(made(tmp_path, decoder=None))]) == 1
    assert "was not written" in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.json", "model.pt"]
    assert logging.root.manager.disable == before


def test_largest_differences_runs_batches_of_one_and_three():
    seen = []

    def exported(images):
        seen.append(len(images))
        return {"label": images.mean((2, 3)) + 0.25 * (len(images) == 3)}

    worst = largest_differences(exported, lambda images: {"label": images.mean((2, 3))}, films(4))
    assert worst["label"] == pytest.approx(0.25)
    assert seen == [1, 1, 1, 1, 3, 3]


def test_int8_cost():
    images, label = films(4), np.array([0, 0, 1, 1])
    scores = {id(kind): kind for kind in ([0.1, 0.2, 0.8, 0.9], [0.1, 0.85, 0.8, 0.9])}

    def runner(kind):
        def run(batch):
            place = next(k for k in range(4) if np.array_equal(images[k], batch[0]))
            return {"label": np.array([[1 - kind[place], kind[place]]]), "mask": np.full((1, 1, 2, 2), kind[place])}

        return run

    one, other = (runner(kind) for kind in scores.values())
    cost = int8_cost(one, other, CheckFilms(images, label, "films"))
    assert cost.auc == pytest.approx((1.0, 0.75))
    assert cost.differences["label"] == pytest.approx(0.65)
    assert cost.mask_dice == pytest.approx(0.75)


def test_check_films_of_a_data_set_carry_its_labels(tmp_path):
    draw = np.random.default_rng(1)
    items = []
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), draw.integers(0, 256, (90, 80), dtype=np.uint8))
        items.append({"image": f"{number}.png", "patient_id": str(number), "label": number % 2 if number else None})
    content = {"name": "x", "classes": ["a", "b"], "task": "multi_class"}
    content |= {"training": [], "validation": [], "test": items}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    found = open_check_films([str(tmp_path)], SIZE, ["a", "b"], "multi_class", most=4)
    assert found.images.shape == (4, 1, SIZE, SIZE)
    assert found.label.tolist() == [-1, 0, 1, 1]
    assert open_check_films([str(tmp_path)], SIZE, ["a", "c"], "multi_class").label is None
    assert len(open_check_films([str(tmp_path / "1.png")], SIZE, ["a"], "multi_label").images) == 1


@pytest.mark.parametrize("shape", [(64, 64), (50, 40), (500, 433), (1021, 700), (200, 640)])
def test_example_prepares_films_as_the_bundles_do(repo, tmp_path, shape):
    pytest.importorskip("onnxruntime")
    example = runpy.run_path(str(repo / "docs" / "examples" / "onnx_inference.py"))
    smooth = cv2.GaussianBlur(np.random.default_rng(2).random(shape), (0, 0), 3)
    film = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    path = tmp_path / "film.png"
    cv2.imwrite(str(path), film)
    store = open_images([{"image": str(path), "patient_id": "1"}], decoded_side(SIZE), progress=False)
    expected = ResizeCXR(SIZE)(store.image(0)[None]).numpy()
    found = example["prepare"](example["read"](str(path)), describe_preprocessing({"image_size": SIZE}))[0]
    # A mean halfway between two grey levels may be rounded either way.
    assert np.abs(found - expected).max() <= 1.01 / 255
    assert (np.abs(found - expected) > 1e-5).mean() < 0.02


def test_example_alone_gives_the_same_probabilities(repo, onnx_file, shared_data, tmp_path):
    films_at = sorted((shared_data / "nih-chestxray14-subset" / "images").glob("*.png"))[::60][:4]
    example = repo / "docs" / "examples" / "onnx_inference.py"
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'monai', 'cv2', 'scipy', 'monai_cxrssl')));"
    code = f"{blocked} import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    told = subprocess.run(
        [sys.executable, "-c", code, str(example), str(onnx_file), *map(str, films_at)],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    rows = [json.loads(line) for line in told.splitlines()]
    store = open_images([{"image": str(p), "patient_id": p.name} for p in films_at], decoded_side(SIZE), progress=False)
    images = torch.stack([ResizeCXR(SIZE)(store.image(k)[None]) for k in range(len(films_at))])
    network = MultiTaskNet("resnet18", 4, "Unet")
    network.load_state_dict(torch.load(onnx_file.with_suffix(".pt"), weights_only=True))
    with torch.no_grad():
        expected = ExportedNetwork(network, PredictionHead("multi_class", [*"abcd"], 2.5))(images)[0].numpy()
    found = [[row[name] for name in ("negative", "typical", "indeterminate", "atypical")] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_normalised_network_takes_images_as_they_are(tmp_path, repo):
    """The normalisation is in the graph: the example and the description's user give it [0, 1]."""
    onnxruntime = pytest.importorskip("onnxruntime")
    xrv = Normalisation.of("xrv")
    network = MultiTaskNet("resnet18", 2, None, input_normalisation="xrv").eval()
    settings = {
        "encoder_name": "resnet18", "image_size": SIZE, "classes": ["a", "b"], "task": "multi_label", "decoder": None,
        "mask": None, "mask_channels": 1, **xrv.described(),
    }  # fmt: skip
    write_model(network, tmp_path / "model.pt", settings, None)
    assert main(["export", str(tmp_path / "model.pt")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    images = films(3)
    with torch.no_grad():
        features = network.encoder((2 * torch.from_numpy(images) - 1) * 1024)[-1]
        wanted = network.classification_head(features).sigmoid().numpy()
    np.testing.assert_allclose(session.run(["label"], {"image": images})[0], wanted, atol=1e-4)
    steps = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
    assert steps[-1] == {"step": "normalise", "part_of": "the network", "mean": [1024.0], "std": [1.0], "scale": 2048.0}
    example = runpy.run_path(str(repo / "docs" / "examples" / "onnx_inference.py"))
    film = np.random.default_rng(1).integers(0, 256, (80, 70), dtype=np.uint8)
    prepared = [example["prepare"](film, each) for each in (steps, describe_preprocessing({"image_size": SIZE}))]
    assert np.array_equal(*prepared)
