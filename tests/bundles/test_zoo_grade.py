# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI's model zoo asks of a bundle beyond ``test_zoo.py``: the checks of its continuous integration, its
naming, and the sections of its page."""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata as distributions
from pathlib import Path

import monai.bundle
import pytest
import torch

from monai_cxrssl.apps.export.description import describe_postprocessing, describe_preprocessing
from monai_cxrssl.apps.pack.evidence import find_machine_paths
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks import Encoder, MultiTaskNet

BUNDLES = sorted(path.parent for path in (Path(__file__).parents[2] / "bundles").glob("*/train.json"))
NAMES = {
    "classification", "curricular", "eva_x", "inpainting", "lung_segmentation", "micle", "moco", "multitask", "simclr", "spcxr",
}  # fmt: skip
SECTIONS = ("data", "performance", "run it", "system configuration", "limitations", "source and deviations")
KEYS = {
    "inference": ("bundle_root", "device", "dataset_dir", "output_dir", "network_def", "inferer", "evaluator"),
    "evaluate": ("bundle_root", "device", "dataset_dir", "output_dir", "network_def", "inferer", "evaluator"),
    "train": ("bundle_root", "device", "dataset_dir", "output_dir", "network_def", "train"),
}

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def about(bundle: Path) -> dict:
    return json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))


@pytest.fixture
def copied(bundle, tmp_path) -> Path:
    """The bundle as it would be handed in: without what runs left in it."""
    for part in ("configs", "docs"):
        shutil.copytree(bundle / part, tmp_path / bundle.name / part)
    shutil.copyfile(bundle / "LICENSE", tmp_path / bundle.name / "LICENSE")
    (tmp_path / bundle.name / "models").mkdir()
    return tmp_path / bundle.name


def test_all_bundles_are_walked(bundle):
    assert {path.name for path in BUNDLES} >= NAMES
    assert re.fullmatch(r"[a-z][a-z0-9_]*", bundle.name)


def test_versions_are_exact_and_those_tested(bundle):
    metadata = about(bundle)
    assert metadata["schema"].endswith("/meta_schema_20240725.json")
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) and text for version, text in metadata["changelog"].items())
    versions = {
        "monai": metadata["monai_version"], "torch": metadata["pytorch_version"], "numpy": metadata["numpy_version"],
        **metadata["required_packages_version"],
    }  # fmt: skip
    assert isinstance(metadata["supported_apps"], dict)
    for name, version in versions.items():
        assert re.fullmatch(r"\d+(\.\d+)+", version), f"{name} {version} is no exact version"
        # The minor releases of an environment may be others than those written down.
        assert distributions.version(name).split(".")[0] == version.split(".")[0], name


def test_another_runtime_is_told_what_comes_before_and_after(bundle):
    """Of the recipe that a run without arguments takes, whose weights the bundle then has."""
    formats = about(bundle)["network_data_format"]
    short = json.loads((bundle / "configs" / "recipes.json").read_text(encoding="utf-8"))["short"]
    side = short["image_size"]
    assert formats["inputs"]["image"]["spatial_shape"] == [side, side]
    for config in ("inference", "evaluate"):
        text = (bundle / "configs" / f"{config}.json").read_text(encoding="utf-8")
        for name in ("encoder_name", "image_size"):
            assert f"read_model_setting(@model_path, '{name}', {short[name]!r})" in text
    normalisation = Encoder(short["encoder_name"]).normalise.normalisation.described()
    assert formats["inputs"]["image"]["preprocessing"] == describe_preprocessing({"image_size": side, **normalisation})
    for output in formats["outputs"].values():
        kind = {"probabilities": "label", "image": "mask"}.get(output["type"], "embedding")
        expected = describe_postprocessing(kind, {"task": "multi_class"})
        assert output["postprocessing"] == expected


def test_licences(bundle):
    licence = (bundle / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "Version 2.0" in licence
    data = (bundle / "docs" / "data_license.txt").read_text(encoding="utf-8")
    assert "licen" in data
    assert "data" in data
    assert about(bundle)["copyright"].startswith("Copyright (c)")


def test_page_has_the_sections_of_the_zoo(bundle):
    text = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    named = {part.partition("\n")[0].strip(" *").lower(): part.partition("\n")[2].strip() for part in sections[1:]}
    assert len(sections[0].splitlines()[2]) > 40, "no description under the title"
    for section in SECTIONS:
        assert len(named.get(section, "")) > 60, f"no section {section!r}"
    assert "not a medical device" in text
    for command in re.findall(r"--config_file (bundles/\S+\.json)", text):
        assert (bundle.parents[1] / command).is_file(), command


def test_no_personal_path_and_no_large_file(bundle, copied):
    assert find_machine_paths(copied, bundle.resolve().parents[1]) == []
    assert all(path.stat().st_size < 1 << 20 for path in copied.rglob("*") if path.is_file())


@pytest.mark.parametrize("config", sorted(KEYS))
def test_keys_have_the_names_of_the_zoo(bundle, config):
    content = json.loads((bundle / "configs" / f"{config}.json").read_text(encoding="utf-8"))
    assert [key for key in KEYS[config] if key not in content] == []
    assert content["bundle_root"] == f"$runs.bundle_root('bundles/{bundle.name}')"


def test_names_of_inputs_and_outputs(bundle):
    formats = about(bundle)["network_data_format"]
    assert set(formats["inputs"]) == {"image"}
    assert set(formats["outputs"]) == ({"label", "mask"} if bundle.name == "multitask" else {"pred"})
    expected = {
        "probabilities": "classes", "embedding": "latent", "image": "segmentation",
    }  # fmt: skip
    for output in formats["outputs"].values():
        assert output["format"] == expected[output["type"]]
        if output["type"] != "embedding":
            assert [*output["channel_def"]] == [str(number) for number in range(output["num_channels"])]


def test_verify_net_in_out(bundle, monkeypatch):
    """Network and metadata of an untrained bundle agree; of a dictionary of outputs, one at a time is verified."""
    monkeypatch.chdir(bundle)
    outputs = about(bundle)["network_data_format"]["outputs"]
    for name, output in outputs.items():
        options = {}
        if len(outputs) > 1:  # None would be taken for "not given"
            options = {"network_def#decoder": "$None"} if name == "label" else {"network_def#num_classes": 0}
            options |= {"_meta_#network_data_format#outputs#pred": output, "network_def#return_dict": False}
        monai.bundle.verify_net_in_out(
            net_id="network_def", meta_file="configs/metadata.json", config_file="configs/inference.json", device="cpu",
            model_path="absent/model.pt", **options,
        )  # fmt: skip
        wrong = {**output, "num_channels": output["num_channels"] + 1}
        with pytest.raises(ValueError, match="channel number"):
            monai.bundle.verify_net_in_out(
                net_id="network_def", meta_file="configs/metadata.json", config_file="configs/inference.json",
                device="cpu", model_path="absent/model.pt",
                **{**options, "_meta_#network_data_format#outputs#pred": wrong},
            )  # fmt: skip


def test_load_fills_the_network(bundle, copied, monkeypatch):
    """``monai.bundle.load`` skips silently what does not fit, so the tensors are compared."""
    config = json.loads((copied / "configs" / "inference.json").read_text(encoding="utf-8"))
    encoder = "tu-vit_tiny_patch16_224" if bundle.name in ("eva_x", "spcxr") else "resnet18"
    settings: dict = {"encoder_name": encoder, "image_size": 64}
    torch.manual_seed(3)
    if config["network_def"]["_target_"].endswith("fine_tuned_network"):
        classes = [] if bundle.name == "lung_segmentation" else ["a", "b", "c"]
        decoder = None if bundle.name == "classification" else "Unet"
        settings |= {"classes": classes, "task": "multi_class", "decoder": decoder, "mask": "lung", "mask_channels": 1}
        network = MultiTaskNet(encoder, num_classes=len(classes), decoder=decoder)
    else:
        network = Encoder(encoder)
    state = network.state_dict()
    write_model(network, copied / "models" / "model.pt", settings, None)
    (copied / "models" / "model.json").unlink()  # the weights say it all
    monkeypatch.chdir(copied)
    loaded = monai.bundle.load(
        bundle.name, bundle_dir=str(copied.parent), workflow_type="inference", device="cpu", source="monaihosting"
    ).state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())
