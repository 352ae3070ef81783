# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Types beside tensors that a checkpoint may hold, read as inert stand-ins."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = ["load_harmless"]


_LOCK = threading.Lock()


class _Inert:
    """Stands for a setting, a path or a number of which nothing is wanted; takes anything and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        return None

    def __setstate__(self, state: Any) -> None:
        return None


class _Mapping:
    """Becomes an ordinary mapping, the only kind that torch fills."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return OrderedDict()


class _Sequence:
    """Becomes an ordinary list."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return []


def _each(module: str, kinds: str) -> list[str]:
    return [f"{module}.{kind}" for kind in kinds.split()]


_PATHS = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
_PLAIN = "list dict tuple int float str bool slice range"
_CALLBACKS = "early_stopping.EarlyStopping model_checkpoint.ModelCheckpoint"
#: Full names by what stands for them. None of the libraries needs to be installed, and no code of theirs runs.
_STAND_INS: dict[type, tuple[str, ...]] = {
    _Inert: (
        "argparse.Namespace",
        "types.SimpleNamespace",
        *_each("pathlib", _PATHS),
        *_each("pathlib._local", _PATHS),
        *_each("datetime", "date datetime time timedelta timezone"),
        *_each("numpy.core.multiarray", "scalar"),
        *_each("numpy._core.multiarray", "scalar"),
        *_each("builtins", _PLAIN),
        *_each("__builtin__", _PLAIN),
        *_each("typing", "Any Union Optional List Dict Tuple"),
        *_each("omegaconf", "base.ContainerMetadata base.Metadata base.SCMode dictconfig.DictConfig"),
        *_each("omegaconf", "listconfig.ListConfig nodes.AnyNode nodes.StringNode nodes.IntegerNode nodes.FloatNode"),
        *_each("omegaconf", "nodes.BooleanNode nodes.EnumNode nodes.PathNode"),
        *_each("mmcv", "utils.config.Config runner.log_buffer.LogBuffer"),
        *_each("mmengine", "config.config.Config logging.history_buffer.HistoryBuffer"),
        *_each("pytorch_lightning.callbacks", _CALLBACKS),
        *_each("lightning.pytorch.callbacks", _CALLBACKS),
        "transformers.training_args.TrainingArguments",
    ),
    _Mapping: (
        "collections.defaultdict",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "lightning.pytorch.utilities.parsing.AttributeDict",
        "lightning.fabric.utilities.data.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
        "easydict.EasyDict",
        "addict.addict.Dict",
        "munch.Munch",
        "ml_collections.config_dict.config_dict.ConfigDict",
        "yacs.config.CfgNode",
        "fvcore.common.config.CfgNode",
        "detectron2.config.config.CfgNode",
        "vissl.utils.hydra_config.AttrDict",
        "mmcv.utils.config.ConfigDict",
        "mmengine.config.config.ConfigDict",
    ),
    _Sequence: ("collections.deque",),
}


def _harmless_types() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what ``torch.serialization.safe_globals`` takes: arrays of numpy as they are, the rest as stand-ins."""
    arrays: list[tuple[Any, str]] = [(np.ndarray, "numpy.ndarray"), (np.dtype, "numpy.dtype")]
    for module in ("numpy.core", "numpy._core"):
        arrays.append((np.zeros(1).__reduce__()[0], f"{module}.multiarray._reconstruct"))
    for code in "?bBhHiIlLqQefdFDSUO":
        kind = type(np.dtype(code))
        arrays.append((kind, f"numpy.dtypes.{kind.__name__}"))
    names = [(stand_in, name) for stand_in, group in _STAND_INS.items() for name in group]
    return [*dict.fromkeys(arrays), *names]


def load_harmless(path: Any, mmap: bool) -> Any:
    """Return ``torch.load(path)`` on the CPU with tensors, plain values and stand-ins; refuse any other type."""
    # torch keeps the list for the whole process, and takes off it what another thread may still need.
    with _LOCK, torch.serialization.safe_globals(_harmless_types()):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
