# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Events

from monai_cxrssl.engines import MethodTrainer
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import MICLe, MoCo, PretextMethod, SimCLR
from tests.methods.small_encoder import SmallEncoder, views

OPTIONS = {"projection_channels": 4, "projection_layers": 1}


def build(kind, **encoder_options):
    queue = {"queue_length": 20} if kind is MoCo else {}
    return kind(SmallEncoder(**encoder_options), **OPTIONS, **queue)


def train(method, chunk, accumulation=1, scaler=False, amp: bool | str = False):
    data = [{**views(12, seed), "patient": torch.arange(12) // 2 + 6 * seed} for seed in range(4)]
    data[0]["name"] = [str(number) for number in range(12)]
    losses = []
    trainer = MethodTrainer(
        "cpu", 1, data, method, torch.optim.SGD(method.parameters(), lr=0.5), amp=amp, channels_last=False,
        accumulation_steps=accumulation, gradient_cache_chunk=chunk,
    )  # fmt: skip
    if scaler:
        trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["loss"].item())
    )
    trainer.run()
    return losses, method.state_dict()


@pytest.mark.parametrize("kind", [SimCLR, MICLe, MoCo])
@pytest.mark.parametrize(
    ("chunk", "accumulation", "scaler"), [(4, 1, False), (5, 1, True), (12, 2, False), (1, 3, False)]
)
def test_equals_the_large_batch(kind, chunk, accumulation, scaler):
    losses, state = train(build(kind), chunk, accumulation, scaler)
    expected_losses, expected = train(build(kind), None, accumulation)
    assert losses == pytest.approx(expected_losses, abs=1e-5)
    assert len(set(losses)) > 1
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5, msg=name)


def test_dropout_of_the_first_pass_is_replayed():
    """With one chunk the two passes are the large batch's single one, if they drop the same units."""
    torch.manual_seed(1)
    method, whole = build(SimCLR, dropout=0.5), build(SimCLR, dropout=0.5)
    torch.manual_seed(7)
    losses, state = train(method, 12)
    after = torch.get_rng_state()
    torch.manual_seed(7)
    expected_losses, expected = train(whole, None)
    assert losses == pytest.approx(expected_losses, abs=1e-6)
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize(("chunk", "updates"), [(12, 4), (4, 12)])
def test_running_statistics_move_once_per_chunk(chunk, updates):
    method = build(SimCLR, normalisation="batch")
    train(method, chunk)
    norm = method.network.encoder[1]
    assert norm.num_batches_tracked.item() == updates
    assert norm.track_running_stats
    if chunk == 12:
        whole = build(SimCLR, normalisation="batch")
        train(whole, None)
        torch.testing.assert_close(norm.running_var, whole.network.encoder[1].running_var)


def test_bfloat16():
    losses, _ = train(build(SimCLR), 4, amp="bf16")
    expected, _ = train(build(SimCLR), None, amp="bf16")
    assert losses == pytest.approx(expected, rel=2e-2)


class OneByOne(PretextMethod):
    def forward(self, batch):
        return {"loss": self.network(batch["image"][:, 0]).mean(), "embedding": batch["image"].flatten(1)}


@pytest.mark.parametrize(
    ("method", "chunk", "message"), [(OneByOne(SmallEncoder()), 4, "OneByOne is none"), (build(SimCLR), 0, "at least 1, got 0")]
)  # fmt: skip
def test_refuses(method, chunk, message):
    with pytest.raises(ConfigurationError, match=message):
        train(method, chunk)
