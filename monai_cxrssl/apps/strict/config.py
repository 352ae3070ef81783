# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run a bundle's config from elsewhere under an allow-list.

MONAI evaluates each ``$`` text of a config as Python and calls whatever a ``_target_`` names, so that a config is a
program. Here every item is checked before any is evaluated: targets and imports against the allow-list of
:mod:`monai_cxrssl.apps.strict.allowed`, expressions against a small part of Python
(:mod:`monai_cxrssl.apps.strict.expression`), with macros resolved and the overrides of the command line in place.
While it runs, each expression's attributes and calls are guarded. The bundle's own folder is not put on the module
search path, so that no file of it is imported.

What it does not promise: it is no sandbox. Allowed components read and write where the config's paths point, may use
all memory and time there is, and may fetch pretrained weights of fixed addresses. Weights and data are as trusted as
their readers make them (weights load with ``weights_only=True``); the logging file is judged by MONAI. Run it from a
folder that you trust, for Python itself puts the working folder on the search path.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.config_item import ComponentLocator, ConfigComponent, ConfigExpression
from monai.bundle.reference_resolver import ReferenceResolver

import monai_cxrssl
from monai_cxrssl.apps.strict.allowed import resolve
from monai_cxrssl.apps.strict.expression import GuardedExpression, check_expression, imported
from monai_cxrssl.errors import ConfigurationError

__all__ = ["StrictConfigParser", "StrictConfigWorkflow", "check_config", "run_strict"]


class StrictConfigParser(ConfigParser):
    """A ``ConfigParser`` that refuses what is not on the allow-list whenever it parses."""

    def parse(self, reset: bool = True) -> None:
        """Resolve macros, check every item, then parse.

        Raises:
            ConfigurationError: an item is refused; names id and value.
        """
        for place, value in _texts(self.get()):
            text = _relative_removed(value)
            if text.startswith("%") and ConfigParser.split_path_id(text[1:])[0]:
                raise _refused(place, value, "it copies from another file")
        if reset:
            self.ref_resolver.reset()
        self.resolve_macro_and_relative_ids()
        check_config(self.get(), self.globals, self.locator)
        super().parse(reset)
        for name, item in self.ref_resolver.items.items():
            if isinstance(item, ConfigExpression):
                self.ref_resolver.items[name] = GuardedExpression(item.get_config(), name, self.globals)


class StrictConfigWorkflow(ConfigWorkflow):
    """A ``ConfigWorkflow`` with a :class:`StrictConfigParser`; arguments as there, without ``tracking``."""

    def __init__(self, config_file: Any, **options: Any) -> None:
        if options.get("tracking") is not None:
            raise ConfigurationError("tracking brings a config of its own; it cannot be used under the strict option.")
        super().__init__(config_file, **options)
        self.parser = StrictConfigParser(self.parser.get())
        self.parser.parse(reset=True)

    def run(self) -> Any:
        """Evaluate what stands under the run id, without the bundle's folder on the module search path."""
        if self.run_id not in self.parser:
            raise ConfigurationError(f"The config has no {self.run_id!r} to run; name another with --run_id.")
        own = {self.config_root_path.resolve(), self.config_root_path.resolve().parent}
        # The package itself may be run from a checkout, whose folder must stay.
        own.discard(Path(monai_cxrssl.__file__).resolve().parents[1])
        before = list(sys.path)
        sys.path[:] = [entry for entry in sys.path if Path(entry or os.curdir).resolve() not in own]
        try:
            return self._run_expr(self.run_id)
        finally:
            sys.path[:] = before


def check_config(config: Any, names: Mapping[str, Any] | None = None, locator: ComponentLocator | None = None) -> None:
    """Check a config whose macros are resolved; nothing of it is evaluated.

    Args:
        config: the whole content.
        names: modules that expressions may use without an import; by default those of MONAI's parser.
        locator: finds the full name of a bare ``_target_`` such as ``"DiceLoss"``.

    Raises:
        ConfigurationError: an item is refused; one sentence with its id and its value.
    """
    known = dict(ConfigParser().globals if names is None else names)
    texts = list(_texts(config))
    for place, value in texts:
        if value.startswith("%"):
            raise _refused(place, value, "it is a macro that leads to a macro")
        if _is_import(place, value):
            if place.split("::")[0] != "imports":
                raise _refused(place, value, "imports stand under the id imports only")
            try:
                name, found = imported(value[1:])
            except ConfigurationError as error:
                raise _refused(place, value, str(error)) from None
            known[name] = found
    for place, value in texts:
        if value.startswith("$") and not _is_import(place, value):
            try:
                check_expression(value[1:], known)
            except ConfigurationError as error:
                raise _refused(place, value, str(error)) from None
        elif value.startswith("@") and ReferenceResolver.normalize_id(value)[1:].split("::")[0] in ("", "imports"):
            raise _refused(place, value, "it reaches the imported modules")
    locator = ComponentLocator() if locator is None else locator
    for place, component in _components(config):
        _check_component(place, component, locator)


def run_strict(config_file: str | list[str], **options: Any) -> None:
    """Run a config as ``monai.bundle.run`` does, under the allow-list.

    Args:
        config_file: one file or several, as for ``monai.bundle.run``.
        options: ``meta_file``, ``logging_file``, ``init_id``, ``run_id``, ``final_id``, and overrides by id.

    Raises:
        ConfigurationError: an item of the config, or an override, is refused.
    """
    if "args_file" in options:
        raise ConfigurationError("args_file is not read under the strict option; give its options one by one.")
    workflow = StrictConfigWorkflow(config_file, workflow_type=options.pop("workflow_type", None), **options)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def _check_component(place: str, component: Mapping[str, Any], locator: ComponentLocator) -> None:
    target, mode = component["_target_"], component.get("_mode_", "default")
    if not isinstance(target, str) or target[:1] in ("$", "@", "%"):
        raise _refused(f"{place}::_target_", target, "a target must be a plain name")
    if mode not in ("default", "callable"):
        raise _refused(f"{place}::_mode_", mode, "only default and callable are allowed")
    if "_debug_" in component:
        raise _refused(f"{place}::_debug_", component["_debug_"], "it would start a debugger")
    try:
        resolve(str(ConfigComponent(dict(component), place, locator).resolve_module_name()))
    except ConfigurationError as error:
        raise _refused(f"{place}::_target_", target, str(error)) from None


def _refused(place: str, value: Any, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{place} is {value!r}: {reason}, so the strict option refuses it.")


def _is_import(place: str, value: str) -> bool:
    try:
        return ConfigExpression.is_import_statement(value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # References make most expressions no Python yet; what is none after they are replaced is refused as such.
        return False


def _relative_removed(value: str) -> str:
    return (
        ConfigParser.relative_id_prefix.sub("%", ReferenceResolver.normalize_id(value)) if value[:1] == "%" else value
    )


def _texts(config: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield id and value of every text."""
    if isinstance(config, str):
        yield place, config
    elif isinstance(config, dict | list):
        for _, inner, value in ReferenceResolver.iter_subconfigs(place, config):
            yield from _texts(value, inner)


def _components(config: Any, place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(config, dict | list):
        if isinstance(config, dict) and ConfigComponent.is_instantiable(config):
            yield place, config
        for _, inner, value in ReferenceResolver.iter_subconfigs(place, config):
            yield from _components(value, inner)
