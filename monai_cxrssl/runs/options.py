# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of a run, each declared and checked once.

In a bundle's config an option that is ``null`` means "as the recipe says"; the recipes stand in
``configs/recipes.json`` beside the config. What neither gives has the default that is declared here.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from monai_cxrssl.data.stores.small_film import decoded_side
from monai_cxrssl.errors import ConfigurationError, OptionError
from monai_cxrssl.networks.normalisation import Normalisation
from monai_cxrssl.networks.starting_normalisation import AUTO
from monai_cxrssl.networks.weights.locations import resolve_weights
from monai_cxrssl.runs.evaluated_config import option_values, take_texts_as_typed

__all__ = ["Count", "Folder", "Folders", "Positive", "RunOptions", "Share", "known_normalisation", "load_recipes"]

#: Options that name weights, which may have to be downloaded.
_WEIGHTS = ("pretrained", "teacher", "teacher_weights")
#: Options that say what an encoder starts from.
_START = (
    "encoder_weights", "pretrained", "encoder_arguments", "input_normalisation", "pooling", "positions", "drop_path",
    "image_size",
)  # fmt: skip
Options = TypeVar("Options", bound="RunOptions")


def _as_path(value: Any) -> Any:
    """A path object is text here; a number or a truth value is no path."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _off(value: Any) -> Any:
    return False if str(value).lower() in ("false", "off", "none", "") else value


def _known_optimizer(name: str) -> str:
    import timm.optim

    try:
        timm.optim.get_optimizer_class(name.lower().split("_")[-1])
    except ValueError:
        near = difflib.get_close_matches(name, [str(known) for known in timm.optim.list_optimizers()], 3, 0.4)
        raise ValueError(f"an optimizer of timm, such as {' or '.join(near or ['adamw'])}") from None
    return name


def known_normalisation(value: Any) -> Any:
    """Return a normalisation as it was given, words in small letters; ValueError where it is none."""
    value = value.strip().lower() if isinstance(value, str) else value
    try:
        Normalisation.of(None if value == AUTO else value)
    except ConfigurationError:
        raise ValueError(Normalisation.expected()) from None
    return value


Folder = Annotated[str, BeforeValidator(_as_path)]
Folders = Folder | list[Folder]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class RunOptions(BaseModel):
    """Options that pretraining and fine-tuning share; a recipe's and then a user's values over the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    #: Options whose text is taken as it was typed, whatever Python would make of it.
    literal: ClassVar[frozenset[str]] = frozenset()
    #: Options of some bundles only: of those whose recipes name them.
    special: ClassVar[frozenset[str]] = frozenset()
    _of_recipe: frozenset[str] = PrivateAttr(frozenset())
    _given: dict[str, Any] = PrivateAttr({})

    recipe: str = Field("full", description="values for real data (full) or for the phantom in minutes (short)")
    dataset_dir: Folders | None = Field(None, description="a folder, or a list of folders \"['a','b']\"")
    datalist: Folder | None = Field(None, description="a datalist file instead")
    phantom_patients: Count = Field(320, description="patients of the phantom that is drawn where no data are given")
    phantom_size: Annotated[int, Field(ge=32)] = Field(160, description="rows and columns of its images, about")
    output_dir: Folder = Field(description="where results go")
    model_path: Folder = Field(description="where the weights go")
    replace: bool = Field(False, description="let a model of the phantom replace one of real images or the full recipe")
    device: str | torch.device = Field("cpu", description="cpu, cuda:0 …")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of everything random")
    encoder_name: str = Field(description="any encoder of segmentation-models-pytorch, or tu- and a timm model")
    encoder_arguments: dict[str, Any] | None = Field(
        None, description="of timm's network: \"{'patch_size':16,'img_size':518}\"; without it those of known weights"
    )
    encoder_weights: str | None = Field(None, description="imagenet: download weights to start from")
    pretrained: Folder | None = Field(
        None, description="weights to start from: a file, a folder of Hugging Face form, timm:NAME, hf://ORG/REPO/FILE"
    )
    input_normalisation: Annotated[Any, AfterValidator(known_normalisation)] = Field(
        AUTO, description="of the images as the weights want them: auto, imagenet, xrv, eva-x, none or [mean,std]"
    )
    pooling: Literal["auto", "mean", "cls", "cls+mean", "mean+std"] = Field(
        "auto", description="of the features: auto, mean, mean+std or, of a transformer, cls or cls+mean"
    )
    positions: Literal["auto", "learned", "sincos"] = Field(
        "auto", description="of a transformer's patches: auto, learned or sincos"
    )
    drop_path: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="stochastic depth, of encoders of timm that have it"
    )
    image_size: Annotated[int, Field(ge=16)] = Field(description="side of the network's input, pixels")
    batch_size: Count = Field(description="samples per batch and process")
    max_epochs: Count = Field(description="epochs, of all stages together")
    warmup_epochs: Annotated[float, Field(ge=0)] | None = Field(None, description="epochs in which the rate rises")
    optimizer: Annotated[str, AfterValidator(_known_optimizer)] = Field("adamw", description="as timm names them")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="of the weights that decay")
    clip_grad_norm: Annotated[float, Field(ge=0)] | None = Field(None, description="largest gradient norm, 0 for none")
    crop_scale: Interval = Field([0.6, 1.0], description="area of a crop as a share of the image's")
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(10.0, description="largest angle of a view, degrees")
    jitter: Share = Field(0.25, description="strength of brightness and contrast")
    accumulation_steps: Count = Field(1, description="batches per optimiser step")
    amp: bool | str = Field("auto", description="auto, bf16, fp16 or false")
    compile: bool | str = Field(False, description="true compiles the network")
    num_workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field("auto", description="loader processes")
    cache_dir: Folder | None = Field(None, description="a folder that keeps the decoded images")
    memory_limit_gb: Positive | None = Field(None, description="memory that decoded images may take, GiB")
    max_unreadable: Share = Field(0.05, description="share of unreadable files that a run lives with")
    checkpoint_minutes: Annotated[float, Field(ge=0)] = Field(10, description="minutes between checkpoints")
    resume: Annotated[Literal[False] | str | bool, BeforeValidator(_off)] = Field(
        False, description="auto for the newest checkpoint of the run, or a path"
    )

    @classmethod
    def from_config(cls: type[Options], bundle_root: str | os.PathLike) -> Options:
        """Resolve and check the options of the config whose expression calls this."""
        take_texts_as_typed(cls.literal)
        return cls.resolved(
            option_values(cls.model_fields), load_recipes(Path(bundle_root) / "configs" / "recipes.json")
        )

    @classmethod
    def resolved(cls: type[Options], given: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]) -> Options:
        """Lay what was given over its recipe, and check every value.

        Args:
            given: values by option; ``None`` for the recipe's.
            recipes: values by option, by the recipe's name.

        Raises:
            OptionError: a value cannot be, or the recipe is not known.
        """
        values = {name: value for name, value in given.items() if value is not None}
        without_data = values.get("dataset_dir") is None and values.get("datalist") is None
        values |= {name: str(resolve_weights(values[name])) for name in _WEIGHTS if isinstance(values.get(name), str)}
        recipe = values.setdefault("recipe", "short" if without_data else "full")
        if recipe not in recipes:
            raise OptionError(f"--recipe is {recipe!r}; it must be {' or '.join(map(repr, recipes))}.")
        try:
            options = cls(**{**cls.adapted(recipes[recipe], values), **values})
        except ValidationError as error:
            raise OptionError(" ".join(_sentences(error.errors()))) from None
        options._of_recipe = frozenset(recipes[recipe])
        options._given = {name: value for name, value in given.items() if value is not None}
        return options

    @property
    def given(self) -> dict[str, Any]:
        """What was said instead of the recipe's values."""
        return dict(self._given)

    @property
    def names(self) -> frozenset[str]:
        """The options that this bundle has."""
        return frozenset(type(self).model_fields) - (self.special - self._of_recipe)

    @classmethod
    def adapted(cls, recipe: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe's values, those changed that depend on what else was given."""
        return dict(recipe)

    @property
    def start(self) -> dict[str, Any]:
        """What the encoder starts from, as a network's ``start`` takes it."""
        return {name: getattr(self, name) for name in _START}

    @property
    def decoded_side(self) -> int:
        """Shorter side to which images are decoded, pixels."""
        return decoded_side(self.image_size)

    @property
    def rank(self) -> int:
        """Number of this process in its job."""
        return int(os.environ.get("RANK", "0"))

    @property
    def world_size(self) -> int:
        """Number of processes of the job."""
        return int(os.environ.get("WORLD_SIZE", "1"))


def load_recipes(path: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Read the recipes of a bundle, values by option, by the recipe's name.

    Raises:
        OptionError: the file is not there or holds no recipes.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            name: {key: value for key, value in recipe.items() if not key.startswith("_")}
            for name, recipe in content.items()
        }
    except OSError as error:
        raise OptionError(f"The bundle's recipes, {path}, cannot be read: {error.strerror}.") from error
    except (ValueError, AttributeError) as error:
        raise OptionError(f"The bundle's recipes, {path}, are no JSON object of objects: {error}.") from error


def _sentences(faults: Sequence[Any]) -> list[str]:
    """One sentence for each option; of a choice between kinds, all that it may be."""
    told: dict[str, list[str]] = {}
    values = {}
    sentences = []
    for fault in faults:
        if isinstance(error := fault.get("ctx", {}).get("error"), ConfigurationError):
            sentences.append(f"--{fault['loc'][0]}: {error}")
            continue
        name, message = str(fault["loc"][0]), fault["msg"]
        if fault["type"] == "missing":
            message = "neither it nor its recipe says a value"
        message = (
            message.replace("Input should be ", "").replace("Value error, ", "").split(", unable")[0].split(", got")[0]
        )
        told.setdefault(name, []).append(message)
        values[name] = fault["input"]
    return sentences + [
        f"--{name}: {messages[0]}." if messages[0].startswith("neither") else
        f"--{name} is {values[name]!r}; it must be {' or '.join(dict.fromkeys(messages))}."
        for name, messages in told.items()
    ]  # fmt: skip
