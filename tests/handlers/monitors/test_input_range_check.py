# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader, Dataset

from monai_cxrssl.data.audit.audit import looks_inverted
from monai_cxrssl.errors import CXRReadError, TrainingError
from monai_cxrssl.handlers import InputRangeCheck
from monai_cxrssl.phantom import make_phantom_dataset


class Films:
    in_memory = True

    def __init__(self, inverted: int, count: int = 10) -> None:
        film = np.full((60, 50), 60, np.uint8)
        film[:, 22:28] = 200
        self.pixels = [255 - film if number < inverted else film for number in range(count)]
        self.items = [{"image": f"{number}.png"} for number in range(count)]

    def __len__(self):
        return len(self.pixels)

    def image(self, index):
        return self.pixels[index]


class Views(Dataset):
    def __init__(self, images, view):
        self.images, self.view = images, view

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.view}


def check(view: torch.Tensor, inverted: int = 0) -> None:
    engine = Engine(lambda engine, batch: None)
    InputRangeCheck(films=8).attach(engine)
    engine.run(DataLoader(Views(Films(inverted), view), batch_size=5), max_epochs=2)


GOOD = torch.linspace(0, 1, 32).reshape(2, 1, 4, 4)


@pytest.mark.parametrize("view", [GOOD, (GOOD * 255).to(torch.uint8), GOOD[:1]])
def test_good_views_pass_in_silence(view, caplog):
    check(view)
    assert not caplog.records


@pytest.mark.parametrize(
    ("view", "words"), [(GOOD * 255, "from 0 to 255"), (GOOD - 0.5, "from -0.5 to 0.5"), (GOOD / 0, "NaN or infinite")]
)
def test_views_out_of_range_end_the_run(view, words):
    with pytest.raises(TrainingError, match=words):
        check(view)


@pytest.mark.parametrize("inverted", [0, 8])
def test_a_film_that_cannot_be_read_any_more_does_not_end_the_run(monkeypatch, caplog, inverted):
    """As one whose copy in the cache has changed; the loader puts another in its place and tells of it."""
    plain = Films.image

    def image(self, index):
        if index == 0:
            raise CXRReadError("0.png", "has changed", "Build the cache again.")
        return plain(self, index)

    monkeypatch.setattr(Films, "image", image)
    check(GOOD, inverted)
    assert ("6 of 8 images that were looked at seem inverted" in caplog.text) is (inverted > 0)


def test_constant_views_and_inverted_films_are_told_once(caplog):
    with caplog.at_level(logging.WARNING):
        check(torch.ones(2, 1, 4, 4), inverted=6)
    assert [record.getMessage().split(" ", 1)[0] for record in caplog.records] == ["100%", "5"]
    assert "5 of 8 images that were looked at seem inverted" in caplog.text
    caplog.clear()
    check(GOOD, inverted=5)
    assert not caplog.records


def test_phantoms_and_their_negatives_are_told_apart(tmp_path):
    from monai_cxrssl.data import index_folder, read_cxr_uint

    make_phantom_dataset(tmp_path / "set", patients=12, size=96)
    films = [read_cxr_uint(item["image"]) for item in index_folder(tmp_path / "set").items()]
    assert np.mean([looks_inverted(film) for film in films]) < 0.2
    assert np.mean([looks_inverted(255 - film) for film in films]) > 0.7


@pytest.mark.parametrize("folder", ["nih-chestxray14-subset", "kermany-pediatric", "covid-chestxray-dataset"])
def test_real_films_and_their_negatives_are_told_apart(shared_data, folder):
    from monai_cxrssl.data import read_cxr_uint

    kinds = {".png", ".jpg", ".jpeg"}
    paths = sorted(path for path in (shared_data / folder).rglob("*") if path.suffix.lower() in kinds)
    films = [read_cxr_uint(path, max_side=256) for path in paths[:: max(1, len(paths) // 20)][:20]]
    assert len(films) == 20
    assert np.mean([looks_inverted(film) for film in films]) < 0.3  # some are lateral views
    assert np.mean([looks_inverted(255 - film) for film in films]) > 0.7
