# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Wiring of a pretraining run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ignite.engine import Events
from monai.handlers import LrScheduleHandler
from torch import nn
from torch.optim import Optimizer

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.label_maps import LabelMap
from monai_cxrssl.data.sampling.bags import PairSampler, patient_bags
from monai_cxrssl.data.sampling.pretext import ImageDataset, PairDataset
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.pretext_masks import PretextLungMasks
from monai_cxrssl.handlers.monitors.history import RunHistory
from monai_cxrssl.handlers.monitors.online_probe import OnlineProbe
from monai_cxrssl.handlers.pretraining_summary import PretrainingSummary
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.lungs.lung_masks import with_lung_masks
from monai_cxrssl.optim.optimizer import create_optimizer
from monai_cxrssl.optim.schedules import StagedWarmupCosine
from monai_cxrssl.optim.weight_decay import CosineWeightDecay
from monai_cxrssl.runs.announce import announce_data, announce_start
from monai_cxrssl.runs.pretraining_options import PretrainingOptions
from monai_cxrssl.runs.run_folder import kept_folder
from monai_cxrssl.runs.stage import pair_figures
from monai_cxrssl.runs.wiring import Wiring
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["PretrainingHandlers", "PretrainingWiring"]


class PretrainingWiring(Wiring):
    """Make the parts of a pretraining run from its options.

    Args:
        options: of the run.
    """

    options: PretrainingOptions

    def open_dataset(self, collapse: LabelMap | None = None) -> Datalist:
        """Open the data set or the phantom, with lung masks drawn for images that have none where asked for."""
        return self.with_lung_masks(super().open_dataset(collapse))

    def with_lung_masks(self, source: Datalist) -> Datalist:
        """Give the images of a data set without a lung mask one, where the options ask for it."""
        o = self.options
        return with_lung_masks(source, o.lung_masks, kept_folder(o.output_dir, "lung_masks"), o.device)

    def images(self, source: Datalist) -> ImageStore:
        """Open the images of the splits to train on."""
        splits = self.options.splits
        names = [splits] if isinstance(splits, str) else splits
        return self.open_images([item for name in names for item in source.items(name)])

    def dataset(self, images: ImageStore, views: Any, lung_masks: bool = False) -> PairDataset:
        """Make the data set of views, of pairs of images where the sampler draws pairs.

        Args:
            images: of the splits to train on.
            views: draws the views of an image.
            lung_masks: give the lungs of every view too.
        """
        o = self.options
        masks = PretextLungMasks(images, progress=o.rank == 0) if lung_masks else None
        return PairDataset(images, views, lung_masks=masks, augment_on=o.augment_on, device=o.device)

    def sampler(self, images: ImageStore) -> PairSampler:
        """Make the sampler: pairs of one image, or from the second stage of MICLe on of one patient's images."""
        o = self.options
        simclr = o.stage_epochs(self.name).get("simclr") if len(o.stage_epochs(self.name)) > 1 else None
        return PairSampler.of_items(
            images.items, **o.pairs, seed=o.seed, simclr_epochs=simclr, rank=o.rank, world_size=o.world_size
        )  # fmt: skip

    def optimizer(self, method: nn.Module) -> Any:
        """Make the optimizer of a method."""
        return self.optimizer_factory()(method)

    def optimizer_factory(self) -> Callable[..., Any]:
        """Return what makes the optimizer of any method."""
        o = self.options
        return partial(
            create_optimizer, opt=o.optimizer, lr=o.learning_rate, weight_decay=o.weight_decay, momentum=0.9
        )  # fmt: skip

    def schedule(self, optimizer: Any, loader: Any) -> StagedWarmupCosine:
        """Make the schedule of the learning rate, which rises and falls once per stage."""
        o, stages = self.options, [*self.options.stage_epochs(self.name).values()]
        later = (o.second_stage_learning_rate or o.base_learning_rate) / o.base_learning_rate
        factors = [1.0, *[later] * (len(stages) - 1)]
        return StagedWarmupCosine(optimizer, stages, len(loader), o.warmup_epochs or 0, factors)

    def probe(self, network: Encoder, source: Datalist, images: ImageStore) -> OnlineProbe:
        """Make the probe of the frozen encoder on the labelled ones of some images."""
        o = self.options
        labels = [item.get("label") for item in images.items]
        patients = [item["patient_id"] for item in images.items]
        dataset = ImageDataset(images, ResizeCXR(o.image_size))
        return OnlineProbe(
            network, dataset, labels, patients, source.classes, o.device, o.probe_every, amp=o.amp, seed=o.seed
        )  # fmt: skip

    def summary(
        self,
        network: Encoder,
        source: Datalist,
        images: ImageStore,
        history: RunHistory,
        probe: OnlineProbe | None = None,
        loader: Any = None,
        more_images: ImageStore | None = None,
        projection_head: nn.Module | None = None,
        **others: Any,
    ) -> PretrainingSummary:
        """Make the handler that writes weights and figures.

        Args:
            network: the encoder.
            source: the data set.
            images: what was trained on.
            history: of the run.
            probe: of the encoder.
            loader: of training batches; without it the batch size is the option's.
            more_images: of another data set, trained on too.
            projection_head: of the method, kept with the weights.
            others: further settings to record.
        """
        o = self.options
        bags = patient_bags(images.items, by=o.bags_by)
        data: dict[str, Any] = {"images": len(images), "patients": len(bags)}
        data["multi_image_bags"] = sum(len(bag) > 1 for bag in bags)
        drawn = source.extra.get("lung_masks") or {}
        data |= {f"lung_masks_{name}": drawn[name] for name in ("weights", "sha256", "own", "made") if name in drawn}
        data |= pair_figures(loader, o.max_epochs)
        return PretrainingSummary(
            network,
            history,
            self.output_dir,
            o.model_path,
            data,
            images.unreadable,
            images.warnings,
            probe,
            self.settings(
                network,
                o.batch_size if loader is None else loader.batch_size,
                source=source.name,
                **others,
            ),
            images.items if more_images is None else [*images.items, *more_images.items],
            [path for path in (o.pretrained, o.teacher_weights) if path is not None],
            replace=o.replace,
            projection_head=projection_head,
        )


class PretrainingHandlers:
    """Attach what every pretraining run has: schedules, record, probe, curves, checkpoints, progress and summary.

    Handlers that publish metrics must be attached before this one, whose record takes them up.

    Args:
        wiring: of the run.
        method: that is trained.
        optimizer: of the method.
        lr_scheduler: of the optimizer, followed at every iteration.
        source: the data set.
        images: what is trained on.
    """

    def __init__(
        self,
        wiring: PretrainingWiring,
        method: PretextMethod,
        optimizer: Optimizer,
        lr_scheduler: StagedWarmupCosine,
        source: Datalist,
        images: ImageStore,
    ) -> None:
        self.wiring = wiring
        self.method, self.optimizer, self.lr_scheduler = method, optimizer, lr_scheduler
        self.source = source
        self.images = images

    def attach(self, engine: Any) -> None:
        """Attach all to the trainer."""
        wiring, loader = self.wiring, engine.data_loader
        network, schedule = self.method.network, self.lr_scheduler
        head = getattr(self.method, "projection_head", None)
        history = RunHistory(self.optimizer, wiring.options.stage_epochs(wiring.name))
        probe = wiring.probe(network, self.source, self.images)
        state = {"method": self.method, "optimizer": self.optimizer, "lr_scheduler": schedule}
        state |= {"history": history, "probe": probe}
        engine.add_event_handler(Events.STARTED, self._announce)
        follow = LrScheduleHandler(schedule, print_lr=False, epoch_level=False)  # type: ignore[arg-type]
        summary = wiring.summary(network, self.source, self.images, history, probe, loader, projection_head=head)
        settings = wiring.all_settings(summary)
        summary.tracked.parameters = settings
        o = wiring.options
        if o.weight_decay_end is not None:
            CosineWeightDecay(self.optimizer, o.weight_decay, o.weight_decay_end).attach(engine)
        for handler in (follow, history, probe, *wiring.records(state, settings), summary):
            handler.attach(engine)
        engine.add_event_handler(Events.COMPLETED, wiring.finish_run)

    def _announce(self) -> None:
        bags = patient_bags(self.images.items, by=self.wiring.options.bags_by)
        announce_data(self.source, self.images, bags, self.wiring.options.recipe)
        announce_start(self.wiring.start, self.method.network, self.wiring.options)
