# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from monai.losses import ContrastiveLoss

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import MICLe, SimCLR
from monai_cxrssl.networks import Encoder, ProjectionHead


def batch(size: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"image": torch.rand(size, 2, 1, 32, 32, generator=generator), "patient": torch.arange(size)}


def build(kind=SimCLR, **options):
    torch.manual_seed(0)
    return kind(Encoder("resnet18"), **options).eval()


def test_loss_is_that_of_the_two_views():
    method, data = build(mask_same_patient=False, temperature=0.2), batch()
    output = method(data)
    z = [method.projection_head(method.network(data["image"][:, view])) for view in (0, 1)]
    assert output["loss"].item() == pytest.approx(ContrastiveLoss(0.2)(*z).item(), rel=1e-5)
    torch.testing.assert_close(output["embedding"], torch.cat(z).detach())


def test_swapping_the_views_changes_nothing():
    method, data = build(), batch()
    swapped = {**data, "image": data["image"].flip(1)}
    assert method(data)["loss"].item() == pytest.approx(method(swapped)["loss"].item(), rel=1e-5)


def test_images_of_one_patient_do_not_push_each_other():
    """The gradient at a patient's second image must not depend on the first one being in the batch as a negative."""
    method, data = build(MICLe), batch(3)
    data["patient"] = torch.tensor([0, 0, 1])
    z = F.normalize(method(data)["embedding"], dim=1)
    expected = 0.0
    for i in range(6):
        others = [k for k in range(6) if k == (i + 3) % 6 or data["patient"][k % 3] != data["patient"][i % 3]]
        logits = torch.stack([z[i] @ z[k] for k in others]) / 0.1
        expected += (torch.logsumexp(logits, 0) - z[i] @ z[(i + 3) % 6] / 0.1).item() / 6
    assert method(data)["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_the_gradient_reaches_encoder_and_head():
    method = build().train()
    method(batch())["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert method.network.encoder.conv1.weight.grad.abs().sum() > 0


def test_micle_and_masking_need_patients():
    data = batch()
    del data["patient"]
    with pytest.raises(ConfigurationError, match="patient of every pair"):
        build(MICLe)(data)
    assert build(mask_same_patient=False)(data)["loss"].item() > 0


@pytest.mark.parametrize(("layers", "linear"), [(1, 1), (2, 2), (3, 3)])
def test_projection_head(layers, linear):
    head = ProjectionHead(16, 8, 4, layers)
    assert sum(isinstance(module, torch.nn.Linear) for module in head.modules()) == linear
    assert head(torch.randn(5, 16)).shape == (5, 4)
    with pytest.raises(ConfigurationError):
        ProjectionHead(16, layers=0)


@pytest.mark.parametrize("norm", [False, True])
def test_two_layers_are_lightlys(norm):
    """MoCo v2's head, and SimCLR's without the normalisation of its output, by lightly."""
    from lightly.models.modules import MoCoProjectionHead, SimCLRProjectionHead

    theirs = SimCLRProjectionHead(16, 8, 4) if norm else MoCoProjectionHead(16, 8, 4)
    modules = [module for module in theirs.layers if norm is False or module is not theirs.layers[-1]]
    ours = ProjectionHead(16, 8, 4, norm=norm)
    assert [type(module) for module in ours.layers] == [type(module) for module in modules]
    if not norm:
        assert [value.shape for value in theirs.state_dict().values()] == [
            value.shape for value in ours.state_dict().values()
        ]
        ours.layers.load_state_dict(theirs.layers.state_dict())
        images = torch.randn(6, 16)
        torch.testing.assert_close(ours(images), theirs(images))
