# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import timm
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import Encoder, load_encoder_weights, read_model_setting

CNNS = ["resnet18", "densenet121", "tu-convnext_atto", "efficientnet-b0"]
VIT = "tu-vit_tiny_patch16_224"


@pytest.mark.parametrize("name", [*CNNS, VIT])
def test_one_channel_image_to_one_vector(name):
    encoder = Encoder(name).eval()
    with torch.no_grad():
        embedding = encoder(torch.rand(2, 1, 96, 64))
    assert embedding.shape == (2, encoder.out_channels)
    assert torch.isfinite(embedding).all()


@pytest.mark.parametrize("name", CNNS)
def test_state_dict_fills_the_encoder_of_any_smp_model(name, tmp_path):
    encoder = Encoder(name)
    torch.save(encoder.state_dict(), tmp_path / "model.pt")
    unet = smp.Unet(name, encoder_weights=None, in_channels=1)
    result = unet.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True), strict=False)
    assert result.unexpected_keys == []
    assert not [key for key in result.missing_keys if key.startswith("encoder.")]
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        ours, theirs = encoder.eval().feature_map(image), unet.encoder.eval()(image)[-1]
    torch.testing.assert_close(ours, theirs)


def test_state_dict_of_a_vision_transformer_fills_dpt():
    result = smp.DPT(VIT, encoder_weights=None, in_channels=1, dynamic_img_size=True).load_state_dict(
        Encoder(VIT).state_dict(), strict=False
    )
    assert result.unexpected_keys == []
    assert not [key for key in result.missing_keys if key.startswith("encoder.")]


def test_pooling_is_the_mean_of_the_feature_map():
    encoder = Encoder("resnet18").eval()
    image = torch.rand(3, 1, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image), encoder.feature_map(image).mean(dim=(2, 3)))


def test_images_that_cannot_be_cut_into_patches():
    encoder = Encoder("tu-vit_small_patch14_dinov2").eval()
    assert encoder(torch.rand(1, 1, 28, 42)).shape == (1, 2 * 384)
    with pytest.raises(ConfigurationError, match="64 x 28 px; tu-vit_small_patch14_dinov2 needs multiples of 14"):
        encoder(torch.rand(1, 1, 28, 64))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet19", "resnet18"), ("vit_small_patch16_224", "tu-vit_small_patch16_224"), ("tu-nothing", "")],
)
def test_unknown_name_is_one_sentence_with_near_names(name, hint):
    with pytest.raises(ConfigurationError, match="There is no encoder named") as caught:
        Encoder(name)
    assert hint in str(caught.value)


def test_weights_that_cannot_be_downloaded_say_so(monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("the hub did not answer")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", unreachable)
    with pytest.raises(ConfigurationError, match="hub did not answer.*--pretrained PATH"):
        Encoder("resnet18", encoder_weights="imagenet")


def test_imagenet_weights_for_three_channels_become_one(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    donor = smp.encoders.get_encoder("resnet18", in_channels=3, weights=None)
    save_file(donor.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(
        "segmentation_models_pytorch.encoders.hf_hub_download", lambda *args, **kwargs: tmp_path / "model.safetensors"
    )
    encoder = Encoder("resnet18", encoder_weights="imagenet", input_normalisation="none")
    torch.testing.assert_close(encoder.encoder.conv1.weight, donor.conv1.weight.sum(dim=1, keepdim=True))
    torch.testing.assert_close(encoder.encoder.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.network.encoder."])
def test_pretrained_file_with_any_prefix(prefix, tmp_path):
    donor = Encoder("resnet18")
    weights = {prefix + name: value for name, value in donor.encoder.state_dict().items()}
    torch.save({"state_dict": {**weights, "projection_head.weight": torch.zeros(3)}}, tmp_path / "weights.pt")
    encoder = Encoder("resnet18", pretrained=tmp_path / "weights.pt")
    for name, value in donor.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value), name


def test_account_of_what_loaded(tmp_path, caplog):
    donor, encoder = Encoder("resnet18"), Encoder("resnet18")
    weights = donor.state_dict()
    del weights["encoder.bn1.weight"]
    weights["encoder.bn1.bias"] = torch.zeros(3)
    weights["head"] = torch.zeros(1)
    torch.save(weights, tmp_path / "weights.pt")
    with caplog.at_level("INFO"):
        account = load_encoder_weights(encoder.encoder, tmp_path / "weights.pt")
    counted = [name for name in encoder.encoder.state_dict() if "num_batches" not in name]
    assert account.missing == ("bn1.weight", "bn1.bias")
    assert account.loaded == tuple(name for name in counted if name not in account.missing)
    assert (account.unused, account.reshaped) == (("head",), {})
    assert account.sentence in caplog.text
    assert f"{len(counted) - 2} of {len(counted)} encoder tensors loaded" in account.sentence
    assert "2 missing (bn1.weight, bn1.bias), 1 of the file not used" in account.sentence


def test_file_of_another_architecture_is_an_error_and_changes_nothing(tmp_path):
    torch.save(Encoder("densenet121").state_dict(), tmp_path / "weights.pt")
    encoder = Encoder("resnet18")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(ConfigurationError, match="another --encoder_name"):
        load_encoder_weights(encoder.encoder, tmp_path / "weights.pt")
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken zip"])
def test_file_that_is_no_checkpoint(content, tmp_path):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ConfigurationError, match="weights"):
        Encoder("resnet18", pretrained=tmp_path / "weights.pt")


def test_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "weights.pt")
    with pytest.raises(ConfigurationError, match=r"pickle of more than tensors \(print\)"):
        Encoder("resnet18", pretrained=tmp_path / "weights.pt")


def test_missing_file():
    with pytest.raises(ConfigurationError, match="no file of weights"):
        Encoder("resnet18", pretrained="nowhere.pt")


def test_timm_names_are_those_of_timm():
    assert timm.is_model(VIT[3:])


def test_model_setting(tmp_path):
    model = tmp_path / "model.pt"
    assert read_model_setting(model, "encoder_name", "resnet50") == "resnet50"
    model.with_suffix(".json").write_text('{"encoder_name": "resnet18"}')
    assert read_model_setting(model, "encoder_name", "resnet50") == "resnet18"
    with pytest.raises(ConfigurationError, match="image_size"):
        read_model_setting(model, "image_size", 224)


def test_an_encoder_made_for_one_size_says_so():
    encoder = Encoder("tu-swin_s3_tiny_224", in_channels=1)
    with pytest.raises(ConfigurationError, match=r"does not take images of 64 x 64 pixels .* give the --image_size"):
        encoder(torch.zeros(1, 1, 64, 64))
