# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Optional packages and the extra that installs each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import lazy_loader

from monai_cxrssl.errors import MissingTierError

__all__ = ["TIERS", "attach_stub", "import_tier", "missing_tier"]

#: Extra of setup.cfg by top-level module.
TIERS = {
    **dict.fromkeys(("jinja2", "jsonschema", "matplotlib", "scipy", "sklearn"), "report"),
    **dict.fromkeys(
        (
            "fire", "huggingface_hub", "ignite", "monai", "optuna", "safetensors", "segmentation_models_pytorch",
            "tensorboard", "timm", "torch", "torchvision", "yaml",
        ),
        "train",
    ),
    "highdicom": "seg",
    "itk": "volumes",
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export"),
    **dict.fromkeys(("alembic", "mlflow", "sqlalchemy"), "tracking"),
}  # fmt: skip


def missing_tier(error: BaseException | None) -> MissingTierError | None:
    """Return the package's own error for an import that failed because a tier is not installed, else ``None``."""
    if isinstance(error, MissingTierError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name in TIERS:
        return MissingTierError(error.name, TIERS[error.name])
    return None


def import_tier(name: str) -> ModuleType:
    """Import a module of an optional package.

    Raises:
        MissingTierError: the package is not installed.
    """
    with _named_tier():
        return importlib.import_module(name)


def attach_stub(
    package: str, file: str, needs: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Attach a room's names lazily; the first one asked for says which tier is missing.

    Args:
        package: ``__name__`` of the room.
        file: its ``__file__``.
        needs: packages that its functions import only when they are called.

    Returns:
        ``__getattr__``, ``__dir__`` and ``__all__`` of the room.
    """
    attribute, names, public = lazy_loader.attach_stub(package, file)

    def attribute_or_tier(name: str) -> Any:
        if name in public:
            for needed in needs:
                if find_spec(needed) is None:
                    raise MissingTierError(needed, TIERS[needed])
        with _named_tier():
            return attribute(name)

    return attribute_or_tier, names, public


@contextmanager
def _named_tier() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        absent = missing_tier(error)
        if absent is None:
            raise
        raise absent from None
