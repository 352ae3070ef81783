# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_cxrssl.checkpoints import RunCheckpoint, data_settings, refuse_other_settings
from monai_cxrssl.errors import ConfigurationError
from tests.reliability import tiny_run as tiny
from tests.reliability.tiny_run import TinyFilms, tiny_run

SETTINGS = {
    "image_size": 64, "encoder_name": "resnet18", "batch_size": 16, "recipe": "short", "seed": 0, "device": "cuda:0",
    "crop_scale": (0.2, 1.0), "pretrained": None, "amp": "auto", "num_workers": 4, "cache_dir": Path("a"),
    "checkpoint_minutes": 10, "probe_every": 0, "memory_limit_gb": 4, "dataset_dir": "/data/here",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_size": 96}, "the checkpoint is of image_size 64, this run has 96."),
        ({"encoder_name": "resnet50"}, "of encoder_name resnet18, this run has resnet50."),
        ({"recipe": "full"}, "of recipe short, this run has full."),
        ({"crop_scale": [0.6, 1.0]}, "of crop_scale [0.2, 1.0], this run has [0.6, 1.0]."),
        ({"pretrained": "model.pt"}, "of pretrained none, this run has model.pt."),
        ({"amp": False}, "of amp auto, this run has false."),
        ({"device": "cpu"}, "of device cuda:0, this run has cpu."),
        (
            {"batch_size": 32, "seed": 1},
            "the checkpoint is of batch_size 16, this run has 32; of seed 0, this run has 1. The result would not be",
        ),
    ],
)
def test_what_changes_the_result_is_named_and_refused(change, sentence):
    with pytest.raises(ConfigurationError) as caught:
        refuse_other_settings(SETTINGS, SETTINGS | change, "epoch=0001.pt")
    assert str(caught.value).startswith("Cannot resume from epoch=0001.pt: the checkpoint is of ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"num_workers": 0}, {"cache_dir": None}, {"checkpoint_minutes": 1}, {"probe_every": 5}, {"memory_limit_gb": None},
        {"dataset_dir": "/mnt/moved"}, {"device": "cuda:1"}, {"crop_scale": [0.2, 1]}, {"new_option": 1},
    ],
)  # fmt: skip
def test_what_does_not_may_differ(change):
    refuse_other_settings(SETTINGS, SETTINGS | change, "epoch=0001.pt")


def items(root: str = "/data/a", **changes) -> list[dict]:
    rows = [{"image": f"{root}/p{n // 2}/{n}.png", "patient_id": f"x{n // 2}", "label": n % 2} for n in range(6)]
    rows[3] |= changes
    return rows


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (items("/mnt/elsewhere/b"), True),
        (items("C:\\films".replace("\\", "/")), True),
        ([{**item, "patient_id": item["patient_id"] * 2} for item in items()], True),  # another salt of pseudonyms
        (items(label=0), False),
        (items(patient_id="x0"), False),
        (items(lung_mask="m.png"), False),
        (items()[:-1], False),
        (items()[::-1], False),
    ],
)
def test_data_are_known_by_what_they_hold(other, equal):
    assert (data_settings(items()) == data_settings(other)) is equal


def test_of_other_data_nothing_is_told():
    assert data_settings(None) == data_settings(torch.zeros(3)) == data_settings([1, 2]) == {}


class Other(TinyFilms):
    """As many images of as many patients, one of them grouped otherwise."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.items = [dict(item) for item in self.items]
        self.items[0]["image"] = "another.png"


def change_rate(monkeypatch):
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda parameters, lr: adamw(parameters, lr=lr / 2))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda monkeypatch: monkeypatch.setattr(tiny, "TinyFilms", Other),
            r"of training images 40 \(digest .* has 40 \(",
        ),
        (change_rate, "of optimizer's lr 0.01, this run has 0.005"),
    ],
)
def test_a_checkpoint_knows_data_and_optimiser_by_itself(tmp_path, monkeypatch, change, sentence):
    run = tiny_run(tmp_path, epochs=1)
    count = len(run.data_loader.dataset.dataset)
    run.run()
    change(monkeypatch)
    with pytest.raises(ConfigurationError, match=sentence.replace("40", str(count))):
        tiny_run(tmp_path, epochs=1, resume="auto")


def test_settings_that_are_given_travel_with_the_checkpoint(tmp_path):
    parts = {"generator": torch.nn.Linear(1, 1)}
    run = tiny_run(tmp_path / "run", epochs=1, more=[RunCheckpoint(tmp_path / "own", parts, settings=SETTINGS)])
    run.run()
    (path,) = (tmp_path / "own").glob("*.pt")
    kept = torch.load(path, weights_only=True)["settings"]
    assert kept["crop_scale"] == [0.2, 1.0]
    assert {name: kept[name] for name in ("image_size", "cache_dir", "accumulation_steps")} == {
        "image_size": 64, "cache_dir": "a", "accumulation_steps": 1,
    }  # fmt: skip
    again = RunCheckpoint(tmp_path / "own", parts, resume=str(path), settings=SETTINGS | {"image_size": 96})
    with pytest.raises(
        ConfigurationError, match=rf"from .*{path.name}: the checkpoint is of image_size 64, this run has 96"
    ):
        again.attach(run)
