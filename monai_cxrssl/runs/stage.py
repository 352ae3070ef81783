# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Stage of a curriculum: method, data and optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from monai.handlers import LrScheduleHandler

from monai_cxrssl.data.sampling.bags import PairSampler
from monai_cxrssl.data.sampling.deferred_views import augments_on_device
from monai_cxrssl.data.sampling.loader import training_loader
from monai_cxrssl.data.sampling.pretext import PairDataset
from monai_cxrssl.data.sampling.view_transform import DrawnViewTransform, ViewTransform
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.pretext_masks import PretextLungMasks
from monai_cxrssl.engines.device_views import DeviceViews
from monai_cxrssl.engines.trainer import BatchPreparer, MethodTrainer, prepare_views
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.hardware.distributed import data_parallel
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.optim.schedules import StagedWarmupCosine
from monai_cxrssl.optim.weight_decay import CosineWeightDecay

__all__ = ["PretextStage", "StageRun", "divide_epochs", "pair_figures", "stages_over_data"]


@dataclass
class StageRun:
    """A stage that is ready to train: the trainer, and the objects whose state a checkpoint must hold."""

    trainer: MethodTrainer
    method: PretextMethod
    optimizer: torch.optim.Optimizer
    lr_scheduler: StagedWarmupCosine


class PretextStage:
    """What a stage trains by, as options; nothing is built before :meth:`build`, so that a stage can be tried twice.

    Args:
        name: of the stage, unique in its curriculum; also the name of its folder.
        method: called with the encoder, gives the method: a class of :mod:`monai_cxrssl.methods` or, in a config, one
            with ``"_mode_": "callable"``.
        images: what the stage learns from.
        transform: draws the views of an image, as many as the method takes: :class:`monai_cxrssl.transforms.MultiView`.
        optimizer: called with the method, gives its optimiser, such as ``timm.optim.create_optimizer_v2`` with
            ``"_mode_": "callable"``.
        batch_size: samples per batch and process.
        share: of the curriculum's epochs, relative to the shares of the other stages.
        warmup_epochs: of the learning rate, at most a tenth of the stage.
        multi_instance: pairs are of two images of one patient (MICLe) rather than of one image.
        pairs: which pairs of two images, as arguments of :meth:`monai_cxrssl.data.PairSampler.of_items`.
        lung_masks: give the method the lungs of every view (inpainting).
        local_views: makes the transform of small views beside the others (DINO), called with the number of pixels of
            which their side must be a multiple.
        weight_decay_end: weight decay of the stage's last step, to which it moves along a cosine; ``None`` for no
            change.
        clip_grad_norm: see :class:`MethodTrainer`.
        accumulation_steps: see :class:`MethodTrainer`.
        augment_on: ``"workers"``, ``"device"`` or ``"auto"``: who makes the views, see
            :class:`monai_cxrssl.data.PairDataset`.

    Attributes:
        tier: stages of a lower tier come first, whatever order is found within a tier; see :func:`stages_over_data`.

    Raises:
        ConfigurationError: a name that is no folder name, a share that is not positive, or views that the device
            cannot make.
    """

    def __init__(
        self,
        name: str,
        method: Callable[..., PretextMethod],
        images: ImageStore,
        transform: Callable[..., torch.Tensor],
        optimizer: Callable[..., torch.optim.Optimizer],
        batch_size: int,
        share: float = 1.0,
        warmup_epochs: float = 0.0,
        multi_instance: bool = False,
        pairs: Mapping[str, Any] | None = None,
        lung_masks: bool = False,
        local_views: Callable[[int], DrawnViewTransform] | None = None,
        weight_decay_end: float | None = None,
        clip_grad_norm: float | None = None,
        accumulation_steps: int = 1,
        augment_on: str = "auto",
    ) -> None:
        if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
            raise ConfigurationError(f"A stage is called by letters, digits, - and _, not {name!r}.")
        if not share > 0:
            raise ConfigurationError(f"The share of the stage {name!r} is {share}; it must be greater than 0.")
        self.name = name
        self.method = method
        self.images = images
        self.transform = transform
        self.optimizer = optimizer
        self.batch_size = int(batch_size)
        self.share = float(share)
        self.warmup_epochs = warmup_epochs
        self.multi_instance = multi_instance
        self.pairs = dict(pairs or {})
        self.lung_masks = lung_masks
        self.local_views = local_views
        self.weight_decay_end = weight_decay_end
        self.clip_grad_norm = clip_grad_norm
        self.accumulation_steps = accumulation_steps
        # Refused here rather than when the stage's turn comes, hours later.
        augments_on_device(augment_on, "cpu", transform, lung_masks)
        self.augment_on = augment_on
        self.tier = 0

    def build(
        self,
        network: Encoder,
        epochs: int,
        device: torch.device | str,
        seed: int = 0,
        amp: bool | str = "auto",
        num_workers: int | str = "auto",
        handlers: Sequence[Any] = (),
    ) -> StageRun:
        """Build the method around an encoder, and its trainer.

        What is initialised at random here comes from ``seed`` alone, whatever ran before.

        Args:
            network: the encoder to go on with; trained in place.
            epochs: of this stage.
            device: where to compute.
            seed: of the stage.
            amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.
            num_workers: see :func:`monai_cxrssl.data.worker_count`.
            handlers: handlers to attach before training, with an ``attach`` method.

        Raises:
            ConfigurationError: the options do not go together.
        """
        torch.manual_seed(seed)
        method = self.method(network)
        views = self.transform.num_views if isinstance(self.transform, ViewTransform) else method.num_views
        if views != method.num_views:
            raise ConfigurationError(
                f"The stage {self.name!r} takes {method.num_views} view(s) of an image, its transform draws {views}."
            )
        masks = PretextLungMasks(self.images, progress=idist.get_rank() == 0) if self.lung_masks else None
        local = None if self.local_views is None else self.local_views(int(network.encoder.output_stride))  # type: ignore[arg-type]
        dataset = PairDataset(
            self.images,
            self.transform,
            lung_masks=masks,
            augment_on=self.augment_on,
            device=device,
            local_transform=local,
        )
        sampler = PairSampler.of_items(
            self.images.items,
            **self.pairs,
            simclr_epochs=0 if self.multi_instance else None,
            seed=seed,
            rank=idist.get_rank(),
            world_size=idist.get_world_size(),
        )
        loader = training_loader(
            dataset, sampler, self.batch_size, device, num_workers, minimum_batch_size=method.num_views
        )
        method.to(device)
        optimizer = self.optimizer(method)
        schedule = StagedWarmupCosine(optimizer, [epochs], len(loader), self.warmup_epochs)
        follow: list[Any] = [LrScheduleHandler(schedule, print_lr=False, epoch_level=False)]  # type: ignore[arg-type]
        if self.weight_decay_end is not None:
            start = max(group["weight_decay"] for group in optimizer.param_groups)
            follow.append(CosineWeightDecay(optimizer, start, self.weight_decay_end))
        parallel = data_parallel(method, device) if idist.get_world_size() > 1 else method
        prepare: BatchPreparer = prepare_views
        if isinstance(self.transform, DrawnViewTransform):
            prepare = DeviceViews(self.transform, local)
        trainer = MethodTrainer(
            device,
            epochs,
            loader,
            parallel,
            optimizer,
            prepare_batch=prepare,
            accumulation_steps=self.accumulation_steps,
            amp=amp,
            clip_grad_norm=self.clip_grad_norm,
            train_handlers=[*follow, *handlers],
        )
        return StageRun(trainer, method, optimizer, schedule)


def pair_figures(loader: Any, epochs: int) -> dict[str, float]:
    """Return ``multi_image_share`` of the last epoch, where a loader draws pairs of two images; else nothing."""
    sampler = getattr(getattr(loader, "sampler", None), "sampler", None)
    if not isinstance(sampler, PairSampler) or sampler.simclr_epochs is None:
        return {}
    return {"multi_image_share": sampler.multi_image_pairs(epochs - 1)}


def stages_over_data(stages: Sequence[PretextStage], data: Mapping[str, ImageStore]) -> list[PretextStage]:
    """Repeat stages on several data sets: all of them on the first one, then all on the second, and so on.

    Args:
        stages: the stages.
        data: images by the data set's name, the farthest from the target first (large unlabeled, then target).

    Returns:
        With one data set the stages as they are; with more, copies called ``<stage>_<data set>``, each data set a tier.
    """
    if len(data) == 1:
        return list(stages)
    repeated = []
    for tier, (name, images) in enumerate(data.items()):
        for stage in stages:
            twin = copy.copy(stage)
            twin.name, twin.images, twin.tier = f"{stage.name}_{name}", images, tier
            repeated.append(twin)
    return repeated


def divide_epochs(total: int, shares: Sequence[float]) -> list[int]:
    """Divide epochs by shares, at least one to each, the rest by largest remainder.

    Raises:
        ConfigurationError: fewer epochs than shares.

    Example:
        >>> divide_epochs(10, [1, 1, 3])
        [2, 2, 6]
    """
    if total < len(shares):
        raise ConfigurationError(f"--max_epochs is {total}, which is less than one for each of {len(shares)} stages.")
    exact = np.array(shares, dtype=float) / sum(shares) * total
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: total - whole.sum()]] += 1
    while whole.min() < 1:
        whole[whole.argmax()] -= 1
        whole[whole.argmin()] += 1
    return [int(epochs) for epochs in whole]
