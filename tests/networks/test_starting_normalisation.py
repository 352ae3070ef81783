# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.methods import MaskedDistillation, load_teacher
from monai_cxrssl.networks import (
    Encoder,
    MultiTaskNet,
    Normalisation,
    build_encoder,
    find_description,
    load_trained_model,
    read_input_normalisation,
)
from monai_cxrssl.networks.starting_normalisation import starting_normalisation
from monai_cxrssl.networks.weights.loading import stem_channels
from monai_cxrssl.probing import embed

IMAGENET = Normalisation.of("imagenet")
VIT = "tu-vit_tiny_patch16_224"


def described(normalisation="imagenet", encoder="resnet18", **further):
    about = {"encoder_name": encoder, "image_size": 64, **further}
    return about | Normalisation.of(normalisation).described()


@pytest.fixture
def public(tmp_path):
    """A file of torchvision's, of three channels, which says nothing of itself."""
    torch.save(torchvision.models.resnet18(weights=None, num_classes=5).state_dict(), tmp_path / "public.pt")
    return tmp_path / "public.pt"


def test_random_weights_want_none():
    assert starting_normalisation("resnet18") == Normalisation()
    assert starting_normalisation("resnet18", input_normalisation="xrv") == Normalisation.of("xrv")


def test_three_channels_of_which_nothing_is_known_must_be_told(public):
    for build in (Encoder, MultiTaskNet):
        with pytest.raises(ConfigurationError, match=r"public\.pt was trained on .*three channels.*imagenet, .*xrv"):
            build("resnet18", pretrained=public, **({"num_classes": 2} if build is MultiTaskNet else {}))
    encoder = Encoder("resnet18", pretrained=public, input_normalisation="imagenet")
    assert torch.equal(encoder.encoder.conv1.weight, torch.load(public)["conv1.weight"])


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet-b0", "tu-convnext_atto", VIT,
                                  "tu-swin_tiny_patch4_window7_224", "mit_b0", "tu-regnety_002", "tu-tresnet_m"])  # fmt: skip
def test_channels_of_a_file(name):
    for channels in (1, 3):
        assert stem_channels(Encoder(name, channels).state_dict(), build_encoder(name)) == channels


def test_three_values_do_not_fit_a_stem_of_one_channel(tmp_path):
    torch.save(Encoder("resnet18").state_dict(), tmp_path / "model.pt")
    assert starting_normalisation("resnet18", None, tmp_path / "model.pt") == Normalisation()
    assert starting_normalisation("resnet18", None, tmp_path / "model.pt", "xrv") == Normalisation.of("xrv")
    with pytest.raises(ConfigurationError, match=r"one channel.*--input_normalisation imagenet.*\[mean, std\]"):
        Encoder("resnet18", pretrained=tmp_path / "model.pt", input_normalisation="imagenet")


@pytest.mark.parametrize("place", ["inside", "beside"])
def test_weights_of_ours_say_it_themselves(place, tmp_path):
    path = tmp_path / "model.pt"
    source = Encoder("resnet18", input_normalisation="imagenet").eval()
    write_model(source, path, described(), None)
    if place == "inside":
        path.with_suffix(".json").unlink()
    else:
        torch.save(dict(torch.load(path, weights_only=True)), path)
    films = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        wanted = source(films)
        assert torch.equal(Encoder("resnet18", pretrained=path).eval()(films), wanted)
        assert torch.equal(load_trained_model(path)[0](films), wanted)
        network = MultiTaskNet("resnet18", 2, pretrained=path)
        assert network.normalise.normalisation == IMAGENET
    assert Normalisation.of(read_input_normalisation(path)) == IMAGENET
    assert read_input_normalisation(tmp_path / "absent.pt", "xrv") == "xrv"


def test_a_description_that_gives_none_names_its_file(tmp_path):
    path = tmp_path / "model.pt"
    write_model(Encoder("resnet18"), path, described() | {"input_std": [0]}, None)
    for read in (load_trained_model, read_input_normalisation, lambda path: Encoder("resnet18", pretrained=path)):
        with pytest.raises(ConfigurationError, match=r"description of .*model\.pt gives no input normalisation"):
            read(path)


def hub(folder, monkeypatch, settings):
    donor = smp.encoders.get_encoder("resnet18", in_channels=3, weights=None)
    save_file(donor.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings))
    download = "segmentation_models_pytorch.encoders.hf_hub_download"
    monkeypatch.setattr(download, lambda repo_id, filename, **options: folder / filename)
    return donor.eval()


@pytest.mark.parametrize("top", [1, 255])
def test_weights_that_smp_knows_bring_their_settings(top, tmp_path, monkeypatch):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    settings = {"mean": [v * top for v in mean], "std": [v * top for v in std], "input_range": [0, top]}
    donor = hub(tmp_path, monkeypatch, {**settings, "input_space": "RGB"})
    encoder = Encoder("resnet18", encoder_weights="imagenet").eval()
    films = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        wanted = donor(torchvision.transforms.Normalize(mean, std)(films.repeat(1, 3, 1, 1)))[-1]
        torch.testing.assert_close(encoder.feature_map(films), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_weights_of_timm_bring_their_config():
    for name in ("vit_tiny_patch16_224", "convnext_atto", "resnet18.a1_in1k"):
        settings = timm.get_pretrained_cfg(name)
        wanted = Normalisation(settings.mean, settings.std)
        assert starting_normalisation(f"tu-{name}", "imagenet") == wanted
    # timm's first vision transformers were trained on 0.5 and 0.5.
    assert starting_normalisation(VIT, "imagenet") == Normalisation((0.5,), (0.5,))


@pytest.fixture
def teacher_weights(tmp_path):
    path = tmp_path / "teacher.pt"
    teacher = MultiTaskNet("resnet18", 2, None, input_normalisation="imagenet")
    about = described(classes=["a", "b"], task="multi_class", decoder=None, mask=None, mask_channels=1)
    write_model(teacher, path, about, None)
    return path


def test_teachers_see_their_own_normalisation(teacher_weights):
    network = load_teacher(teacher_weights, ["a", "b"], "multi_class")
    assert network.normalise.normalisation == IMAGENET
    student = Encoder(VIT)
    method = MaskedDistillation(student, teacher_weights)
    films = torch.rand(2, 1, 64, 64)
    normalised = torchvision.transforms.Normalize(IMAGENET.mean, IMAGENET.std)(films.repeat(1, 3, 1, 1))
    wanted = network.encoder(normalised)[-1].detach()
    torch.testing.assert_close(method.teacher.feature_map(films), wanted, rtol=0, atol=1e-5)
    assert student.normalise.normalisation == Normalisation.of("standard")
    assert torch.isfinite(method({"image": films[:, None]})["loss"])


def test_a_teacher_of_which_nothing_is_known_can_be_told(public):
    with pytest.raises(ConfigurationError, match="three channels"):
        MaskedDistillation(Encoder(VIT), public, "resnet18")
    method = MaskedDistillation(Encoder(VIT), public, "resnet18", teacher_normalisation="imagenet")
    assert method.teacher.normalise.normalisation == IMAGENET


def test_probes_see_it_whatever_the_type_of_the_films():
    encoder = Encoder("resnet18", input_normalisation="imagenet").eval()
    films = (torch.rand(3, 1, 64, 64) * 255).to(torch.uint8)
    found = torch.from_numpy(embed(encoder, [{"image": film} for film in films], "cpu", amp=False))
    plain = torchvision.transforms.Normalize(IMAGENET.mean, IMAGENET.std)((films / 255).repeat(1, 3, 1, 1))
    with torch.no_grad():
        wanted = encoder.encoder(plain)[-1].mean((2, 3))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_describe_writes_it_where_the_file_says_nothing(tmp_path, capsys):
    path = tmp_path / "model.pt"
    torch.save(Encoder("resnet18", in_channels=3).state_dict(), path)
    size = ["--encoder_name", "resnet18", "--image_size", "64"]
    assert main(["describe", str(path), *size]) == 2
    assert "--input_normalisation" in capsys.readouterr().err
    assert main(["describe", str(path), *size, "--input_normalisation", "bone"]) == 2
    assert "must be auto, none, imagenet" in capsys.readouterr().err
    assert main(["describe", str(path), *size, "--input_normalisation", "imagenet"]) == 0
    assert Normalisation.from_description(find_description(path)) == IMAGENET
    assert load_trained_model(path)[0].normalise.normalisation == IMAGENET
