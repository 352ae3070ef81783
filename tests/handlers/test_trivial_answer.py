# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The loss of a trivial answer beside the loss: in the rows, the log, the curves and ``metrics.json``."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from ignite.engine import Engine

from monai_cxrssl.handlers import CurvesPlot, PretrainingSummary, RunHistory
from monai_cxrssl.handlers.trivial_answer import trivial_warnings
from monai_cxrssl.networks import Encoder


def run(folder, trivial: float | None, reconstruction: float | None = None, loss: float = 0.2):
    values = {"loss": loss, "trivial_loss": trivial, "reconstruction_loss": reconstruction}
    output = [{name: torch.tensor(value) for name, value in values.items() if value is not None}]
    engine = Engine(lambda engine, batch: output)
    history = RunHistory(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), {"spcxr": 2})
    data = {"images": 4, "patients": 4, "multi_image_bags": 0}
    summary = PretrainingSummary(Encoder("resnet18"), history, folder, folder / "bundle" / "model.pt", data)
    for handler in (history, CurvesPlot(history, folder / "curves.png"), summary):
        handler.attach(engine)
    engine.run([{"image": torch.zeros(4, 2)}] * 3, max_epochs=2)
    return history, json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("trivial", "reconstruction", "loss", "told"),
    [(0.3, None, 0.2, False), (0.2, None, 0.2, True), (0.126, 0.1, 4.0, False), (0.126, 0.131, 0.0, True)],
)
def test_where_it_stands_and_when_it_is_told(tmp_path, caplog, trivial, reconstruction, loss, told):
    caplog.set_level(logging.INFO)
    history, figures = run(tmp_path, trivial, reconstruction, loss)
    for name, value in (("trivial_loss", trivial), ("reconstruction_loss", reconstruction)):
        for key in (name, f"spcxr_{name}"):
            assert figures.get(key) == (None if value is None else pytest.approx(value))
    assert f"trivial {trivial:.4f}," in caplog.text
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in warnings if "trivial answer" in text] == trivial_warnings(history.rows)
    assert bool(trivial_warnings(history.rows)) is told


def test_methods_without_one_say_nothing(tmp_path, caplog):
    history, figures = run(tmp_path, None)
    assert not any("trivial" in name for name in figures)
    assert trivial_warnings(history.rows) == []


def test_the_curve_has_a_line_of_its_own(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    lines = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, *args, **given: lines.append(given.get("label")) or plot(self, *args, **given)
    )
    run(tmp_path, 0.126, 0.1)
    assert {"trivial answer", "reconstruction"} <= set(lines)


def test_every_stage_is_judged_by_its_own_last_epoch():
    rows = [
        {"stage": "a", "loss": 0.1, "trivial_loss": 0.2},
        {"stage": "b", "loss": 0.1, "trivial_loss": 0.2},
        {"stage": "b", "loss": 0.3, "trivial_loss": 0.2},
    ]
    (sentence,) = trivial_warnings(rows)
    assert sentence.startswith("b ended with a loss of 0.3000, not below the 0.2000")
