# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of fine-tuning runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from monai_cxrssl.data.datalists.findings import parse_findings
from monai_cxrssl.data.datalists.label_maps import LabelMap, load_label_map
from monai_cxrssl.errors import OptionError
from monai_cxrssl.networks.encoder_factory import is_vision_transformer
from monai_cxrssl.runs.options import Count, Folder, Folders, Positive, RunOptions, Share
from monai_cxrssl.runs.recipes.family import EncoderFamily, family_recipe
from monai_cxrssl.runs.recipes.length import RunLength

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
    head_layers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="layers of the pretrained projection head before the label head (SimCLRv2)"
    )
    mask: Literal["lung", "lesion", "boxes"] | None = Field(None, description="what the decoder learns")
    boxes_shape: list[int] | None = Field(None, description="rows and columns that boxes count the pixels of")
    max_steps: Count | None = Field(None, description="steps of the optimiser, instead of epochs")
    min_steps: Annotated[int, Field(ge=0)] = Field(0, description="steps, where all epochs together have fewer")
    warmup_share: Share = Field(0.2, description="of the run, in which the rate rises, unless warmup_epochs says it")
    head_start: Literal["probe", "random"] = Field(
        "random", description="of a label head: probe, a logistic regression on the encoder's features, or random"
    )
    linear_probe_first: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the run in which the heads learn before the encoder does (LP-FT), 0 for none"
    )
    linear_probe: bool = Field(False, description="the encoder never learns")
    learning_rate: Positive = Field(description="of the encoder's last layer, about; see layer_decay and head_factor")
    head_factor: Positive = Field(1.0, description="factor from that rate to the heads'")
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
        """Return the values of the encoder's family, and over them the recipe's."""
        if "max_steps" in given and "max_epochs" in given:
            both = f"--max_steps {given['max_steps']} and --max_epochs {given['max_epochs']}"
            raise OptionError(f"{both} both say how long the run is; leave one out.")
        values = {**family_recipe(_family({**recipe, **given})), **recipe}
        values |= cls._of_label_head(values, given)
        if "drop_path_rate" in dict(given.get("encoder_arguments") or {}):
            values["drop_path"] = None  # said by timm's name for it
        if "max_epochs" in given:
            values |= {"min_steps": 0, "max_steps": None}
        return values

    @classmethod
    def _of_label_head(cls, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the label head starts from and how long heads learn alone, as these two go together."""
        every = {**values, **given}
        if not every.get("learns_labels", True):
            return {"head_start": "random"}
        if every.get("decoder") is not None or every.get("head_start", "random") == "random":
            return {}
        # A fitted label head is frozen with the encoder, and without a decoder nothing else would learn meanwhile.
        if not given.get("linear_probe_first"):
            return {"linear_probe_first": 0.0}
        if "head_start" in given:
            raise OptionError(
                f"--linear_probe_first {given['linear_probe_first']} and --head_start probe both give this network's "
                "only head a linear probe; leave one out."
            )
        return {"head_start": "random"}

    @property
    def start(self) -> dict[str, Any]:
        """What the network starts from; a linear probe of a transformer standardises the features by the batch."""
        probes = self.linear_probe and is_vision_transformer(self.encoder_name)
        if self.head_layers and not self.learns_labels:
            raise OptionError(
                f"--head_layers is {self.head_layers}, and stands before a label head, which this bundle has not; "
                "leave it out."
            )
        return {**super().start, "head_norm": "batch" if probes else "auto", "head_layers": self.head_layers}

    @property
    def family(self) -> EncoderFamily:
        """What of the encoder the recipe goes by."""
        return _family(dict(self))

    @property
    def resolved_recipe(self) -> dict[str, tuple[Any, str]]:
        """What the encoder's family has a say in: values by option, and who said each."""
        family = self.family

        def origin(name: str) -> str:
            return (
                "given" if name in self.given else f"{self.recipe} recipe" if name in self._of_recipe else str(family)
            )

        return {name: (getattr(self, name), origin(name)) for name in family_recipe(family)}

    def length(self, images: int) -> RunLength:
        """Return the length of the run: the epochs asked for or, where they are more, the recipe's ``min_steps``.

        Args:
            images: to learn from.
        """
        share = 0.0 if self.linear_probe else self.linear_probe_first
        own = max(images // self.world_size, 1)
        batches = own // min(self.batch_size, own)
        run = RunLength.of_epochs(self.max_epochs, batches, self.accumulation_steps, share)
        steps = self.max_steps or self.min_steps
        if self.max_steps is None and run.steps >= steps:
            return run
        batch = self.batch_size * self.world_size
        return RunLength.of_steps(steps, batch, images, self.accumulation_steps, share)


def _family(values: Mapping[str, Any]) -> EncoderFamily:
    name, arguments, weights = (values.get(key) for key in ("encoder_name", "encoder_arguments", "pretrained"))
    return EncoderFamily.of(
        str(name),
        arguments if isinstance(arguments, Mapping) else None,
        weights if isinstance(weights, str) else None,
        values.get("encoder_weights") is not None,
    )


def fine_tuning_options(bundle_root: str) -> FineTuningOptions:
    """Resolve and check the options of the config whose expression calls this.

    Args:
        bundle_root: the bundle's folder, whose ``configs/recipes.json`` holds the recipes.

    Raises:
        OptionError: an option's value cannot be, or the recipe is not known.
    """
    return FineTuningOptions.from_config(bundle_root)
