# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import logging
import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from monai_cxrssl.checkpoints import save_atomically
from monai_cxrssl.data import refuse_leak
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.handlers import (
    CollapseMonitor,
    CurvesPlot,
    EmbeddingWriter,
    LoadWeights,
    OnlineProbe,
    PretrainingSummary,
    ProbeReport,
    RunHistory,
    RunProgressBar,
)
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks import Encoder, Normalisation

SGD = torch.optim.SGD


def engine_of(outputs, handlers, epochs=1):
    """Run handlers over given outputs, the same in every epoch."""
    engine = Engine(lambda engine, batch: outputs[(engine.state.iteration - 1) % len(outputs)])
    for handler in handlers:
        handler.attach(engine)
    engine.run([{"image": torch.zeros(4, 2)}] * len(outputs), max_epochs=epochs)
    return engine


def output(loss: float, embedding: torch.Tensor | None = None):
    return [{"loss": torch.tensor(loss), "embedding": torch.eye(4) if embedding is None else embedding}]


def test_history_is_the_mean_of_each_epoch():
    history = RunHistory(SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.25), {"simclr": 2, "micle": 1})
    engine = engine_of([output(1.0), output(2.0), output(6.0)], [CollapseMonitor(), history], epochs=3)
    assert [row["loss"] for row in history.rows] == [3.0] * 3
    assert [row["stage"] for row in history.rows] == ["simclr", "simclr", "micle"]
    assert all(row["learning_rate"] == 0.25 and row["images_per_second"] > 0 for row in history.rows)
    assert engine.state.metrics["loss"] == 3.0
    assert history.rows[0]["embedding_std"] == engine.state.metrics["embedding_std"]
    copy = RunHistory(history.optimizer)
    copy.load_state_dict(history.state_dict())
    assert copy.rows == history.rows


@pytest.mark.parametrize(
    ("embedding", "low", "high"),
    [
        (torch.ones(8, 16), 0.0, 1e-6),
        (torch.randn(4000, 64, generator=torch.Generator().manual_seed(0)), 0.98, 1.01),
        (torch.ones(8, 16) + 1e-3 * torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), 0.0, 0.01),
    ],
)
def test_collapse_monitor_measures_spread(embedding, low, high, caplog):
    engine = engine_of([output(1.0, embedding)], [CollapseMonitor(threshold=0.1, patience=1)], epochs=2)
    spread = engine.state.metrics["embedding_std"]
    unit = embedding.double() / embedding.double().norm(dim=1, keepdim=True)
    assert spread == pytest.approx(unit.std(0, correction=0).mean().item() * math.sqrt(embedding.shape[1]), abs=1e-5)
    assert low <= spread <= high
    assert ("embeddings are collapsing" in caplog.text) is (spread < 0.1)


def test_progress_bar_counts_all_iterations(capsys):
    engine_of([output(1.5)] * 5, [RunProgressBar(interval=1)], epochs=2)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "epoch 2/2, loss 1.500" in shown


def test_progress_bar_lets_errors_through():
    def fail(engine, batch):
        raise KeyError("the cause")

    engine = Engine(fail)
    RunProgressBar().attach(engine)
    with pytest.raises(KeyError, match="the cause"):
        engine.run([1], max_epochs=1)


def labelled(count: int = 30):
    random = np.random.default_rng(0)
    labels = [number % 2 for number in range(count)]
    images = [
        {"image": torch.tensor(random.random((1, 32, 32)) * 0.3 + 0.5 * label, dtype=torch.float32)} for label in labels
    ]
    return images, labels, [f"p{number}" for number in range(count)]


def test_online_probe_before_and_after():
    images, labels, patients = labelled()
    probe = OnlineProbe(Encoder("resnet18"), images, labels, patients, ["dark", "bright"], "cpu", every=2, amp=False)
    engine_of([output(1.0)], [probe], epochs=4)
    assert sorted(probe.results) == [0, 2, 4]
    assert probe.result("before") == probe.results[0]["linear"]["macro_auc"]
    assert probe.result("after", "knn") == probe.results[4]["knn"]["macro_auc"]
    assert probe.result("before") > 0.9


def test_online_probe_leaves_out_what_cannot_be_read_any_more(caplog):
    images, labels, patients = labelled()

    class Failing(torch.utils.data.Dataset):
        gone: frozenset = frozenset()

        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            if index in self.gone:
                raise CXRReadError(f"{index}.png", "has changed", "Build the cache again.")
            return images[index]

    failing = Failing()
    probe = OnlineProbe(Encoder("resnet18"), failing, labels, patients, ["dark", "bright"], "cpu", amp=False)
    probe.record(0)
    failing.gone = frozenset({3, 8})
    probe.record(1)
    probe.record(2)
    assert caplog.text.count("The probe leaves out an image from now on: ") == 2
    assert "8.png has changed" in caplog.text
    assert probe.patients == [patient for patient in patients if patient not in ("p3", "p8")]
    assert probe.labels.argmax(1).tolist() == [label for number, label in enumerate(labels) if number not in (3, 8)]
    kept = [images[number] for number in range(len(images)) if number not in (3, 8)]
    fewer = OnlineProbe(
        probe.network, kept, probe.labels.tolist(), probe.patients, ["dark", "bright"], "cpu", amp=False
    )
    assert probe.results[1] == probe.results[2] == fewer.score()
    failing.gone = frozenset(range(len(images)))
    probe.record(3)
    assert 3 not in probe.results


def test_online_probe_without_labels_says_so(caplog):
    images, _, patients = labelled()
    probe = OnlineProbe(Encoder("resnet18"), images, [None] * len(images), patients, [], "cpu")
    with caplog.at_level(logging.INFO):
        engine_of([output(1.0)], [probe])
    assert probe.result("before") is None
    assert caplog.text.count("No probe") == 1


def test_curves_are_a_picture_with_ink(tmp_path):
    history = RunHistory(SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), {"simclr": 2, "micle": 2})
    engine_of(
        [output(1.0), output(3.0)], [CollapseMonitor(), history, CurvesPlot(history, tmp_path / "c.png")], epochs=4
    )
    picture = np.asarray(Image.open(tmp_path / "c.png").convert("L"))
    assert picture.shape[1] > 2 * picture.shape[0]
    assert (picture < 128).mean() > 0.005
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_summary_writes_weights_settings_and_flat_figures(tmp_path):
    encoder = Encoder("resnet18")
    history = RunHistory(SGD(encoder.parameters(), lr=0.1), {"simclr": 1, "micle": 1})
    summary = PretrainingSummary(
        encoder,
        history,
        tmp_path,
        tmp_path / "models" / "model.pt",
        data={"images": 4, "patients": 3, "multi_image_bags": 1},
        unreadable=[{"image": "bad.png", "cause": "is empty"}],
        settings={"encoder_name": "resnet18", "image_size": 96, "seed": 7},
    )
    engine_of([output(1.0), output(2.0)], [history, summary], epochs=2)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    required = {
        "encoder_name", "images", "patients", "multi_image_bags", "unreadable", "epochs", "loss_first_epoch",
        "loss_last_epoch", "probe_before", "probe_after", "images_per_second", "seconds", "seed",
    }  # fmt: skip
    assert required <= set(figures)
    assert figures["unreadable"] == [{"image": "bad.png", "cause": "is empty"}]
    assert figures["loss_first_epoch"] == 1.5
    assert figures["micle_epochs"] == 1
    assert figures["probe_before"] is None
    assert not any(isinstance(value, dict) for value in figures.values())
    saved = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in encoder.state_dict().items())
    settings = json.loads((tmp_path / "models" / "model.json").read_text())
    run = {"folder": "..", "recipe": None, "source": None}
    assert settings == {"encoder_name": "resnet18", "image_size": 96, "run": run}


def test_summary_tells_who_was_trained_on(tmp_path):
    history = RunHistory(SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), {"simclr": 1})
    items = [{"image": f"{n}.png", "patient_id": f"p{n // 2}"} for n in range(4)]

    def run(model, **more):
        where = (tmp_path, tmp_path / model)
        summary = PretrainingSummary(torch.nn.Linear(1, 1), history, *where, data={}, settings={"source": "x"}, **more)
        engine_of([output(1.0)], [history, summary])

    run("first.pt", items=items)
    run("second.pt", items=[{"image": "9.png", "patient_id": "p9"}], pretrained=tmp_path / "first.pt")
    for item in [*items, {"image": "9.png", "patient_id": "p9", "source": "x"}]:
        with pytest.raises(DatalistError, match="1 of the 1 patients of this evaluation"):
            refuse_leak([item], tmp_path / "second.pt", name="x")
    assert refuse_leak([{"image": "5.png", "patient_id": "p5"}], tmp_path / "second.pt", name="x") == []
    run("second.pt")
    assert not (tmp_path / "second.patients.json").exists(), "it told of other weights"


def test_failed_save_leaves_the_old_file(tmp_path):
    save_atomically({"a": torch.zeros(2)}, tmp_path / "m.pt")
    with pytest.raises(Exception, match="pickle"):
        save_atomically({"a": lambda: None}, tmp_path / "m.pt")
    assert torch.load(tmp_path / "m.pt", weights_only=True)["a"].shape == (2,)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


def test_embedding_writer(tmp_path):
    items = [{"image": f'{n}, "x".png', "patient_id": f"p{n}", "view_position": "PA"} for n in range(3)]
    pred = torch.arange(6.0).view(3, 2)
    writer = EmbeddingWriter(tmp_path, items, [{"image": "bad.png", "cause": "is empty"}])
    engine_of([{"pred": pred[:2]}, {"pred": pred[2:]}], [writer])
    stored = np.load(tmp_path / "embeddings.npz")
    np.testing.assert_array_equal(stored["embedding"], pred.numpy())
    assert stored["patient_id"].tolist() == ["p0", "p1", "p2"]
    rows = list(csv.DictReader((tmp_path / "embeddings.csv").open(encoding="utf-8")))
    assert [row["image"] for row in rows] == [*(item["image"] for item in items), "bad.png"]
    assert [float(row["e1"]) for row in rows[:3]] == [1, 3, 5]
    assert rows[3]["problem"] == "is empty"


def test_probe_report(tmp_path, caplog):
    images, labels, patients = labelled()
    items = [{"label": label, "patient_id": patient} for label, patient in zip(labels, patients, strict=True)]
    pred = torch.stack([image["image"].flatten()[:10] for image in images])
    with caplog.at_level(logging.INFO):
        engine_of([{"pred": pred}], [ProbeReport(tmp_path / "probe.json", items, ["dark", "bright"])])
    result = json.loads((tmp_path / "probe.json").read_text())
    assert result["linear"]["macro_auc"] > 0.9
    assert result["patients"] == len(patients)
    assert "macro_auc" in caplog.text


def test_load_weights(tmp_path):
    donor, encoder = Encoder("resnet18"), Encoder("resnet18")
    with pytest.raises(ConfigurationError, match="Train the bundle first"):
        engine_of([output(1.0)], [LoadWeights(encoder, tmp_path / "model.pt")])
    torch.save(donor.state_dict(), tmp_path / "model.pt")
    engine_of([output(1.0)], [LoadWeights(encoder, tmp_path / "model.pt")])
    assert torch.equal(encoder.encoder.conv1.weight, donor.encoder.conv1.weight)
    with pytest.raises(ConfigurationError, match="another --encoder_name"):
        engine_of([output(1.0)], [LoadWeights(Encoder("resnet34"), tmp_path / "model.pt")])


def test_weights_of_another_normalisation_are_refused(tmp_path):
    about = {"encoder_name": "resnet18", "image_size": 64, **Normalisation.of("xrv").described()}
    write_model(Encoder("resnet18", input_normalisation="xrv"), tmp_path / "model.pt", about, None)
    with pytest.raises(ConfigurationError, match="trained with the input normalisation xrv .*, and the run has none"):
        engine_of([output(1.0)], [LoadWeights(Encoder("resnet18"), tmp_path / "model.pt")])
    encoder = Encoder("resnet18", input_normalisation={"mean": 1024, "scale": 2048})
    engine_of([output(1.0)], [LoadWeights(encoder, tmp_path / "model.pt")])
