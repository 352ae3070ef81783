# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Shared stages in runs that truly train: the result is that of each order alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from monai_cxrssl.curricula import Order, Pretraining, run_pretrainings, stage_plan
from monai_cxrssl.engines import MethodTrainer
from tests.curricula.test_orders import options
from tests.runs.test_curriculum import Films, curriculum, stage

#: Figures that are measured times.
TIMES = ("seconds", "images_per_second")


def layout(folder: Path, *orders: str) -> list[Pretraining]:
    made = []
    for text in orders:
        order = Order(tuple(text))
        out = folder / order.folder
        made.append(Pretraining(order, out, (text, str(out)), text, stage_plan(order, options(max_epochs=3))))
    return made


def figures(run: Pretraining) -> dict:
    content = json.loads((run.folder / "metrics.json").read_text())
    return {name: value for name, value in content.items() if name not in TIMES}


@pytest.mark.slow
def test_an_order_that_shares_ends_as_it_would_alone(tmp_path, monkeypatch):
    films, trained = Films(8), []

    def run_command(command, output, lock):
        tasks, folder = command
        stages = [stage(name, films, lr=0.01 * (number + 1)) for number, name in enumerate("abc") if name in tasks]
        stages.sort(key=lambda each: tasks.index(each.name))
        curriculum(Path(folder), stages, films, max_epochs=3, resume="auto").run()
        return 0

    plain = MethodTrainer.run
    monkeypatch.setattr(MethodTrainer, "run", lambda trainer: (trained.append(trainer), plain(trainer))[1])
    monkeypatch.setattr("monai_cxrssl.curricula.pretraining.run_command", run_command)
    runs = layout(tmp_path / "together", "acb", "abc")
    results = run_pretrainings(runs)
    assert [result.shared for result in results] == [0, 1]
    assert len(trained) == 5
    (alone,) = layout(tmp_path / "alone", "abc")
    assert run_pretrainings([alone])[0].shared == 0
    assert len(trained) == 5 + 3
    one, other = (torch.load(run.weights, weights_only=True) for run in (runs[1], alone))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert figures(runs[1]) == figures(alone)
    # Finished ones are left as they are; one whose weights were changed since is trained anew, but for what is shared.
    assert run_pretrainings(runs) == results
    assert len(trained) == 8
    torch.save({**one, "more": torch.ones(1)}, runs[1].weights)
    run_pretrainings(runs)
    assert len(trained) == 8 + 2
    assert figures(runs[1]) == figures(alone)
