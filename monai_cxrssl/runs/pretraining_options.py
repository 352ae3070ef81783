# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of pretraining runs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from monai_cxrssl.networks.starting_normalisation import AUTO
from monai_cxrssl.optim.schedules import scaled_learning_rate
from monai_cxrssl.runs.options import Count, Folder, Interval, Positive, RunOptions, Share, known_normalisation

__all__ = ["PretrainingOptions", "pretraining_options"]


def _words(value: Any) -> Any:
    """One word, or several between commas or spaces, are a list of them."""
    return re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value


class PretrainingOptions(RunOptions):
    """Options of a pretraining run; those of a method that a bundle does not train by have no effect and no value."""

    literal: ClassVar[frozenset[str]] = frozenset(
        {"dataset_dir", "datalist", "output_dir", "model_path", "pretrained", "cache_dir", "encoder_name", "resume"}
        | {"large_dataset_dir", "large_cache_dir", "teacher_weights", "teacher_name", "lung_masks"}
    )

    special: ClassVar[frozenset[str]] = frozenset((
        "bags_by", "compile", "contrastive", "gather", "gradient_cache_chunk", "hole_size", "holes",
        "jigsaw_permutations", "large_cache_dir", "large_dataset_dir", "local_views", "lung_masks", "mask_ratio",
        "momentum", "multi_image_share", "order", "pair_studies", "pair_views", "projection_layers", "prototypes",
        "queue_length", "reconstruction_weight", "rotation_copies", "rotation_task", "second_stage_learning_rate",
        "shares", "simclr_epochs", "simclr_share", "tasks", "teacher_arguments", "teacher_momentum", "teacher_name",
        "teacher_normalisation", "teacher_weights", "temperature", "weight_decay_end", "weighting",
    ))  # fmt: skip

    splits: list[str] | str = Field(["training"], description="the splits of the datalist to train on")
    learning_rate_rule: Literal["sqrt", "linear", "none"] = Field(
        "sqrt", description="how the rate grows with the batch: sqrt by its root, linear by batch / 256, none"
    )
    base_learning_rate: Positive = Field(description="the rate before that rule")
    second_stage_learning_rate: Positive | None = Field(
        None, description="that of MICLe's second stage, before the same rule; none for the first stage's"
    )
    augment_on: Literal["auto", "device", "workers"] = Field("auto", description="where views are made")
    probe_every: Annotated[int, Field(ge=0)] = Field(0, description="epochs between probes, 0 for before and after")
    gather: bool = Field(False, description="negatives are those of all processes")
    gradient_cache_chunk: Count | None = Field(
        None, description="keep the activations of only so many samples at a time, with the negatives of the batch"
    )
    temperature: Positive | None = Field(None, description="of the contrastive loss")
    projection_layers: Count = Field(2, description="of the projection head: 2 in SimCLR, 3 in SimCLRv2")
    simclr_share: Share | None = Field(None, description="the part of the epochs that are SimCLR, rounded up")
    simclr_epochs: Annotated[int, Field(ge=0)] | None = Field(None, description="how many epochs are SimCLR")
    bags_by: Literal["patient", "study"] = Field(
        "patient", description="positives are two images of one patient, or of one study (MedAug, Vu et al. 2021)"
    )
    pair_views: Literal["any", "same", "different"] = Field(
        "any", description="the two images of a pair: both frontal or both lateral (same), or one of each (MedAug)"
    )
    pair_studies: Literal["any", "same", "different"] = Field(
        "any", description="the two images of a pair: of one study of the patient, or of two (MedAug)"
    )
    multi_image_share: Share | None = Field(
        None, description="share of MICLe's pairs that are of two different images; none: as they come"
    )
    queue_length: Count | None = Field(None, description="negatives in MoCo's queue")
    momentum: Share | None = Field(None, description="of MoCo's key encoder")
    teacher_momentum: Share | None = Field(
        None, description="of BYOL's target and DINO's teacher at the start; none: 0.99 and 0.996"
    )
    prototypes: Count = Field(65536, description="outputs of DINO's head")
    local_views: Annotated[int, Field(ge=0)] = Field(8, description="small views of an image beside DINO's two large")
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(0.75, description="share of the patches to hide")
    holes: Count | None = Field(None, description="holes in an image")
    hole_size: Interval | None = Field(None, description="side of a hole as a share of the image's, least and most")
    lung_masks: Folder | None = Field(
        None, description="of images without one: auto draws them by the package's weights; or a file of weights"
    )
    weight_decay_end: Annotated[float, Field(ge=0)] | None = Field(None, description="weight decay of the last epoch")
    contrastive: bool = Field(False, description="add the contrastive task over two views")
    reconstruction_weight: Annotated[float, Field(ge=0)] | None = Field(None, description="of the masked patches' loss")
    rotation_task: bool = Field(False, description="tell quarter turns beside the reconstruction")
    weighting: Literal["fixed", "uncertainty"] = Field("fixed", description="of the tasks; uncertainty learns them")
    tasks: Annotated[list[str], BeforeValidator(_words)] | None = Field(None, description="the pretext tasks, in order")
    order: Literal["given", "greedy", "difficulty"] = Field(
        "given", description="of the tasks; greedy is found by a probe, difficulty without labels, the easiest first"
    )
    shares: dict[str, Positive] | None = Field(None, description="of the epochs, by task; 1 for one not named")
    jigsaw_permutations: Annotated[int, Field(ge=2)] | None = Field(None, description="puzzles to tell apart")
    rotation_copies: Annotated[int, Field(ge=1, le=4)] | None = Field(
        None, description="rotated copies of each image in a batch; none for all four"
    )
    large_dataset_dir: Folder | None = Field(None, description="images to go through all tasks on first")
    large_cache_dir: Folder | None = Field(None, description="a folder that keeps their decoded images")
    teacher_weights: Folder | None = Field(None, description="weights whose patch features distillation predicts")
    teacher_name: str | None = Field(
        None, description="the teacher's encoder, where its weights do not say; without weights, random ones of it"
    )
    teacher_arguments: dict[str, Any] | None = Field(None, description="of timm's network, for the teacher")
    teacher_normalisation: Annotated[Any, AfterValidator(known_normalisation)] = Field(
        AUTO, description="of the images as the teacher wants them: auto, imagenet, xrv, eva-x, none or [mean,std]"
    )

    @classmethod
    def adapted(cls, recipe: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe's values; a task that is trained alone has those that its paper gives it, if any, and a
        teacher of random weights gives way to weights that were named."""
        values = super().adapted(recipe, given)
        if "teacher_weights" in given and "teacher_name" in values:
            values["teacher_name"] = None
        alone = values.pop("alone", {})
        tasks = _words(given.get("tasks", values.get("tasks"))) or []
        return values | (alone.get(tasks[0], {}) if len(tasks) == 1 else {})

    @property
    def learning_rate(self) -> float:
        """Learning rate for the samples of a step over all processes."""
        samples = self.batch_size * self.world_size * self.accumulation_steps
        return scaled_learning_rate(self.base_learning_rate, samples, self.learning_rate_rule)

    @property
    def pairs(self) -> dict[str, Any]:
        """Which pairs of two images are drawn, as arguments of :meth:`monai_cxrssl.data.PairSampler.of_items`."""
        choice = {"by": self.bags_by, "views": self.pair_views, "studies": self.pair_studies}
        return choice | {"multi_image_share": self.multi_image_share}

    def stage_epochs(self, name: str) -> dict[str, int]:
        """Return epochs by stage: SimCLR, then MICLe, where the recipe divides them so, else one stage of that name."""
        if self.simclr_epochs is None and self.simclr_share is None:
            return {name: self.max_epochs}
        epochs = self.simclr_epochs
        if epochs is None:
            epochs = math.ceil(float(self.simclr_share or 0) * self.max_epochs)
        return {"simclr": epochs, name: self.max_epochs - epochs}


def pretraining_options(bundle_root: str) -> PretrainingOptions:
    """Resolve and check the options of the config whose expression calls this.

    Args:
        bundle_root: the bundle's folder, whose ``configs/recipes.json`` holds the recipes.

    Raises:
        OptionError: an option's value cannot be, or the recipe is not known.
    """
    return PretrainingOptions.from_config(bundle_root)
