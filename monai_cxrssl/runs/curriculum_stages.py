# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of a curriculum by the names of their pretext tasks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from monai_cxrssl import methods
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sampling.bags import patient_bags
from monai_cxrssl.data.sources.source import open_dataset
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.errors import OptionError
from monai_cxrssl.handlers.monitors.history import RunHistory
from monai_cxrssl.handlers.monitors.online_probe import OnlineProbe
from monai_cxrssl.handlers.pretraining_summary import PretrainingSummary
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.runs.announce import announce_data, announce_start
from monai_cxrssl.runs.pretraining import PretrainingWiring
from monai_cxrssl.runs.stage import PretextStage, stages_over_data

__all__ = ["CurriculumWiring", "curriculum_summary"]


class CurriculumWiring(PretrainingWiring):
    """Make the parts of a run over several pretext tasks from its options.

    Args:
        options: of the run.
        name: of the bundle.
    """

    def large_images(self) -> ImageStore | None:
        """Open the images of the larger data set that all tasks go through first, if there is one."""
        o = self.options
        if o.large_dataset_dir is None:
            return None
        large = self.with_lung_masks(open_dataset(o.large_dataset_dir))
        return self.open_images(large.all_items(), cache_dir=o.large_cache_dir)

    def probe(self, network: Encoder, source: Datalist, images: ImageStore) -> OnlineProbe:
        """Make the probe; a greedy order is found on patients that no stage trains on, where there are any."""
        validation = source.items("validation")
        greedy = self.options.order == "greedy" and validation
        return super().probe(network, source, self.open_images(validation) if greedy else images)

    def history(self) -> RunHistory:
        """Make the record of the epochs of all stages."""
        return RunHistory(None)  # type: ignore[arg-type]

    def stages(
        self, images: ImageStore, large: ImageStore | None = None, own: Mapping[str, PretextStage] | None = None
    ) -> list[PretextStage]:
        """Make the stages of the tasks, on the larger data set first where there is one.

        Args:
            images: of the target data set.
            large: of the larger data set.
            own: stages of the user's own, by the name of their task.

        Raises:
            OptionError: a task is not known.
        """
        own = own or {}
        known = {**self._tasks(), **own}
        for task in self.options.tasks or ():
            if task not in known:
                raise OptionError(f"--tasks names {task!r}; it must be of {', '.join(known)}.")
        stages = [own[task] if task in own else self._stage(task, images) for task in self.options.tasks or ()]
        return stages_over_data(stages, {"target": images} if large is None else {"large": large, "target": images})

    def begin(self, source: Datalist, images: ImageStore, network: Encoder) -> None:
        """Write what this run is into its folder; log the size of the data, the recipe, the network's normalisation."""
        self.start_run(source)
        announce_data(source, images, patient_bags(images.items, self.options.bags_by), self.options.recipe)
        announce_start(self.start, network, self.options)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks that there are."""
        return tuple(self._tasks())

    def _tasks(self) -> dict[str, tuple[type[PretextMethod], dict[str, Any], int, dict[str, Any]]]:
        """Method, its arguments, views of an image and further arguments of the stage, by task."""
        o = self.options
        seed, contrast = {"seed": o.seed}, {"temperature": o.temperature, "gather": o.gather}
        queue = {"queue_length": o.queue_length, "momentum": o.momentum}
        teacher = {} if o.teacher_momentum is None else {"momentum": o.teacher_momentum}
        local = {"local_views": partial(self.local_views, o.local_views)} if o.local_views else {}
        return {
            "rotation": (methods.Rotation, {**seed, "copies": o.rotation_copies}, 1, {}),
            "jigsaw": (methods.Jigsaw, {**seed, "permutations": o.jigsaw_permutations}, 1, {}),
            "inpainting": (methods.Inpainting, seed, 1, {"lung_masks": True}),
            "moco": (methods.MoCo, {**seed, **contrast, **queue}, 2, {}),
            "simclr": (methods.SimCLR, contrast, 2, {}),
            "micle": (methods.MICLe, contrast, 2, {"multi_instance": True, "pairs": o.pairs}),
            "byol": (methods.BYOL, teacher, 2, {}),
            "dino": (methods.DINO, {**teacher, "prototypes": o.prototypes}, 2, local),
            "mae": (methods.MAE, {**seed, "mask_ratio": o.mask_ratio}, 1, {}),
            "spcxr": (methods.SPCXR, {**seed, "gather": o.gather}, 1, {}),
            "distillation": (methods.MaskedDistillation, {**seed, "teacher_weights": o.teacher_weights}, 1, {}),
        }

    def _stage(self, task: str, images: ImageStore) -> PretextStage:
        o = self.options
        method, arguments, views, others = self._tasks()[task]
        return PretextStage(
            task,
            partial(method, **arguments),
            images,
            self.views(views),
            self.optimizer_factory(),
            o.batch_size,
            share=(o.shares or {}).get(task, 1),
            warmup_epochs=o.warmup_epochs or 0,
            weight_decay_end=o.weight_decay_end,
            clip_grad_norm=o.clip_grad_norm or None,
            accumulation_steps=o.accumulation_steps,
            augment_on=o.augment_on,
            **others,
        )


def curriculum_summary(
    wiring: CurriculumWiring,
    source: Datalist,
    images: ImageStore,
    history: RunHistory,
    probe: OnlineProbe,
    more_images: ImageStore | None = None,
) -> PretrainingSummary:
    """Make what writes weights and figures at the end.

    Args:
        wiring: of the run.
        source: the target data set.
        images: of the target data set.
        history: of all stages.
        probe: of the encoder.
        more_images: of the larger data set.
    """
    tasks, order = ", ".join(wiring.options.tasks or ()), wiring.options.order
    network = cast(Encoder, probe.network)
    summary = wiring.summary(
        network, source, images, history, probe, more_images=more_images, tasks=tasks, order=order
    )  # fmt: skip
    summary.tracked.parameters = wiring.all_settings(summary)
    return summary
