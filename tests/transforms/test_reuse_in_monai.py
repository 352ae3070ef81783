# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Our transforms in somebody else's MONAI project: four of them, and nothing else of this package."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, decollate_batch
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet
from monai.transforms import Compose, CopyItemsd, Invertd, Resized
from scipy import ndimage

from monai_cxrssl.transforms import CropToLungsd, GroupMaskd, LoadCXRd, MultiViewd


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Images in DICOM with lung masks in PNG; one image has no mask."""
    from monai_cxrssl.phantom import make_phantom_dataset

    file = make_phantom_dataset(
        tmp_path_factory.mktemp("films"), patients=8, size=96, images_per_patient=(1, 1), progress=False, workers=1
    )
    listed = json.loads(file.read_text())
    found = [
        {key: str(file.parent / item[key]) for key in ("image", "lung_mask")}
        | {"label": item["label"], "patient_id": item["patient_id"]}
        for split in ("training", "validation", "test")
        for item in listed[split]
    ]
    found.sort(key=lambda item: item["image"])
    del found[3]["lung_mask"]
    return found


def pipeline(seed=0):
    return Compose(
        [
            LoadCXRd(keys=["image", "lung_mask"], allow_missing_keys=True),
            CropToLungsd(keys="image", margin=0.1, without_lungs="expected"),
            MultiViewd(keys="image", size=32, num_views=1, view_axis=False),
            CopyItemsd(keys="image", names="target"),
            GroupMaskd(keys="image", patch_size=4),
        ]
    ).set_random_state(seed=seed)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_monai_trainer_learns_with_them(items, workers):
    """Denoising: the corrupted view in, the whole one out."""
    with_masks = [item for item in items if "lung_mask" in item]
    dataset = CacheDataset(with_masks, pipeline(), progress=False)
    for item in dataset._cache:  # of the image's own size until they are views
        item.pop("lung_mask")
    loader = DataLoader(dataset, batch_size=2, shuffle=True, num_workers=workers, drop_last=True)
    torch.manual_seed(0)
    network = UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=(4, 8), strides=(2,))
    before = [weight.detach().clone() for weight in network.parameters()]
    losses = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=loader,
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-2),
        loss_function=torch.nn.L1Loss(),
        prepare_batch=lambda batch, device, non_blocking, **_: (batch["image"].to(device), batch["target"].to(device)),
    )
    trainer.add_event_handler("ITERATION_COMPLETED", lambda engine: losses.append(engine.state.output[0]["loss"]))
    trainer.run()
    assert len(losses) == 6
    assert all(np.isfinite(float(loss)) for loss in losses)
    assert all(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_the_cache_keeps_what_is_fixed_and_draws_what_is_random(items):
    dataset = CacheDataset(items, pipeline(), progress=False)
    # LoadCXRd and CropToLungsd ran once; MONAI stops caching at the first random transform.
    for cached, item in zip(dataset._cache, items, strict=True):
        assert cached["image"].ndim == 3
        assert max(cached["image"].shape) < 96
        assert [record["class"] for record in cached["image"].applied_operations] == ["CropToLungs"]
        if "lung_mask" in item:
            assert cached["lung_mask"].shape == cached["image"].shape
    assert not torch.equal(dataset[0]["image"], dataset[0]["image"])
    assert dataset[1]["image"].shape == dataset[1]["target"].shape == dataset[1]["image_mask"].shape == (1, 32, 32)


def test_one_seed_gives_one_result(items):
    first, again, other = (pipeline(seed)(items[0]) for seed in (3, 3, 4))
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["target"], again["target"])
    assert not torch.equal(first["target"], other["target"])


def test_metadata_of_the_film_reach_the_end(items):
    result = pipeline()(items[0])
    for key in ("image", "target"):
        assert isinstance(result[key], MetaTensor)
        assert result[key].meta["filename_or_obj"] == items[0]["image"]
        assert [record["class"] for record in result[key].applied_operations] == ["CropToLungs", "MultiViewd"]
    assert torch.equal(result["image"].affine, result["target"].affine)


def test_a_prediction_returns_to_its_film(items):
    """Load, crop, resize (MONAI's own), batch, predict, take apart, invert: the mask lies on the lungs of the image."""
    chain = Compose(
        [
            LoadCXRd(keys=["image", "lung_mask"]),
            CropToLungsd(keys="image", margin=0.2),
            Resized(keys=["image", "lung_mask"], spatial_size=(128, 128), mode=["bilinear", "nearest"]),
        ]
    )
    chosen = [item for item in items if "lung_mask" in item][:2]
    batch = next(iter(DataLoader(CacheDataset(chosen, chain, progress=False), batch_size=2, num_workers=0)))
    # A perfect network: the mask, in two channels, with the metadata of the image. LoadCXRd reads a label of 1 in 8 bits
    # as 1 / 255.
    lungs = batch["lung_mask"].as_tensor() > 0
    batch["pred"] = torch.zeros_like(batch["image"]) + torch.cat([lungs, ~lungs], 1)
    invert = Invertd(keys="pred", transform=chain, orig_keys="image")
    for item, part in zip(chosen, decollate_batch(batch), strict=True):
        film = LoadCXRd(keys=["image", "lung_mask"])(item)
        lungs = film["lung_mask"][0].numpy() > 0
        drawn = invert(part)["pred"]
        assert drawn.shape == (2, *lungs.shape)
        torch.testing.assert_close(drawn.affine, film["image"].affine)
        found = drawn[0].numpy() > 0.5
        square = np.ones((3, 3), bool)
        assert not (found & ~ndimage.binary_dilation(lungs, square)).any()
        assert not (ndimage.binary_erosion(lungs, square) & ~found).any()
