# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ConfigParser and workflow behind the expression being evaluated.

MONAI hands an expression the items that it names by ``@``, and nothing else: neither the whole config, by which an
option that nothing uses could be told, nor the folder that the config came from. Both are held by the callers of the
expression, which are on the stack.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from monai.bundle import ConfigParser, ConfigWorkflow

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.runs.words_as_written import words_as_written, words_of_command

__all__ = ["bundle_root", "default_device", "evaluated_config", "option_values", "take_texts_as_typed"]

Caller = TypeVar("Caller")


def evaluated_config() -> ConfigParser:
    """Return the parser whose expression calls this.

    Raises:
        ConfigurationError: no expression of a config is being evaluated.
    """
    parser = _caller(ConfigParser)
    if parser is None:
        raise ConfigurationError("This function belongs into an expression of a bundle's config; call it from there.")
    return parser


def bundle_root(usual: str) -> str:
    """Return the folder of the bundle whose config is being evaluated, wherever it stands and whatever it is called.

    It is the parent of the config file's folder, or that folder where it is not called ``configs``. A bare
    ``ConfigParser`` does not say which file it read; then it is the working folder, if that is a bundle, or the usual
    place.

    Args:
        usual: where the bundle stands in the package's repository.
    """
    workflow = _caller(ConfigWorkflow)
    if workflow is not None:
        folder = Path(workflow.config_root_path)
        # "configs" may be the working folder's own name, written as ".".
        return str(folder.parent if folder.name == "configs" else _above(folder))
    return "." if Path("configs/metadata.json").is_file() else usual


def _above(folder: Path) -> Path:
    inside = folder.resolve().name == "configs" and (folder.resolve().parent / "configs").is_dir()
    return Path(os.path.normpath(folder / "..")) if inside else folder


def default_device() -> Any:
    """Return the device of this process: its own GPU in a job of several, the first GPU, or the processor."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def option_values(names: Any) -> dict[str, Any]:
    """Return the values of those ids that stand at the top of the config being evaluated.

    Args:
        names: ids to look for.
    """
    parser = evaluated_config()
    content = parser.get()
    return {name: parser.ref_resolver.get_resolved_content(name) for name in names if name in content}


def take_texts_as_typed(names: Collection[str]) -> None:
    """Put the texts typed for these options in place of what Fire and MONAI would make of them.

    MONAI would take a folder called ``@films`` for a reference, and ``$films`` for an expression.
    """
    parser = evaluated_config()
    content = parser.get()
    read = {name: content[name] for name in content.keys() & set(names) & words_of_command().keys()}
    parser.ref_resolver.resolved_content.update(words_as_written(read, names))


def _caller(kind: type[Caller]) -> Caller | None:
    """Return the nearest object of a class whose method is on the stack."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, kind):
            return owner
        frame = frame.f_back
    return None
