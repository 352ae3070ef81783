# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A label head that starts as scikit-learn's logistic regression on the frozen features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import MultiTaskLoss
from monai_cxrssl.methods import FineTuningMethod
from monai_cxrssl.networks import MultiTaskNet
from monai_cxrssl.optim import layer_decay_groups
from monai_cxrssl.probing import embed, fit_label_head
from monai_cxrssl.probing.linear_head import linear_layer

CNN = {"encoder_name": "tu-resnet18", "encoder_arguments": {"channels": [8, 8, 16, 16]}}
VIT = {
    "encoder_name": "tu-vit_tiny_patch16_224",
    "encoder_arguments": {"embed_dim": 24, "num_heads": 3, "img_size": 32},
}


class Images(torch.utils.data.Dataset):
    """Noise with a bright half, the brighter the larger the number of the class."""

    def __init__(self, classes: int, count: int = 48) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = np.arange(count) % classes
        self.images = torch.rand(count, 1, 32, 32, generator=generator) / 2
        for image, label in zip(self.images, self.labels, strict=True):
            image[:, :, :16] += 0.25 * int(label)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.images[index]}


def made(form: dict, classes: int, **options) -> MultiTaskNet:
    torch.manual_seed(3)
    return MultiTaskNet(num_classes=classes, decoder=None, return_dict=False, **form, **options)


def features(network: MultiTaskNet, images: Images) -> np.ndarray:
    """What the linear layer is given, by a network whose linear layer hands it on."""
    linear = network.classification_head[-1]
    network.classification_head[-1] = torch.nn.Identity()
    found = embed(network, images, "cpu", amp=False)
    network.classification_head[-1] = linear
    return found


class Scaler(StandardScaler):
    """Divides by the root of each variance and a hundredth of their mean."""

    def fit(self, features, target=None):
        super().fit(features)
        self.scale_ = np.sqrt(self.var_ + 0.01 * self.var_.mean())
        return self


def reference() -> object:
    return make_pipeline(Scaler(), LogisticRegression(C=0.01, max_iter=2000))


@pytest.mark.parametrize("form", [CNN, VIT], ids=["cnn", "vit"])
@pytest.mark.parametrize("classes", [2, 3])
def test_classes_have_the_probabilities_of_scikit_learn(form, classes):
    images = Images(classes)
    labels = np.where(np.arange(len(images)) % 7 == 6, -1, images.labels)
    network = made(form, classes, dropout=0.5).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert fit_label_head(network, images, labels, "multi_class", amp=False, progress=False) == list(range(classes))
    assert network.training
    changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["classification_head.3.weight", "classification_head.3.bias"]
    found = features(network, images).astype(np.float64)
    expected = reference().fit(found[labels >= 0], labels[labels >= 0]).predict_proba(found)
    logits = torch.from_numpy(embed(network, images, "cpu", amp=False)).double()
    np.testing.assert_allclose(torch.softmax(logits, 1).numpy(), expected, atol=1e-4)
    assert (expected.argmax(1) == images.labels).mean() > 0.6, "noise that nothing can be learnt from"


def test_an_absent_class_stays_below_all_others():
    images = Images(2)
    network = made(CNN, 3)
    assert fit_label_head(network, images, 2 * images.labels, "multi_class", amp=False, progress=False) == [0, 2]
    logits = torch.from_numpy(embed(network, images, "cpu", amp=False)).double()
    probabilities = torch.softmax(logits, 1).numpy()
    assert probabilities[:, 1].max() < 0.05
    found = features(network, images).astype(np.float64)
    expected = reference().fit(found, images.labels).predict_proba(found)[:, 1]
    share = probabilities[:, 2] / (probabilities[:, 0] + probabilities[:, 2])
    np.testing.assert_allclose(share, expected, atol=1e-4)


def test_findings_are_fitted_to_what_is_known_of_each():
    images = Images(2)
    labels = np.stack([images.labels, 1 - images.labels, np.ones(len(images))], axis=1).astype(np.float32)
    labels[::5, 0] = np.nan
    labels[3] = np.nan
    network = made(CNN, 3)
    before = network.classification_head[-1].weight[2].clone()
    assert fit_label_head(network, images, labels, "multi_label", amp=False, progress=False) == [0, 1]
    assert torch.equal(network.classification_head[-1].weight[2], before)
    found = features(network, images).astype(np.float64)
    logits = torch.from_numpy(embed(network, images, "cpu", amp=False)).double()
    for column in (0, 1):
        known = ~np.isnan(labels[:, column])
        expected = reference().fit(found[known], labels[known, column] > 0.5).predict_proba(found)[:, 1]
        np.testing.assert_allclose(torch.sigmoid(logits[:, column]).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("labels", [np.full(48, -1), np.zeros(48, dtype=int)], ids=["none", "one class"])
def test_too_few_labels_leave_the_head_alone(labels):
    network = made(CNN, 2)
    before = network.classification_head[-1].weight.clone()
    assert fit_label_head(network, Images(2), labels, "multi_class", amp=False, progress=False) == []
    assert torch.equal(network.classification_head[-1].weight, before)


def test_features_that_never_change_count_for_nothing():
    generator = np.random.default_rng(0)
    given = np.concatenate([generator.normal(size=(30, 4)), np.full((30, 1), 7.0)], axis=1)
    target = (given[:, 0] > 0).astype(int)
    weight, bias = linear_layer(given, target)
    expected = reference().fit(given, target).predict_proba(given)[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-(given @ weight[0] + bias[0]))), expected, rtol=1e-9)


def test_a_network_without_a_label_head_is_refused():
    network = MultiTaskNet(decoder="FPN", **CNN)
    with pytest.raises(ConfigurationError, match="no label head"):
        fit_label_head(network, Images(2), np.zeros(48), "multi_class")


@pytest.mark.parametrize("decoder", [None, "FPN"])
def test_a_fitted_head_counts_as_the_encoders_last_layer(decoder):
    images = Images(2)
    network = made(CNN, 2) if decoder is None else MultiTaskNet(num_classes=2, decoder=decoder, **CNN)
    head = set(network.classification_head.parameters())
    assert head <= set(dict(network.layer_groups())["heads"].values())
    fit_label_head(network, images, images.labels, "multi_class", amp=False, progress=False)
    groups = dict(network.layer_groups())
    assert [*groups][-1] == "heads"
    assert bool(groups["heads"]) is (decoder is not None)
    rates = {weight: group["lr"] for group in layer_decay_groups(network, 1.0, decay=0.5, head_factor=9.0)
             for weight in group["params"]}  # fmt: skip
    assert {rates[weight] for weight in head} == {rates[network.encoder.model.layer4[0].conv1.weight]} == {0.5}
    method = FineTuningMethod(network, MultiTaskLoss("multi_class"))
    method.freeze_encoder(True)
    assert not any(weight.requires_grad for weight in head)
    assert any(weight.requires_grad for weight in network.parameters()) is (decoder is not None)
    # Of a linear probe it is all that learns.
    method.freeze_encoder(False)
    method = FineTuningMethod(network, MultiTaskLoss("multi_class"), linear_probe=True)
    assert all(weight.requires_grad for weight in head)
    assert not any(weight.requires_grad for weight in network.encoder.parameters())
