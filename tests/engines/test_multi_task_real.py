# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning with the network and the loss that users run, from images on disk to the kept weights."""

from __future__ import annotations

import pytest
import torch

from monai_cxrssl.data import FineTuningImages, ImageSampler, index_folder, open_images, training_loader
from monai_cxrssl.engines import MultiTaskPredictor, MultiTaskTrainer
from monai_cxrssl.handlers import BestCheckpoint, RunHistory, Validation
from monai_cxrssl.losses import MultiTaskLoss
from monai_cxrssl.methods import FineTuningMethod
from monai_cxrssl.networks import MultiTaskNet
from monai_cxrssl.optim import layer_decay_groups
from monai_cxrssl.phantom import make_phantom_dataset
from monai_cxrssl.transforms import MultiView, ResizeCXR

CLASSES = ["0", "1", "2", "3"]


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    make_phantom_dataset(folder, patients=20, size=96, images_per_patient=(1, 1), progress=False)
    datalist = index_folder(folder)
    made = []
    for name in ("training", "validation"):
        items = [dict(item) for item in datalist.items(name)]
        for number, item in enumerate(items):
            # A clinic's data: some images have a label only, some a mask only.
            if number % 3 == 0:
                item.pop("lung_mask", None)
            elif number % 3 == 1:
                item["label"] = None
        made.append(open_images(items, side=64, progress=False))
    return made


def method(**options) -> FineTuningMethod:
    torch.manual_seed(0)
    network = MultiTaskNet("resnet18", num_classes=4, decoder="Unet", dropout=0.2)
    return FineTuningMethod(network, MultiTaskLoss("multi_class", weighting="uncertainty"), **options)


@pytest.mark.parametrize("linear_probe", [False, True])
def test_from_films_to_kept_weights(splits, tmp_path, linear_probe):
    augment = MultiView(64, num_views=1, scale=[0.7, 1], rotation=10.0)
    options = {"classes": CLASSES, "mask": "lung", "progress": False}
    training = FineTuningImages(splits[0], ResizeCXR(64), augment=augment, **options)
    validation = FineTuningImages(splits[1], ResizeCXR(64), **options)
    assert 0 < training.has_mask.sum() < len(training)
    ours = method(linear_probe=linear_probe, average_momentum=0.9)
    before = {name: value.clone() for name, value in ours.encoder.state_dict().items()}
    heads = ours.network.classification_head.state_dict()
    heads = {name: value.clone() for name, value in heads.items()}
    optimizer = torch.optim.AdamW(layer_decay_groups(ours.network, 1e-2, 0.05, 0.7, ours.loss_function))
    loader = torch.utils.data.DataLoader(validation, batch_size=3)
    judge = Validation(MultiTaskPredictor("cpu", loader, ours.evaluated_network, classes=CLASSES, amp=False))
    best = BestCheckpoint(judge, ours.evaluated_network, tmp_path / "model.pt", "val_dice")
    history = RunHistory(optimizer)
    run = MultiTaskTrainer(
        "cpu",
        2,
        training_loader(training, ImageSampler(training.labels, balanced=True), 4),
        ours,
        optimizer,
        amp=False,
        accumulation_steps=2,
        clip_grad_norm=1.0,
        train_handlers=[judge, history, best],
    )
    run.run()
    changed = {name for name, value in ours.encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert bool(changed) is not linear_probe
    if not linear_probe:
        assert changed == set(before)
    assert not torch.equal(ours.network.classification_head.state_dict()["3.weight"], heads["3.weight"])
    assert ours.loss_function.log_variance.abs().min() > 0
    assert [set(row) >= {"loss", "val_dice"} for row in history.rows] == [True, True]
    assert history.rows[0]["learning_rate"] == 1e-2
    kept = torch.load(tmp_path / "model.pt", weights_only=True)
    MultiTaskNet("resnet18", num_classes=4, decoder="Unet").load_state_dict(kept)
    assert best.best_epoch in (1, 2)


@pytest.mark.parametrize("lacking", ["label", "mask"])
def test_a_sample_gives_no_gradient_to_what_it_lacks(splits, lacking):
    data = FineTuningImages(splits[0], ResizeCXR(64), classes=CLASSES, mask="lung", progress=False)
    chosen = [n for n in range(len(data)) if (data.labels[n] < 0 if lacking == "label" else not data.has_mask[n])]
    batch = torch.utils.data.default_collate([data[number] for number in chosen[:3]])
    ours = method().train()
    ours(batch)["loss"].backward()
    lack, have = ours.network.classification_head, ours.network.decoder
    if lacking == "mask":
        lack, have = have, lack
        assert not any(weight.grad.any() for weight in ours.network.segmentation_head.parameters())
    assert all(weight.grad is not None and not weight.grad.any() for weight in lack.parameters())
    assert any(weight.grad.any() for weight in have.parameters())
