# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.losses import AUCMLoss
from torch.utils._python_dispatch import TorchDispatchMode

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.losses import MultiTaskLoss

NAN = float("nan")
WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal", "_unique2")


class NoWaiting(TorchDispatchMode):
    """Refuse what makes the host wait for a device: a value of a tensor, or rows chosen by yes and no."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in WAITING, f"{func} waits for the device"
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            chosen = any(rows is not None and rows.dtype in (torch.bool, torch.uint8) for rows in args[1])
            assert not chosen, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


def sample(task: str = "multi_class", dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    output = {
        "label": torch.randn(6, 3, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(),
        "mask": torch.randn(6, 2, 8, 10, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(),
    }
    if task == "multi_class":
        label = torch.tensor([0, 2, -1, 1, -1, 2])
    else:
        label = torch.tensor([[1, 0, NAN], [NAN, 1, 1], [NAN] * 3, [0, 0, 0], [1, NAN, 1], [0, 1, 0]])
    batch = {
        "label": label,
        "mask": (torch.rand(6, 2, 8, 10, generator=generator) < 0.4).to(torch.uint8),
        "has_mask": torch.tensor([True, False, True, True, False, False]),
        "index": torch.arange(10, 16),
    }
    return output, batch


def mask_reference(output, batch):
    """Dice plus binary cross-entropy, image by image, in numpy."""
    dice, entropy = [], []
    for film in np.flatnonzero(batch["has_mask"].numpy()):
        for channel in range(2):
            logits = output["mask"][film, channel].detach().double().numpy()
            truth = batch["mask"][film, channel].numpy().astype(float)
            share = 1 / (1 + np.exp(-logits))
            dice.append(1 - (2 * (share * truth).sum() + 1e-5) / (share.sum() + truth.sum() + 1e-5))
            entropy.append(-(truth * np.log(share) + (1 - truth) * np.log(1 - share)).mean())
    return np.mean(dice) + np.mean(entropy)


def label_reference(output, batch, task, kind, weights, smoothing):
    """The label losses entry by entry in numpy."""
    logits, label = output["label"].detach().double().numpy(), batch["label"].numpy()
    weights = np.ones(3) if weights is None else np.array(weights)
    total, share = 0.0, 0.0
    for film in range(len(logits)):
        if task == "multi_class":
            if label[film] < 0:
                continue
            p = np.exp(logits[film]) / np.exp(logits[film]).sum()
            target = np.eye(3)[label[film]]
            if kind == "focal":
                total += weights[label[film]] * -((1 - p) ** 2 * np.log(p) * target).sum()
            else:
                target = target * (1 - smoothing) + smoothing / 3
                total += -(weights * target * np.log(p)).sum()
            share += weights[label[film]]
        else:
            for c in range(3):
                if np.isnan(label[film, c]):
                    continue
                p, y = 1 / (1 + np.exp(-logits[film, c])), float(label[film, c])
                y = y * (1 - smoothing) + smoothing / 2
                easy = ((1 - p) ** 2, p**2) if kind == "focal" else (1, 1)
                total += -(weights[c] * y * easy[0] * np.log(p) + (1 - y) * easy[1] * np.log(1 - p))
                share += 1
    return total / share


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize(
    ("kind", "weights", "smoothing"),
    [
        ("cross_entropy", None, 0.0),
        ("cross_entropy", [0.5, 2.0, 3.0], 0.0),
        ("cross_entropy", None, 0.1),
        ("cross_entropy", [0.5, 2.0, 3.0], 0.2),
        ("focal", None, 0.0),
        ("focal", [0.5, 2.0, 3.0], 0.0),
    ],
)
def test_equals_a_float64_reference(task, kind, weights, smoothing):
    output, batch = sample(task)
    loss = MultiTaskLoss(task, 0.7, 1.3, label_loss=kind, class_weights=weights, label_smoothing=smoothing)(
        output, batch
    )
    # MONAI's focal loss works in float32.
    tolerance = 1e-5 if kind == "focal" else 1e-9
    label, mask = label_reference(output, batch, task, kind, weights, smoothing), mask_reference(output, batch)
    assert loss["label_loss"].item() == pytest.approx(label, rel=tolerance)
    assert loss["mask_loss"].item() == pytest.approx(mask, rel=1e-9)
    assert loss["loss"].item() == pytest.approx(0.7 * label + 1.3 * mask, rel=tolerance)


def test_labels_of_all_films_equal_torch():
    output, batch = sample()
    batch["label"] = torch.tensor([0, 1, 2, 2, 1, 2])
    weights = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    expected = F.cross_entropy(output["label"], batch["label"], weights, label_smoothing=0.1)
    loss = MultiTaskLoss("multi_class", class_weights=weights.tolist(), label_smoothing=0.1)(output, batch)
    torch.testing.assert_close(loss["label_loss"], expected)


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_auc_margin_is_the_saddle_point_of_the_batch(task):
    """Variance of either kind, plus the squared hinge of the margin between their means."""
    output, batch = sample(task)
    logits, label = output["label"], batch["label"]
    scores = logits.softmax(dim=1) if task == "multi_class" else logits.sigmoid()
    expected = []
    for c in range(3):
        known = label >= 0 if task == "multi_class" else ~label[:, c].isnan()
        positive = label == c if task == "multi_class" else label[:, c] == 1
        up, down = scores[known & positive, c], scores[known & ~positive, c]
        hinge = (1 + down.mean() - up.mean()).clamp(min=0) ** 2
        expected.append(up.var(unbiased=False) + down.var(unbiased=False) + hinge)
    expected = torch.stack(expected).mean()
    loss = MultiTaskLoss(task, label_loss="auc_margin")
    assert list(loss.parameters()) == []
    result = loss(output, batch)["label_loss"]
    torch.testing.assert_close(result, expected)
    (gradient,) = torch.autograd.grad(result, logits, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])


def test_auc_margin_of_one_kind_is_zero_with_a_graph():
    output, batch = sample("multi_label")
    batch["label"] = torch.ones(6, 3)
    loss = MultiTaskLoss("multi_label", label_loss="auc_margin")(output, batch)["label_loss"]
    loss.backward()
    assert loss.item() == 0
    assert output["label"].grad.eq(0).all()


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "auc_margin"])
def test_what_is_unknown_gets_a_gradient_of_exactly_zero(task, kind):
    output, batch = sample(task, torch.float32)
    with torch.no_grad():
        output["label"][2] = torch.inf  # what is left out cannot harm
        output["mask"][1] = torch.nan
    MultiTaskLoss(task, label_loss=kind)(output, batch)["loss"].backward()
    known = batch["label"] >= 0 if task == "multi_class" else ~batch["label"].isnan()
    assert output["label"].grad[~known].eq(0).all()
    assert output["label"].grad[known].ne(0).any()
    assert output["mask"].grad[~batch["has_mask"]].eq(0).all()
    assert output["mask"].grad[batch["has_mask"]].ne(0).all()
    assert output["label"].grad.isfinite().all()


def test_gradient_by_float64_differences():
    output, batch = sample("multi_label")
    batch["mask"] = batch["mask"][..., :2]
    mask = output["mask"][..., :2].detach().requires_grad_()
    loss = MultiTaskLoss("multi_label", weighting="uncertainty", class_weights=[1, 2, 3]).double()
    assert torch.autograd.gradcheck(
        lambda label, mask: loss({"label": label, "mask": mask}, batch)["loss"], (output["label"], mask)
    )


def test_uncertainty_weights_equal_a_float64_reference():
    output, batch = sample()
    loss = MultiTaskLoss("multi_class", 0.7, 1.3, weighting="uncertainty").double()
    assert [tuple(value.shape) for value in loss.parameters()] == [(2,)]
    s = np.array([0.3, -0.8])
    with torch.no_grad():
        loss.log_variance.copy_(torch.from_numpy(s))
    result = loss(output, batch)
    parts = np.array(
        [label_reference(output, batch, "multi_class", "cross_entropy", None, 0.0), mask_reference(output, batch)]
    )
    weights = np.array([0.7, 1.3])
    assert result["loss"].item() == pytest.approx((weights * (np.exp(-s) * parts + s / 2)).sum(), rel=1e-9)
    result["loss"].backward()
    np.testing.assert_allclose(loss.log_variance.grad.numpy(), weights * (0.5 - np.exp(-s) * parts), rtol=1e-9)


@pytest.mark.parametrize("missing", ["label", "mask"])
def test_a_missing_part_does_not_move_its_uncertainty(missing):
    output, batch = sample()
    if missing == "label":
        batch["label"] = torch.full((6,), -1)
    else:
        batch["has_mask"] = torch.zeros(6, dtype=torch.bool)
    loss = MultiTaskLoss("multi_class", weighting="uncertainty")
    result = loss(output, batch)
    result["loss"].backward()
    row = ["label", "mask"].index(missing)
    assert loss.log_variance.grad[row] == 0
    assert loss.log_variance.grad[1 - row] != 0
    assert result[f"{missing}_loss"].item() == 0
    assert result[f"{missing}_loss"].requires_grad
    assert output[missing].grad.eq(0).all()


@pytest.mark.parametrize("branch", ["label", "mask"])
def test_one_branch_alone(branch):
    output, batch = sample()
    both = MultiTaskLoss("multi_class")(output, batch)
    alone = MultiTaskLoss("multi_class")({branch: output[branch]}, batch)
    bare = MultiTaskLoss("multi_class")({branch: output[branch]}, {k: v for k, v in batch.items() if branch in k})
    assert alone["loss"].item() == both[f"{branch}_loss"].item() == bare["loss"].item()


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "auc_margin"])
def test_float32_under_autocast(kind):
    output, batch = sample("multi_label", torch.bfloat16)
    loss = MultiTaskLoss("multi_label", label_loss=kind, weighting="uncertainty")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(output, batch)
    expected = loss({name: value.float() for name, value in output.items()}, batch)
    for name, value in result.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-6)


def test_a_batch_with_nothing_names_its_items():
    output, batch = sample()
    batch |= {"label": torch.full((6,), -1), "has_mask": torch.zeros(6, dtype=torch.bool)}
    with pytest.raises(DatalistError, match="none of items 10, 11, 12, 13, 14, 15 has a label or a mask"):
        MultiTaskLoss("multi_class")(output, batch)
    with pytest.raises(DatalistError, match="has a mask"):
        MultiTaskLoss("multi_class")({"mask": output["mask"]}, {**batch, "label": torch.zeros(6).long()})


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        ("multi_class", torch.tensor([0, 1, 3, 0, 0, 0]), "label of item 12 is 3.*from 0 to 2"),
        ("multi_class", torch.tensor([0, 1, 1, -2, 0, 0]), "label of item 13 is -2"),
        ("multi_class", torch.zeros(5).long(), r"int64 \(5,\)"),
        ("multi_class", torch.zeros(6), r"float32 \(6,\)"),
        ("multi_label", torch.full((6, 3), -1.0), r"is \[-1.0, -1.0, -1.0\].*NaN \(null\)"),
        ("multi_label", torch.zeros(6, 4), r"float32 \(6, 4\)"),
        ("multi_label", torch.zeros(6).long(), "floats"),
    ],
)
def test_labels_that_do_not_fit_are_one_sentence(task, label, message):
    output, batch = sample(task)
    with pytest.raises(DatalistError, match=message):
        MultiTaskLoss(task)(output, {**batch, "label": label})


def test_soft_labels_are_for_entropies_only():
    output, batch = sample("multi_label")
    batch["label"] = torch.full((6, 3), 0.7)
    assert MultiTaskLoss("multi_label")(output, batch)["label_loss"] > 0
    with pytest.raises(DatalistError, match="0 or 1"):
        MultiTaskLoss("multi_label", label_loss="auc_margin")(output, batch)


def test_masks_that_do_not_fit_are_one_sentence():
    output, batch = sample()
    with pytest.raises(DatalistError, match=r"masks of items 10.*\(6, 1, 8, 10\).*\(6, 2, 8, 10\)"):
        MultiTaskLoss("multi_class")(output, {**batch, "mask": batch["mask"][:, :1]})
    with pytest.raises(DatalistError, match="mask of items 10, 12, 13 holds values up to 255"):
        MultiTaskLoss("multi_class")(output, {**batch, "mask": batch["mask"] * 255})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "regression"}, "task is 'regression'"),
        ({"weighting": "learned"}, "weighting is 'learned'"),
        ({"label_loss": "hinge"}, "label_loss is 'hinge'"),
        ({"label_weight": -1}, "0 or more"),
        ({"label_weight": 0, "mask_weight": 0}, "not both 0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"label_smoothing": 0.1, "label_loss": "focal"}, "any loss but cross_entropy"),
        ({"class_weights": [1, -1]}, "one weight of 0 or more"),
        ({"class_weights": [1, 1], "label_loss": "auc_margin"}, "none with auc_margin"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigurationError, match=message):
        MultiTaskLoss(**{"task": "multi_class"} | options)


def test_another_number_of_class_weights():
    output, batch = sample()
    with pytest.raises(ConfigurationError, match="2 class_weights for 3 classes"):
        MultiTaskLoss("multi_class", class_weights=[1, 1])(output, batch)


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "auc_margin"])
@pytest.mark.parametrize("lacking", ["some", "label", "mask", "nothing"])
def test_a_checked_batch_never_waits_for_the_device(task, kind, lacking):
    """The same losses to the last bit, with nothing asked of a tensor in the forward pass or the backward pass."""
    output, batch = sample(task, torch.float32)
    if lacking == "label":
        batch["label"] = torch.full_like(batch["label"], -1 if task == "multi_class" else NAN)
    if lacking == "mask":
        batch["has_mask"] = torch.zeros(6, dtype=torch.bool)
    if lacking == "nothing":
        batch["label"] = torch.tensor([0, 1, 2, 0, 1, 2]) if task == "multi_class" else torch.ones(6, 3)
        batch["has_mask"] = torch.ones(6, dtype=torch.bool)
    weights = None if kind == "auc_margin" else [0.5, 2.0, 3.0]
    loss = MultiTaskLoss(task, label_loss=kind, weighting="uncertainty", class_weights=weights)
    expected = loss(output, batch)
    expected["loss"].backward()
    gradients = [output[name].grad.clone() for name in output]
    for value in output.values():
        value.grad = None
    checked = {**batch, **loss.check(batch, 3)}
    with NoWaiting():
        result = loss(output, checked)
        result["loss"].backward()
    assert {name: value.item() for name, value in result.items()} == {k: v.item() for k, v in expected.items()}
    for name, gradient in zip(output, gradients, strict=True):
        assert torch.equal(output[name].grad, gradient)


def test_what_waits_is_noticed():
    output, batch = sample()
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        MultiTaskLoss("multi_class")(output, batch)


def test_check_says_who_has_what():
    _, batch = sample()
    loss = MultiTaskLoss("multi_class")
    found = loss.check(batch, 3)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "label_rows": [0, 1, 3, 5],
        "mask_rows": [0, 2, 3],
    }
    assert set(loss.check(batch, 0)) == {"mask_rows"}
    assert set(loss.check(batch, 3, masks=False)) == {"label_rows"}
    assert MultiTaskLoss("multi_label").check({"label": batch["label"]}, 3) == {}  # for forward to refuse
    del batch["has_mask"]
    assert loss.check(batch, 3)["mask_rows"].tolist() == list(range(6))


@pytest.mark.parametrize("change", ["label", "mask", "nothing"])
def test_a_checked_batch_has_the_same_errors(change):
    output, batch = sample()
    loss = MultiTaskLoss("multi_class")
    if change == "nothing":
        batch |= {"label": torch.full((6,), -1), "has_mask": torch.zeros(6, dtype=torch.bool)}
        with pytest.raises(DatalistError, match="none of items 10, 11, 12, 13, 14, 15 has a label or a mask"):
            loss(output, {**batch, **loss.check(batch, 3)})
        return
    batch |= {"label": torch.tensor([0, 1, 3, 0, 0, 0])} if change == "label" else {"mask": batch["mask"] * 255}
    found = "label of item 12 is 3" if change == "label" else "mask of items 10, 12, 13 holds values up to 255"
    with pytest.raises(DatalistError, match=found):
        loss.check(batch, 3)


def test_auc_margin_equals_monais():
    """MONAI's loss with a, b and alpha at their saddle point, class by class."""
    output, batch = sample("multi_label")
    expected = []
    for c in range(3):
        known = ~batch["label"][:, c].isnan()
        score, target = output["label"][known, c].sigmoid(), batch["label"][known, c]
        reference = AUCMLoss(version="v2").double()
        with torch.no_grad():
            a, b = score[target == 1].mean(), score[target == 0].mean()
            for name, value in (("a", a), ("b", b), ("alpha", (1 + b - a).clamp(min=0))):
                getattr(reference, name).copy_(value)
        expected.append(reference(score[:, None], target[:, None].double()))
    result = MultiTaskLoss("multi_label", label_loss="auc_margin")(output, batch)["label_loss"]
    torch.testing.assert_close(result, torch.stack(expected).mean())
