# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights that say what they are for, inside, beside, both, or not at all."""

from __future__ import annotations

import json

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks import (
    MultiTaskNet,
    find_description,
    load_trained_network,
    read_model_setting,
    read_temperature,
    read_thresholds,
    require_description,
)
from monai_cxrssl.networks.weights.header import put_description, read_header

ABOUT = {
    "encoder_name": "resnet18", "image_size": 32, "classes": ["b", "a"], "task": "multi_label", "decoder": None,
    "mask": None, "mask_channels": 1, "temperature": 2.0, "thresholds": {"a": 0.25},
}  # fmt: skip


@pytest.fixture(scope="module")
def state() -> dict:
    torch.manual_seed(0)
    return MultiTaskNet("resnet18", 2, decoder=None).state_dict()


@pytest.fixture
def model(tmp_path, state):
    """``model("inside", "beside", temperature=3)``: the description in these places, changed beside."""

    def save(*places, **changes):
        path = tmp_path / "model.pt"
        torch.save(put_description(state, ABOUT) if "inside" in places else dict(state), path)
        if "beside" in places:
            path.with_suffix(".json").write_text(json.dumps({**ABOUT, **changes}))
        return path

    return save


def test_the_folder_of_the_run_may_differ_and_nothing_else_of_it(model, state):
    """A run writes its folder as seen from its own weights, then puts a copy in place."""
    path = model()
    torch.save(put_description(state, {**ABOUT, "run": {"folder": ".", "recipe": "full"}}), path)
    placed = {**ABOUT, "run": {"folder": "../runs/first", "recipe": "full"}}
    path.with_suffix(".json").write_text(json.dumps(placed))
    assert find_description(path) == placed
    path.with_suffix(".json").write_text(json.dumps({**placed, "run": {**placed["run"], "recipe": "short"}}))
    with pytest.raises(ConfigurationError, match="contradict each other on run"):
        find_description(path)


@pytest.mark.parametrize("places", [("inside",), ("beside",), ("inside", "beside")])
def test_one_description_wherever_it_stands(model, places):
    path = model(*places)
    assert find_description(path) == require_description(path) == ABOUT
    assert {name: read_model_setting(path, name, "a default") for name in ABOUT} == ABOUT
    assert read_temperature(path) == 2
    assert read_thresholds(path) == {"a": 0.25}
    network, settings = load_trained_network(path)
    assert settings == ABOUT
    assert network.num_classes == 2


def test_weights_that_say_nothing_get_no_default(model):
    path = model()
    assert find_description(path) is None
    for name in ("classes", "task", "encoder_name", "image_size"):
        with pytest.raises(ConfigurationError, match=rf"give --{name} .* or describe the weights once with"):
            read_model_setting(path, name, "a default")
    for require in (require_description, load_trained_network):
        with pytest.raises(ConfigurationError, match=r"model\.pt does not say what it was trained for"):
            require(path)


def test_that_they_do_not_segment_is_seen(tmp_path, model):
    assert read_model_setting(model(), "decoder", "Unet") is None
    assert read_model_setting(model(), "mask", "lung") is None
    torch.save(MultiTaskNet("resnet18", 0, decoder="FPN").state_dict(), tmp_path / "segment.pt")
    for name in ("decoder", "mask"):
        with pytest.raises(ConfigurationError, match=f"give --{name}"):
            read_model_setting(tmp_path / "segment.pt", name, "Unet")


def test_while_there_are_no_weights_the_default_holds(tmp_path):
    assert read_model_setting(tmp_path / "model.pt", "classes", ["x"]) == ["x"]
    with pytest.raises(ConfigurationError, match="There is no file of weights"):
        require_description(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ["a", "b"]}, r"on classes \(the weights say classes b, a, the .json file a, b\)"),
        ({"task": "multi_class"}, r"on task \(the weights say task multi_label"),
        ({"temperature": 1.0, "task": "multi_class"}, r"on task, temperature \(the weights say task"),
        ({"note": "by hand"}, r"on note \(the weights say note None"),
    ],
)
def test_two_that_contradict_each_other(model, changes, words):
    path = model("inside", "beside", **changes)
    for read in (find_description, require_description, read_temperature, load_trained_network):
        with pytest.raises(ConfigurationError, match=words) as raised:
            read(path)
        assert "delete the .json file" in str(raised.value)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_file_beside(model, text):
    path = model("inside")
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"model\.json (cannot be read|holds no JSON object)"):
        find_description(path)


@pytest.mark.parametrize("places", [(), ("inside",), ("beside",), ("inside", "beside")])
def test_stored_anew_it_stands_in_both_places(model, state, places):
    path = model(*places)
    now = {**ABOUT, "temperature": 3.5}
    store_description(path, now)
    assert json.loads(path.with_suffix(".json").read_text()) == now
    assert read_header(path)[1] == now
    assert find_description(path) == now
    read = torch.load(path, weights_only=True)
    assert list(read) == list(state)
    assert all(torch.equal(read[name], value) for name, value in state.items())


def test_stored_in_safetensors(tmp_path, state):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "model.safetensors"
    save_file(dict(state), path)
    store_description(path, ABOUT)
    assert find_description(path) == read_header(path)[1] == ABOUT
    assert all(torch.equal(load_file(path)[name], value) for name, value in state.items())
    assert load_trained_network(path)[1] == ABOUT


def test_nothing_is_stored_in_what_is_no_weights(tmp_path):
    (tmp_path / "model.pt").write_text("<html>")
    with pytest.raises(ConfigurationError, match="web page"):
        store_description(tmp_path / "model.pt", ABOUT)
    assert (tmp_path / "model.pt").read_text() == "<html>"
    assert not (tmp_path / "model.json").exists()
