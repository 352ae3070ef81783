# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Initialisations as words, and the rows that bundles, encoders and initialisations make together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.label_efficiency import Init, read_inits
from monai_cxrssl.label_efficiency.rows import grid_rows

REPO = Path(__file__).resolve().parents[2]
BUNDLES = {name: REPO / "bundles" / name / "configs" / "train.json" for name in ("classification", "multitask")}


@pytest.fixture
def weights(tmp_path):
    """Files of weights whose descriptions say their encoder."""
    for name, encoder in {"a": "resnet18", "b": "resnet18", "vit": "tu-vit_tiny_patch16_224"}.items():
        (tmp_path / name).mkdir()
        save_file({"x": torch.tensor(float(len(encoder) + ord(name[0])))}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "model.json").write_text(json.dumps({"encoder_name": encoder, "image_size": 64}))
    return {name: str(tmp_path / name / "model.safetensors") for name in ("a", "b", "vit")}


def test_words_of_init(weights, monkeypatch):
    hub = {"timm:resnet18.a1_in1k": weights["a"], "hf://org/repo/encoder.bin": weights["b"]}
    resolve = lambda place: Path(hub.get(place, place))  # noqa: E731
    monkeypatch.setattr("monai_cxrssl.label_efficiency.inits.resolve_weights", resolve)
    inits = read_inits(["random", "imagenet", weights["vit"], f"both={weights['a']},{weights['b']}", *hub])
    assert [init.name for init in inits] == ["random", "imagenet", "vit", "both", "resnet18.a1_in1k", "repo"]
    named = {init.name: init for init in inits}
    assert named["random"].options(0) == {}
    assert named["imagenet"].options(3) == {"encoder_weights": "imagenet"}
    assert named["vit"].encoder == "tu-vit_tiny_patch16_224"
    assert [Path(named["both"].options(draw)["pretrained"]).parent.name for draw in range(3)] == ["a", "b", "a"]
    assert named["both"].identity(0) == named["resnet18.a1_in1k"].identity(5) != named["both"].identity(1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent.pt"], "there is no such file of weights; give its path, timm:NAME"),
        (["random", "random"], "random twice; give each initialisation once"),
        (["x={a}", "{a}"], "twice; give each initialisation once"),
        (["x={a}", "x={b}"], "two rows 'x'"),
        (["x={a},{vit}"], "of the encoders resnet18, tu-vit_tiny_patch16_224"),
        (["../x={a}"], "'../x' is no name"),
    ],
)
def test_words_that_cannot_be(weights, words, message):
    with pytest.raises(ConfigurationError) as caught:
        read_inits([word.format(**weights) for word in words])
    assert message in str(caught.value)


def test_single_and_multi_task_of_several_backbones(weights):
    inits = read_inits(["random", "imagenet", f"a={weights['a']}", f"vit={weights['vit']}"])
    encoders = ["resnet18", "tu-vit_tiny_patch16_224"]
    rows = grid_rows(BUNDLES, encoders, inits, ("probe", "finetune"), {"max_epochs": 2}, ("--max_epochs", "2"))
    names = [row.name for row in rows]
    assert names[0] == "pixels"
    assert len(set(names)) == len(names) == 1 + 2 * 3 * 3
    assert "classification, resnet18, a, fine-tuned" in names
    assert "resnet18, a, probe" in names
    assert not any("resnet18, vit" in name or "224, a," in name for name in names)
    assert len({row.folder for row in rows}) == len(rows)
    by_name = {row.name: row for row in rows}
    vit = by_name["multitask, tu-vit_tiny_patch16_224, vit, fine-tuned"]
    assert vit.words == ("--encoder_name", encoders[1], "--decoder", "DPT", "--max_epochs", "2")
    assert (vit.options().decoder, vit.options().encoder_name) == ("DPT", encoders[1])
    assert by_name["multitask, resnet18, random, fine-tuned"].options().decoder == "Unet"
    only = grid_rows({"classification": BUNDLES["classification"]}, [], inits[:2], ("finetune",), {}, (), pixels=False)
    assert [row.name for row in only] == ["random", "imagenet"]
    # The folder of a row does not depend on the others, so that cells stay when rows are added.
    assert only[0].folder == "finetune/classification/recipe/random"


def test_weights_of_an_encoder_that_the_grid_lacks(weights):
    inits = read_inits([weights["vit"]])
    for encoders, given in ((["resnet18"], {}), ([], {"encoder_name": "resnet18"})):
        with pytest.raises(
            ConfigurationError, match="is of the encoder tu-vit_tiny_patch16_224, and the grid is of resnet18"
        ):
            grid_rows(BUNDLES, encoders, inits, ("finetune",), given, ())
    with pytest.raises(ConfigurationError, match="given before and after --"):
        grid_rows(BUNDLES, ["resnet18"], [Init("random")], ("finetune",), {"encoder_name": "resnet18"}, ())


def test_projection_head_is_of_files_only(weights):
    """Random and published weights carry none, and their rows would fail where those of a file do not."""
    given, words = {"head_layers": 1, "max_epochs": 2}, ["--head_layers", "1", "--max_epochs", "2"]
    bundle = {"classification": BUNDLES["classification"]}
    rows = grid_rows(bundle, [], read_inits(["random", "imagenet", weights["a"]]), ["finetune"], given, words)
    options = {row.name: (dict(row.given), list(row.words)) for row in rows}
    without = ({"max_epochs": 2}, words[2:])
    assert options == {"pixels": without, "random": without, "imagenet": without, "a": (given, words)}


def test_option_of_one_of_two_bundles_goes_to_that_one():
    given, words = {"mask": "boxes", "max_epochs": 2}, ("--mask", "boxes", "--max_epochs=2")
    rows = {row.bundle: row for row in grid_rows(BUNDLES, [], [Init("random")], ("finetune",), given, words, False)}
    assert rows["multitask"].words == words
    assert (rows["multitask"].options().mask, rows["classification"].words) == ("boxes", ("--max_epochs=2",))
    assert rows["classification"].given == {"max_epochs": 2}
    # An option that none has goes to all, for each to refuse.
    [row, _] = grid_rows(BUNDLES, [], [Init("random")], ("finetune",), {"maks": 1}, ("--maks", "1"), False)
    assert row.given == {"maks": 1}
