# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every family of encoders comes back from its own file, and from one of three channels."""

from __future__ import annotations

import pytest
import timm
import torch
from segmentation_models_pytorch.encoders import encoders

from monai_cxrssl.networks import Encoder, load_encoder_weights

from .formats.source import seeded

#: A small name of each family of segmentation-models-pytorch, by the class of its encoder.
SMP = (
    "resnet18", "se_resnet50", "densenet121", "dpn68", "vgg11_bn", "inceptionresnetv2", "inceptionv4",
    "efficientnet-b0", "mobilenet_v2", "xception", "mit_b0", "mobileone_s0", "timm-efficientnet-b0",
    "timm-tf_efficientnet_lite0", "timm-skresnet18",
)  # fmt: skip
#: Of timm: those that smp had under names of its own, and more.
TIMM = (
    "tu-regnetx_002", "tu-res2net50_26w_4s", "tu-resnest14d", "tu-gernet_s", "tu-tf_mobilenetv3_small_075",
    "tu-resnet18", "tu-convnextv2_atto", "tu-vit_tiny_patch16_224", "tu-deit_tiny_distilled_patch16_224",
    "tu-swin_tiny_patch4_window7_224", "tu-efficientnet_b0", "tu-eva02_tiny_patch14_224", "tu-pvt_v2_b0",
    "tu-edgenext_xx_small", "tu-densenet121", "tu-tresnet_m",
)  # fmt: skip
HEAVY = {
    "se_resnet50", "dpn68", "vgg11_bn", "inceptionresnetv2", "inceptionv4", "tu-res2net50_26w_4s", "tu-tresnet_m",
    "tu-swin_tiny_patch4_window7_224",
}  # fmt: skip


def marked(names):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in names]


def side(name):
    return 224 if "swin" in name else 112 if "patch14" in name else 64


def features(encoder, image):
    with torch.no_grad():
        return encoder.eval().feature_map(image)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", marked(SMP + TIMM))
def test_a_file_of_its_own_comes_back(name, tmp_path, caplog):
    donor = Encoder(name, positions="learned", input_normalisation="none")  # a bare file says neither
    seeded(donor)
    torch.save(donor.state_dict(), tmp_path / "encoder.pt")
    with caplog.at_level("INFO"):
        encoder = Encoder(name, pretrained=tmp_path / "encoder.pt")
    for key, value in donor.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], value), key
    image = torch.rand(1, 1, side(name), side(name))
    assert torch.equal(features(encoder, image), features(donor, image))
    assert ", 0 missing, 0 of the file not used" in caplog.text


def test_no_family_of_smp_is_left_out():
    assert {encoders[name]["encoder"] for name in SMP} == {each["encoder"] for each in encoders.values()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", marked(SMP + TIMM))
def test_three_channels_never_leave_a_random_stem(name, caplog):
    donor = seeded(Encoder(name, in_channels=3, positions="learned", input_normalisation="none"))
    encoder = Encoder(name, positions="learned", input_normalisation="none")
    account = load_encoder_weights(encoder.encoder, donor.state_dict())
    assert list(account.reshaped.values()) == ["3 channels summed"] * (2 if "mobileone" in name else 1)
    image = torch.rand(1, 1, side(name), side(name))
    expected = features(donor, image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(features(encoder, image), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", marked(TIMM))
def test_names_of_timm(name):
    """The state dict that timm itself publishes gives what timm's network gives."""
    donor = seeded(timm.create_model(name[3:]))
    encoder = Encoder(name, positions="learned", input_normalisation="none")
    account = load_encoder_weights(encoder.encoder, donor.state_dict())
    assert account.missing == ()
    image = torch.rand(1, 1, side(name), side(name)) if "patch" not in name else torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        expected = donor.forward_intermediates(image.expand(-1, 3, -1, -1), intermediates_only=True)[-1]
    torch.testing.assert_close(features(encoder, image), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
