# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Distillation: its loss against a float64 formula, a teacher that nothing changes, and a student that learns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit, log_softmax, softmax
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import default_collate

from monai_cxrssl.data import FineTuningImages, ImageSampler, load_datalist, open_images, training_loader
from monai_cxrssl.engines import MultiTaskTrainer
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.losses import DistillationLoss, MultiTaskLoss
from monai_cxrssl.methods import DistillationMethod, FineTuningMethod, load_teacher
from monai_cxrssl.networks import MultiTaskNet
from monai_cxrssl.optim import layer_decay_groups
from monai_cxrssl.phantom import make_phantom_dataset
from monai_cxrssl.transforms import MultiView, ResizeCXR
from tests.engines.small_multi_task import SmallMultiTask, batches


class Shown(nn.Module):
    """Gives the logits that it was made with, whatever it is shown."""

    def __init__(self, label, mask=None) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.label = nn.Parameter(label.clone())
        self.mask = None if mask is None else nn.Parameter(mask.clone())

    def forward(self, image):
        return {"label": self.label} | ({} if self.mask is None else {"mask": self.mask})


def method(student=None, teacher=None, task="multi_class", loss=None, temperature=2.0, mixing=0.7, **options):
    return DistillationMethod(
        student or SmallMultiTask(0),
        loss or MultiTaskLoss(task),
        teacher or SmallMultiTask(1),
        DistillationLoss(temperature, mixing, task),
        **options,
    )


def unlabelled(batch, masks=False):
    return {**batch, "label": torch.full_like(batch["label"], -1), "has_mask": batch["has_mask"] & masks}


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal(found, expected) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def soft_loss(student, teacher, temperature, task):
    """Float64, by scipy: t^2 times the cross-entropy of the student to the teacher."""
    student, teacher = student.double().numpy() / temperature, teacher.double().numpy() / temperature
    if task == "multi_class":
        terms = -(softmax(teacher, 1) * log_softmax(student, 1)).sum(1)
    else:
        terms = -(expit(teacher) * log_expit(student) + expit(-teacher) * log_expit(-student)).mean(1)
    return temperature**2 * terms.mean()


def hard_loss(student, label, task):
    student, label = student.double().numpy(), label.numpy()
    if task == "multi_class":
        known = label >= 0
        return -log_softmax(student, 1)[known, label[known]].mean()
    known = ~np.isnan(label)
    return -np.where(label == 1, log_expit(student), log_expit(-student))[known].mean()


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_student_equal_to_the_teacher_has_the_entropy(task, temperature):
    """Check 7: t^2 times the entropy of the teacher at that temperature."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(3)) * 3
    batch = {"image": torch.zeros(6, 1, 4, 4)}
    output = method(Shown(logits), Shown(logits), task, temperature=temperature)(batch)
    share = torch.softmax(logits.double() / temperature, 1) if task == "multi_class" else None
    if share is None:
        share = torch.sigmoid(logits.double() / temperature)
        entropy = torch.distributions.Bernoulli(share).entropy().mean()
    else:
        entropy = torch.distributions.Categorical(share).entropy().mean()
    assert output["loss"].item() == pytest.approx(temperature**2 * entropy.item(), rel=1e-6)


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("mixing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("known", ["some", "none"])
def test_the_mix_equals_the_float64_formula(task, mixing, known):
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randn(6, 3, generator=generator) * 2 for _ in range(2))
    mask = torch.randn(6, 1, 4, 4, generator=generator)
    label = torch.tensor([0, -1, 2, 1, -1, 2])
    if task == "multi_label":
        label = torch.tensor([[0.0, 1.0, torch.nan]] * 3 + [[torch.nan] * 3] * 3)
    if known == "none":
        label = torch.full_like(label, -1 if task == "multi_class" else torch.nan)
    batch = {"image": torch.zeros(6, 1, 4, 4), "label": label, "mask": (mask > 1).to(torch.uint8)}
    batch["has_mask"] = torch.tensor([True, False] * 3)
    loss = MultiTaskLoss(task, label_weight=0.5, mask_weight=2.0)
    output = method(Shown(student, mask), Shown(teacher), task, loss, 3.0, mixing)(batch)
    distilled = soft_loss(student, teacher, 3.0, task)
    masks = MultiTaskLoss(task)({"mask": mask.double()}, batch)["loss"].item()
    if known == "some":
        hard = hard_loss(student, label, task)
        expected = mixing * distilled + (1 - mixing) * 0.5 * hard + 2.0 * masks
        assert output["label_loss"].item() == pytest.approx(hard, rel=1e-5)
    else:
        expected = distilled + 2.0 * masks
        assert output["label_loss"].item() == 0
    assert output["distillation_loss"].item() == pytest.approx(distilled, rel=1e-5)
    assert output["mask_loss"].item() == pytest.approx(masks, rel=1e-5)
    assert output["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert set(output) == {"loss", "distillation_loss", "label_loss", "mask_loss", "label_logits", "mask_logits"}


def test_training_leaves_the_teacher_bit_identical_and_out_of_the_state():
    trained = method(average_momentum=0.9)
    before, student = copied(trained.teacher), copied(trained.network)
    assert not any("teacher" in name for name in trained.state_dict())
    own = {id(parameter) for parameter in trained.parameters()}
    assert not own & {id(parameter) for parameter in trained.teacher.parameters()}
    groups = layer_decay_groups(trained.network, 0.1)
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    assert not grouped & {id(parameter) for parameter in trained.teacher.parameters()}
    data = [*batches(2), unlabelled(batches(1)[0])]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    run = MultiTaskTrainer("cpu", 2, data, trained, optimizer, amp=False, channels_last=False)
    run.run()
    assert_equal(trained.teacher.state_dict(), before)
    assert "encoder.1.num_batches_tracked" in before
    assert not any(module.training for module in trained.teacher.modules())
    assert all(parameter.grad is None for parameter in trained.teacher.parameters())
    assert not torch.equal(trained.network.label_head.weight, student["label_head.weight"])
    assert {"loss", "distillation_loss", "label_loss", "mask_loss"} <= set(run.state.output[0])
    assert not any(value.requires_grad for value in run.state.output[0].values())


def test_a_checkpoint_goes_into_a_method_with_its_own_teacher():
    first, second = method(), method(student=SmallMultiTask(7))
    teacher = copied(second.teacher)
    second.load_state_dict(first.state_dict())
    assert_equal(second.network.state_dict(), copied(first.network))
    assert_equal(second.teacher.state_dict(), teacher)


def test_the_teacher_moves_with_the_method():
    moved = method().to(torch.float64)
    assert {value.dtype for value in moved.teacher.parameters()} == {torch.float64}
    moved = method().to(memory_format=torch.channels_last)
    assert moved.teacher.encoder[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert method().to("meta").teacher.label_head.weight.device.type == "meta"


@pytest.mark.parametrize("masks", [False, True])
def test_a_batch_without_any_label_trains(masks):
    """The soft labels alone; with the plain loss it is an error that names the items."""
    trained, batch = method(), unlabelled(batches(1)[0], masks)
    if not masks:
        with pytest.raises(DatalistError, match="items 0, 1, 2, 3, 4, 5"):
            trained.loss_function(trained.network(batch["image"]), batch)
    output = trained(batch)
    assert output["label_loss"].item() == 0
    assert (output["mask_loss"].item() > 0) == masks
    expected = output["distillation_loss"] + output["mask_loss"]
    torch.testing.assert_close(output["loss"], expected)
    output["loss"].backward()
    assert trained.network.label_head.weight.grad.abs().sum() > 0
    assert (trained.network.decoder.weight.grad.abs().sum() > 0) == masks


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
@pytest.mark.parametrize("lacking", ["nothing", "labels", "masks", "both", "keys", "label_weight"])
def test_every_weight_gets_a_gradient_each_step(weighting, lacking, free_port):
    """Data-parallel training waits for all of them; the teacher is none of its business."""
    batch = batches(1)[0]
    if lacking in ("labels", "both"):
        batch = unlabelled(batch, lacking == "labels")
    if lacking == "masks":
        batch["has_mask"] = torch.zeros_like(batch["has_mask"])
    if lacking == "keys":
        batch = {"image": batch["image"]}
    label_weight = 0.0 if lacking == "label_weight" else 1.0
    made = method(loss=MultiTaskLoss("multi_class", label_weight, weighting=weighting))
    made.train()(batch)["loss"].backward()
    assert [name for name, weight in made.named_parameters() if weight.grad is None] == []
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{free_port}", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(made)
        for _ in range(2):  # a second pass fails when the first left a weight without a gradient
            wrapped(batch)["loss"].backward()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"student": MultiTaskNet("resnet18", 0)}, "student has no label head"),
        ({"teacher": MultiTaskNet("resnet18", 0)}, "teacher has no label head"),
        ({"student": MultiTaskNet("resnet18", 2, None), "teacher": MultiTaskNet("resnet18", 3, None)},
         "student has 2 classes and the teacher 3"),
        ({"loss": MultiTaskLoss("multi_label")}, "loss is multi_label and the distillation multi_class"),
    ],
)  # fmt: skip
def test_bad_pairs_are_one_sentence(change, message):
    with pytest.raises(ConfigurationError, match=message):
        method(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": torch.nn.Flatten()}, "A Flatten returns Tensor without names"),
        ({"teacher": SmallMultiTask(classes=4)}, r"student gives \(6, 3\) and the teacher \(6, 4\)"),
    ],
)
def test_bad_outputs_are_one_sentence(change, message):
    with pytest.raises(ConfigurationError, match=message):
        method(**change)(batches(1, side=32)[0])


def saved_teacher(folder, network, classes, task="multi_class"):
    settings = {
        "encoder_name": "resnet18", "image_size": 64, "classes": list(classes), "task": task, "decoder": None,
        "mask": None, "mask_channels": 1,
    }  # fmt: skip
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps(settings))
    return folder / "model.pt"


def test_load_teacher_asks_for_the_same_question(tmp_path):
    path = saved_teacher(tmp_path, MultiTaskNet("resnet18", 2, None), ["a", "b"])
    assert load_teacher(path, ("a", "b"), "multi_class").num_classes == 2
    for classes, task in ((["b", "a"], "multi_class"), (["a", "b"], "multi_label"), ([], "multi_class")):
        with pytest.raises(ConfigurationError, match=r"trained on a, b \(multi_class\), and the data have"):
            load_teacher(path, classes, task)


def test_a_student_learns_from_unlabelled_films(tmp_path):
    """A teacher that learned frontal from lateral images; the student sees no label, and tells unseen patients' images."""
    phantom = load_datalist(make_phantom_dataset(tmp_path / "data", patients=24, size=96))
    augment = MultiView(32, num_views=1, scale=[0.9, 1], rotation=0.0, jitter_prob=0.0, flip_prob=0.0, seed=1)

    def data(items, known: bool, augment=None) -> FineTuningImages:
        items = [{**item, "label": int(item["view_position"] == "LL") if known else None} for item in items]
        options = {"classes": ["frontal", "lateral"], "augment": augment, "keep_unlabelled": not known}
        return FineTuningImages(open_images(items, 32, progress=False), ResizeCXR(32), **options)

    def train(made, known: bool) -> None:
        films = data(phantom.items(), known, augment)
        loader = training_loader(films, ImageSampler(films.labels, balanced=True, seed=2), 8, num_workers=0)
        optimizer = torch.optim.AdamW(made.parameters(), lr=0.02)
        MultiTaskTrainer("cpu", 30, loader, made, optimizer, amp=False, channels_last=False).run()

    def error(network) -> float:
        with torch.no_grad():
            return F.cross_entropy(network.eval()(unseen["image"])["label"], unseen["label"]).item()

    held_out = data(phantom.items("validation") + phantom.items("test"), True)
    unseen = default_collate([held_out[number] for number in range(len(held_out))])
    assert unseen["label"].unique().tolist() == [0, 1]
    teacher, student = SmallMultiTask(0, classes=2), SmallMultiTask(1, classes=2)
    train(FineTuningMethod(teacher, MultiTaskLoss("multi_class")), True)
    weights, before = copied(teacher), error(student)
    train(method(student, teacher, temperature=1.0), False)
    print(
        f"cross-entropy on {len(held_out)} images: teacher {error(teacher):.3f}, student {before:.3f} ->",
        error(student),
    )
    assert error(student) < 0.5 < before  # nats; 0.69 is a coin
    assert_equal(teacher.state_dict(), weights)


@pytest.mark.parametrize("lacking", ["nothing", "labels", "masks", "both"])
def test_a_checked_batch_has_the_same_losses(lacking, monkeypatch):
    """What the host saw before the copy spares every question to the device."""
    batch = batches(1)[0]
    if lacking in ("labels", "both"):
        batch = unlabelled(batch, lacking == "labels")
    if lacking == "masks":
        batch["has_mask"] = torch.zeros_like(batch["has_mask"])
    trained = method().eval()
    expected = trained(batch)
    trained.network.num_classes = 3
    checked = trained.check_batch(batch)
    assert {"label_rows", "mask_rows"} <= set(checked)
    with monkeypatch.context() as patched:
        for asked in ("__bool__", "item", "__float__", "__int__", "any", "all"):
            patched.setattr(torch.Tensor, asked, lambda *args, **options: pytest.fail("the device was asked"))
        found = trained(checked)
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
