# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Allow-list of components and functions of a strict config.

A name says little: ``monai.utils.module.os.system`` begins with ``monai``. So a dotted name is walked one attribute
at a time, and what is reached is judged by where it was *defined*. A family (a module of losses, say) is allowed as a
whole where nothing in it loads code, starts a process or takes the name of something to import; of all other modules
single names are allowed. ``torch.load``, ``LoadImage`` and ``SaveImage`` (they import what an argument names), the
whole of ``monai.bundle``, ``monai.apps`` and ``monai.utils`` are therefore absent.
"""

from __future__ import annotations

import builtins
import enum
import functools
import importlib
import os
import types
from functools import cache
from typing import Any

import torch

from monai_cxrssl.errors import ConfigurationError

__all__ = ["BUILTINS", "FORBIDDEN_ATTRIBUTES", "attribute", "called", "importable", "is_forbidden_name", "resolve"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


BUILTINS = {
    name: getattr(builtins, name)
    for name in _words(
        "abs all any bool dict enumerate float frozenset int len list max min range reversed round set sorted str sum "
        "tuple zip"
    )
}
# Methods that write a file, pickle, reach an interpreter frame, or look attributes up inside a format text.
FORBIDDEN_ATTRIBUTES = frozenset(
    _words(
        "format format_map tofile dump dumps save f_back f_globals f_locals f_builtins f_code gi_frame gi_code "
        "gi_yieldfrom cr_frame cr_code ag_frame ag_code tb_frame tb_next func_globals func_code co_code mro "
        "from_pretrained push_to_hub save_pretrained from_file"
    )
)
_ROOMS = _words(
    "data phantom transforms networks losses metrics methods hardware optim probing checkpoints engines handlers runs "
    "report"
)
_TRANSFORMS = _words("compose croppad intensity meta_utility post signal smooth_field spatial utility")
_NETS = _words(
    "attentionunet autoencoder basic_unet basic_unetplusplus classifier densenet dynunet efficientnet "
    "fullyconnected_net highresnet regressor segresnet segresnet_ds swin_unetr unet unetr varautoencoder vit "
    "vitautoenc vnet"
)
_HANDLERS = _words(
    "checkpoint_saver classification_saver confusion_matrix earlystop_handler garbage_collector hausdorff_distance "
    "lr_schedule_handler mean_dice mean_iou roc_auc stats_handler surface_distance tensorboard_handlers "
    "validation_handler"
)
_FAMILIES = (
    *(f"monai_cxrssl.{room}" for room in _ROOMS),
    *(f"monai.{room}" for room in ("losses", "metrics", "inferers", "optimizers", "networks.blocks")),
    *(f"monai.transforms.{room}" for room in _TRANSFORMS),
    *(f"monai.networks.nets.{room}" for room in _NETS),
    *(f"monai.handlers.{room}" for room in _HANDLERS),
    *("monai.engines.trainer", "monai.engines.evaluator"),
    *("torch.nn.modules", "torch.optim", "segmentation_models_pytorch.decoders", "math"),
)
# Of allowed families: transforms that import what an argument names, and losses that fetch code.
_NOT_OF_FAMILY = frozenset(
    f"{rand}{kind}{form}" for rand in ("", "Rand") for kind in ("TorchVision", "TorchIO", "CuCIM") for form in ("", "d")
) | frozenset({"PerceptualLoss", "MedicalNetPerceptualSimilarity", "RadImageNetPerceptualSimilarity"})
_SINGLE = {
    "monai_cxrssl.apps": "install_clear_errors",
    "monai.data": "CacheDataset DataLoader Dataset SmartCacheDataset ThreadDataLoader decollate_batch "
    "list_data_collate pad_list_data_collate partition_dataset",
    "monai.utils": "first set_determinism",
    "ignite.handlers": "EMAHandler EarlyStopping ProgressBar TerminateOnNan",
    "ignite.metrics": "Accuracy Loss Precision Recall RunningAverage",
    "timm.optim": "Lamb Lars create_optimizer_v2",
    "torch": "arange as_tensor device full linspace manual_seed ones tensor zeros",
    "torch.cuda": "device_count is_available",
    "torch.utils.data": "ConcatDataset DataLoader DistributedSampler RandomSampler SequentialSampler Subset "
    "TensorDataset WeightedRandomSampler",
    "numpy": "arange array asarray concatenate float32 float64 full int64 linspace max mean median min ones stack std "
    "sum uint8 unique zeros",
    "os": "environ",
    "os.path": "abspath basename dirname exists expanduser isdir isfile join normpath relpath splitext",
}
# Walked through on the way to what is allowed, or imported by a config.
_PACKAGES = frozenset(name.split(".")[0] for name in (*_FAMILIES, *_SINGLE))
_VALUES = (str, int, float, bool, torch.dtype, enum.Enum, types.NoneType)
_PLAIN = (str, bytes, int, float, bool, list, tuple, dict, set, frozenset, range, types.NoneType)


@cache
def _single() -> dict[int, Any]:
    """Objects of the single names, by identity; a package that is not installed has none."""
    found: dict[int, Any] = {id(value): value for value in BUILTINS.values()}
    for module, names in _SINGLE.items():
        try:
            holder = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for name in names.split():
            value = getattr(holder, name, None)
            if value is not None:
                found[id(value)] = value
    return found


def is_forbidden_name(name: str) -> bool:
    """Whether an attribute of this name is refused whatever the object."""
    return name.startswith("_") or name in FORBIDDEN_ATTRIBUTES


def importable(module: str) -> bool:
    """Whether a config may import this module: one that is, holds or belongs to something allowed."""
    known = (*_FAMILIES, *_SINGLE)
    return any(module == name or name.startswith(f"{module}.") for name in known) or any(
        module.startswith(f"{name}.") for name in _FAMILIES
    )


def called(value: Any) -> Any:
    """Return what is about to be called, if it may be.

    Raises:
        ConfigurationError: it is no component or function of the allow-list.
    """
    if isinstance(value, functools.partial):
        called(value.func)
        return value
    if isinstance(value, types.MethodType | types.BuiltinMethodType) and not isinstance(
        getattr(value, "__self__", None), types.ModuleType | type | None
    ):
        if is_forbidden_name(value.__name__) or not _is_receiver(value.__self__):
            raise ConfigurationError(f"the method {value.__name__} of a {_type_name(value.__self__)} is not allowed")
        return value
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        if not _is_allowed(value):
            raise ConfigurationError(f"{_own_name(value)} is not on the allow-list")
        return value
    if not _is_receiver(value):
        raise ConfigurationError(f"a {_type_name(value)} is not to be called")
    return value


def attribute(holder: Any, name: str) -> Any:
    """Return ``holder.name``, if a config may reach it.

    Raises:
        ConfigurationError: it leads out of what is allowed.
        AttributeError: there is none.
    """
    if is_forbidden_name(name):
        raise ConfigurationError(f"the attribute {name} is not allowed")
    if isinstance(holder, types.ModuleType):
        return _of_module(holder, name)
    if holder is os.environ:
        if name != "get":
            raise ConfigurationError(f"os.environ.{name} is not allowed")
    elif isinstance(holder, type):
        # An Enum's members, never a class's methods: constructors such as from_pretrained are among them.
        if not (issubclass(holder, enum.Enum) and _is_allowed(holder) and name in holder.__members__):
            raise ConfigurationError(f"the attribute {name} of the class {_own_name(holder)} is not allowed")
    elif not _is_receiver(holder):
        raise ConfigurationError(f"the attribute {name} of a {_type_name(holder)} is not allowed")
    value = getattr(holder, name)
    if isinstance(value, types.ModuleType):
        raise ConfigurationError(f"the attribute {name} is the module {value.__name__}")
    return value


def resolve(target: str) -> Any:
    """Return the component that a ``_target_`` names in full, if it is allowed.

    Raises:
        ConfigurationError: it is not, or there is none.
    """
    first, *names = target.split(".")
    if first not in _PACKAGES or not names or any(not name.isidentifier() for name in names):
        raise ConfigurationError(f"{target} is not on the allow-list")
    value: Any = importlib.import_module(first)
    for name in names:
        if isinstance(value, types.ModuleType) and not hasattr(value, name) and not name.startswith("_"):
            path = f"{value.__name__}.{name}"
            if importable(path):
                try:
                    importlib.import_module(path)
                except ImportError as error:
                    raise ConfigurationError(f"{target} cannot be imported ({error})") from None
        try:
            value = attribute(value, name)
        except AttributeError:
            raise ConfigurationError(f"{target} does not exist") from None
    return called(value)


def _of_module(module: types.ModuleType, name: str) -> Any:
    path = f"{module.__name__}.{name}"
    try:
        value = getattr(module, name)
    except AttributeError:
        # A submodule that nobody imported yet.
        if not importable(path):
            raise ConfigurationError(f"{path} is not on the allow-list") from None
        value = importlib.import_module(path)
    if isinstance(value, types.ModuleType):
        # `import os.path` gives a module of another name on each platform.
        if not (importable(value.__name__) and value.__name__ == path) and not (module is os and value is os.path):
            raise ConfigurationError(f"{path} is the module {value.__name__}, which is not on the allow-list")
        return value
    if not (_is_allowed(value) or (isinstance(value, _VALUES) and importable(module.__name__))):
        raise ConfigurationError(f"{path} is {_own_name(value)}, which is not on the allow-list")
    return value


def _is_allowed(value: Any) -> bool:
    """Whether a class or function is on the list; a re-export is the object that it re-exports."""
    if id(value) in _single():
        return True
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not isinstance(module, str) or not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return False
    if name in _NOT_OF_FAMILY or "." in name or name.startswith("_"):
        return False
    return any(module == family or module.startswith(f"{family}.") for family in _FAMILIES)


def _is_receiver(value: Any) -> bool:
    """Whether a value is plain, or an object of a package of the list; no module, class, function or frame."""
    if type(value) in _PLAIN or value is os.environ:
        return True
    if isinstance(value, types.ModuleType | type | types.FunctionType | types.BuiltinFunctionType):
        return False
    package = type(value).__module__.split(".")[0]
    return package in _PACKAGES - {"os"} or package == "collections"


def _own_name(value: Any) -> str:
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    return f"a {_type_name(value)}"


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
