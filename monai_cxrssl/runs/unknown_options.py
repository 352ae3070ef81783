# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Refusal of config ids and component arguments that nothing uses.

MONAI takes any ``--id VALUE``, adds it to the config, and trains as if it had not been said.
"""

from __future__ import annotations

import difflib
import inspect
import os
import pydoc
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.config_item import ConfigComponent, ConfigExpression
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from monai.utils import BundlePropertyConfig

from monai_cxrssl.errors import OptionError
from monai_cxrssl.runs.evaluated_config import evaluated_config, take_texts_as_typed
from monai_cxrssl.runs.options import RunOptions
from monai_cxrssl.runs.words_as_written import words_of_command

__all__ = ["check_options", "refuse_unknown_options"]

_TRACKING: dict[str, Any] = DEFAULT_MLFLOW_SETTINGS
#: What MONAI looks for by name, without a reference.
_OF_MONAI: frozenset[str] = frozenset(
    {"imports", "initialize", "run", "finalize", "run_name", "_meta_", "displayable_configs"}
    | set(_TRACKING["configs"]) - set(_TRACKING["handlers_id"])
)
_OF_TRAINING, _OF_INFERENCE = (
    frozenset(str(entry[BundlePropertyConfig.ID]) for entry in kind.values())
    for kind in (TrainProperties, InferProperties)
)


#: Options of evaluations and inferences whose value is text.
_TEXTS = frozenset(
    {"dataset_dir", "datalist", "output_dir", "model_path", "cache_dir", "encoder_name", "decoder"}
    | {"external_dataset_dir", "external_datalist", "validation_predictions", "criteria", "collapse", "findings"}
)


def refuse_unknown_options(options: RunOptions | None = None) -> None:
    """Refuse ids of the config being evaluated that nothing uses, and arguments that their component does not take.

    An id is used when it is an option, when MONAI looks for it, or when a text of the config refers to it. Parts of a
    run, components and expressions, may stand unused: whoever replaces one leaves others behind.

    Args:
        options: of the run; without them only what the config refers to is an option.

    Raises:
        OptionError: names the id, and the nearest one that is used.
    """
    parser = evaluated_config()
    config = parser.get()
    names = frozenset() if options is None else options.names
    # The interval is of a handler of MONAI's that no bundle here has.
    properties = _OF_INFERENCE if options is None else _OF_TRAINING - {"val_interval"}
    used = names | _OF_MONAI | properties | set(_references(config))
    typed = {ReferenceResolver.normalize_id(name) for name in words_of_command()}
    for place, value in _plain_entries(config):
        if (_is_value(value) or place in typed) and not any(_reaches(place, other) for other in used):
            candidates = names or {key for key, value in config.items() if _is_value(value) and key != place}
            shown = place.replace("::", "#")
            raise OptionError(f"--{shown} is no option of this bundle.{_nearest(shown, candidates)}")
    for place, component in _components(config):
        _check_arguments(parser, place, component)
    if options is None:
        take_texts_as_typed(_TEXTS)


def check_options(config_file: str | os.PathLike, given: Mapping[str, Any]) -> None:
    """Check options for a bundle as its config does when it is run; no data are read and no network is built.

    Args:
        config_file: ``train.json`` of a bundle; of a config that does not check its options nothing is refused.
        given: values by id.

    Raises:
        OptionError: see :func:`refuse_unknown_options` and :meth:`RunOptions.resolved`.
    """
    folder = Path(config_file).resolve().parent
    root = str(folder.parent if folder.name == "configs" else folder)
    parser = ConfigParser()
    parser.read_config(str(config_file))
    parser.update({"bundle_root": root, "output_dir": root, **given})
    checks = [
        f"initialize::{number}"
        for number, step in enumerate(parser.get("initialize") or ())
        if "refuse_unknown_options" in str(step)
    ]
    parser.parse(True)
    try:
        for check in checks:
            parser.get_parsed_content(check)
    except RuntimeError as error:
        if isinstance(error.__cause__, OptionError):
            raise error.__cause__ from None
        raise


def _plain_entries(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield id and value of every entry that is no argument of a component and no remark."""
    if not isinstance(config, dict) or ConfigComponent.is_instantiable(config):
        return
    for key, value in config.items():
        if not key.startswith("_"):
            inner = f"{place}::{key}" if place else key
            yield inner, value
            yield from _plain_entries(value, inner)


def _is_value(value: Any) -> bool:
    """Whether an entry is a plain value rather than a part of the run."""
    if isinstance(value, dict):
        return False
    if isinstance(value, list | tuple):
        return not any(isinstance(part, dict) or ConfigExpression.is_expression(part) for part in value)
    return not ConfigExpression.is_expression(value)


def _references(config: Any) -> Iterator[str]:
    """Yield every id that a text of the config refers to."""
    for text in _texts(config):
        for match in ReferenceResolver.id_matcher.findall(ReferenceResolver.normalize_id(text)):
            yield match.lstrip("@")
        if text.startswith("%"):
            yield ConfigParser.split_path_id(text[1:])[1]


def _reaches(place: str, reference: str) -> bool:
    """Whether a reference uses an entry: itself, what holds it, or what it holds."""
    return place == reference or place.startswith(f"{reference}::") or reference.startswith(f"{place}::")


def _texts(config: Any) -> Iterator[str]:
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        for key, value in config.items():
            if key != "_meta_":
                yield from _texts(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _texts(value)


def _components(config: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(config, dict | list):
        if isinstance(config, dict) and ConfigComponent.is_instantiable(config):
            yield place, config
        for _, inner, value in ReferenceResolver.iter_subconfigs(place, config):
            if inner != "_meta_":
                yield from _components(value, inner)


def _check_arguments(parser: ConfigParser, place: str, component: dict[str, Any]) -> None:
    """Refuse an argument that the component's class or function does not have."""
    target = ConfigComponent(dict(component), place, parser.locator).resolve_module_name()
    found = _located(target)
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in component:
        if not name.startswith("_") and name not in parameters:
            shown = f"{place}::{name}".replace("::", "#")
            near = difflib.get_close_matches(name, parameters, 1, 0.5)
            remedy = f" Did you mean --{place.replace('::', '#')}#{near[0]}?" if near else ""
            raise OptionError(f"--{shown} is no argument of {component['_target_']}.{remedy}")


def _located(target: Any) -> Any:
    if not isinstance(target, str):
        return target
    try:
        return pydoc.locate(target)
    except pydoc.ErrorDuringImport:
        # MONAI says what is wrong with a target when it makes the component.
        return None


def _nearest(name: str, candidates: Collection[str]) -> str:
    """The remedy: the option that was probably meant, or where they are told."""
    last = re.sub(r"(^|_)lr(?=$|_)", r"\1learning_rate", name.split("#")[-1])
    if last == "tune":
        return " The command python -m monai_cxrssl tune takes it."
    options = sorted(candidates)
    near = [
        *(option for option in options if option == last),
        *(option for option in options if option.endswith(f"_{last}")),
        *difflib.get_close_matches(last, options, 1, 0.6),
        *(option for option in options if last in ("".join(word[0] for word in option.split("_")), *option.split("_"))),
    ]
    return f" Did you mean --{near[0]}?" if near else " The bundle's docs/README.md lists them."
