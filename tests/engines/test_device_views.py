# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Views made on the device are those that the loader would have made, through trainer, sampler and checkpoint."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from ignite.engine import Events

from monai_cxrssl.checkpoints import RunCheckpoint
from monai_cxrssl.data import PairDataset, PairSampler, patient_bags, training_loader
from monai_cxrssl.data.stores.decoded import DecodedImages
from monai_cxrssl.engines import DeviceViews, MethodTrainer, prepare_views
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import RunHistory
from monai_cxrssl.methods import MICLe, MoCo, Rotation, SimCLR
from monai_cxrssl.networks import Encoder
from monai_cxrssl.runs import PretextStage
from monai_cxrssl.transforms import MultiView

PATIENTS = ["a", "b", "a", "c", "b", "a", "d", "e"]


def read_film(path):
    """A smooth image of its own size, wide or high."""
    draws = np.random.default_rng(int(path))
    shape = (60 + 7 * int(path), 64) if int(path) % 2 else (64, 70 + 5 * int(path))
    return cv2.GaussianBlur(draws.integers(0, 256, shape, dtype=np.uint8), (0, 0), 2.0)


@pytest.fixture(scope="module")
def images():
    items = [{"image": str(n), "patient_id": patient} for n, patient in enumerate(PATIENTS)]
    return DecodedImages(items, side=60, reader=read_film, progress=False)


def loader_of(images, augment_on, views=2, simclr_epochs=None, workers=0, bits8=True):
    sampler = PairSampler(patient_bags(images.items), seed=1, simclr_epochs=simclr_epochs)
    transform = MultiView(size=32, num_views=views, seed=1, return_uint8=bits8)
    dataset = PairDataset(images, transform, augment_on=augment_on)
    return training_loader(dataset, sampler, 3, num_workers=workers), DeviceViews(transform)


@pytest.mark.parametrize(("views", "simclr_epochs"), [(2, None), (2, 0), (1, None), (3, None)])
@pytest.mark.parametrize("bits8", [False, True])
def test_the_views_are_those_of_the_loader(images, views, simclr_epochs, bits8):
    """One image or two per sample, mixed in a batch; equal but for interpolation and for rounding to 8 bits."""
    batches = []
    for place in ("workers", "device"):
        loader, prepare = loader_of(images, place, views, simclr_epochs, bits8=bits8)
        loader.sampler.set_epoch(1)
        batches.append([(batch, prepare(batch, "cpu")) for batch in loader])
    films = set()
    for (_, theirs), (raw, ours) in zip(*batches, strict=True):
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in ours if name != "image")
        assert theirs["image"].dtype == ours["image"].dtype == torch.float32
        assert theirs["image"].shape == ours["image"].shape == (3, views, 1, 32, 32)
        assert raw["image"].dtype == torch.uint8
        films.add(raw["image"].shape[1])
        difference = (theirs["image"] - ours["image"]).abs().flatten()
        assert difference.mean() < 0.006
        assert difference.quantile(0.99) < 0.04
    assert films == {2} if simclr_epochs == 0 else {1}


def test_local_views_are_those_of_the_loader_and_of_no_other_view(images):
    """DINO's small views: of the workers, of the device, and drawn apart from the large ones."""
    large = MultiView(size=48, num_views=2, seed=1, return_uint8=True)
    small = MultiView(size=16, num_views=3, seed=1, return_uint8=True, scale=(0.05, 0.4))
    batches = []
    for place in ("workers", "device"):
        dataset = PairDataset(images, large, augment_on=place, local_transform=small)
        sampler = PairSampler(patient_bags(images.items), seed=1, simclr_epochs=None)
        prepare = DeviceViews(large, small)
        batches.append([prepare(batch, "cpu") for batch in training_loader(dataset, sampler, 3)])
    for theirs, ours in zip(*batches, strict=True):
        assert theirs.keys() == ours.keys()
        assert theirs["local_image"].dtype == ours["local_image"].dtype == torch.float32
        assert theirs["local_image"].shape == ours["local_image"].shape == (3, 3, 1, 16, 16)
        assert (theirs["local_image"] - ours["local_image"]).abs().mean() < 0.006
        for row, index in enumerate(theirs["first"].tolist()):
            expected = small(images.image(index)[None], key=(0, int(theirs["index"][row])), views=(2, 3, 4))
            torch.testing.assert_close(theirs["local_image"][row], expected.float() / 255)
    with pytest.raises(ConfigurationError, match="local views are of one"):
        dataset[(0, 0, 0, 1, 0)]


@pytest.mark.parametrize("simclr_epochs", [None, 0])
def test_draws_belong_to_their_keys(images, simclr_epochs):
    loader, _ = loader_of(images, "device", simclr_epochs=simclr_epochs)
    loader.sampler.set_epoch(2)
    transform = MultiView(size=32, seed=1)
    for batch in loader:
        for row in range(3):
            for view, which in enumerate(("first", "second")):
                shape = images.image(int(batch[which][row])).shape
                assert batch["film_size"][row, view].tolist() == list(shape)
                drawn = transform.sample(shape, key=(2, int(batch["index"][row])), views=(view,))[0]
                torch.testing.assert_close(batch["view"][row, view], torch.tensor(drawn.values()))


def test_worker_processes_give_the_same_batches(images):
    alone, workers = (list(loader_of(images, "device", simclr_epochs=0, workers=count)[0]) for count in (0, 2))
    for one, other in zip(alone, workers, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


METHODS = {
    "simclr": (SimCLR, {}, None),
    "micle": (MICLe, {}, 1),
    "moco": (MoCo, {"queue_length": 12}, None),
}


def train(images, name, place, epochs, folder=None, chunk=None):
    kind, options, simclr_epochs = METHODS[name]
    torch.manual_seed(0)
    method = kind(Encoder("resnet18"), **options)
    loader, prepare = loader_of(images, place, simclr_epochs=simclr_epochs)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.01)
    history = RunHistory(optimizer)
    parts = {"method": method, "optimizer": optimizer, "history": history}
    handlers = [history] if folder is None else [history, RunCheckpoint(folder, parts, resume="auto")]
    trainer = MethodTrainer(
        "cpu",
        epochs,
        loader,
        method,
        optimizer,
        prepare_batch=prepare,
        amp=False,
        train_handlers=handlers,
        gradient_cache_chunk=chunk,
    )
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    trainer.run()
    return method.state_dict(), losses


@pytest.mark.parametrize("name", sorted(METHODS))
def test_training_repeats_bit_for_bit_and_goes_on_where_it_ended(images, name, tmp_path):
    whole, losses = train(images, name, "device", 2)
    train(images, name, "device", 1, tmp_path)
    resumed, again = train(images, name, "device", 2, tmp_path)
    assert losses[len(losses) // 2 :] == again
    for key, value in whole.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(resumed[key])), key
    # Begins as with the loader's own views; batch statistics of six views make much of a difference of 0.001.
    assert losses[0] == pytest.approx(train(images, name, "workers", 1)[1][0], rel=0.15)


def test_the_gradient_cache_takes_them(images):
    assert np.isfinite(train(images, "simclr", "device", 1, chunk=2)[1]).all()


def test_a_trainer_that_is_not_told_how(images):
    batch = next(iter(loader_of(images, "device")[0]))
    with pytest.raises(ConfigurationError, match="give it prepare_batch=DeviceViews"):
        prepare_views(batch)


def stage(images, method, views, augment_on, **options):
    transform = MultiView(size=32, num_views=views, return_uint8=True)
    optimizer = lambda module: torch.optim.SGD(module.parameters(), lr=0.01)  # noqa: E731
    return PretextStage("one", method, images, transform, optimizer, 3, augment_on=augment_on, **options)


@pytest.mark.parametrize(("method", "views", "pairs"), [(SimCLR, 2, False), (MICLe, 2, True), (Rotation, 1, False)])
def test_a_stage_of_a_curriculum(images, method, views, pairs):
    losses = []
    for place in ("device", "workers"):
        torch.manual_seed(0)
        run = stage(images, method, views, place, multi_instance=pairs).build(Encoder("resnet18"), 1, "cpu", amp=False)
        run.trainer.run()
        losses.append(float(run.trainer.state.output[0]["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=0.3)


def test_a_stage_with_lung_masks_refuses_at_once(images):
    with pytest.raises(ConfigurationError, match="takes lung masks"):
        stage(images, Rotation, 1, "device", lung_masks=True)
