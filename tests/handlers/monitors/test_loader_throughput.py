# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest
import torch
from ignite.engine import Engine

from monai_cxrssl.handlers import LoaderThroughput, RunHistory


class Loader:
    """Batches that take their time, the first one of an epoch most."""

    def __init__(self, seconds: float, first: float = 0.0, count: int = 5) -> None:
        self.seconds, self.first, self.count = seconds, first, count

    def __len__(self):
        return self.count

    def __iter__(self):
        for number in range(self.count):
            time.sleep(self.first if number == 0 else self.seconds)
            yield {"image": torch.zeros(2, 1)}


def run(loader, step: float, epochs: int = 2, **options):
    def compute(engine, batch):
        time.sleep(step)
        return [{"loss": torch.tensor(1.0)}]

    engine = Engine(compute)
    history = RunHistory(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))
    for handler in (LoaderThroughput(**options), history):
        handler.attach(engine)
    engine.run(loader, max_epochs=epochs)
    return history.rows


@pytest.mark.parametrize(
    ("options", "advice"), [({}, "monai_cxrssl cache"), ({"cached": True}, "epoch 1: raise --num_workers")]
)
def test_a_starving_device_is_told_once(caplog, options, advice):
    rows = run(Loader(seconds=0.05), step=0.005, **options)
    # Four waits of 50 ms; between them and after them five steps of 5 ms.
    assert all(0.4 < row["loader_wait"] < 0.95 for row in rows)
    told = [record.getMessage() for record in caplog.records if "waited" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith(
        f"The device waited {100 * rows[0]['loader_wait']:.0f} % of the time for images in epoch 1"
    )
    assert advice in told[0]


@pytest.mark.parametrize(
    ("loader", "step"),
    [(Loader(seconds=0.0), 0.01), (Loader(seconds=0.0, first=0.3), 0.01)],
    ids=["fast", "slow start"],
)
def test_a_busy_device_is_not(caplog, loader, step):
    rows = run(loader, step, threshold=0.5)
    assert all(row["loader_wait"] < 0.5 for row in rows)
    assert "waited" not in caplog.text


def test_one_batch_per_epoch_gives_no_share(caplog):
    rows = run(Loader(seconds=0.0, count=1), step=0.0)
    assert all("loader_wait" not in row for row in rows)


def test_times_of_a_gpu_are_those_of_its_queue(monkeypatch):
    """A stand-in for a GPU that still computes while the processor waits for the loader: it does not starve."""

    class Mark:
        clock = 0.0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            self.at = Mark.clock

        def elapsed_time(self, end):
            return end.at - self.at

        def synchronize(self):
            pass

    monkeypatch.setattr(torch.cuda, "Event", Mark)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)

    def compute(engine, batch):
        Mark.clock += 1000.0
        return [{"loss": torch.tensor(1.0)}]

    engine = Engine(compute)
    engine.state.device = torch.device("cuda")
    LoaderThroughput().attach(engine)
    engine.run(Loader(seconds=0.01), max_epochs=1)
    assert engine.state.metrics["loader_wait"] == 0.0
