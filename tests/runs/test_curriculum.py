# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from ignite.engine import Events
from ignite.handlers import TensorboardLogger
from monai.handlers import MLFlowHandler, from_engine
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from timm.optim import create_optimizer_v2

from monai_cxrssl.engines import MethodTrainer
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import (
    CollapseMonitor,
    OnlineProbe,
    PretrainingSummary,
    RunHistory,
    RunLogger,
    StopOnInvalidLoss,
)
from monai_cxrssl.methods import MICLe, PretextMethod, SimCLR
from monai_cxrssl.networks import Encoder
from monai_cxrssl.runs import Curriculum, PretextStage, divide_epochs, stages_over_data
from monai_cxrssl.transforms import MultiView, ResizeCXR

#: A small one, since each stage of each run writes and reads it many times.
ENCODER = {"encoder_name": "tu-resnet18", "encoder_arguments": {"channels": [8, 8, 16, 16]}}


class Films:
    """Images in memory: bright or dark on the left, two of each patient."""

    def __init__(self, count: int = 24) -> None:
        generator = np.random.default_rng(0)
        self.items, self.films = [], []
        for number in range(count):
            film = generator.integers(0, 120, (48, 40), dtype=np.uint8)
            film[:, :20] += np.uint8(100 * (number // 2 % 2))
            self.films.append(film)
            self.items.append({"image": f"{number}.png", "patient_id": str(number // 2), "label": number // 2 % 2})

    def __len__(self) -> int:
        return len(self.films)

    def image(self, index: int) -> np.ndarray:
        return self.films[index]


class Labelled(torch.utils.data.Dataset):
    def __init__(self, films: Films) -> None:
        self.films, self.resize = films, ResizeCXR(size=32)

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.resize(self.films.image(index)[None])}


def stage(name: str, films: Films, method=SimCLR, **options) -> PretextStage:
    views = MultiView(size=32, return_uint8=True, rotation=10)
    optimizer = partial(create_optimizer_v2, opt="sgd", lr=options.pop("lr", 0.01), momentum=0.9, weight_decay=1e-4)
    return PretextStage(name, method, films, views, optimizer, batch_size=8, **options)


def curriculum(folder, stages, films, **options) -> Curriculum:
    torch.manual_seed(options.pop("init", 3))
    network = Encoder(**ENCODER)
    history = RunHistory(optimizer=None)
    items = films.items
    probe = OnlineProbe(
        network, Labelled(films), [item["label"] for item in items], [item["patient_id"] for item in items],
        ["plain", "bright"], "cpu", amp=False,
    )  # fmt: skip
    summary = PretrainingSummary(
        network, history, folder, folder / "model.pt", {"images": len(films)}, probe=probe,
        settings={**ENCODER, "image_size": 32},
    )  # fmt: skip
    return Curriculum(
        network, stages, options.pop("max_epochs", 5), "cpu", folder, history, probe=probe, summary=summary,
        train_handlers=[StopOnInvalidLoss(), CollapseMonitor(), *options.pop("loggers", [])], amp=False, seed=1,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("total", "shares", "expected"),
    [(3, [1, 1, 1], [1, 1, 1]), (10, [1, 1, 3], [2, 2, 6]), (7, [5, 1], [6, 1]), (4, [1, 100], [1, 3]), (1, [9], [1])],
)
def test_epochs_divide(total, shares, expected):
    assert divide_epochs(total, shares) == expected


def test_too_few_epochs():
    with pytest.raises(ConfigurationError, match="less than one for each of 3 stages"):
        divide_epochs(2, [1, 1, 1])


def test_stages_follow_each_other_and_leave_their_results(tmp_path):
    films = Films()
    run = curriculum(
        tmp_path, [stage("simclr", films, share=2), stage("micle", films, MICLe, multi_instance=True)], films
    )
    run.run()
    first, second = tmp_path / "stages/1_simclr", tmp_path / "stages/2_micle"
    for folder, epochs in ((first, 3), (second, 2)):
        assert json.loads((folder / "metrics.json").read_text())["epochs"] == epochs
        assert (folder / "curves.png").stat().st_size > 1000
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["epochs"] == 5
    assert (figures["simclr_epochs"], figures["micle_epochs"]) == (3, 2)
    assert figures["probe_before"] is not None
    assert sorted(run.probe.results) == [0, 3, 5]
    final = torch.load(tmp_path / "model.pt", weights_only=True)
    last = torch.load(second / "encoder.pt", weights_only=True)
    assert all(torch.equal(final[name], last[name]) for name in final)
    middle = torch.load(first / "encoder.pt", weights_only=True)
    assert any(not torch.equal(final[name], middle[name]) for name in final)


def test_share_of_pairs_of_two_images_is_kept(tmp_path):
    """Of the stage that draws such pairs, also where a resumed run finds it finished."""
    films = Films()
    films.items = [{**item, "patient_id": str(max(n, 12))} for n, item in enumerate(films.items)]  # 13 of one patient
    stages = [
        stage("simclr", films),
        stage("micle", films, MICLe, multi_instance=True, pairs={"multi_image_share": 0.5}),
    ]
    for _ in range(2):
        run = curriculum(tmp_path, stages, films, max_epochs=2, resume="auto")
        run.run()
        figures = json.loads((tmp_path / "metrics.json").read_text())
        assert figures["multi_image_share"] == pytest.approx(0.5, abs=0.1)
    told = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "stages").glob("*/metrics.json")}
    assert told["2_micle"]["multi_image_share"] == figures["multi_image_share"]
    assert "multi_image_share" not in told["1_simclr"]


def test_the_second_stage_starts_from_the_first(tmp_path):
    """With a rate of zero the second stage keeps the first one's parameters."""
    films = Films()
    curriculum(tmp_path, [stage("one", films), stage("two", films, lr=0.0)], films, max_epochs=2).run()
    one, two = (torch.load(tmp_path / f"stages/{name}/encoder.pt", weights_only=True) for name in ("1_one", "2_two"))
    parameters = [name for name, _ in Encoder(**ENCODER).named_parameters()]
    assert all(torch.equal(one[name], two[name]) for name in parameters)


SLOW = partial(pytest.param, marks=pytest.mark.slow)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("order", "kill_in"), [("given", 1), ("given", 2), SLOW("greedy", 3), SLOW("difficulty", 5)])
def test_killed_and_resumed_ends_with_the_same_weights(tmp_path, monkeypatch, order, kill_in):
    films = Films()

    def stages():
        return [stage("a", films), stage("b", films, MICLe, multi_instance=True), stage("c", films, lr=0.02)]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    curriculum(whole, stages(), films, max_epochs=6, order=order).run()

    runs, plain = [0], MethodTrainer.run

    def until_killed(trainer):
        runs[0] += 1
        if runs[0] == kill_in:
            trainer.add_event_handler(Events.EPOCH_STARTED, _kill_in_second_epoch)
        plain(trainer)

    monkeypatch.setattr(MethodTrainer, "run", until_killed)
    with pytest.raises(Killed):
        curriculum(broken, stages(), films, max_epochs=6, order=order, checkpoint_minutes=0).run()
    monkeypatch.setattr(MethodTrainer, "run", plain)
    # Another start: what a new process draws before it resumes must not matter.
    curriculum(broken, stages(), films, max_epochs=6, order=order, checkpoint_minutes=0, resume="auto").run()
    one, other = (torch.load(folder / "model.pt", weights_only=True) for folder in (whole, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)
    rows = [json.loads((folder / "metrics.json").read_text())["loss_last_epoch"] for folder in (whole, broken)]
    assert rows[0] == rows[1]


def _kill_in_second_epoch(engine):
    if engine.state.epoch == 2:
        raise Killed


def test_greedy_takes_the_best_probe_and_says_why(tmp_path, caplog):
    films = Films()
    run = curriculum(
        tmp_path, [stage("slow", films, lr=1e-9), stage("fast", films, lr=0.05)], films, order="greedy", max_epochs=4
    )
    with caplog.at_level("INFO"):
        run.run()
    choice = json.loads((tmp_path / "stages/1_choice.json").read_text())
    assert set(choice["probe"]) == {"slow", "fast"}
    assert choice["probe"][choice["chosen"]] == max(choice["probe"].values())
    assert f"{choice['chosen']} comes next; linear probe after each candidate" in caplog.text
    other = ({"slow", "fast"} - {choice["chosen"]}).pop()
    assert (tmp_path / f"stages/2_{other}/encoder.pt").is_file()
    assert [row["stage"] for row in run.history.rows] == [choice["chosen"]] * 2 + [other] * 2


class KnownLoss(PretextMethod):
    """A method whose losses are known beforehand: those of its epochs, then the last again."""

    def __init__(self, network, losses, trivial) -> None:
        super().__init__(network)
        self.losses, self.trivial, self.steps = losses, trivial, 0
        self.head = torch.nn.Linear(network.out_channels, 1)

    def forward(self, batch):
        embedding = self.network(batch["image"].flatten(0, 1))
        epoch = min(self.steps // 2, len(self.losses) - 1)
        self.steps += 1
        loss = self.losses[epoch] + 0 * self.head(embedding).sum()
        return {"loss": loss, "trivial_loss": torch.tensor(self.trivial), "embedding": embedding.detach()}


@pytest.mark.slow
def test_difficulty_puts_the_smallest_share_of_the_trivial_loss_first(tmp_path, caplog):
    """By hand: 1.2 / 1.5 = .8 of the last epoch of the trial, 0.1 / 0.4 = .25, 3 / 3 = 1."""
    films = Films(16)
    for film in films.items:
        film["label"] = None

    def stages():
        parts = {"a": ([9.0, 1.2], 1.5), "b": ([0.5, 0.1], 0.4), "c": ([3.0], 3.0)}
        made = [stage(name, films, partial(KnownLoss, losses=x, trivial=y)) for name, (x, y) in parts.items()]
        for one in made:
            one.transform.num_views = 1
        return made

    with caplog.at_level("INFO"):
        curriculum(tmp_path / "run", stages(), films, max_epochs=3, order="difficulty", difficulty_epochs=2).run()
    assert "easiest first: b 0.250, a 0.800, c 1.000." in caplog.text
    figures = json.loads((tmp_path / "run/metrics.json").read_text())
    assert figures["found_order"] == "b, a, c"
    found = [figures[f"difficulty_{name}"] for name in "abc"]
    assert found == pytest.approx([0.8, 0.25, 1.0])
    # The trials leave no trace: the run is that of the same order given by hand.
    given = [stages()[number] for number in (1, 0, 2)]
    curriculum(tmp_path / "given", given, films, max_epochs=3).run()
    one, other = (torch.load(tmp_path / f"{name}/model.pt", weights_only=True) for name in ("run", "given"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    # What was found is not found anew.
    trials = len(re.findall("a trial of 2 epochs", caplog.text))
    curriculum(
        tmp_path / "run", stages(), films, max_epochs=3, order="difficulty", difficulty_epochs=2, resume="auto"
    ).run()
    assert trials == len(re.findall("a trial of 2 epochs", caplog.text)) == 3
    again = json.loads((tmp_path / "run/metrics.json").read_text())
    assert [again[f"difficulty_{name}"] for name in "abc"] == found
    with pytest.raises(ConfigurationError, match="difficulty_epochs 2, this run has 1"):
        curriculum(tmp_path / "run", stages(), films, max_epochs=3, order="difficulty", resume="auto").run()


@pytest.mark.parametrize("order", ["given", "greedy"])
def test_all_stages_are_one_run_to_loggers(tmp_path, order):
    mlflow = pytest.importorskip("mlflow")
    films = Films()
    uri = f"sqlite:///{tmp_path}/mlruns.db"
    stock = MLFlowHandler(
        tracking_uri=uri, output_transform=from_engine(["loss"], first=True), tag_name="train_loss",
        close_on_complete=True,
    )  # fmt: skip
    board = RunLogger(TensorboardLogger(log_dir=str(tmp_path / "board")), every=1)
    stages = [stage("a", films, share=2), stage("b", films, MICLe, multi_instance=True)]
    run = curriculum(tmp_path, stages, films, order=order, max_epochs=3, loggers=[stock, board])
    run.run()
    client = mlflow.MlflowClient(uri)
    (tracked,) = client.search_runs([client.get_experiment_by_name("monai_experiment").experiment_id])
    loss = sorted(client.get_metric_history(tracked.info.run_id, "loss"), key=lambda point: point.step)
    assert [(point.step, point.value) for point in loss] == [(row["epoch"], row["loss"]) for row in run.history.rows]
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["encoder_name"] == ENCODER["encoder_name"]
    assert [file.path for file in client.list_artifacts(tracked.info.run_id)] == []
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    points = events.Scalars("epoch/loss")
    assert [point.value for point in points] == pytest.approx([row["loss"] for row in run.history.rows])
    assert [point.step for point in points] == sorted({point.step for point in points})
    steps = [point.step for point in client.get_metric_history(tracked.info.run_id, "train_loss")]
    # A stage that was tried is told of by its epochs; the one that was left ran once.
    assert steps == list(range(1 + (0 if order == "given" else points[-1].step - len(steps)), points[-1].step + 1))


def test_a_new_run_sets_the_old_stages_aside(tmp_path):
    films = Films(16)
    curriculum(tmp_path, [stage("a", films)], films, max_epochs=1).run()
    curriculum(tmp_path, [stage("b", films)], films, max_epochs=1).run()
    assert (tmp_path / "stages_before_1/1_a/encoder.pt").is_file()
    assert not (tmp_path / "stages/1_a").exists()


def test_resuming_other_settings_is_refused_before_anything_is_trained(tmp_path):
    films = Films(16)
    curriculum(tmp_path, [stage("a", films)], films, max_epochs=1).run()
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def refused(message, images=films, name="a", epochs=1, **settings):
        run = curriculum(tmp_path, [stage(name, images)], images, max_epochs=epochs, resume="auto")
        run.settings |= settings
        with pytest.raises(ConfigurationError, match=message):
            run.run()
        assert sorted(path.name for path in tmp_path.rglob("*")) == before

    refused("the checkpoint is of image_size 32, this run has 64", image_size=64)
    refused("the checkpoint is of a's epochs 1, this run has 2", epochs=2)
    refused(r'the checkpoint is of stages \["a"\], this run has \["b"\]', name="b")
    refused(r"of a's training images 16 \(digest \w+\), this run has 12 \(digest", images=Films(12))
    curriculum(tmp_path, [stage("a", films)], films, max_epochs=1, num_workers=1, resume="auto").run()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stages": []}, "at least one stage"),
        ({"stages": ["a", "a"]}, "one name"),
        ({"order": "best"}, "'given', 'greedy' or 'difficulty'"),
        ({"resume": "some.pt"}, "auto or false"),
    ],
)
def test_bad_options(tmp_path, change, words):
    films = Films(8)
    stages = [stage(name, films) for name in change.pop("stages", ["a"])]
    with pytest.raises(ConfigurationError, match=words):
        curriculum(tmp_path, stages, films, **change)


def test_greedy_without_labels(tmp_path):
    with pytest.raises(ConfigurationError, match="no labelled images"):
        Curriculum(
            Encoder("resnet18"), [stage("a", Films(8))], 1, "cpu", tmp_path, RunHistory(optimizer=None), order="greedy"
        )


@pytest.mark.parametrize(("options", "words"), [({"name": "../x"}, "letters"), ({"share": 0}, "greater than 0")])
def test_bad_stage(options, words):
    with pytest.raises(ConfigurationError, match=words):
        stage(options.pop("name", "a"), Films(8), **options)


def test_views_must_fit_the_method():
    films = Films(8)
    wrong = stage("a", films)
    wrong.transform.num_views = 1
    with pytest.raises(ConfigurationError, match="takes 2 view"):
        wrong.build(Encoder("resnet18"), 1, "cpu")


def test_stages_over_two_data_sets(tmp_path):
    large, target = Films(32), Films()
    stages = stages_over_data([stage("a", target), stage("b", target)], {"large": large, "target": target})
    assert [(one.name, one.tier, one.images) for one in stages] == [
        ("a_large", 0, large), ("b_large", 0, large), ("a_target", 1, target), ("b_target", 1, target),
    ]  # fmt: skip
    curriculum(tmp_path, stages[::-1], target, max_epochs=4).run()
    assert sorted(path.name for path in (tmp_path / "stages").iterdir() if path.is_dir()) == [
        "1_b_large", "2_a_large", "3_b_target", "4_a_target",
    ]  # fmt: skip


def test_one_data_set_changes_nothing():
    films = Films(8)
    stages = [stage("a", films)]
    assert stages_over_data(stages, {"target": films}) == stages
