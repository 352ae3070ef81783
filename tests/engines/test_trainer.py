# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from monai.handlers import MLFlowHandler, StatsHandler, TensorBoardStatsHandler, from_engine
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_cxrssl.checkpoints import RunCheckpoint
from monai_cxrssl.engines import MethodTrainer, prepare_views
from monai_cxrssl.errors import ConfigurationError, TrainingError
from monai_cxrssl.handlers import CollapseMonitor, RunHistory, StopOnInvalidLoss
from monai_cxrssl.methods import MICLe, SimCLR
from monai_cxrssl.networks import Encoder


def batches(count: int, size: int = 6, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.randint(0, 256, (size, 2, 1, 32, 32), generator=generator, dtype=torch.uint8),
            "patient": torch.arange(size) // 2,
            "index": torch.arange(size) + 100 * number,
        }
        for number in range(count)
    ]


def micle(seed: int = 0) -> MICLe:
    torch.manual_seed(seed)
    return MICLe(Encoder("resnet18"))


class Affine(torch.nn.Module):
    """A stand-in method whose gradient is known: the mean of the batch times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Linear(1, 1)
        self.weight = torch.nn.Parameter(torch.tensor(2.0))
        self.updates = 0

    def forward(self, batch):
        mean = batch["image"].mean()
        return {"loss": self.weight * mean, "embedding": batch["image"].flatten(1)[:, :4]}

    def after_step(self, progress: float) -> None:
        self.updates += 1
        self.progress = progress


def test_trains_as_a_plain_loop_does():
    data, ours, theirs = batches(3), micle(), micle()
    trainer = MethodTrainer(
        "cpu", 2, data, ours, torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9), amp=False, channels_last=False
    )
    trainer.run()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    theirs.train()
    for _ in range(2):
        for batch in data:
            optimizer.zero_grad()
            theirs({**batch, "image": batch["image"].float() / 255})["loss"].backward()
            optimizer.step()
    for (name, value), expected in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, msg=name)


@pytest.mark.parametrize(("count", "accumulation", "steps"), [(4, 1, 4), (4, 2, 2), (5, 2, 3), (3, 8, 1)])
def test_accumulation_averages_and_completes_the_last_group(count, accumulation, steps):
    data, method = batches(count), Affine()
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0)
    MethodTrainer(
        "cpu", 1, data, method, optimizer, accumulation_steps=accumulation, amp=False, channels_last=False
    ).run()
    means = [batch["image"].double().mean().item() / 255 for batch in data]
    expected = 2.0
    for start in range(0, count, accumulation):
        group = means[start : start + accumulation]
        expected -= sum(group) / len(group)
    assert method.updates == steps
    assert method.progress == 1.0
    assert method.weight.item() == pytest.approx(expected, abs=1e-5)


def test_gradient_clipping():
    data, method = batches(1), Affine()
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0)
    MethodTrainer("cpu", 1, data, method, optimizer, amp=False, channels_last=False, clip_grad_norm=0.01).run()
    assert method.weight.item() == pytest.approx(2.0 - 0.01, abs=1e-4)


def test_events_fire_in_monais_order():
    seen = []
    method = micle()
    trainer = MethodTrainer("cpu", 1, batches(1), method, torch.optim.SGD(method.parameters(), lr=0.1), amp=False)
    for event in (
        Events.ITERATION_STARTED,
        IterationEvents.FORWARD_COMPLETED,
        IterationEvents.LOSS_COMPLETED,
        IterationEvents.BACKWARD_COMPLETED,
        IterationEvents.MODEL_COMPLETED,
        Events.ITERATION_COMPLETED,
    ):
        trainer.add_event_handler(event, lambda engine, name: seen.append(name), event.name)
    trainer.run()
    assert seen == [
        "ITERATION_STARTED",
        "FORWARD_COMPLETED",
        "LOSS_COMPLETED",
        "BACKWARD_COMPLETED",
        "MODEL_COMPLETED",
        "ITERATION_COMPLETED",
    ]
    assert not trainer.state.output[0]["loss"].requires_grad


def test_sampler_is_told_the_epoch():
    class Sampler(torch.utils.data.Sampler):
        told: list[int] = []

        def set_epoch(self, epoch):
            self.told.append(epoch)

        def __iter__(self):
            return iter(range(4))

        def __len__(self):
            return 4

    loader = torch.utils.data.DataLoader(batches(1, size=4)[0]["image"], sampler=Sampler(), batch_size=2)

    class Wrapped(list):
        sampler = loader.sampler

    method = Affine()
    data = Wrapped({"image": image} for image in loader)
    MethodTrainer("cpu", 3, data, method, torch.optim.SGD(method.parameters(), lr=0.1), amp=False).run()
    assert Sampler.told == [0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_prepare_views(dtype):
    image = torch.full((2, 2, 1, 4, 4), 255 if dtype is torch.uint8 else 1, dtype=dtype)
    batch = prepare_views({"image": image, "patient": torch.tensor([1, 2]), "name": ["a", "b"]}, "cpu")
    assert batch["image"].dtype is torch.float32
    assert batch["image"].max() == 1
    assert batch["name"] == ["a", "b"]


def test_invalid_loss_stops_before_the_weights_change():
    data, method = batches(3), micle()
    data[1]["image"] = torch.full(data[1]["image"].shape, float("nan"))
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    trainer = MethodTrainer("cpu", 1, data, method, optimizer, amp=False, train_handlers=[StopOnInvalidLoss()])
    with pytest.raises(TrainingError, match=r"epoch 1, iteration 2.*samples \[100, 101"):
        trainer.run()
    assert all(torch.isfinite(value).all() for name, value in method.named_parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_epochs": 0}, "max_epochs"), ({"accumulation_steps": 0}, "accumulation_steps"), ({"amp": "fp8"}, "--amp"),
     ({"amp": "fp16"}, "needs a GPU"), ({"train_data_loader": []}, "no batch")],
)  # fmt: skip
def test_bad_options_are_one_sentence(options, message):
    method = Affine()
    settings = {"device": "cpu", "max_epochs": 1, "train_data_loader": batches(1), "method": method}
    settings |= {"optimizer": torch.optim.SGD(method.parameters(), lr=0.1), **options}
    with pytest.raises(ConfigurationError, match=message):
        MethodTrainer(**settings)


def build(folder, epochs, resume=False):
    """A complete small run with its state in a folder."""
    method = micle()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
    history = RunHistory(optimizer, {"simclr": 1, "micle": 3})
    parts = {"method": method, "optimizer": optimizer, "history": history}
    checkpoint = RunCheckpoint(folder, parts, every_epochs=1, resume=resume)
    handlers = [CollapseMonitor(), history, checkpoint]
    return MethodTrainer("cpu", epochs, batches(2), method, optimizer, amp=False, train_handlers=handlers), history


@pytest.mark.parametrize("handler", ["stats", "tensorboard", "mlflow"])
def test_monai_s_stock_handlers_take_the_output(tmp_path, handler, capfd):
    """As MONAI's own settings of experiment tracking configure them."""
    output_transform = from_engine(["loss"], first=True)
    options = {"tag_name": "train_loss", "output_transform": output_transform}
    losses = []
    if handler == "stats":
        stock = StatsHandler(**options, name="stats_of_the_test")
    elif handler == "tensorboard":
        stock = TensorBoardStatsHandler(log_dir=str(tmp_path), **options)
    else:
        mlflow = pytest.importorskip("mlflow")
        uri = f"sqlite:///{tmp_path}/mlruns.db"
        stock = MLFlowHandler(tracking_uri=uri, **options, close_on_complete=True)
    method = micle()
    trainer = MethodTrainer(
        "cpu", 2, batches(2), method, torch.optim.SGD(method.parameters(), lr=0.1), amp=False, train_handlers=[stock]
    )
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(output_transform(engine.state.output).item())
    )
    trainer.run()
    assert len(losses) == 4
    if handler == "stats":
        assert re.findall(r"train_loss: ([\d.]+)", capfd.readouterr().out) == [f"{loss:.4f}" for loss in losses]
    elif handler == "tensorboard":
        stock.close()
        board = EventAccumulator(str(tmp_path))
        board.Reload()
        assert [point.value for point in board.Scalars("train_loss")] == pytest.approx(losses)
    else:
        client = mlflow.MlflowClient(uri)
        (run,) = client.search_runs([client.get_experiment_by_name("monai_experiment").experiment_id])
        points = client.get_metric_history(run.info.run_id, "train_loss")
        assert [(point.step, point.value) for point in points] == [(n + 1, loss) for n, loss in enumerate(losses)]
        assert run.info.status == "FINISHED"


def test_resumed_run_ends_bit_equal(tmp_path):
    whole, _ = build(tmp_path / "whole", 4)
    whole.run()
    first, _ = build(tmp_path / "parts", 2)
    first.run()
    second, history = build(tmp_path / "parts", 4, resume="auto")
    assert second.state.epoch == 2
    second.run()
    for (name, value), expected in zip(
        second.method.state_dict().items(), whole.method.state_dict().values(), strict=True
    ):
        assert torch.equal(value, expected), name
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4]
    assert [row["stage"] for row in history.rows] == ["simclr", "micle", "micle", "micle"]


def test_finished_run_only_finishes(tmp_path):
    build(tmp_path, 2)[0].run()
    again, history = build(tmp_path, 2, resume="auto")
    before = {name: value.clone() for name, value in again.method.state_dict().items()}
    completed = []
    again.add_event_handler(Events.COMPLETED, lambda engine: completed.append(engine.state.epoch))
    again.run()
    assert completed == [2]
    assert len(history.rows) == 2
    assert all(torch.equal(before[name], value) for name, value in again.method.state_dict().items())


def test_damaged_checkpoint_is_skipped_with_its_cause(tmp_path, caplog):
    build(tmp_path, 2)[0].run()
    newest = tmp_path / "checkpoint_epoch=0002.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer, _ = build(tmp_path, 4, resume="auto")
    assert trainer.state.epoch == 1
    assert "Skipped the checkpoint" in caplog.text
    with pytest.raises(ConfigurationError, match="Cannot resume"):
        build(tmp_path, 4, resume=str(newest))


def test_resuming_another_run_is_refused(tmp_path):
    build(tmp_path, 1)[0].run()
    method = Affine()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
    checkpoint = RunCheckpoint(tmp_path, {"method": method, "optimizer": optimizer}, resume="auto")
    with pytest.raises(ConfigurationError, match="does not fit this run"):
        MethodTrainer("cpu", 3, batches(2), method, optimizer, amp=False, train_handlers=[checkpoint])
    with pytest.raises(ConfigurationError, match="iterations per epoch"):
        MethodTrainer("cpu", 3, batches(3), method, optimizer, amp=False, train_handlers=[checkpoint])


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    build(tmp_path, 4)[0].run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_epoch=0003.pt", "checkpoint_epoch=0004.pt"]


def test_a_new_run_does_not_go_on_from_an_older_one(tmp_path):
    """The older run's checkpoints, of later epochs, are set aside: --resume auto must find this run's own."""
    build(tmp_path, 4)[0].run()
    first, _ = build(tmp_path, 1)
    first.run()
    again, _ = build(tmp_path, 4, resume="auto")
    assert again.state.epoch == 1
    assert len(list(tmp_path.glob("*.pt.replaced"))) == 2


def test_an_early_stop_saves_its_last_epoch(tmp_path):
    trainer, _ = build(tmp_path, 8)
    trainer._event_handlers[Events.EPOCH_COMPLETED].clear()
    checkpoint = RunCheckpoint(tmp_path, {"method": trainer.method})
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda engine: engine.terminate())
    checkpoint.attach(trainer)
    trainer.run()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_epoch=0002.pt"]


def test_same_images_of_one_patient_are_no_negatives():
    """With one patient only, MICLe's loss is 0 and SimCLR without the mask has a loss."""
    batch = prepare_views(batches(1)[0])
    batch["patient"] = torch.zeros(6, dtype=torch.long)
    torch.manual_seed(0)
    encoder = Encoder("resnet18")
    assert MICLe(encoder)(batch)["loss"].item() == 0
    assert SimCLR(encoder, mask_same_patient=False)(batch)["loss"].item() > 0.5


def test_micle_needs_patients():
    batch = prepare_views(batches(1)[0])
    del batch["patient"]
    with pytest.raises(ConfigurationError, match="patient of every pair"):
        micle()(batch)
