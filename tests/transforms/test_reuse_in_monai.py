# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Our transforms in somebody else's MONAI project: four of them, and nothing else of this package."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet
from monai.transforms import Compose, CopyItemsd, SqueezeDimd

from monai_cxrssl.transforms import GroupMaskd, LoadCXRd, MultiViewd, ResizeCXRd


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    draw = np.random.default_rng(0)
    found = []
    for number in range(4):
        film = cv2.GaussianBlur(draw.random((90 + 4 * number, 80)), (0, 0), 4)
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), cv2.normalize(film, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8))
        found.append({"image": str(path), "patient_id": f"p{number}", "label": number % 2})
    return found


def pipeline(seed=0):
    return Compose(
        [
            LoadCXRd(keys="image"),
            ResizeCXRd(keys="image", size=64),
            MultiViewd(keys="image", size=32, num_views=1),
            SqueezeDimd(keys="image", dim=0),
            CopyItemsd(keys="image", names="target"),
            GroupMaskd(keys="image", patch_size=4),
        ]
    ).set_random_state(seed=seed)


TRANSFORMS = [
    LoadCXRd(keys="image"),
    ResizeCXRd(keys="image", size=32),
    MultiViewd(keys="image", size=32),
    GroupMaskd(keys="image", patch_size=4),
]
RANDOM = [transform for transform in TRANSFORMS if hasattr(transform, "set_random_state")]


def name_of(transform):
    return type(transform).__name__


def test_a_monai_trainer_learns_with_them(items):
    """Denoising: the corrupted view in, the whole one out."""
    dataset = CacheDataset(items, pipeline(), progress=False)
    loader = DataLoader(dataset, batch_size=2, shuffle=True, num_workers=0)
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
    assert len(losses) == 4
    assert all(np.isfinite(float(loss)) for loss in losses)
    assert all(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_the_cache_keeps_what_is_fixed_and_draws_what_is_random(items):
    dataset = CacheDataset(items, pipeline(), progress=False)
    # LoadCXRd and ResizeCXRd ran once; MONAI stops caching at the first random transform.
    assert [tuple(item["image"].shape) for item in dataset._cache] == [(1, 64, 64)] * 4
    assert not torch.equal(dataset[0]["image"], dataset[0]["image"])
    assert dataset[1]["image"].shape == dataset[1]["target"].shape == dataset[1]["image_mask"].shape == (1, 32, 32)


def test_one_seed_gives_one_result(items):
    first, again, other = (pipeline(seed)(items[0]) for seed in (3, 3, 4))
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["target"], again["target"])
    assert not torch.equal(first["target"], other["target"])


def test_copies_by_pickle_give_the_same(items):
    chain = pipeline(5)
    copied = pickle.loads(pickle.dumps(chain))
    assert torch.equal(chain(items[1])["image"], copied(items[1])["image"])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=name_of)
def test_dictionaries_pass_through_unchanged_but_for_the_keys(items, transform):
    source = dict(items[0]) if isinstance(transform, LoadCXRd) else {**items[0], "image": torch.rand(1, 32, 32)}
    before = dict(source)
    result = transform(source)
    assert isinstance(result, dict)
    assert source.keys() == before.keys()
    assert source["image"] is before["image"]
    assert {key: result[key] for key in ("patient_id", "label")} == {"patient_id": "p0", "label": 0}
    with pytest.raises(KeyError):
        transform({"other": 1})


@pytest.mark.parametrize("transform", RANDOM, ids=name_of)
def test_set_random_state_returns_the_transform_and_takes_a_state(transform):
    item = {"image": torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))}
    copied = pickle.loads(pickle.dumps(transform))
    assert copied.set_random_state(seed=11) is copied
    first = copied(item)["image"]
    assert torch.equal(copied.set_random_state(state=np.random.RandomState(11))(item)["image"], first)


def test_metadata_of_the_film_reach_the_end_of_intensity_steps(items):
    """LoadCXRd makes a MetaTensor with the affine of the film; GroupMaskd, which moves no pixel, keeps both."""
    loaded = LoadCXRd(keys="image", max_side=64)(items[0])
    loaded["image"] = loaded["image"][:, :32, :32]
    masked = GroupMaskd(keys="image", patch_size=4)(loaded)
    assert isinstance(masked["image"], MetaTensor)
    assert masked["image"].meta["filename_or_obj"] == items[0]["image"]
    assert torch.equal(masked["image"].affine, loaded["image"].affine)


@pytest.mark.parametrize("mode", ["pad", "stretch"])
def test_a_resized_plane_comes_back_to_the_grid_of_its_film(items, mode):
    """ResizeCXRd leaves no trace for Invertd; its array class has the inverse under a name of its own."""
    film = LoadCXRd(keys="image")(items[3])["image"]
    resize = ResizeCXRd(keys="image", size=64, mode=mode)
    back = resize.resize.invert(resize({"image": film})["image"], film.shape[1:])
    assert back.shape == film.shape
    assert (back - film.as_tensor()).abs().mean() < 0.02
