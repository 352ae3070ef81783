# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import timm
import torch
import torchvision

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import Inpainting
from monai_cxrssl.networks import EMACopy, Encoder, InputNormalisation, MultiTaskNet, Normalisation, TokenBlocks
from monai_cxrssl.probing import saliency_maps

VIT = "tu-vit_tiny_patch16_224"
IMAGENET = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def film():
    return torch.rand(2, 1, 96, 64, generator=torch.Generator().manual_seed(0))


def imagenet(film: torch.Tensor) -> torch.Tensor:
    """A grey image as ImageNet's models are given it."""
    return IMAGENET(film.repeat(1, 3, 1, 1))


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_features_of_torchvision_on_a_grey_film_tripled(name, film, tmp_path):
    source = getattr(torchvision.models, name)(weights=None).eval()
    features = getattr(source, "features", None) or torch.nn.Sequential(*list(source.children())[:-2])
    torch.save(source.state_dict(), tmp_path / "source.pt")
    encoder = Encoder(name, input_normalisation="imagenet").eval()
    assert encoder.in_channels == 1
    weights = {key: value for key, value in source.state_dict().items() if not key.startswith(("fc.", "classifier."))}
    encoder.encoder.load_state_dict(weights)
    with torch.no_grad():
        wanted = features(imagenet(film))
        ours = encoder.feature_map(film)
        close(ours, wanted)
        # Padding is of zeros after normalising: at the borders, too, and not so with a folded stem.
        first = encoder.encoder(encoder.normalise(film))[1]
        close(first[..., 0], encoder.encoder(imagenet(film))[1][..., 0])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_features_of_timm_on_a_grey_film_tripled(name, film):
    source = timm.create_model(name, pretrained=False, **({"dynamic_img_size": True} if "vit" in name else {})).eval()
    encoder = Encoder(f"tu-{name}", input_normalisation="imagenet").eval()
    expected = encoder.encoder.model.state_dict()
    ours = {key.replace("stages_", "stages.").replace("stem_", "stem."): key for key in expected}
    encoder.encoder.model.load_state_dict(
        {ours[key]: value for key, value in source.state_dict().items() if key in ours}, strict="vit" not in name
    )
    with torch.no_grad():
        if "vit" in name:
            wanted = source.forward_intermediates(imagenet(film), indices=1, intermediates_only=True)[-1]
        else:
            wanted = source.stages(source.stem(imagenet(film)))
        close(encoder.feature_map(film), wanted)


@pytest.mark.parametrize(
    ("value", "by_hand"),
    [
        ("xrv", lambda film: (2 * film - 1) * 1024),
        ("eva-x", lambda film: (film - 0.49185243) / 0.28509309),
        ([0.5, 0.25], lambda film: (film - 0.5) / 0.25),
        ({"mean": [127.5] * 3, "std": 64, "scale": 255}, lambda film: (film * 255 - 127.5) / 64),
    ],
)
def test_one_value_for_all_channels_keeps_a_stem_of_one(value, by_hand, film):
    encoder = Encoder("resnet18", input_normalisation=value).eval()
    assert encoder.encoder.conv1.weight.shape[1] == 1
    with torch.no_grad():
        close(encoder.feature_map(film), encoder.encoder(by_hand(film))[-1])
        tripled = torch.nn.functional.conv2d(
            by_hand(film).repeat(1, 3, 1, 1), encoder.encoder.conv1.weight.repeat(1, 3, 1, 1) / 3, padding=3, stride=2
        )
        close(encoder.encoder.conv1(encoder.normalise(film)), tripled)


def test_identity_changes_no_bit_and_no_key(film):
    encoder = Encoder("resnet18").eval()
    assert encoder.normalise(film) is film
    assert set(encoder.state_dict()) == {f"encoder.{key}" for key in encoder.encoder.state_dict()}
    with torch.no_grad():
        assert torch.equal(encoder.feature_map(film), encoder.encoder(film)[-1])
    network = MultiTaskNet("resnet18", 2, input_normalisation="imagenet")
    assert {key.split(".")[0] for key in network.state_dict()} == {
        "encoder", "decoder", "segmentation_head", "classification_head"
    }  # fmt: skip


@pytest.mark.parametrize("decoder", ["Unet", "FPN", "DeepLabV3Plus", "DPT"])
def test_every_branch_sees_the_normalised_image(decoder, film):
    film = film[..., :64, :]
    network = MultiTaskNet(VIT if decoder == "DPT" else "resnet18", 3, decoder, input_normalisation="imagenet").eval()
    plain = MultiTaskNet(network.encoder_name, 3, decoder, in_channels=3, input_normalisation="none").eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        ours, wanted = network(film), plain(imagenet(film))
    for name in ("label", "mask"):
        close(ours[name], wanted[name])


def test_films_of_three_channels_are_normalised_by_channel(film):
    coloured = torch.rand(2, 3, 64, 64)
    encoder = Encoder("resnet18", in_channels=3, input_normalisation="imagenet").eval()
    close(encoder.normalise(coloured), IMAGENET(coloured))
    with pytest.raises(ConfigurationError, match="Images of 2 channels.*in_channels 1 or 3"):
        Encoder("resnet18", in_channels=2, input_normalisation="imagenet")


def test_saliency_and_token_blocks_and_inpainting_see_it(film):
    network = MultiTaskNet("resnet18", 3, decoder=None, input_normalisation="imagenet").eval()
    plain = MultiTaskNet("resnet18", 3, decoder=None, in_channels=3).eval()
    plain.load_state_dict(network.state_dict())
    for layer in (-1, -3):
        method = "hires_cam" if layer == -3 else "auto"
        ours = saliency_maps(network, film, [0, 2], method, layer)
        close(ours, saliency_maps(plain, imagenet(film), [0, 2], method, layer))
    encoder = Encoder(VIT, input_normalisation="imagenet").eval()
    with torch.no_grad():
        maps, _ = TokenBlocks(encoder, "A test")(film, [11])
        close(maps[-1], encoder.encoder(imagenet(film))[0][-1])
    method = Inpainting(Encoder("resnet18", input_normalisation="imagenet"))
    seen: list[torch.Tensor] = []
    method.network.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = film[:, None, :, :64]
    loss = method({"image": image, "lung_mask": torch.ones_like(image)})["loss"]
    assert torch.isfinite(loss)
    assert seen[0].shape[1] == 3
    assert float(seen[0].detach().amin()) < -1.5


def test_copies_keep_it(film):
    encoder = Encoder("resnet18", input_normalisation="imagenet").eval()
    twin = EMACopy(encoder, momentum=0.5)
    with torch.no_grad():
        wanted = encoder(film)
        assert torch.equal(copy.deepcopy(encoder)(film), wanted)
        twin.update(encoder)
        assert torch.equal(twin(film), wanted)
        close(copy.deepcopy(encoder).double()(film.double()).float(), wanted)
    assert not [key for key in twin.state_dict() if "normalise" in key]
    half = copy.deepcopy(encoder).to(torch.bfloat16)
    assert half(film.bfloat16()).dtype is torch.bfloat16
    assert copy.deepcopy(encoder).to("meta").normalise.mean.is_meta


def test_traced_scripted_and_compiled(film):
    encoder = Encoder("resnet18", input_normalisation="imagenet").eval()
    with torch.no_grad():
        wanted = encoder(film)
        close(torch.jit.trace(encoder, film)(film), wanted)
        for value in ("imagenet", "xrv", "none"):
            step = InputNormalisation(Normalisation.of(value))
            assert torch.equal(torch.jit.script(step)(film), step(film))
        close(torch.compile(encoder, backend="aot_eager")(film), wanted)
        close(torch.export.export(encoder, (film,)).module()(film), wanted)


@pytest.mark.parametrize("value", ["bone", [1, 2, 3], [0.5, 0], {"men": 1}, {"mean": 0.5, "std": float("nan")}, True,
                                   [[0.1, 0.2], [1, 1]], ["a", "b"], {"scale": [1, 2]}, "[0.5, 0.2", ""])  # fmt: skip
def test_other_values_are_one_sentence(value):
    with pytest.raises(ConfigurationError, match="input normalisation is .*it must be auto, none, imagenet") as told:
        Normalisation.of(value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("value", [None, "none", " ImageNet ", "[0.5, 0.25]", (0.5, 0.25), '{"mean": 0.2, "std": 0.4}',
                                   [[0.1, 0.2, 0.3], 0.5], {"mean": 1024, "scale": 2048}])  # fmt: skip
def test_a_value_survives_options_and_descriptions(value):
    normalisation = Normalisation.of(value)
    assert Normalisation.of(normalisation.as_option()) == normalisation
    assert Normalisation.from_description({"encoder_name": "resnet18", **normalisation.described()}) == normalisation


def test_equal_values_have_one_form():
    assert Normalisation((0.5,) * 3, (0.25,) * 3) == Normalisation((0.5,), (0.25,))
    assert Normalisation((0.0,) * 3, (1.0,)) == Normalisation()
    assert Normalisation((0.1, 0.2, 0.3), (0.5,)).std == (0.5,) * 3
    assert str(Normalisation.of("imagenet")).startswith("imagenet (mean 0.485 0.456 0.406")
    assert Normalisation.from_description({"encoder_name": "resnet18"}) == Normalisation()
