# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Wiring of a fine-tuning run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from ignite.engine import Events
from monai.handlers import LrScheduleHandler
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from monai_cxrssl.data.audit.leak import refuse_shared_patients
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.findings import select_findings
from monai_cxrssl.data.sampling.fine_tuning import FineTuningImages
from monai_cxrssl.data.sampling.image_sampler import ImageSampler
from monai_cxrssl.data.sources.fine_tuning_source import classes_to_learn, divided_source, require_classes
from monai_cxrssl.data.sources.transfer import open_test_source
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.engines.evaluator import MultiTaskPredictor
from monai_cxrssl.errors import OptionError
from monai_cxrssl.handlers.best_checkpoint import BestCheckpoint
from monai_cxrssl.handlers.fine_tuning_summary import FineTuningSummary
from monai_cxrssl.handlers.monitors.history import RunHistory
from monai_cxrssl.handlers.paused_run import PausedRun
from monai_cxrssl.handlers.test_metrics import TestMetrics
from monai_cxrssl.handlers.validation import Validation
from monai_cxrssl.losses.distillation import DistillationLoss
from monai_cxrssl.losses.multi_task import MultiTaskLoss
from monai_cxrssl.methods.distillation import DistillationMethod, load_teacher
from monai_cxrssl.methods.fine_tuning import FineTuningMethod
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.optim.layer_decay import layer_decay_groups
from monai_cxrssl.optim.optimizer import create_optimizer
from monai_cxrssl.optim.schedules import StagedWarmupCosine
from monai_cxrssl.probing.linear_head import fit_label_head
from monai_cxrssl.runs.announce import announce_start
from monai_cxrssl.runs.announce_fine_tuning import announce_fine_tuning
from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
from monai_cxrssl.runs.leak import refuse_leak
from monai_cxrssl.runs.recipes.length import RunLength
from monai_cxrssl.runs.wiring import Wiring
from monai_cxrssl.transforms.spatial.resize import ResizeCXR
from monai_cxrssl.transforms.views.multi_view import MultiView

__all__ = ["FineTuningHandlers", "FineTuningWiring", "Labels", "TestSplit", "validator"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """What the label head learns: names of the classes, none for masks only, and ``multi_class`` or ``multi_label``."""

    classes: tuple[str, ...]
    task: str


@dataclass(frozen=True)
class TestSplit:
    """What the weights are measured on at the end, and by what."""

    __test__ = False

    source: Datalist
    dataset: FineTuningImages
    metrics: TestMetrics
    evaluator: MultiTaskPredictor


class FineTuningWiring(Wiring):
    """Make the parts of a fine-tuning run from its options.

    Args:
        options: of the run.
        name: of the bundle.
    """

    options: FineTuningOptions

    def source(self) -> Datalist:
        """Open the data set, divided by patient where it does not come so, with the classes that are to be learnt."""
        o = self.options
        opened = self.open_dataset(o.collapse)
        # A search of options took the test split away on purpose.
        tested = o.pause_at is None or not opened.extra.get("untested")
        divided = divided_source(opened, o.split_seed, tested=tested)
        return divided if o.findings is None else select_findings(divided, o.findings)

    def test_source(self, source: Datalist) -> Datalist:
        """Open what the weights are measured on at the end: the test split, another data set, or nothing yet."""
        o = self.options
        if o.pause_at is not None:
            return replace(source, splits={**source.splits, "test": ()})
        return open_test_source(source, o.test_dataset_dir, o.test_datalist, o.class_map, o.collapse)

    def labels(self, source: Datalist) -> Labels:
        """Return the classes to learn and their task; a bundle that learns masks only has none.

        Raises:
            OptionError: ``best_metric`` is none that is measured on these classes.
        """
        o = self.options
        classes = classes_to_learn(source, o.decoder is not None) if o.learns_labels else ()
        measured = ["val_score", "val_macro_auc", "val_dice", *(f"val_auc_{name}" for name in classes)]
        if o.best_metric not in measured:
            raise OptionError(f"--best_metric is {o.best_metric!r}; it must be one of {', '.join(measured)}.")
        return Labels(classes, source.task)

    def begin(self, source: Datalist, test_source: Datalist, network: MultiTaskNet) -> None:
        """Write what this run is into its folder, and refuse what makes its results void.

        That is: patients in two splits, absent classes, tests on a starting point's patients, a wrong image size.

        Args:
            source: of training and validation.
            test_source: what the weights are measured on.
            network: to be trained.
        """
        o = self.options
        self.start_run(source, {name: value for name, (value, _) in o.resolved_recipe.items()})
        announce_start(self.start, network, o)
        refuse_shared_patients(source, o.allow_leak)
        if o.learns_labels:
            require_classes(source, o.ignore_absent)
        for path in (o.pretrained, o.teacher):
            if path is not None and o.pause_at is None:
                items = test_source.items("test")
                refuse_leak(items, path, o.allow_leak, what="fine-tuning", name=test_source.name)
        network.check_size(o.image_size, o.image_size)

    def images(self, source: Datalist, split: str) -> ImageStore:
        """Open the images of a split."""
        return self.open_images(source.items(split))

    def dataset(self, images: ImageStore, labels: Labels, views: MultiView) -> FineTuningImages:
        """Make the samples of training: one random view of an image, of its label and its mask."""
        resize = ResizeCXR(self.options.image_size)
        keep = self.options.teacher is not None
        return self._samples(images, labels, resize, augment=views, keep_unlabelled=keep)

    def fixed_dataset(self, images: ImageStore, labels: Labels, transform: Any) -> FineTuningImages:
        """Make the samples of validation or test: every image as it is, resized."""
        return self._samples(images, labels, transform)

    def _samples(self, images: ImageStore, labels: Labels, resize: Any, **others: Any) -> FineTuningImages:
        mask, shape = self.options.mask, self.options.boxes_shape
        return FineTuningImages(images, resize, labels.task, labels.classes, mask, boxes_shape=shape, **others)

    def sampler(self, dataset: FineTuningImages) -> ImageSampler:
        """Make the sampler of training, of balanced classes if asked for."""
        o = self.options
        return ImageSampler(
            dataset.labels, balanced=o.balanced, seed=o.seed, rank=o.rank, world_size=o.world_size,
            draws=self.length(dataset).draws,
        )  # fmt: skip

    def fixed_loader(self, dataset: FineTuningImages) -> DataLoader:
        """Make the loader of validation or test, in order."""
        return DataLoader(dataset, batch_size=2 * self.options.batch_size, shuffle=False, num_workers=0)

    def loss_function(self, labels: Labels) -> MultiTaskLoss:
        """Make the loss of both branches."""
        o = self.options
        return MultiTaskLoss(
            task=labels.task, label_weight=o.label_weight, mask_weight=o.mask_weight, weighting=o.weighting,
            class_weights=o.class_weights, label_loss=o.label_loss, label_smoothing=o.label_smoothing,
        )  # fmt: skip

    def method(
        self, network: MultiTaskNet, loss_function: MultiTaskLoss, dataset: FineTuningImages
    ) -> FineTuningMethod:
        """Make what a training step computes: the loss of labels and masks, with a teacher's soft labels if any.

        Before anything copies or wraps the network, its label head is made to start as the option ``head_start`` says.

        Args:
            network: to be trained.
            loss_function: of its branches.
            dataset: samples of training.
        """
        o = self.options
        self._start_head(network, dataset)
        options: dict[str, Any] = {"linear_probe": o.linear_probe, "average_momentum": o.average_momentum or None}
        if o.teacher is None:
            return FineTuningMethod(network, loss_function, **options)
        distillation = DistillationLoss(
            temperature=o.temperature, mixing_weight=o.mixing_weight, task=dataset.task
        )  # fmt: skip
        teacher = load_teacher(o.teacher, dataset.classes, dataset.task)
        return DistillationMethod(network, loss_function, teacher, distillation, **options)

    def _start_head(self, network: MultiTaskNet, dataset: FineTuningImages) -> None:
        o, classes, task = self.options, dataset.classes, dataset.task
        if o.head_start != "probe" or not classes or "classification_head" in network.loaded_branches:
            return
        # Unlabelled ones are kept, for a teacher may have nothing else to teach on; the fit passes them over.
        samples = FineTuningImages(dataset.images, ResizeCXR(o.image_size), task, classes, keep_unlabelled=True)
        fitted = fit_label_head(
            network.to(o.device), samples, samples.labels, task, o.device, 2 * o.batch_size, amp=o.amp
        )
        if not fitted:
            logger.warning("The label head keeps its random start: no two classes have labels to fit it to.")
            return
        others = [name for number, name in enumerate(classes) if number not in fitted]
        logger.info(
            "The label head starts from a logistic regression on what the encoder makes of the labelled images%s.",
            f"; too few labels of {', '.join(others)}" if others else "",
        )

    def optimizer(self, method: FineTuningMethod, loss_function: nn.Module) -> Any:
        """Make the optimizer: the heads have a rate of their own, and earlier layers may learn more slowly."""
        o = self.options
        groups = layer_decay_groups(
            method.network, o.learning_rate, o.weight_decay, o.layer_decay, loss_function, o.head_factor
        )
        return create_optimizer(groups, opt=o.optimizer, lr=o.learning_rate, weight_decay=0.0)

    def length(self, dataset: FineTuningImages) -> RunLength:
        """Return the length of the run over the samples of training."""
        return self.options.length(len(dataset))

    def schedule(self, optimizer: Any, length: RunLength) -> StagedWarmupCosine:
        """Make the schedule of the rates, which rise and fall once for the heads alone, then for everything."""
        o, stages = self.options, [length.frozen, length.iterations - length.frozen]
        own = o.warmup_share * stages[1]
        if o.warmup_epochs is not None:
            own = o.warmup_epochs * length.iterations / length.passes
        return StagedWarmupCosine(optimizer, stages, 1, [0.1 * length.frozen, own] if length.frozen else [own])

    def test(self, source: Datalist, labels: Labels, method: FineTuningMethod) -> TestSplit | None:
        """Make what measures the best weights, once, at the end; of a run that is to pause, nothing.

        Args:
            source: whose split ``test`` is measured on.
            labels: classes and task.
            method: whose network is measured.
        """
        if self.options.pause_at is not None:
            return None
        images = self.open_images(source.items("test"), max_unreadable=1.0)
        dataset = self.fixed_dataset(images, labels, ResizeCXR(self.options.image_size))
        metrics = TestMetrics(
            self.options.output_dir, images.items, labels.classes, labels.task, unreadable=images.unreadable,
            seed=self.options.seed, split="test", filename=None, name=source.name,
        )  # fmt: skip
        evaluator = validator(self, self.fixed_loader(dataset), method, labels, [metrics])
        return TestSplit(source, dataset, metrics, evaluator)


def validator(
    wiring: FineTuningWiring,
    loader: DataLoader,
    method: FineTuningMethod,
    labels: Labels,
    val_handlers: Sequence[Any] = (),
) -> MultiTaskPredictor:
    """Make the engine that measures a method's network.

    Args:
        wiring: of the run.
        loader: of the samples to measure on.
        method: whose network is measured.
        labels: classes and task.
        val_handlers: attached to the engine.
    """
    o, handlers = wiring.options, list(val_handlers)
    network, classes = method.evaluated_network, labels.classes
    return MultiTaskPredictor(
        o.device, loader, network, task=labels.task, classes=classes, amp=o.amp, val_handlers=handlers
    )  # fmt: skip


class FineTuningHandlers:
    """Attach what every fine-tuning run has: validation, schedule, record, curves, checkpoints, progress and summary.

    Handlers that publish metrics must be attached before this one, whose record takes them up.

    Args:
        wiring: of the run.
        method: that is trained.
        optimizer: of the method.
        lr_scheduler: of the optimizer, followed at every iteration.
        source: of training and validation.
        training: samples that are learnt from.
        validation: samples that choose the weights.
        evaluator: of the validation split.
        test: of the test split; None of a run that pauses.
    """

    def __init__(
        self,
        wiring: FineTuningWiring,
        method: FineTuningMethod,
        optimizer: Optimizer,
        lr_scheduler: StagedWarmupCosine,
        source: Datalist,
        training: FineTuningImages,
        validation: FineTuningImages,
        evaluator: MultiTaskPredictor,
        test: TestSplit | None,
    ) -> None:
        self.wiring = wiring
        self.method, self.optimizer, self.lr_scheduler = method, optimizer, lr_scheduler
        self.source = source
        self.datasets = (training, validation, *(() if test is None else (test.dataset,)))
        self.evaluator = evaluator
        self.test = test

    def attach(self, engine: Any) -> None:
        """Attach all to the trainer."""
        wiring, o, epochs = self.wiring, self.wiring.options, engine.state.max_epochs
        history = RunHistory(self.optimizer, {wiring.name: epochs})
        validation = Validation(self.evaluator, o.validate_every or max(1, epochs // 30))
        path = wiring.output_dir / "checkpoints" / "best.pt"
        network = self.method.evaluated_network
        best = BestCheckpoint(validation, network, path, metric=o.best_metric, patience=o.patience)
        state = {"method": self.method, "optimizer": self.optimizer, "lr_scheduler": self.lr_scheduler}
        state |= {"history": history, "validation": validation, "best": best}
        engine.add_event_handler(Events.STARTED, self._announce)
        follow = LrScheduleHandler(self.lr_scheduler, print_lr=False, epoch_level=False)  # type: ignore[arg-type]
        summary = self._summary(history, best, engine)
        settings = wiring.all_settings(summary)
        summary.tracked.parameters = settings
        pause = [] if o.pause_at is None else [PausedRun(validation, best, o.pause_at, wiring.output_dir)]
        end = [] if pause else [summary]
        for handler in (follow, validation, history, best, *pause, *wiring.records(state, settings), *end):
            handler.attach(engine)
        if not pause:
            engine.add_event_handler(Events.COMPLETED, wiring.finish_run)

    def _announce(self) -> None:
        tested = None if self.test is None else self.test.dataset
        training, validation = self.datasets[:2]
        announce_fine_tuning(training, validation, tested, self.wiring.options)

    def _summary(self, history: RunHistory, best: BestCheckpoint, engine: Any) -> FineTuningSummary:
        o, network = self.wiring.options, cast(MultiTaskNet, self.method.network)
        training, validation = self.datasets[:2]
        stores = [dataset.images for dataset in self.datasets]
        tested = {} if self.test is None else {"test_source": self.test.source.name}
        settings = self.wiring.settings(
            network, engine.data_loader.batch_size, decoder=network.decoder_name,
            source=self.source.name, **tested, pretrained=o.pretrained, linear_probe=o.linear_probe,
        )  # fmt: skip
        return FineTuningSummary(
            history,
            best,
            self.wiring.output_dir,
            o.model_path,
            {
                **described_encoder(network),
                "image_size": o.image_size,
                "classes": list(training.classes),
                "task": self.method.loss_function.task,
                "decoder": network.decoder_name,
                "mask": o.mask,
                "mask_channels": 1,
                **({} if o.collapse is None else {"collapse": o.collapse.model_dump()}),
                **self.wiring.origins(),
            },
            training.data,
            validation.data,
            None if self.test is None else self.test.evaluator,
            None if self.test is None else self.test.metrics,
            settings,
            [file for store in stores for file in store.unreadable],
            [file for store in stores for file in store.warnings],
            [path for path in (o.pretrained, o.teacher) if path is not None],
            training.images,
            replace=o.replace,
        )
