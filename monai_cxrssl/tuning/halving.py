# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Synchronous successive halving over an optuna study in a journal.

All trials train to the first rung, the best share of them on to the next. A trial is paused and goes on, with the
schedule of a whole training, so that at every rung it is the run that training without a search would be. The rule is
that of K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS
2016; optuna's own pruner decides while later trials are not there yet, by the order in which they come.

The journal holds every value as soon as it is there. A search that is called again goes on behind the last one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.errors import ConfigurationError

if TYPE_CHECKING:
    import optuna

__all__ = ["Outcome", "Rung", "plan_rungs", "successive_halving"]


@dataclass(frozen=True)
class Rung:
    """Stage of a search: ``trials`` train to a ``share`` of the training, ``kept`` of them go on."""

    share: float
    trials: int
    kept: int


@dataclass(frozen=True)
class Outcome:
    """A trial at a rung: the value of validation, higher is better, or ``None`` and why there is none."""

    value: float | None
    problem: str = ""


def plan_rungs(trials: int, reduction: int = 3, most: int = 3) -> list[Rung]:
    """Return the rungs of a search, of which the last trains to the end.

    Args:
        trials: at the start.
        reduction: from rung to rung so many times fewer trials train so many times longer; 1 trains all to the end.
        most: rungs. By a first one of less than a ninth of the training little can be told.

    Example:
        >>> plan_rungs(12)
        [Rung(share=0.1111111111111111, trials=12, kept=4), Rung(share=0.3333333333333333, trials=4, kept=2), \
Rung(share=1.0, trials=2, kept=2)]
    """
    if trials < 1 or reduction < 1:
        raise ConfigurationError(f"{trials} trials cannot be reduced by {reduction}; expected 1 or more of each.")
    steps = 0 if reduction == 1 else min(most - 1, int(math.log(trials) / math.log(reduction) + 1e-9))
    rungs = []
    for step in range(steps, 0, -1):
        kept = math.ceil(trials / reduction)
        rungs.append(Rung(float(reduction) ** -step, trials, kept))
        trials = kept
    return [*rungs, Rung(1.0, trials, trials)]


def successive_halving(
    journal: str | os.PathLike,
    candidates: Sequence[Mapping[str, Any]],
    rungs: Sequence[Rung],
    evaluate: Callable[[int, Mapping[str, Any], float], Outcome],
    identity: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Search; go on where an earlier call for the same journal was stopped.

    Args:
        journal: file of the study, which optuna's own tools read too.
        candidates: values by option.
        rungs: see :func:`plan_rungs`.
        evaluate: trains a candidate, by number, to a share of the training.
        identity: all that decides the values, as JSON has it.

    Returns:
        A row per candidate: ``status`` (``"finished"``, ``"pruned"``, ``"failed"``), ``values`` (one per rung that it
        reached), ``value`` (the last) and ``problem``.

    Raises:
        ConfigurationError: the journal is of a search of other options or data.
    """
    import optuna
    from optuna.trial import TrialState

    study = _open_study(Path(journal), identity, candidates)
    alive = list(range(len(candidates)))
    for step, rung in enumerate(rungs):
        values: dict[int, float] = {}
        for number in alive:
            trial = study.trials[number]
            if trial.state == TrialState.FAIL:
                continue
            if step not in trial.intermediate_values:
                outcome = evaluate(number, candidates[number], rung.share)
                running = optuna.trial.Trial(study, trial._trial_id)  # the way to a trial of an earlier process
                if outcome.value is None:
                    running.set_user_attr("problem", outcome.problem)
                    study.tell(number, state=TrialState.FAIL)
                    continue
                running.report(outcome.value, step)
                values[number] = outcome.value
            else:
                values[number] = trial.intermediate_values[step]
        # Of equal ones the first, which is nearer to the recipe.
        ranked = sorted(values, key=lambda number: (-values[number], number))
        alive = sorted(ranked[: rung.kept])
        for number in ranked[rung.kept :]:
            study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
    for number in alive:
        study.tell(number, values[number], skip_if_finished=True)
    return [_row(trial) for trial in study.trials]


def _open_study(journal: Path, identity: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> optuna.Study:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _mend(journal)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(study_name="tune", storage=storage, direction="maximize", load_if_exists=True)
    plain = json.loads(json.dumps({**identity, "candidates": list(candidates)}))
    before = study.user_attrs.get("identity")
    if before is None:
        study.set_user_attr("identity", plain)
    elif before != plain:
        other = sorted(name for name in before.keys() | plain.keys() if before.get(name) != plain.get(name))
        raise ConfigurationError(
            f"{journal} is of a search with other {', '.join(other)}; give the same options to go on with it, or "
            "another --output_dir."
        )
    choices = {
        name: list(dict.fromkeys(_scalar(params[name]) for params in candidates)) for name in next(iter(candidates))
    }
    space: dict[str, BaseDistribution] = {name: CategoricalDistribution(values) for name, values in choices.items()}
    for params in candidates[len(study.trials) :]:
        study.enqueue_trial({name: _scalar(value) for name, value in params.items()})
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.WAITING:
            study.ask(space)
    return study


def _mend(journal: Path) -> None:
    """Take away what a kill in the middle of writing left: half a line, a lock."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.exists():
        content = journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            journal.write_bytes(whole)


def _scalar(value: Any) -> Any:
    """A value as optuna stores it."""
    return value if value is None or isinstance(value, str | int | float | bool) else json.dumps(value)


def _row(trial: Any) -> dict[str, Any]:
    status = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
    values = [value for _, value in sorted(trial.intermediate_values.items())]
    value = values[-1] if values and status != "failed" else None
    return {"status": status, "values": values, "value": value, "problem": trial.user_attrs.get("problem", "")}
