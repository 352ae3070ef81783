# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of fine-tuning runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from monai_cxrssl.data.datalists.findings import parse_findings
from monai_cxrssl.data.datalists.label_maps import LabelMap, load_label_map
from monai_cxrssl.runs.options import Count, Folder, Folders, Positive, RunOptions, Share

__all__ = ["FineTuningOptions", "fine_tuning_options"]


def _known_findings(value: Any) -> list[str] | None:
    return None if value is None else parse_findings(value)


class FineTuningOptions(RunOptions):
    """Options of a fine-tuning run."""

    literal: ClassVar[frozenset[str]] = frozenset(
        {"dataset_dir", "datalist", "output_dir", "model_path", "pretrained", "cache_dir", "encoder_name", "resume"}
        | {"test_dataset_dir", "test_datalist", "teacher", "decoder", "collapse", "findings"}
    )

    special: ClassVar[frozenset[str]] = frozenset({"decoder", "mask", "learns_labels"})

    clip_grad_norm: Annotated[float, Field(ge=0)] | None = Field(1.0, description="largest gradient norm, 0 for none")
    test_dataset_dir: Folders | None = Field(None, description="measure on all images of another data set instead")
    test_datalist: Folder | None = Field(None, description="or of a datalist file")
    class_map: dict[str, str | None] | None = Field(None, description="its labels by the classes trained on")
    collapse: Annotated[LabelMap | None, BeforeValidator(load_label_map)] = Field(
        None, description="labels brought onto a few classes: normal_abnormal, pneumonia … or a JSON file"
    )
    findings: Annotated[Any, AfterValidator(_known_findings)] = Field(
        None, description="the classes that are learnt: names, or chexpert_competition …"
    )
    split_seed: Annotated[int, Field(ge=0)] = Field(0, description="of the division by patient, where there is none")
    ignore_absent: bool = Field(False, description="go on although validation lacks a class")
    allow_leak: bool = Field(False, description="go on although patients are in two splits")
    learns_labels: bool = Field(True, description="the network has a label head")
    decoder: str | None = Field(None, description="Unet, FPN … for convolutional encoders, DPT for transformers")
    dropout: Share = Field(0.2, description="before the label head")
    mask: Literal["lung", "lesion", "boxes"] | None = Field(None, description="what the decoder learns")
    boxes_shape: list[int] | None = Field(None, description="rows and columns that boxes count the pixels of")
    min_steps: Annotated[int, Field(ge=0)] = Field(0, description="batches that are seen at least")
    frozen_epochs: Annotated[int, Field(ge=0)] = Field(0, description="epochs in which the encoder does not learn")
    linear_probe: bool = Field(False, description="the encoder never learns")
    learning_rate: Positive = Field(description="of the heads")
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="factor from a layer to the one before")
    average_momentum: Share | None = Field(None, description="of the running average of the weights, 0 for none")
    balanced: bool = Field(False, description="draw the classes equally often")
    label_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="of the label's loss")
    mask_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="of the mask's loss")
    weighting: Literal["fixed", "uncertainty"] = Field("fixed", description="of the two; uncertainty learns them")
    class_weights: list[float] | None = Field(None, description="weights of the classes in the loss")
    label_loss: Literal["cross_entropy", "focal", "auc_margin"] = Field("cross_entropy", description="of the labels")
    label_smoothing: Share = Field(0.0, description="of the labels")
    teacher: Folder | None = Field(None, description="a fine-tuned model to learn from (SimCLRv2 distillation)")
    temperature: Positive = Field(1.0, description="of the teacher's probabilities")
    mixing_weight: Share = Field(0.5, description="of the teacher's loss beside the labels'")
    validate_every: Count | None = Field(None, description="epochs between validations")
    best_metric: str = Field("val_score", description="the figure of validation that chooses the weights")
    patience: Count | None = Field(None, description="validations without a better one before training stops")

    pause_at: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the epochs after which the run stops, untested; --resume goes on"
    )

    @classmethod
    def adapted(cls, recipe: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe's values; what spares pretrained weights does not apply to random ones."""
        values = dict(recipe)
        if not given.get("pretrained") and not given.get("encoder_weights"):
            values |= {"frozen_epochs": 0, "layer_decay": 1.0}
        if "max_epochs" in given:
            values["min_steps"] = 0
        return values

    def epochs(self, batches: int) -> int:
        """Return the epochs of the run: as many as were asked for, or the recipe's and what ``min_steps`` need.

        Args:
            batches: of an epoch.
        """
        return max(self.max_epochs, math.ceil(self.min_steps / batches))


def fine_tuning_options(bundle_root: str) -> FineTuningOptions:
    """Resolve and check the options of the config whose expression calls this.

    Args:
        bundle_root: the bundle's folder, whose ``configs/recipes.json`` holds the recipes.

    Raises:
        OptionError: an option's value cannot be, or the recipe is not known.
    """
    return FineTuningOptions.from_config(bundle_root)
