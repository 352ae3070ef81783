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


def targets(method: MaskedDistillation, images: torch.Tensor) -> torch.Tensor:
    """In float64: the teacher's features of each patch standardised, less the mean over images; ``(B, C, 4, 4)``."""
    features = method.teacher.feature_map(images)
    if features.shape[2:] != (4, 4):
        features = torch.nn.functional.interpolate(features, (4, 4), mode="bilinear", align_corners=False)
    features = features.double()
    features = (features - features.mean(1, keepdim=True)) / features.var(1, keepdim=True, correction=0).add(
        1e-5
    ).sqrt()
    return features - features.mean(0)


def mean_cosine(answer: torch.Tensor, wanted: torch.Tensor, masked: torch.Tensor) -> float:
    cosines = [
        (answer[b, :, i, j] @ wanted[b, :, i, j] / (answer[b, :, i, j].norm() * wanted[b, :, i, j].norm())).item()
        for b, i, j in masked.nonzero().tolist()
    ]
    return sum(cosines) / len(cosines)


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
    wanted = targets(method, data["image"][:, 0])
    answer = seen[0].detach().double().permute(0, 3, 1, 2)
    assert output["loss"].item() == pytest.approx(-mean_cosine(answer, wanted, masked), abs=1e-5)
    constant = (wanted / wanted.norm(dim=1, keepdim=True)).mean(0).expand_as(wanted)
    assert output["trivial_loss"].item() == pytest.approx(-mean_cosine(constant, wanted, masked), abs=1e-4)
    assert output["embedding"].shape == (4, method.network.out_channels)


def test_a_constant_answer_scores_the_floor_which_is_about_zero(teacher_file):
    """Cosines of features as they are would give it .8; here any answer that looks at no image scores about 0."""
    method = build(teacher_file).train()
    generator, floors, constants = torch.Generator().manual_seed(1), [], []
    tilt = torch.linspace(0, 1, 64).expand(64, 64)
    for _ in range(12):
        strength = torch.rand(24, 1, 1, 1, 1, generator=generator)
        data = {"image": (strength * tilt + 0.3 * torch.rand(24, 1, 1, 64, 64, generator=generator)).clamp(0, 1)}
        floors.append(method(data)["trivial_loss"].item())
        raw = method.teacher_features(data["image"][:, 0], (4, 4))
        constants.append(
            torch.nn.functional.cosine_similarity(raw, raw.mean((0, 2, 3))[None, :, None, None]).mean().item()
        )
    assert min(constants) > 0.5
    assert abs(floors[-1]) < 0.2
    with torch.no_grad():
        method.prediction_head[1].weight.zero_()
        method.prediction_head[1].bias.copy_(raw.mean((0, 2, 3)))
    assert abs(method(data)["loss"].item()) < 0.2


def test_a_teacher_of_random_weights_is_that_of_the_seed():
    one, same, other = (MaskedDistillation(Encoder(VIT), None, "resnet18", seed=seed) for seed in (0, 0, 1))
    weights = [next(method.teacher.parameters()) for method in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    with pytest.raises(ConfigurationError, match="has no teacher: give --teacher_weights"):
        MaskedDistillation(Encoder(VIT))


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
    # Ramps in directions of their own: of noise the hidden patches cannot be told from the others.
    slope = 2 * torch.rand(16, 2, 1, 1, generator=torch.Generator().manual_seed(0)) - 1
    ramp = torch.linspace(-1, 1, 64).expand(64, 64)
    data = {"image": (0.5 + 0.25 * (slope[:, :1] * ramp + slope[:, 1:] * ramp.T))[:, :, None]}
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = method(data)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-3:]) / 3 < losses[0] - 0.05


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
