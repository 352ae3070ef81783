# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import SPCXR
from monai_cxrssl.networks import Encoder

VIT = "tu-vit_tiny_patch16_224"


def batch(size: int = 4, views: int = 1, side: int = 64) -> dict[str, torch.Tensor]:
    image = torch.rand(size, views, 1, side, side, generator=torch.Generator().manual_seed(0))
    return {"image": image, "patient": torch.arange(size)}


FORMS = [
    {},
    {"contrastive": True},
    {"rotation_task": True},
    {"contrastive": True, "rotation_task": True, "weighting": "uncertainty"},
]


def build(name: str = VIT, **options) -> SPCXR:
    torch.manual_seed(0)
    return SPCXR(Encoder(name), **options)


@pytest.mark.parametrize("name", [VIT, "tu-vit_small_patch8_224"])
def test_loss_is_the_mean_error_of_the_corrupted_pixels(name):
    method, data = build(name).eval(), batch()
    output = method(data)
    method._draws = 0
    corrupted, mask, rebuilt = method.reconstruct(data["image"][:, 0], method.generator("cpu"))
    error = (rebuilt.double() - data["image"][:, 0].double()).abs()
    assert output["loss"].item() == pytest.approx(error[mask].mean().item(), rel=1e-5)
    images = data["image"][:, 0].double()
    brightness = [(image - images.mean(0))[~hidden].mean() for image, hidden in zip(images, mask, strict=True)]
    expected = (images.mean(0) + torch.stack(brightness)[:, None, None, None] - images).abs()[mask].mean()
    assert output["trivial_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert output["embedding"].shape == (4, method.network.out_channels)
    torch.testing.assert_close(output["embedding"], method.network(corrupted).detach())


def test_intact_pixels_have_no_gradient():
    method, data = build(), batch()
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)

    method.reconstruction_head.register_forward_hook(keep)
    method(data)["loss"].backward()
    method._draws = 0
    mask = method.group_mask(data["image"][:, 0], method.generator("cpu"))[1]
    assert torch.equal(seen[0].grad != 0, mask)


def test_same_seed_same_output():
    one, same, other = build(), build(), build(seed=1)
    losses = [[method(batch())["loss"].item() for _ in range(2)] for method in (one, same, other)]
    assert losses[0] == losses[1] != losses[2]
    assert losses[0][0] != losses[0][1]


@pytest.mark.parametrize("form", FORMS)
def test_every_trained_weight_gets_a_gradient_and_no_other(form):
    method = build(**form).train()
    assert method.num_views == (2 if form.get("contrastive") else 1)
    method(batch(views=method.num_views))["loss"].backward()
    for name, value in method.named_parameters():
        assert value.requires_grad == (value.grad is not None), name
    assert not any(value.requires_grad for value in getattr(method, "teacher", torch.nn.Identity()).parameters())


def test_contrastive_form_pairs_a_corrupted_view_with_the_other_clean_view():
    method, data = build(contrastive=True, reconstruction_weight=5.0, mask_same_patient=False).eval(), batch(3, 2)
    found = method(data)["loss"]
    method._draws = 0
    generator = method.generator("cpu")
    student, teacher, errors = [], [], []
    for view in (0, 1):
        clean, other = data["image"][:, view], data["image"][:, 1 - view]
        corrupted, mask, rebuilt = method.reconstruct(clean, generator)
        errors += (rebuilt - clean)[mask].abs().tolist()
        for network, image, out in ((method.network, corrupted, student), (method.teacher.network, other, teacher)):
            with torch.no_grad():
                token = network.encoder(network.normalise(image))[1][-1][:, 0]
                out.append(method.projection_head(token))
    contrast = 0.0
    student, teacher = torch.cat(student), torch.cat(teacher)
    z = torch.nn.functional.normalize(torch.cat([student, teacher]).double(), dim=1)
    for i in range(12):
        positive = (i + 6) % 12
        others = [k for k in range(12) if k == positive or k % 3 != i % 3]
        logits = torch.stack([z[i] @ z[k] for k in others]) / 0.2
        contrast += (torch.logsumexp(logits, 0) - z[i] @ z[positive] / 0.2).item() / 12
    assert found.item() == pytest.approx(contrast + 5 * sum(errors) / len(errors), rel=1e-4)


def test_teacher_follows_with_a_rising_momentum_and_stays_in_eval():
    method = build(contrastive=True).train()
    assert not method.teacher.network.training
    assert method.network.training
    key = "encoder.model.blocks.3.attn.qkv.weight"
    with torch.no_grad():
        for value in method.parameters():
            value.add_(0.5)
    source, start = method.network.state_dict()[key], method.teacher.network.state_dict()[key].clone()
    method.after_step(0.5)
    momentum = 1 - (1 - 0.996) * (1 + math.cos(math.pi * 0.5)) / 2
    expected = momentum * start.double() + (1 - momentum) * source.double()
    torch.testing.assert_close(method.teacher.network.state_dict()[key].double(), expected, rtol=0, atol=1e-6)
    method.after_step(1.0)
    torch.testing.assert_close(method.teacher.network.state_dict()[key].double(), expected, rtol=0, atol=1e-6)


def test_rotation_turns_what_is_rebuilt_and_is_told_from_the_class_token():
    method, data = build(rotation_task=True, reconstruction_weight=5.0).eval(), batch(6)
    found = method(data)
    method._draws = 0
    generator = method.generator("cpu")
    angle = torch.randint(4, (6,), generator=generator)
    assert len(angle.unique()) > 2
    images = torch.stack(
        [torch.rot90(image, int(k), (1, 2)) for image, k in zip(data["image"][:, 0], angle, strict=True)]
    )
    corrupted, mask, rebuilt = method.reconstruct(images, generator)
    error = (rebuilt - images).abs()[mask].mean()
    with torch.no_grad():
        logits = method.rotation_classifier(method.network.encoder(method.network.normalise(corrupted))[1][-1][:, 0])
    rotation = torch.nn.functional.cross_entropy(logits.double(), angle)
    assert found["reconstruction_loss"].item() == pytest.approx(error.item(), rel=1e-5)
    assert found["loss"].item() == pytest.approx(5 * error.item() + rotation.item(), rel=1e-5)
    assert found["accuracy"].item() == pytest.approx((logits.argmax(1) == angle).float().mean().item())


def test_learned_weights_of_the_tasks():
    form = {"contrastive": True, "rotation_task": True}
    fixed, learned = build(**form).eval(), build(**form, weighting="uncertainty").eval()
    data = batch(views=2)
    assert fixed(data)["loss"].item() == pytest.approx(learned(data)["loss"].item(), rel=1e-5), "weights start at 1"
    with torch.no_grad():
        learned.task_weights.log_variance.copy_(torch.tensor([1.0, -0.5, 0.2]))
    fixed._draws = learned._draws = 0
    output, total = fixed(data), learned(data)["loss"].item()
    assert learned.task_weights.tasks == ("reconstruction", "contrast", "rotation")
    rec = output["reconstruction_loss"].item()
    rest = output["loss"].item() - rec
    # Two unknowns, contrast and rotation, from two more settings of their weights.
    with torch.no_grad():
        learned.task_weights.log_variance.copy_(torch.tensor([0.0, math.log(2), 0.0]))
    learned._draws = 0
    half_contrast = learned(data)["loss"].item() - math.log(2) / 2 - rec
    contrast = 2 * (rest - half_contrast)
    expected = math.exp(-1) * rec + math.exp(0.5) * contrast + math.exp(-0.2) * (rest - contrast) + 0.35
    assert total == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_few_steps_lower_the_loss_under_autocast(form, tmp_path):
    method = build(**form).train()
    optimizer = torch.optim.AdamW([value for value in method.parameters() if value.requires_grad], lr=1e-3)
    losses = []
    for step in range(12):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = method(batch(views=method.num_views))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step((step + 1) / 12)
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    torch.save(method.state_dict(), tmp_path / "method.pt")
    again = build(**form).train()
    again.load_state_dict(torch.load(tmp_path / "method.pt", weights_only=True))
    assert again(batch(views=method.num_views))["loss"].item() == method(batch(views=method.num_views))["loss"].item()


def test_what_is_refused():
    with pytest.raises(ConfigurationError, match="'resnet18' is none"):
        build("resnet18")
    with pytest.raises(ConfigurationError, match="needs a class token"):
        build("tu-vit_base_patch16_gap_224", contrastive=True)
    with pytest.raises(ConfigurationError, match="expected 'fixed', or 'uncertainty' with"):
        build(weighting="uncertainty")
    with pytest.raises(ConfigurationError, match="2 views of each image and expected 1"):
        build()(batch(views=2))
    data = batch(views=2)
    del data["patient"]
    with pytest.raises(ConfigurationError, match="names no patient"):
        build(contrastive=True)(data)
