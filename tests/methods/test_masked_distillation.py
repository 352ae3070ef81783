# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import MaskedDistillation
from monai_cxrssl.networks import Encoder
from monai_cxrssl.transforms.corruptions.group_mask import draw_blocks

VIT = "tu-vit_tiny_patch16_224"


def batch(size: int = 4) -> dict[str, torch.Tensor]:
    return {"image": torch.rand(size, 1, 1, 64, 64, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(scope="module", params=["resnet18", VIT])
def teacher_file(request, tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("teacher") / "model.pt"
    torch.save(Encoder(request.param).state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps({"encoder_name": request.param}))
    return path


def build(path, **options) -> MaskedDistillation:
    torch.manual_seed(0)
    return MaskedDistillation(Encoder(VIT), str(path), **options)


def test_loss_is_minus_the_mean_cosine_of_the_masked_patches(teacher_file):
    method, data = build(teacher_file).eval(), batch()
    seen = []
    handle = method.prediction_head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    output = method(data)
    handle.remove()
    method._draws = 0
    masked = draw_blocks((4, 4), torch.full((4,), 0.4), 0.3, method.generator("cpu"), 0.4)
    assert (masked.float().mean((1, 2)) >= 0.4).all()
    assert masked.float().mean() < 0.5
    wanted = method.teacher.feature_map(data["image"][:, 0])
    if wanted.shape[2:] != (4, 4):
        wanted = torch.nn.functional.interpolate(wanted, (4, 4), mode="bilinear", align_corners=False)
    cosines = [
        torch.dot(seen[0][b, i, j], wanted[b, :, i, j]).double() / (seen[0][b, i, j].norm() * wanted[b, :, i, j].norm())
        for b, i, j in masked.nonzero().tolist()
    ]
    assert output["loss"].item() == pytest.approx(-torch.stack(cosines).mean().item(), abs=1e-5)
    assert output["embedding"].shape == (4, 192)


def test_teacher_is_frozen_in_eval_and_not_saved(teacher_file):
    method = build(teacher_file).train()
    weights = torch.load(teacher_file, weights_only=True)
    method(batch())["loss"].backward()
    assert not method.teacher.training
    for name, value in method.teacher.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert not any("teacher" in name for name in method.state_dict())
    assert all(value.requires_grad == (value.grad is not None) for value in method.parameters())
    again = build(teacher_file).train()
    again.load_state_dict(method.state_dict())
    assert again(batch())["loss"].item() == method(batch())["loss"].item()


def test_a_few_steps_lower_the_loss_under_autocast(teacher_file):
    method = build(teacher_file).train()
    optimizer = torch.optim.AdamW([value for value in method.parameters() if value.requires_grad], lr=1e-3)
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = method(batch())["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2


def test_same_seed_same_output(teacher_file):
    one, same, other = (build(teacher_file, seed=seed)(batch())["loss"].item() for seed in (0, 0, 1))
    assert one == same != other


def test_what_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(ConfigurationError, match="no file of weights"):
        MaskedDistillation(Encoder(VIT), path, "resnet18")
    torch.save(Encoder("resnet18").state_dict(), path)
    with pytest.raises(ConfigurationError, match="give teacher_name"):
        MaskedDistillation(Encoder(VIT), path)
    with pytest.raises(ConfigurationError, match="'resnet18' is none"):
        MaskedDistillation(Encoder("resnet18"), path, "resnet18")
    with pytest.raises(ConfigurationError, match="mask_ratio"):
        MaskedDistillation(Encoder(VIT), path, "resnet18", mask_ratio=1.0)
    method = MaskedDistillation(Encoder(VIT), path, "resnet18")
    with pytest.raises(ConfigurationError, match="multiple of the patch size"):
        method({"image": torch.rand(2, 1, 1, 60, 64)})
