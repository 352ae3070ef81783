# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.hardware import join_processes
from tests.engines.two_processes import METHODS, RUNS, build, gradients, trained


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, repo, warm_python) -> list[dict]:
    """What each of two processes of one job found."""
    folder = tmp_path_factory.mktemp("ranks")
    result = warm_python.run_job(["-m", "tests.engines.two_processes", folder], repo)
    assert result.returncode == 0, result.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_loss_and_gradients_equal_one_process(ranks, name):
    one, two = (rank["gradients"][name] for rank in ranks)
    whole = gradients(build(name), 0, 1)
    assert (one["loss"] + two["loss"]).item() / 2 == pytest.approx(whole["loss"].item(), abs=1e-5)
    assert whole["loss"].item() > 0.1
    assert max(grad.abs().max() for grad in whole["grads"].values()) > 1e-3
    for part in (one, two):
        for key, expected in whole["grads"].items():
            torch.testing.assert_close(part["grads"][key], expected, rtol=1e-5, atol=1e-5, msg=key)


@pytest.mark.slow
def test_all_processes_hold_the_queue_of_one_process(ranks):
    whole = gradients(build("moco"), 0, 1)["state"]
    for rank in ranks:
        state = rank["gradients"]["moco"]["state"]
        torch.testing.assert_close(state["queue"], whole["queue"])
        assert torch.equal(state["queue_patient"], whole["queue_patient"])


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_two_agents_train_to_the_weights_of_one_process(ranks, run):
    name, _, accumulation = run
    expected = trained(build(name), 0, 1, None, accumulation)
    for key, value in ranks[0]["runs"][run].items():
        if key != "_extra_state":  # one process shuffles nothing and draws nothing
            assert torch.equal(value, ranks[1]["runs"][run][key]), key
            torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-5, msg=key)


def test_a_process_without_torchrun_is_told_so(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="lacks RANK, WORLD_SIZE"):
        join_processes("cpu")
