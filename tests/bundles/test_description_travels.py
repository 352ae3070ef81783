# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The same weights with and without ``model.json``: equal answers or one sentence, by every way in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.monai_label import bundle_folders
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.methods import load_teacher
from monai_cxrssl.networks import MultiTaskNet, Normalisation, find_description

#: The phantom's classes in another order than the bundle's own recipe has them, and another task.
CLASSES = ["typical", "atypical", "negative", "indeterminate"]
ABOUT = {
    "encoder_name": "resnet18", "image_size": 64, "classes": CLASSES, "task": "multi_label", "decoder": None,
    "mask": None, "mask_channels": 1,
}  # fmt: skip
SAID = ("--classes", f"{CLASSES}", "--task", "multi_label", "--encoder_name", "resnet18", "--image_size", 64)
#: To ``describe``.
SIZE = ["--encoder_name", "resnet18", "--image_size", "64"]
#: What lies in a folder of weights: the description inside and beside, in one place, in none.
PLACES = ("both", "inside", "beside", "none")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """One network's weights in a folder for each of the places."""
    torch.manual_seed(4)
    network = MultiTaskNet("resnet18", num_classes=4, decoder=None)
    folder = tmp_path_factory.mktemp("models")
    for place in PLACES:
        path = folder / place / "model.pt"
        write_model(network, path, ABOUT, None)
        if place in ("inside", "none"):
            path.with_suffix(".json").unlink()
        if place in ("beside", "none"):
            torch.save(dict(torch.load(path, weights_only=True)), path)
    return folder


def refusal(result) -> str:
    """The one line that a run ended with."""
    assert result.returncode == 1, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr[-3000:]
    return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("config", ["inference", "evaluate"])
def test_runs_answer_alike_or_in_one_sentence(models, run_bundle, few_films, tmp_path, config):
    def run(place, *options):
        quiet = ("--splits", "['test']", "--num_workers", 0)
        quiet += ("--report", "False", "--resamples", 20) if config == "evaluate" else ()
        out = tmp_path / f"{place}{len(options)}"
        result = run_bundle(
            f"bundles/classification/configs/{config}.json", "--dataset_dir", few_films, "--output_dir", out,
            "--model_path", models / place / "model.pt", *quiet, *options,
        )  # fmt: skip
        return result, out

    answers = []
    for place, options in (("both", ()), ("inside", ()), ("beside", ()), ("none", SAID)):
        result, out = run(place, *options)
        assert result.returncode == 0, result.stderr[-3000:]
        answers.append((out / "predictions.csv").read_bytes())
    assert len(set(answers)) == 1
    header = answers[0].split(b"\n", 1)[0].decode()
    assert [name for name in header.strip().split(",") if name.startswith("p:")] == [f"p:{name}" for name in CLASSES]

    result, out = run("none")
    told = refusal(result)
    assert f"{models / 'none' / 'model.pt'} does not say what it was trained for" in told
    assert "--classes" in told
    assert not (out / "predictions.csv").exists()


def test_a_run_under_other_names_than_the_weights_have(models, run_bundle, few_films, tmp_path):
    for options, words in (
        (("--classes", f"{sorted(CLASSES)}"), "was trained with classes typical, atypical"),
        (("--task", "multi_class"), "was trained with task multi_label, and the run has multi_class"),
    ):
        result = run_bundle(
            "bundles/classification/configs/inference.json", "--dataset_dir", few_films, "--output_dir", tmp_path / "o",
            "--model_path", models / "inside" / "model.pt", "--num_workers", 0, *options,
        )  # fmt: skip
        assert words in refusal(result)
        assert not (tmp_path / "o" / "predictions.csv").exists()


@pytest.fixture
def bundle(models, repo, tmp_path):
    """``bundle("inside")``: a classification bundle with these weights."""

    def make(place: str) -> Path:
        shutil.copytree(repo / "bundles" / "classification" / "configs", tmp_path / place / "configs")
        shutil.copytree(models / place, tmp_path / place / "models")
        return tmp_path / place

    return make


def test_monai_label_answers_alike_or_in_one_sentence(bundle):
    """Our app by its folders, MONAI's own by what it parses of ``inference.json``."""
    shown = []
    for place in PLACES[:3]:
        path = bundle(place)
        [folder] = bundle_folders({"bundle": str(path)}, path)
        config = ConfigParser()
        config.read_config(path / "configs" / "inference.json")
        config.config["bundle_root"] = str(path)
        head = config.get_parsed_content("prediction_head")
        network = config.get_parsed_content("network_def")
        network.load_state_dict(torch.load(path / "models" / "model.pt", weights_only=True))
        network.eval()
        with torch.no_grad():
            scores = head.predict(network(torch.ones(1, 1, 64, 64)))["label"]
        shown.append((folder.classes, folder.labels, head.task, head.classes, scores.tolist()))
    assert shown[0] == shown[1] == shown[2]
    assert shown[0][0] == shown[0][3] == CLASSES
    path = bundle("none")
    with pytest.raises(ConfigurationError, match="does not say what it was trained for"):
        bundle_folders({"bundle": str(path)}, path)
    config = ConfigParser()
    config.read_config(path / "configs" / "inference.json")
    config.config["bundle_root"] = str(path)
    with pytest.raises(RuntimeError) as raised:
        config.get_parsed_content("network_def")
    assert "does not say what it was trained for" in str(raised.value.__cause__ or raised.value)


def test_monai_label_names_weights_of_another_network(bundle):
    path = bundle("beside")
    torch.save(MultiTaskNet("resnet18", 2, decoder=None).state_dict(), path / "models" / "model.pt")
    with pytest.raises(ConfigurationError, match=r"1 of another shape|2 of another shape") as raised:
        bundle_folders({"bundle": str(path)}, path)
    assert "\n" not in str(raised.value)


def test_teachers_answer_alike_or_in_one_sentence(models):
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        soft = [
            load_teacher(models / place / "model.pt", CLASSES, "multi_label")(image)["label"] for place in PLACES[:3]
        ]
    assert torch.equal(soft[0], soft[1])
    assert torch.equal(soft[0], soft[2])
    with pytest.raises(ConfigurationError, match="does not say what it was trained for"):
        load_teacher(models / "none" / "model.pt", CLASSES, "multi_label")
    with pytest.raises(ConfigurationError, match=r"was trained on typical, atypical.* the same classes"):
        load_teacher(models / "inside" / "model.pt", sorted(CLASSES), "multi_label")


def test_fractions_refuse_weights_with_a_head_of_unknown_classes(models, few_films, tmp_path, capsys):
    words = ["fractions", "--config_file", str(tmp_path / "train.json"), "--dataset_dir", str(few_films),
             "--output_dir", str(tmp_path / "out"), "--init"]  # fmt: skip
    (tmp_path / "train.json").write_text("{}")
    assert main([*words, str(models / "none" / "model.pt")]) == 2
    error = capsys.readouterr().err
    assert "does not say what it was trained for" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_described_once_they_are_like_the_others(models, tmp_path, capsys):
    path = Path(shutil.copytree(models / "none", tmp_path / "m")) / "model.pt"
    for said, words in (
        (["--classes", *CLASSES], "--task is missing"),
        (["--classes", "a", "b", "--task", "multi_label"], "lacks encoder_name, image_size"),
        ([*SIZE, "--task", "multi_label", "--classes", "a", "b"], "of another shape"),
        (SIZE, "2 left over"),
    ):
        assert main(["describe", str(path), *said]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
        assert find_description(path) is None
    assert main(["describe", str(path)]) == 2
    assert main(["describe", str(path), *SIZE, "--task", "multi_label", "--classes", *CLASSES]) == 0
    about = ABOUT | Normalisation().described()
    assert find_description(path) == about
    assert json.loads(path.with_suffix(".json").read_text()) == about
    capsys.readouterr()
    assert main(["describe", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == about
