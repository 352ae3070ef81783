# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names, meanings and defaults of a bundle's options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from monai_cxrssl import runs
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
from monai_cxrssl.runs.options import RunOptions, load_recipes
from monai_cxrssl.runs.pretraining_options import PretrainingOptions

__all__ = ["OptionHelp", "bundle_options", "options_class", "read_config"]

#: Options of evaluation and inference that training does not have, or by which it means something else.
_MEANINGS = {
    "model_path": "the weights",
    "splits": "the splits that are taken",
    "allow_leak": "go on although the weights were trained on these patients",
    "class_map": "labels of the data set by the classes of the model",
    "collapse": "what brings labels onto the classes of the model",
    "findings": "the classes that are measured: names, or chexpert_competition …",
    "external_dataset_dir": "another data set, measured beside, without tuning",
    "external_datalist": "or a datalist file of it",
    "external_class_map": "its labels by the classes of the model",
    "encoder_name": "of the network",
    "members": "networks whose probabilities are averaged",
    "classes": "names of the classes",
    "task": "multi_class for exclusive classes, multi_label for findings",
    "decoder": "of the network, none for labels only",
    "mask": "what the decoder has learnt: lung, lesion or boxes",
    "amp": "mixed precision, False for float32",
    "temperature": "that logits are divided by",
    "thresholds": "probabilities by class from which on an image counts as showing it",
    "report": "also look at attention, blanked regions and distances, and write report/index.html",
    "lung_masks": "for the report: auto draws lungs of images without a mask by the package's weights; or a file",
    "criteria": "a JSON file that changes the criteria of the report's verdict",
    "max_checked": "images that the report's checks look at, by whole patients; all are scored",
    "validation_predictions": "a table of predictions that thresholds are chosen on, as an ensemble's out of fold",
    "resamples": "of the patients, for intervals",
    "store_calibration": "keep temperature and thresholds of the validation split with the weights",
    "mask_format": "png or nifti",
    "outlines": "the lungs' outline over each image, as PNG, of a network that segments them",
    "dicom_results": "results of DICOM images for a PACS: seg, sr, sc, gsps, or none",
    "overlays": "the saliency of the most probable class over each image, as PNG",
}
#: What stands for a default that is computed; a text of the weights' description holds a reference to them.
_COMPUTED = {"$runs.default_device()": "the first GPU, else cpu"}
_OWN_WEIGHTS = "$monai_cxrssl.networks.own_or_shipped(@bundle_root)"
_OF_WEIGHTS = "as the weights say"
_RECIPE_BY_DATA = "full with data, else short"
_OPTIONS = re.compile(r"\$runs\.(\w+)\(@bundle_root\)")
_BELOW_ROOT = re.compile(r"\$@bundle_root \+ '/?([^']*)'")
_OWN_FOLDER = re.compile(r"\$runs\.(run|training)_folder\(.*\)")
#: Lists of expressions that MONAI evaluates.
_STEPS = frozenset({"imports", "initialize", "run", "finalize"})


class OptionHelp(NamedTuple):
    """Help on one option.

    Args:
        name: without dashes.
        meaning: empty where nothing is known.
        default: as one types it, by recipe.
        values: the words to choose from, or ``VALUE``.
    """

    name: str
    meaning: str
    default: str
    values: str


def bundle_options(config_file: Path, folder: Path | None = None) -> tuple[list[OptionHelp], list[str]]:
    """Return the options of a bundle's config, and the recipes in the order in which defaults name them.

    Options are those of the class that the config resolves them by. Without one they are its ids with plain values, and
    the computed ones whose meaning is known. Nothing of the config is evaluated.

    Args:
        config_file: in the folder ``configs`` of the bundle.
        folder: of the bundle when it runs; by default the one that it is in.

    Raises:
        ConfigurationError: the config is no JSON object, or its recipes cannot be read or resolved.
    """
    config = read_config(config_file)
    kind = options_class(config)
    if kind is None:
        return _plain_options(config, folder or config_file.parents[1]), []
    recipes = load_recipes(config_file.with_name("recipes.json"))
    names = sorted(recipes, key=lambda name: name == "full")
    by_recipe = {name: recipes[name] for name in names}
    return _declared_options(kind, by_recipe, config, folder or config_file.parents[1]), names


def read_config(config_file: Path) -> dict[str, Any]:
    """Read a config of one file, of which nothing is evaluated.

    Raises:
        ConfigurationError: it is no JSON object.
    """
    try:
        return dict(json.loads(config_file.read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{config_file} cannot be read as a JSON object: {error}.") from error


def options_class(config: Mapping[str, Any]) -> type[RunOptions] | None:
    """Return the class of what the config's ``options`` are, if that is a function of ``runs``."""
    match = _OPTIONS.fullmatch(str(config.get("options")))
    result = get_type_hints(getattr(runs, match[1])).get("return") if match and match[1] in runs.__all__ else None
    return result if isinstance(result, type) and issubclass(result, RunOptions) else None


def _declared_options(
    options_class: type[RunOptions], recipes: Mapping[str, Any], config: Mapping[str, Any], folder: Path
) -> list[OptionHelp]:
    def resolved(name: str, **given: Any) -> RunOptions:
        return options_class.resolved({"recipe": name, "output_dir": "", "model_path": "", **given}, recipes)

    random = {name: resolved(name) for name in recipes}
    pretrained = {name: resolved(name, pretrained="any") for name in recipes}

    def default(option: str) -> str:
        if option == "recipe":
            return _RECIPE_BY_DATA
        if config.get(option) is not None:
            return _config_default(config[option], folder)
        texts = []
        for name in recipes:
            values = [_typed(getattr(options[name], option)) for options in (random, pretrained)]
            spared = option != "pretrained" and values[0] != values[1]
            texts.append(f"{values[1]} from pretrained weights, else {values[0]}" if spared else values[0])
        return " / ".join(texts if len(set(texts)) > 1 else texts[:1])

    names = frozenset().union(*(options.names for options in random.values()))
    return [
        OptionHelp(name, field.description or "", default(name), "|".join(_choices(field.annotation)) or "VALUE")
        for name, field in options_class.model_fields.items()
        if name in names
    ]


def _plain_options(config: Mapping[str, Any], folder: Path) -> list[OptionHelp]:
    fields = PretrainingOptions.model_fields | FineTuningOptions.model_fields
    options = []
    for name, value in config.items():
        if name.startswith("_") or name in _STEPS or isinstance(value, dict):
            continue
        meaning = _MEANINGS.get(name) or (fields[name].description if name in fields else "") or ""
        if meaning or not _is_computed(value):
            values = "True|False" if isinstance(value, bool) else "VALUE"
            options.append(OptionHelp(name, meaning, _config_default(value, folder), values))
    return options


def _is_computed(value: Any) -> bool:
    """Whether a value, or a part of it, is an expression, a reference, a macro or a component."""
    if isinstance(value, list):
        return any(isinstance(part, dict) or _is_computed(part) for part in value)
    return isinstance(value, str) and value[:1] in "$@%"


def _config_default(value: Any, folder: Path) -> str:
    """Return the default that a config gives, in words where it is computed."""
    if not _is_computed(value):
        return _typed(value)
    if value == _OWN_WEIGHTS:
        return str(folder / "models" / "model.pt") + ", or those that came with the bundle"
    below = _BELOW_ROOT.fullmatch(value)
    if below:
        return str(folder / below[1])
    if _OWN_FOLDER.fullmatch(value):
        return f"{folder / 'runs' / 'TIME_NAME'}"
    if "(@model_path" in value:
        return _OF_WEIGHTS
    return _COMPUTED.get(value, value)


def _typed(value: Any) -> str:
    return "none" if value is None else str(value)


def _choices(annotation: Any) -> list[str]:
    """Return the words that a type lets one choose from."""
    if annotation is bool:
        return ["True", "False"]
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    parts = [part for part in get_args(annotation) if part is not type(None)]
    return _choices(parts[0]) if len(parts) == 1 else []
