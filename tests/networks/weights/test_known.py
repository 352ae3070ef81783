# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Known public weights: what tells them, and that nothing is guessed."""

from __future__ import annotations

import json

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import sha256
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks.normalisation import Normalisation
from monai_cxrssl.networks.weights import known
from monai_cxrssl.networks.weights.known import candidates, known_weights, recognise


def densenet(stem: int, classes: int):
    with torch.device("meta"):
        network = torchvision.models.densenet121(num_classes=classes)
        network.features.conv0 = torch.nn.Conv2d(stem, 64, 7, bias=False)
    return network.state_dict()


def small(stem: int = 3, classes: int = 1000):
    network = torchvision.models.resnet18(num_classes=classes)
    network.conv1 = torch.nn.Conv2d(stem, 64, 7, bias=False)
    return network.state_dict()


def shapes(architecture: str, **options):
    with torch.device("meta"):
        return timm.create_model(architecture, **options).state_dict()


def test_rows_have_a_name_each_and_an_encoder_that_exists():
    rows = known_weights()
    assert len({row.name for row in rows}) == len(rows) > 90
    from monai_cxrssl.networks.encoder_factory import check_name

    for row in rows:
        if row.encoder_name is not None:
            check_name(row.encoder_name)
        assert row.normalisation is not None
        assert row.match.distinctive or row.match.files, f"nothing could ever tell {row.name}"


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (densenet(1, 18), "xrv-densenet121"),
        (densenet(3, 1000), "imagenet-densenet121"),
        (densenet(1, 4), None),
        (small(), "imagenet-resnet18"),
        (small(classes=2), None),
        ({f"module.encoder_q.{name}": value for name, value in small(classes=128).items()}, None),
        (shapes("eva02_tiny_patch14_224", patch_size=16, img_size=224), "eva-x-tiny"),
        (shapes("eva02_base_patch14_224", patch_size=16, img_size=224), "eva-x-base"),
        (shapes("eva02_tiny_patch14_224"), None),
        (shapes("vit_small_patch16_224"), None),
        (shapes("swin_tiny_patch4_window7_224"), "imagenet-swin_tiny"),
        (shapes("vit_large_patch14_dinov2", patch_size=16, img_size=512), "xray-dino-vitl16"),
    ],
)
def test_names_and_shapes_tell_only_what_is_no_one_elses(state, name):
    row = recognise(state)
    assert (row and row.name) == name


def test_a_file_name_tells_the_rest(tmp_path):
    state = {f"module.encoder_q.{name}": value for name, value in small(classes=128).items()}
    torch.save(state, tmp_path / "r8w-00001.pth.tar")
    row = recognise(tmp_path / "r8w-00001.pth.tar")
    assert (row.name, row.supervision, row.trained_on) == ("moco-cxr-resnet18", "self-supervised", ("CheXpert",))
    assert row.normalisation == Normalisation((0.502,) * 3, (0.085585,) * 3)
    assert row.recognised_by.startswith("its file name")
    torch.save(state, tmp_path / "weights.pth")
    assert recognise(tmp_path / "weights.pth") is None
    assert "moco-cxr-resnet18" in [row.name for row in candidates(tmp_path / "weights.pth")]


def test_the_variant_of_the_file_name_goes_before_the_general_row(tmp_path):
    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in densenet(1, 18).items()}
    torch.save(state, tmp_path / "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt")
    row = recognise(tmp_path / "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt")
    assert row.trained_on == ("ChestX-ray14",)
    assert row.normalisation == Normalisation((1024.0,), (1.0,), 2048.0)
    torch.save(state, tmp_path / "xrv.pt")
    assert {"ChestX-ray14", "CheXpert"} <= set(recognise(tmp_path / "xrv.pt").trained_on)


def test_a_digest_is_the_surest(tmp_path, monkeypatch):
    path = tmp_path / "any.pt"
    torch.save(small(classes=3), path)
    row = next(row for row in known_weights() if row.name == "imagenet-resnet18")
    match = row.match.model_copy(update={"shapes": {}, "sha256": [sha256(path)[:8]]})
    rows = (*known_weights(), known.replace(row, name="by digest", match=match))
    monkeypatch.setattr(known, "known_weights", lambda: rows)
    assert recognise(path).name == "by digest"
    assert "SHA-256" in recognise(path).recognised_by


def test_weights_of_this_package_describe_themselves(tmp_path):
    torch.save(small(), tmp_path / "model.pt")
    assert recognise(tmp_path / "model.pt") is not None
    store_description(tmp_path / "model.pt", {"encoder_name": "resnet18", "image_size": 64})
    assert recognise(tmp_path / "model.pt") is None


def hugging_face(folder, config: dict, processor: dict | None = None):
    folder.mkdir()
    state = {"embeddings.patch_embeddings.projection.weight": torch.zeros(768, 3, 14, 14)}
    state |= {"encoder.layer.11.layer_scale2.lambda1": torch.zeros(768)}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder / "model.safetensors"


def test_a_config_beside_the_file_tells_one_dinov2_from_another(tmp_path):
    config = {"model_type": "dinov2", "hidden_size": 768, "patch_size": 14, "image_size": 518}
    processor = {"do_normalize": True, "image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}
    processor["rescale_factor"] = 1 / 255
    row = recognise(hugging_face(tmp_path / "a", config, processor))
    assert (row.name, "PadChest" in row.trained_on) == ("rad-dino", True)
    base = {**config, "_name_or_path": "facebook/dinov2-base"}
    assert recognise(hugging_face(tmp_path / "b", base)).name == "dinov2-base"
    own = {**processor, "image_mean": [0.4] * 3, "image_std": [0.2] * 3}
    row = recognise(hugging_face(tmp_path / "hospital-vit", config, own))
    assert (row.name, row.encoder_name) == ("hospital-vit", "tu-vit_base_patch14_dinov2")
    assert (row.normalisation, row.trained_on) == (Normalisation((0.4,) * 3, (0.2,) * 3), None)
    assert recognise(hugging_face(tmp_path / "c", config)).normalisation is None


def test_a_folder_of_timm_names_its_normalisation(tmp_path):
    folder = tmp_path / "timm"
    folder.mkdir()
    network = timm.create_model("vit_tiny_patch16_224")
    save_file(network.state_dict(), folder / "model.safetensors")
    cfg = {"tag": "augreg_in21k_ft_in1k", "mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 224, 224]}
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {**cfg, "license": "apache-2.0"}}
    (folder / "config.json").write_text(json.dumps(config))
    row = recognise(folder / "model.safetensors")
    assert row.encoder_name == "tu-vit_tiny_patch16_224"
    assert (row.normalisation, row.licence) == (Normalisation((0.5,) * 3, (0.5,) * 3), "apache-2.0")
    assert (row.supervision, row.trained_on) == ("supervised", ("ImageNet-1k", "ImageNet-21k"))
    (folder / "config.json").write_text("{")
    assert recognise(folder / "model.safetensors") is None


def test_no_weights_are_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no file of weights"):
        recognise(tmp_path / "none.pt")


def test_normalisations_have_names():
    assert Normalisation.of("imagenet") == Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
