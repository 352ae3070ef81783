# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""An encoder written for timm gives its features there, without this package."""

from __future__ import annotations

import json

import huggingface_hub
import monai.bundle
import pytest
import timm
import torch
from timm.data import resolve_model_data_config

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.export.timm_folder import write_timm_folder
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks.encoder import Encoder

IMAGE = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def trained(name: str, pooling: str = "mean") -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(name, pooling=pooling, input_normalisation="none")
    encoder.train()(IMAGE)  # statistics that are not those of a fresh network
    return encoder.eval()


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("resnet18", False),
        ("tu-resnet18", False),
        ("tu-densenet121", False),
        ("tu-vit_tiny_patch16_224", False),
        ("tu-convnext_atto", True),
    ],
)
def test_timm_gives_our_features(tmp_path, name, maps):
    encoder = trained(name)
    description = {"encoder_name": name, "image_size": 64}
    call, _ = write_timm_folder(encoder, description, tmp_path)
    assert ("features_only" in call) == maps
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    model = eval(call, {"timm": timm}).eval()
    with torch.no_grad():
        found = model(IMAGE)
        found = found[-1].mean((2, 3)) if maps else found
        assert torch.allclose(found, encoder(IMAGE), atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "cls+mean"])
def test_timm_gives_the_class_token_where_it_alone_is_read(tmp_path, pooling):
    encoder = trained("tu-vit_tiny_patch16_224", pooling)
    call, _ = write_timm_folder(encoder, {"encoder_name": "tu-vit_tiny_patch16_224", "image_size": 64}, tmp_path)
    assert ("cls+mean is what was trained" in call) == (pooling == "cls+mean")
    with torch.no_grad():
        found, ours = eval(call, {"timm": timm}).eval()(IMAGE), encoder(IMAGE)
    assert torch.allclose(found, ours if pooling == "cls" else ours[:, 192:], atol=1e-5)
    # The table of positions is that of the images' own grid; timm resamples nothing.
    assert json.loads((tmp_path / "config.json").read_text())["model_args"]["img_size"] == [64, 64]


def test_the_config_says_how_images_are_normalised(tmp_path):
    description = {"encoder_name": "resnet18", "image_size": 64}
    description |= {"input_mean": [1024.0], "input_std": [1.0], "input_scale": 2048.0}
    write_timm_folder(trained("resnet18"), description, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architecture"], config["num_features"]) == ("resnet18", 512)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    data = resolve_model_data_config(model)
    assert (data["mean"], data["std"], data["input_size"]) == ([0.5], [1 / 2048], (1, 64, 64))


@pytest.mark.parametrize(
    ("name", "reason"), [("mit_b0", "timm has no architecture"), ("densenet121", "does not give the features")]
)
def test_what_timm_cannot_give_is_refused(tmp_path, name, reason):
    with pytest.raises(ConfigurationError, match=f"{reason}.*write ONNX instead"):
        write_timm_folder(trained(name), {"encoder_name": name, "image_size": 64}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_into_a_packed_bundle_that_monai_uploads(tmp_path, capsys, monkeypatch):
    weights, bundle = tmp_path / "model.pt", tmp_path / "bundles" / "ours"
    torch.save(trained("resnet18").state_dict(), weights)
    store_description(weights, {"encoder_name": "resnet18", "image_size": 64})
    (bundle / "configs").mkdir(parents=True)
    (bundle / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.0"}))
    assert main(["export", str(weights), "--timm", str(bundle)]) == 0
    assert "timm.create_model" in capsys.readouterr().out
    uploaded = []

    class Hub:
        def __init__(self, token=None) -> None: ...

        def create_repo(self, *args, **options): ...

        def create_tag(self, *args, **options): ...

        def upload_folder(self, repo_id, folder_path, **options):
            uploaded.extend(sorted(path.name for path in bundle.iterdir()))
            assert folder_path == str(bundle)
            return repo_id

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monai.bundle.push_to_hf_hub(repo="lab/ours", name="ours", bundle_dir=str(bundle.parent))
    assert {"config.json", "model.safetensors", "configs"} <= set(uploaded)
