# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from torch.nn.parallel import DistributedDataParallel

from monai_cxrssl.checkpoints import RunCheckpoint
from monai_cxrssl.engines import MultiTaskPredictor, MultiTaskTrainer
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import BestCheckpoint, RunHistory, StopOnInvalidLoss, Validation
from monai_cxrssl.methods import FineTuningMethod
from monai_cxrssl.optim import layer_decay_groups
from tests.engines.small_multi_task import PlainLoss, SmallMultiTask, batches


def method(**options) -> FineTuningMethod:
    return FineTuningMethod(SmallMultiTask(), PlainLoss(), **options)


def trainer(method, data, epochs=2, optimizer=None, **options) -> MultiTaskTrainer:
    bare = getattr(method, "module", method)
    optimizer = optimizer or torch.optim.AdamW(bare.parameters(), lr=0.01, weight_decay=0.1)
    return MultiTaskTrainer("cpu", epochs, data, method, optimizer, **{"amp": False, "channels_last": False, **options})


def copied(module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}


def assert_equal(found, expected) -> None:
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_trains_as_a_plain_loop_does():
    data, ours = batches(3), method()
    theirs, loss = SmallMultiTask(), PlainLoss()
    torch.manual_seed(1)
    trainer(ours, data, optimizer=torch.optim.SGD(ours.parameters(), lr=0.1)).run()
    torch.manual_seed(1)
    optimizer = torch.optim.SGD([*theirs.parameters(), *loss.parameters()], lr=0.1)
    theirs.train()
    for _ in range(2):
        for batch in data:
            optimizer.zero_grad()
            loss(theirs(batch["image"]), batch)["loss"].backward()
            optimizer.step()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.network.state_dict()[name], value, msg=name)
    torch.testing.assert_close(ours.loss_function.log_variance, loss.log_variance)
    assert not torch.equal(loss.log_variance, torch.zeros(2))


def test_output_holds_the_parts_without_a_graph():
    run = trainer(method(), batches(1), epochs=1)
    run.run()
    (output,) = run.state.output
    assert set(output) == {"loss", "label_loss", "mask_loss", "label_logits", "mask_logits"}
    assert output["label_logits"].shape == (6, 3)
    assert output["mask_logits"].shape == (6, 1, 8, 8)
    assert not any(value.requires_grad for value in output.values())


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("average", [None, 0.9])
def test_a_linear_probe_leaves_the_encoder_bit_identical(channels_last, average):
    probed = method(linear_probe=True, average_momentum=average)
    before = copied(probed.encoder)
    heads = copied(probed.network.label_head)
    run = trainer(probed, batches(3), epochs=3, accumulation_steps=2, channels_last=channels_last, clip_grad_norm=1.0)
    run.run()
    assert "1.num_batches_tracked" in before
    assert_equal(probed.encoder.state_dict(), before)
    assert_equal(probed.evaluated_network.encoder.state_dict(), before)
    assert not torch.equal(probed.network.label_head.weight, heads["weight"])


def test_a_frozen_start_then_everything_learns():
    ours = method()
    before = copied(ours.encoder)
    heads = copied(ours.network.label_head)
    states = []
    run = trainer(ours, batches(2), epochs=3, frozen_iterations=3)
    run.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append(copied(ours.encoder)))
    run.add_event_handler(
        Events.ITERATION_COMPLETED(once=3), lambda: states.append(copied(ours.network.label_head))
    )  # fmt: skip
    run.run()
    learnt = states.pop(3)
    assert not torch.equal(learnt["weight"], heads["weight"])
    # Statistics of batch normalisation are among them: the encoder was in evaluation mode.
    assert any("running_mean" in name for name in before)
    for state in states[:3]:
        assert_equal(state, before)
    for name, value in before.items():
        assert not torch.equal(states[3][name], value), name


@pytest.fixture
def one_process_group(free_port):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{free_port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("options", [{"linear_probe": True}, {}])
def test_freezing_under_a_data_parallel_wrapper_equals_one_process(one_process_group, options):
    alone, wrapped = method(**options), method(**options)
    frozen = 0 if options else 3
    # No image of the second batch has a mask, no image of the third a label: every weight is waited for all the same.
    data = batches(3)
    data[1]["has_mask"][:] = False
    data[2]["label"][:] = -1
    for one, run in ((alone, alone), (wrapped, DistributedDataParallel(wrapped))):
        torch.manual_seed(3)
        trainer(run, data, epochs=2, frozen_iterations=frozen).run()
        assert one.steps == 6
    assert_equal(copied(wrapped), copied(alone))


@pytest.mark.parametrize("lacking", ["label", "mask"])
def test_what_a_sample_lacks_gets_no_gradient_from_it(lacking):
    """End to end: the gradient of a head is the same without the samples that it cannot learn from, and 0 with none."""
    batch = batches(1)[0]
    ours = method().eval()
    head = ours.network.label_head if lacking == "label" else ours.network.decoder
    known = batch["label"] >= 0 if lacking == "label" else batch["has_mask"]

    def gradient(batch):
        ours.zero_grad()
        ours(batch)["loss"].backward()
        return head.weight.grad.clone()

    altered = {**batch, "image": batch["image"].clone()}
    altered["image"][~known] = torch.rand_like(altered["image"][~known])
    assert torch.equal(gradient(altered), gradient(batch))
    assert gradient(batch).abs().max() > 0
    none = {**batch, "label": torch.full((6,), -1)} if lacking == "label" else {**batch, "has_mask": known & False}
    assert torch.equal(gradient(none), torch.zeros_like(head.weight))


def test_the_average_of_the_weights():
    ours = method(average_momentum=0.3)
    expected = {name: value.double() for name, value in copied(ours.network).items() if value.is_floating_point()}
    run = trainer(ours, batches(5), epochs=1, accumulation_steps=2)
    seen = []
    after = ours.after_step

    def follow(progress):
        momentum = min(0.3, (1 + len(seen)) / (10 + len(seen)))
        seen.append(momentum)
        for name, value in copied(ours.network).items():
            if name in expected:
                expected[name] = momentum * expected[name] + (1 - momentum) * value.double()
        after(progress)

    ours.after_step = follow
    run.run()
    assert seen == [0.1, 2 / 11, 0.25]
    for name, value in expected.items():
        torch.testing.assert_close(ours.evaluated_network.state_dict()[name].double(), value, rtol=1e-5, atol=1e-6)
    assert not ours.evaluated_network.training
    assert method().evaluated_network is not None


def test_layer_decay():
    network, loss = SmallMultiTask(), PlainLoss()
    groups = layer_decay_groups(network, 1e-3, 0.05, 0.5, loss)
    rate = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(rate) == sum(len(group["params"]) for group in groups) == 9
    assert groups[0]["lr"] == 1e-3
    for module, lr in ((network.encoder[0], 2.5e-4), (network.encoder[1], 5e-4), (network.label_head, 1e-3)):
        decay = 0.0 if module is network.encoder[1] else 0.05
        assert rate[id(module.weight)] == (pytest.approx(lr), decay)
        assert rate[id(module.bias)] == (pytest.approx(lr), 0.0)
    assert rate[id(loss.log_variance)] == (1e-3, 0.0)
    network.encoder.requires_grad_(False)
    assert [group["lr"] for group in layer_decay_groups(network, 1e-3, 0.05, 0.5)] == [1e-3, 1e-3]


@pytest.mark.parametrize("fault", ["decay", "missing", "nothing"])
def test_faulty_layer_groups(fault):
    network = SmallMultiTask()
    if fault == "missing":
        network.layer_groups = lambda: [("all", dict(network.encoder.named_parameters()))]
    if fault == "nothing":
        network.requires_grad_(False)
    words = {"decay": r"in \(0, 1\]", "missing": "every parameter that learns once", "nothing": "nothing to train"}
    with pytest.raises(ConfigurationError, match=words[fault]):
        layer_decay_groups(network, 1e-3, decay=0.0 if fault == "decay" else 1.0)


def test_bad_options_are_one_sentence():
    with pytest.raises(ConfigurationError, match="frozen_iterations"):
        trainer(method(), batches(1), frozen_iterations=-1)
    with pytest.raises(ConfigurationError, match=r"multiple of accumulation_steps \(2\), got 5"):
        trainer(method(), batches(1), max_iterations=5, accumulation_steps=2)
    with pytest.raises(ConfigurationError, match="has no encoder"):
        FineTuningMethod(torch.nn.Linear(1, 1), PlainLoss())


def build(folder, epochs, resume=False, patience=None, metric="val_macro_auc", every=2, max_iterations=None):
    """A complete small run with its state in a folder."""
    ours = method(average_momentum=0.9)
    groups = layer_decay_groups(ours.network, 0.05, 0.01, 0.8, ours.loss_function)
    optimizer = torch.optim.AdamW(groups)
    history = RunHistory(optimizer)
    evaluator = MultiTaskPredictor("cpu", batches(2, seed=9), ours.evaluated_network, classes=list("abc"), amp=False)
    validation = Validation(evaluator, every=every)
    best = BestCheckpoint(validation, ours.evaluated_network, folder / "best.pt", metric, patience)
    parts = {"method": ours, "optimizer": optimizer, "history": history, "validation": validation, "best": best}
    checkpoint = RunCheckpoint(folder / "checkpoints", parts, every_epochs=1, resume=resume)
    handlers = [StopOnInvalidLoss(), validation, history, best, checkpoint]
    torch.manual_seed(7)  # dropout; a checkpoint takes over from here
    options = {"frozen_iterations": 2, "max_iterations": max_iterations, "train_handlers": handlers}
    run = trainer(ours, batches(2), epochs, optimizer, **options)
    return run, ours, validation, best, history


def _kill() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [10, 9])
def test_a_resumed_run_ends_bit_equal(tmp_path, steps):
    """Also where the number of steps ends it within an epoch."""
    whole, ours, validation, best, _ = build(tmp_path / "whole", 5, max_iterations=steps)
    whole.run()
    killed = build(tmp_path / "parts", 5, max_iterations=steps)[0]
    killed.add_event_handler(Events.EPOCH_STARTED(once=4), _kill)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    resumed, theirs, again, kept, history = build(tmp_path / "parts", 5, resume="auto", max_iterations=steps)
    assert resumed.state.epoch == 3
    resumed.run()
    assert_equal(copied(theirs), copied(ours))
    assert theirs.steps == ours.steps == resumed.state.iteration == resumed.total_iterations == steps
    assert again.rows == validation.rows
    assert [row["epoch"] for row in validation.rows] == [2, 4, 5]
    assert kept.state_dict() == best.state_dict()
    assert ["val_macro_auc" in row for row in history.rows] == [False, True, False, True, True]


def test_the_best_weights_are_those_that_were_evaluated(tmp_path):
    run, _, validation, best, _ = build(tmp_path, 3, metric="val_dice", every=1)
    run.run()
    values = [row["val_dice"] for row in validation.rows]
    assert best.best == max(values)
    kept = torch.load(tmp_path / "best.pt", weights_only=True)
    twin = SmallMultiTask()
    twin.load_state_dict(kept)
    evaluator = MultiTaskPredictor("cpu", batches(2, seed=9), twin, classes=list("abc"), amp=False)
    evaluator.run()
    assert evaluator.state.metrics["dice"] == pytest.approx(best.best, abs=1e-6)


def test_early_stop_and_stays_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(BestCheckpoint, "_is_better", lambda self, value: self.best is None)
    run, _, _, best, _ = build(tmp_path, 50, patience=2, every=1)
    run.run()
    assert run.state.epoch == 3
    assert (best.best_epoch, best.waited) == (1, 2)
    again, ours, *_ = build(tmp_path, 50, resume="auto", patience=2, every=1)
    before = copied(ours)
    again.run()
    assert again.state.epoch == 3
    assert_equal(copied(ours), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "test_dice"}, "choose a figure of the validation split"),
        ({"patience": 0}, "patience is 0"),
        ({"every": 0}, "every is 0"),
    ],
)
def test_bad_choices_of_the_best(tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message):
        build(tmp_path, 1, **options)


def test_a_metric_that_validation_does_not_give(tmp_path):
    run, *_ = build(tmp_path, 1, metric="val_auc_d")
    with pytest.raises(ConfigurationError, match=r"'val_auc_d', but validation gave val_auc_a, val_auc_b"):
        run.run()


def test_a_run_that_ends_within_an_epoch_is_complete(tmp_path):
    losses: list[float] = []
    run, _, validation, _, history = build(tmp_path, 5, every=1, max_iterations=7)
    run.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    run.run()
    assert [row["epoch"] for row in validation.rows] == [1, 2, 3, 4]
    assert history.rows[-1]["loss"] == pytest.approx(losses[6], rel=1e-12)
    assert history.rows[0]["loss"] == pytest.approx((losses[0] + losses[1]) / 2, rel=1e-6)


def test_the_average_of_the_weights_is_exact():
    """Against float64: ``m a + (1 - m) w`` after each step, with m ``min(0.9, (1 + t) / (10 + t))``."""
    ours = method(average_momentum=0.9)
    values = [{name: value.double() for name, value in copied(ours.network).items()}]
    run = trainer(ours, batches(3), epochs=4)
    run.add_event_handler(Events.ITERATION_COMPLETED, lambda: values.append(copied(ours.network)))
    run.run()
    average = values[0]
    for step, after in enumerate(values[1:]):
        momentum = min(0.9, (1 + step) / (10 + step))
        average = {name: momentum * average[name] + (1 - momentum) * after[name].double() for name in average}
    for name, value in ours.evaluated_network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[name], rtol=1e-5, atol=1e-7, msg=name)


def test_heads_may_learn_faster_than_the_encoder():
    network = SmallMultiTask()
    groups = layer_decay_groups(network, 1e-3, decay=0.5, head_factor=3.0)
    rates = {id(value): group["lr"] for group in groups for value in group["params"]}
    layers = network.layer_groups()
    for depth, (_, members) in enumerate(reversed(layers)):
        for value in members.values():
            assert rates[id(value)] == pytest.approx(3e-3 if depth == 0 else 1e-3 * 0.5**depth)
