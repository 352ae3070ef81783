# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import ContrastiveLoss

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import NTXentLoss, nt_xent
from tests.losses.gathered_nt_xent import GROUP


def reference(z1: np.ndarray, z2: np.ndarray, temperature: float, group: np.ndarray | None = None) -> float:
    """NT-Xent term by term in float64: arXiv 2002.05709, equation 1, summed over its 2N anchors."""
    z = np.concatenate([z1, z2]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n = len(z1)
    ids = np.arange(n) if group is None else group
    ids = np.concatenate([ids, ids])
    total = 0.0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        terms = [z[i] @ z[k] / temperature for k in range(2 * n) if k == positive or ids[k] != ids[i]]
        highest = max(terms)
        log_sum = highest + np.log(sum(np.exp(term - highest) for term in terms))
        total += log_sum - z[i] @ z[positive] / temperature
    return total / (2 * n)


def pair(batch: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, generator=generator), torch.randn(batch, length, generator=generator)


@pytest.mark.parametrize(("batch", "length", "temperature"), [(2, 3, 1.0), (8, 16, 0.5), (17, 32, 0.1), (32, 8, 0.05)])
def test_equals_float64_reference(batch, length, temperature):
    z1, z2 = pair(batch, length)
    expected = reference(z1.numpy(), z2.numpy(), temperature)
    assert NTXentLoss(temperature)(z1, z2).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.1])
def test_equals_monai_contrastive_loss(temperature):
    z1, z2 = pair(12, 16, seed=3)
    assert NTXentLoss(temperature)(z1, z2).item() == pytest.approx(
        ContrastiveLoss(temperature)(z1, z2).item(), rel=1e-5
    )


def test_gradient_equals_finite_differences():
    z1, z2 = (z.double().requires_grad_() for z in pair(5, 4))
    group = torch.tensor([0, 0, 1, 2, 2])
    # The loss itself is computed in float32, so the numerical derivative needs a wide step and tolerance.
    assert torch.autograd.gradcheck(
        lambda a, b: NTXentLoss(0.5)(a, b, group).double(), (z1, z2), eps=1e-2, atol=2e-3, rtol=2e-2
    )


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("held", [1, 40, 117, 10**6])
def test_blocks_of_rows_change_nothing(monkeypatch, held, grouped):
    monkeypatch.setitem(nt_xent._HELD_AT_ONCE, "cpu", held)
    z1, z2 = (z.requires_grad_() for z in pair(9, 8))
    group = torch.tensor([0, 1, 1, 2, 3, 4, 4, 4, 5]) if grouped else None
    loss = NTXentLoss(0.2)(z1, z2, group)
    (3 * loss).backward()
    assert loss.item() == pytest.approx(
        reference(z1.detach().numpy(), z2.detach().numpy(), 0.2, None if group is None else group.numpy()), rel=1e-5
    )
    # The gradient of the same formula in float64, by torch's own graph over the whole matrix.
    a, b = (z.detach().double().requires_grad_() for z in (z1, z2))
    unit = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
    ids = torch.arange(9).repeat(2) if group is None else group.repeat(2)
    excluded = ids[:, None] == ids[None, :]
    positive = torch.arange(18).roll(9)
    excluded[torch.arange(18), positive] = False
    logits = (unit @ unit.T / 0.2).masked_fill(excluded, -torch.inf)
    (3 * torch.nn.functional.cross_entropy(logits, positive)).backward()
    torch.testing.assert_close(z1.grad, a.grad.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(z2.grad, b.grad.float(), rtol=1e-5, atol=1e-6)


def test_without_a_gradient_the_loss_is_the_same():
    z1, z2 = pair(6, 8)
    loss = NTXentLoss()(z1, z2)
    assert not loss.requires_grad
    assert loss.item() == NTXentLoss()(z1.requires_grad_(), z2).item()


def test_same_group_is_never_negative():
    z1, z2 = pair(10, 8)
    group = torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 5, 5])
    expected = reference(z1.numpy(), z2.numpy(), 0.2, group.numpy())
    assert NTXentLoss(0.2)(z1, z2, group).item() == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(reference(z1.numpy(), z2.numpy(), 0.2), rel=1e-3)


def test_no_gradient_between_images_of_one_patient():
    z1, z2 = (z.requires_grad_() for z in pair(4, 8))
    group = torch.tensor([7, 7, 7, 7])
    loss = NTXentLoss(0.1)(z1, z2, group)
    loss.backward()
    # All four are one patient: there is no negative, the loss is that of a sure guess, and nothing is pushed.
    assert loss.item() == 0
    assert z1.grad.abs().max() == 0


def test_unique_groups_change_nothing():
    z1, z2 = pair(9, 8)
    assert NTXentLoss(0.1)(z1, z2, torch.arange(9)).item() == pytest.approx(NTXentLoss(0.1)(z1, z2).item(), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.05, 0.01])
def test_finite_in_half_precision(dtype, temperature):
    z1, z2 = (z.to(dtype).requires_grad_() for z in pair(64, 128))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = NTXentLoss(temperature)(z1, z2)
    loss.backward()
    assert loss.dtype is torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(z1.grad).all()
    expected = reference(z1.detach().float().numpy(), z2.detach().float().numpy(), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_scale_of_embeddings_does_not_matter():
    z1, z2 = pair(6, 8)
    assert NTXentLoss()(z1 * 1e4, z2 * 1e-4).item() == pytest.approx(NTXentLoss()(z1, z2).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("shapes", "group"),
    [(((4, 8), (4, 7)), None), (((4, 8), (5, 8)), None), (((4,), (4,)), None), (((4, 8), (4, 8)), torch.arange(3))],
)
def test_refuses_shapes_that_do_not_match(shapes, group):
    with pytest.raises(ValueError, match="NT-Xent needs"):
        NTXentLoss()(torch.zeros(shapes[0]), torch.zeros(shapes[1]), group)


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_refuses_temperature(temperature):
    with pytest.raises(ConfigurationError, match="greater than 0"):
        NTXentLoss(temperature)


@pytest.fixture(scope="module")
def gathered(warm_python, repo, tmp_path_factory) -> list[list]:
    """What each of two processes found for its half of the pairs, without groups and with them."""
    folder = tmp_path_factory.mktemp("gathered")
    torch.save(pair(8, 16, seed=5), folder / "pairs.pt")
    result = warm_python.run_job(["-m", "tests.losses.gathered_nt_xent", folder], repo)
    assert result.returncode == 0, result.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("grouped", [False, True])
def test_gather_equals_one_process(gathered, grouped):
    losses, *gradients = zip(*(answers[grouped] for answers in gathered), strict=True)
    a, b = (z.clone().requires_grad_() for z in pair(8, 16, seed=5))
    loss = NTXentLoss(0.1)(a, b, GROUP if grouped else None)
    loss.backward()
    assert np.mean(losses) == pytest.approx(loss.item(), abs=1e-6)
    for parts, whole in zip(gradients, (a.grad, b.grad), strict=True):
        np.testing.assert_allclose(torch.cat(parts), whole, atol=1e-6)
