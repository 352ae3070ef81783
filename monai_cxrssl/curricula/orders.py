# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Orders of pretext tasks and the stages they share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, takewhile

from monai_cxrssl.errors import OptionError
from monai_cxrssl.runs.pretraining_options import PretrainingOptions
from monai_cxrssl.runs.stage import divide_epochs

__all__ = ["Order", "StagePlan", "expand_orders", "shared_stages", "stage_plan"]

#: Name and epochs of each stage, in order.
StagePlan = tuple[tuple[str, int], ...]
#: Orders that a curriculum finds itself.
_FOUND = ("difficulty", "greedy")


@dataclass(frozen=True)
class Order:
    """Pretext tasks one after another, or a set of them whose order is found (``--order``)."""

    tasks: tuple[str, ...]  #: one for a single task.
    found_by: str = "given"  #: ``"given"``, ``"difficulty"`` or ``"greedy"``.

    @property
    def kind(self) -> str:
        """``"single task"`` or ``"curriculum"``."""
        return "single task" if len(self.tasks) == 1 else "curriculum"

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return "-".join(self.tasks) if self.found_by == "given" else self.found_by

    def __str__(self) -> str:
        return " > ".join(self.tasks) if self.found_by == "given" else f"order by {self.found_by}"


def expand_orders(tasks: Sequence[str], words: Iterable[str], known: Collection[str]) -> list[Order]:
    """Return the orders that words name, each once.

    Args:
        tasks: pretext tasks.
        words: ``"all"`` for every order of all tasks, ``"single"`` for each task alone, ``"difficulty"`` and
            ``"greedy"`` for an order that is found, or an order such as ``"rotation>moco"``.
        known: the tasks that there are.

    Raises:
        OptionError: a task that is not known or named twice, no task, or too few to order.

    Example:
        >>> [str(order) for order in expand_orders(["a", "b"], ["all", "single"], "ab")]
        ['a > b', 'b > a', 'a', 'b']
    """
    _check_tasks("--tasks", tasks, known)
    orders: list[Order] = []
    for word in words:
        if word == "single":
            orders += [Order((task,)) for task in tasks]
            continue
        if word in ("all", *_FOUND):
            if len(tasks) < 2:
                raise OptionError(f"--orders {word} needs two tasks or more; --tasks names {', '.join(tasks)}.")
            orders += map(Order, permutations(tasks)) if word == "all" else [Order(tuple(tasks), word)]
            continue
        named = tuple(task.strip() for task in word.split(">"))
        _check_tasks(f"--orders {word!r}", named, known)
        orders.append(Order(named))
    return list(dict.fromkeys(orders))


def _check_tasks(where: str, tasks: Sequence[str], known: Collection[str]) -> None:
    for task in tasks:
        if task not in known:
            raise OptionError(f"{where} names {task!r}; it must be of {', '.join(known)}.")
    if len(set(tasks)) < len(tasks):
        raise OptionError(f"{where} names a task twice; give each once.")


def stage_plan(order: Order, options: PretrainingOptions) -> StagePlan | None:
    """Return the stages that a run of this order goes through; ``None`` where the run finds them itself.

    Raises:
        ConfigurationError: fewer epochs than stages.
    """
    if order.found_by != "given":
        return None
    stages = [(task, task) for task in order.tasks]
    if options.large_dataset_dir is not None:
        stages = [(f"{task}_{data}", task) for data in ("large", "target") for task in order.tasks]
    epochs = divide_epochs(options.max_epochs, [(options.shares or {}).get(task, 1) for _, task in stages])
    return tuple((name, number) for (name, _), number in zip(stages, epochs, strict=True))


def shared_stages(plan: StagePlan, other: StagePlan) -> int:
    """Return how many stages at the start of two plans train the same weights: equal in name and epochs, one by one.

    Example:
        >>> shared_stages((("a", 2), ("b", 2), ("c", 1)), (("a", 2), ("b", 2), ("d", 1)))
        2
        >>> shared_stages((("a", 5),), (("a", 2), ("b", 3)))
        0
    """
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(plan, other, strict=False))))
