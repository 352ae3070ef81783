# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Grid of option values to search, around those of the recipe."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fire.parser import DefaultParseValue

from monai_cxrssl.errors import OptionError

__all__ = ["FACTORS", "FIXED", "VALUES", "combinations", "search_space"]

#: Times the recipe's value.
FACTORS: dict[str, tuple[float, ...]] = {"learning_rate": (1.0, 0.1, 0.3, 3.0), "weight_decay": (1.0, 0.1, 10.0)}
#: Whatever the recipe's value is, which is tried too.
VALUES: dict[str, tuple[Any, ...]] = {
    "layer_decay": (0.55, 0.7, 0.85, 1.0),
    "dropout": (0.0, 0.2, 0.5),
    "label_smoothing": (0.0, 0.05, 0.1),
    "jitter": (0.0, 0.25, 0.5),
    "average_momentum": (0.0, 0.99, 0.999),
    "linear_probe_first": (0.0, 0.1, 0.2),
    "balanced": (False, True),
    "label_loss": ("cross_entropy", "focal", "auc_margin"),
}
#: What is no choice to be made by validation: data, what validation measures, how long is trained, places, machines.
FIXED = frozenset(
    {"recipe", "dataset_dir", "datalist", "phantom_patients", "phantom_size", "output_dir", "model_path", "replace"}
    | {"device", "seed", "split_seed", "max_epochs", "min_steps", "max_steps", "resume", "pause_at", "cache_dir"}
    | {"memory_limit_gb", "num_workers", "max_unreadable", "checkpoint_minutes", "compile", "test_dataset_dir"}
    | {"test_datalist", "class_map", "collapse", "findings", "ignore_absent", "allow_leak", "learns_labels", "decoder"}
    | {"mask", "boxes_shape", "validate_every", "best_metric", "patience"}
)


def search_space(
    words: Sequence[str], resolve: Callable[[Mapping[str, Any]], Any], names: frozenset[str]
) -> dict[str, list[Any]]:
    """Return the values of each option that is searched.

    Args:
        words: ``name``, for values around the recipe's (:data:`FACTORS`, :data:`VALUES`), or ``name=v,v,v``.
        resolve: checks values by option and returns all options, as :meth:`FineTuningOptions.resolved` does.
        names: of the bundle's options.

    Raises:
        OptionError: a name or a value cannot be, is no choice for validation, or there are no values to try.
    """
    space: dict[str, list[Any]] = {}
    usual = resolve({})
    for word in (part for text in words for part in text.split()):
        several = [(name, "") for name in word.split(",")] if "=" not in word else [_split(word)]
        for name, text in several:
            if name not in names:
                raise OptionError(f"--tune names {name!r}, which is no option of this bundle.")
            if name in FIXED:
                raise OptionError(f"--tune names {name}, which is not to be chosen by the validation split.")
            if name in space:
                raise OptionError(f"--tune names {name} twice; give all its values at once.")
            values = _read(text) if text else _around(name, getattr(usual, name))
            checked = [getattr(resolve({name: value}), name) for value in values]
            space[name] = [value for number, value in enumerate(checked) if value not in checked[:number]]
    if not space:
        raise OptionError('--tune names no option; expected such as --tune "learning_rate weight_decay".')
    return space


def combinations(
    space: Mapping[str, Sequence[Any]], usual: Any, most: int | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Return all combinations of the values, that of the recipe first if it is one.

    Args:
        space: values by option.
        usual: options of the recipe, by attribute.
        most: so many at most, drawn at random; the recipe's stays.
        seed: of the draw.
    """
    grid = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    grid.sort(key=lambda params: any(getattr(usual, name) != value for name, value in params.items()))
    if most is None or most >= len(grid):
        return grid
    chosen = sorted(random.Random(seed).sample(range(1, len(grid)), most - 1))
    return [grid[number] for number in (0, *chosen)]


def _split(word: str) -> tuple[str, str]:
    name, _, text = word.partition("=")
    if not text:
        raise OptionError(f"--tune says {word}, without values; expected such as {name}=1e-4,3e-4,1e-3.")
    return name, text


def _read(text: str) -> list[Any]:
    value = DefaultParseValue(text)
    return list(value) if isinstance(value, tuple) else [value]


def _around(name: str, usual: Any) -> list[Any]:
    """The default grid of an option."""
    if name in VALUES:
        return [usual, *VALUES[name]] if usual is not None else list(VALUES[name])
    if name in FACTORS and usual:
        return [usual * factor for factor in FACTORS[name]]
    known = ", ".join(sorted({*FACTORS, *VALUES}))
    raise OptionError(
        f"--tune names {name}, which is {usual!r} here and has no values to try of its own (those with: {known}); give "
        f"them, as {name}=A,B,C."
    )
