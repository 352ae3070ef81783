# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.utils import set_determinism

from monai_cxrssl.engines import find_learning_rate
from tests.reliability.tiny_run import tiny_run


def losses_of(trainer) -> list[float]:
    losses: list[float] = []
    set_determinism(seed=0)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["loss"].item())
    )
    trainer.run()
    set_determinism(seed=None)
    return losses


def state_of(trainer) -> dict[str, torch.Tensor]:
    state = trainer.unwrapped_method.state_dict()
    return {name: value.clone() for name, value in state.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_after_the_test_is_the_run_without_it(tmp_path, steps):
    """Whose optimiser has a schedule: MONAI's class alone refuses it."""
    plain = tiny_run(tmp_path / "plain", accumulation_steps=steps)
    tested = tiny_run(tmp_path / "tested", accumulation_steps=steps)
    before, drawn = state_of(tested), torch.get_rng_state()
    groups = [
        {name: value for name, value in group.items() if name != "params"} for group in tested.optimizer.param_groups
    ]
    finder = find_learning_rate(tested, start_lr=1e-5, end_lr=10.0, num_iter=12, verbose=False)
    rates = finder.history["lr"]
    assert (rates[0], len(rates)) == (pytest.approx(1e-5), len(finder.history["loss"]))
    assert np.allclose(np.diff(np.log(rates)), np.log(1e6) / 11)
    assert finder.get_steepest_gradient()[0] in rates
    assert all(torch.equal(value, before[name]) for name, value in state_of(tested).items())
    assert [{k: v for k, v in group.items() if k != "params"} for group in tested.optimizer.param_groups] == groups
    assert torch.equal(torch.get_rng_state(), drawn)
    assert losses_of(tested) == losses_of(plain)


@pytest.mark.parametrize("name", ["moco", "classification"])
def test_on_the_trainer_of_a_bundle(repo, few_films, tmp_path, name):
    parser = ConfigParser()
    parser.read_config(repo / f"bundles/{name}/configs/train.json")
    parser.update(
        {
            "bundle_root": str(repo / "bundles" / name), "dataset_dir": str(few_films), "output_dir": str(tmp_path),
            "recipe": "short", "encoder_name": "resnet18", "image_size": 32, "batch_size": 8, "num_workers": 0,
            "device": torch.device("cpu"), "amp": False,
        }
    )  # fmt: skip
    trainer = parser.get_parsed_content("train#trainer")
    before = state_of(trainer)
    finder = find_learning_rate(trainer, start_lr=1e-5, end_lr=0.1, num_iter=4, verbose=False)
    assert len(finder.history["loss"]) == len(finder.history["lr"]) > 1
    assert all(np.isfinite(finder.history["loss"]))
    assert all(torch.equal(value, before[key]) for key, value in state_of(trainer).items())
