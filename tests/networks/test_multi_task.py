# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import segmentation_models_pytorch as smp
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import MultiTaskLoss
from monai_cxrssl.networks import Encoder, MultiTaskNet

VIT = "tu-vit_tiny_patch16_224"


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        *(
            ("resnet18", name)
            for name in ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "UPerNet", "DeepLabV3Plus")
        ),
        ("densenet121", "FPN"),
        ("tu-convnext_atto", "DeepLabV3Plus"),
        (VIT, "DPT"),
    ],
)
def test_both_branches_give_labels_and_a_mask_of_the_image_size(encoder, decoder):
    network = MultiTaskNet(encoder, num_classes=4, decoder=decoder, mask_channels=2).eval()
    with torch.no_grad():
        output = network(torch.rand(2, 1, 64, 96))
    assert {name: tuple(value.shape) for name, value in output.items()} == {"label": (2, 4), "mask": (2, 2, 64, 96)}


@pytest.mark.parametrize(("encoder", "decoder"), [("resnet18", "Unet"), (VIT, "DPT")])
def test_either_branch_may_be_off(encoder, decoder):
    image = torch.rand(1, 1, 64, 64)
    assert list(MultiTaskNet(encoder, 3, decoder=None)(image)) == ["label"]
    assert list(MultiTaskNet(encoder, 0, decoder)(image)) == ["mask"]
    assert MultiTaskNet(encoder, 3, None, return_dict=False)(image).shape == (1, 3)
    assert MultiTaskNet(encoder, 0, decoder, return_dict=False)(image).shape == (1, 1, 64, 64)
    label, mask = MultiTaskNet(encoder, 3, decoder, return_dict=False)(image)
    assert label.shape == (1, 3)
    assert mask.shape == (1, 1, 64, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": None}, "Both branches"),
        ({"encoder_name": VIT, "decoder": "Unet"}, "Unet decoder cannot read tu-vit.*choose DPT"),
        ({"decoder": "DPT"}, "DPT decoder cannot read resnet18.*choose Unet"),
        ({"decoder": "Unett"}, "no decoder named 'Unett'"),
        (
            {"encoder_name": "densenet121", "decoder": "DeepLabV3Plus"},
            "DeepLabV3Plus decoder cannot be built on densenet121",
        ),
        ({"encoder_name": "tu-vit_small_patch14_dinov2", "decoder": "DPT"}, "patches of 8, 16 or 32"),
        ({"encoder_name": "resnet19"}, "no encoder named"),
        ({"num_classes": -1}, "-1 classes"),
        ({"mask_channels": 0}, "0 mask channels"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"pretrained": "x.pt", "encoder_weights": "imagenet"}, "not both"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigurationError, match=message):
        MultiTaskNet(**{"encoder_name": "resnet18"} | options)


def test_patches_of_14_without_a_decoder():
    """DINOv2's patches, which no power of two is a multiple of: such an encoder classifies, and its layers are known."""
    network = MultiTaskNet("tu-vit_small_patch14_dinov2", num_classes=3, decoder=None).eval()
    assert network(torch.rand(2, 1, 42, 28))["label"].shape == (2, 3)
    names = [name for name, _ in network.layer_groups()]
    assert names == ["patch_embed", *(f"block_{number}" for number in range(1, 13)), "heads"]
    with pytest.raises(ConfigurationError, match="needs multiples of 14"):
        network(torch.rand(2, 1, 64, 64))


@pytest.mark.parametrize("encoder", ["resnet18", "densenet121", "tu-convnext_atto", "mobilenet_v2"])
def test_a_unet_takes_any_size(encoder):
    network = MultiTaskNet(encoder, 0, "Unet").eval()
    with torch.no_grad():
        assert network(torch.rand(1, 1, 112, 77))["mask"].shape == (1, 1, 112, 77)


@pytest.mark.parametrize(("encoder", "decoder", "size"), [("resnet18", "FPN", 48), (VIT, "DPT", 80), (VIT, None, 40)])
def test_size_that_does_not_fit_is_one_sentence(encoder, decoder, size):
    with pytest.raises(ConfigurationError, match=f"64 x {size} px.*--image_size"):
        MultiTaskNet(encoder, 2, decoder)(torch.zeros(1, 1, size, 64))


@pytest.mark.parametrize("encoder", ["resnet18", "densenet121", "tu-convnext_atto", VIT])
@pytest.mark.parametrize("both", [True, False])
def test_layer_groups_hold_every_trainable_weight_once_from_stem_to_heads(encoder, both):
    decoder = None if not both else "DPT" if encoder == VIT else "Unet"
    network = MultiTaskNet(encoder, 2, decoder)
    groups = network.layer_groups()
    named = [name for _, group in groups for name in group]
    trainable = {name: value for name, value in network.named_parameters() if value.requires_grad}
    assert sorted(named) == sorted(trainable)
    assert all(trainable[name] is value for _, group in groups for name, value in group.items())
    labels = [name for name, _ in groups]
    if encoder == VIT:
        assert labels == ["patch_embed", *(f"block_{number}" for number in range(1, 13)), "heads"]
        assert "encoder.model.blocks.11.mlp.fc2.weight" in groups[12][1]
        assert "encoder.model.cls_token" in groups[0][1]
        assert "encoder.model.pos_embed" not in groups[0][1]  # sines and cosines are not learnt
    else:
        assert labels == ["stem", "stage_1", "stage_2", "stage_3", "stage_4", "heads"]
        first, last = {
            "resnet18": ("conv1.weight", "layer4.1.conv2.weight"),
            "densenet121": ("features.conv0.weight", "features.denseblock4.denselayer16.conv2.weight"),
            "tu-convnext_atto": ("model.stem_0.weight", "model.stages_3.blocks.1.mlp.fc2.weight"),
        }[encoder]
        assert f"encoder.{first}" in groups[0][1]
        assert f"encoder.{last}" in groups[4][1]
    assert not any(name.startswith("encoder.") for name in groups[-1][1])
    assert len(network.encoder_parameters()) == sum(name.startswith("encoder.") for name in trainable)
    network.requires_grad_(False)  # a frozen encoder keeps its groups
    assert [name for _, group in network.layer_groups() for name in group] == named


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("resnet18", "FPN"), ("efficientnet-b0", None), (VIT, "DPT"), (VIT, None)]
)
def test_every_weight_that_wants_a_gradient_gets_one(encoder, decoder):
    network = MultiTaskNet(encoder, 2, decoder)
    sum(value.sum() for value in network(torch.rand(2, 1, 64, 64)).values()).backward()
    assert [n for n, value in network.named_parameters() if value.requires_grad and value.grad is None] == []


def test_building_changes_no_batch_norm_buffer_and_keeps_training_mode():
    network = MultiTaskNet("resnet18", 2)
    assert network.training
    assert network.encoder.bn1.num_batches_tracked == 0
    assert network.encoder.bn1.running_mean.eq(0).all()
    copy.deepcopy(network)  # as an exponential moving average makes one


@pytest.mark.parametrize(("name", "decoder"), [("resnet18", "Unet"), ("resnet18", "DeepLabV3Plus"), (VIT, "DPT")])
def test_pretraining_file_fills_the_encoder(name, decoder, tmp_path, caplog):
    donor = Encoder(name)
    torch.save(donor.state_dict(), tmp_path / "model.pt")
    with caplog.at_level("INFO"):
        network = MultiTaskNet(name, 2, decoder, pretrained=tmp_path / "model.pt")
    weights = network.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in donor.state_dict().items())
    assert "encoder tensors loaded (100.0% of the values)" in caplog.text
    assert "head" not in caplog.text


def test_fine_tuning_goes_on_from_a_fine_tuned_file(tmp_path, caplog):
    donor = MultiTaskNet("resnet18", 3)
    torch.save({f"module.{key}": value for key, value in donor.state_dict().items()}, tmp_path / "model.pt")
    with caplog.at_level("INFO"):
        same = MultiTaskNet("resnet18", 3, pretrained=tmp_path / "model.pt")
    assert all(torch.equal(same.state_dict()[key], value) for key, value in donor.state_dict().items())
    assert "decoder loaded; segmentation_head loaded; classification_head loaded" in caplog.text
    assert same.loaded_branches == {"decoder", "segmentation_head", "classification_head"}
    caplog.clear()
    with caplog.at_level("INFO"):
        other = MultiTaskNet("resnet18", 5, "FPN", pretrained=tmp_path / "model.pt")
    assert other.loaded_branches == set()
    assert "decoder of another shape, left at its random start" in caplog.text
    assert "segmentation_head of another shape" in caplog.text
    assert "classification_head of another shape" in caplog.text


def test_file_of_another_architecture(tmp_path):
    torch.save(Encoder("densenet121").state_dict(), tmp_path / "model.pt")
    with pytest.raises(ConfigurationError, match="another --encoder_name"):
        MultiTaskNet("resnet18", 2, pretrained=tmp_path / "model.pt")


def test_whole_state_dict_fills_the_smp_model():
    network = MultiTaskNet("resnet18", 3, dropout=0.2).eval()
    model = smp.Unet("resnet18", encoder_weights=None, in_channels=1, aux_params={"classes": 3, "dropout": 0.2}).eval()
    model.load_state_dict(network.state_dict(), strict=True)
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        mask, label = model(image)
        output = network(image)
    torch.testing.assert_close(output["mask"], mask)
    torch.testing.assert_close(output["label"], label)


def mixed_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.rand(4, 1, 64, 64, generator=generator),
        "label": torch.tensor([0, 1, -1, -1]),
        "mask": (torch.rand(4, 1, 64, 64, generator=generator) < 0.5).to(torch.uint8),
        "has_mask": torch.tensor([False, True, True, False]),
        "index": torch.arange(4),
    }


def branch_gradients(network: MultiTaskNet, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    network.zero_grad()
    MultiTaskLoss("multi_class")(network(batch["image"]), batch)["loss"].backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if not name.startswith("encoder.")}


@pytest.mark.parametrize("name", ["resnet18", VIT])
def test_samples_without_a_part_leave_the_gradient_of_its_branch_alone(name):
    network = MultiTaskNet(name, 2, "DPT" if name == VIT else "Unet").eval()  # no statistics over the batch
    batch = mixed_batch()
    before = branch_gradients(network, batch)
    changed = {**batch, "image": batch["image"].clone()}
    changed["image"][0] = 1 - changed["image"][0]  # labelled, without a mask
    after = branch_gradients(network, changed)
    decoder = [key for key in before if not key.startswith("classification_head")]
    for key in decoder:
        assert torch.equal(before[key], after[key]), key
    assert not torch.equal(before["classification_head.3.weight"], after["classification_head.3.weight"])
    changed["image"][0] = batch["image"][0]
    changed["image"][2] = 1 - changed["image"][2]  # with a mask, unlabeled
    after = branch_gradients(network, changed)
    assert torch.equal(before["classification_head.3.weight"], after["classification_head.3.weight"])
    assert not any(torch.equal(before[key], after[key]) for key in decoder if before[key].ne(0).any())


def test_batches_of_one_kind_give_the_other_branch_a_gradient_of_zero():
    network, batch = MultiTaskNet("resnet18", 2).train(), mixed_batch()
    gradients = branch_gradients(network, {**batch, "has_mask": torch.zeros(4, dtype=torch.bool)})
    assert all(value.eq(0).all() for key, value in gradients.items() if not key.startswith("classification_head"))
    assert gradients["classification_head.3.weight"].ne(0).any()
    gradients = branch_gradients(network, {**batch, "label": torch.full((4,), -1)})
    assert all(value.eq(0).all() for key, value in gradients.items() if key.startswith("classification_head"))
    assert gradients["segmentation_head.0.weight"].ne(0).any()
