# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest
import torch

from monai_cxrssl.data.sampling.bags import Draw
from monai_cxrssl.data.sampling.replacing_loader import ReplacingLoader
from monai_cxrssl.data.sampling.resumable_sampler import ResumableSampler
from monai_cxrssl.data.stores.timed_read import read_in_time
from monai_cxrssl.errors import CXRReadError, DatalistError


class Samples(torch.utils.data.Dataset):
    def __init__(self, bad: set[int], count: int = 20) -> None:
        self.bad, self.count = bad, count

    def __len__(self):
        return self.count

    def __getitem__(self, draw):
        first = draw.first if isinstance(draw, Draw) else draw
        if first in self.bad:
            raise CXRReadError(f"{first}.png", "does not exist")
        return {"image": torch.full((1, 2, 2), first), "label": first}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("keyed", [False, True])
def test_another_whole_sample_stands_in(workers, keyed, caplog):
    draws = [Draw(0, n, n, n, n) for n in range(20)] if keyed else list(range(20))
    loader = ReplacingLoader(Samples({3, 7}), sampler=draws, batch_size=5, num_workers=workers)
    runs = []
    for _ in range(2):
        batches = list(loader)
        assert all(set(batch) == {"image", "label"} for batch in batches)
        assert all(torch.equal(batch["image"][:, 0, 0, 0], batch["label"]) for batch in batches)
        runs.append(torch.cat([batch["label"] for batch in batches]).tolist())
    assert runs[0] == runs[1]
    assert [n for n, label in enumerate(runs[0]) if n != label] == [3, 7]
    assert loader.unreadable == [{"image": f"{n}.png", "cause": "does not exist"} for n in (3, 7)]
    assert caplog.text.count("3.png") == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_end_the_run(workers):
    bad = set(range(0, 20, 2))
    loader = ReplacingLoader(Samples(bad), 0.2, sampler=range(20), batch_size=2, num_workers=workers)
    with pytest.raises(DatalistError, match="5 of 20 samples can no longer be read, more than the 20%"):
        list(loader)
    assert len(list(ReplacingLoader(Samples(bad), 0.6, sampler=range(20), batch_size=2))) == 10


def test_nothing_left_to_read():
    with pytest.raises(DatalistError, match="20 files in succession could not be read"):
        list(ReplacingLoader(Samples(set(range(20))), 1.0, batch_size=2))


def test_other_errors_pass():
    class Broken(Samples):
        def __getitem__(self, draw):
            raise KeyError("a defect")

    with pytest.raises(KeyError, match="a defect"):
        list(ReplacingLoader(Broken(set())))


def test_a_pass_begins_within_an_epoch_once():
    sampler = ResumableSampler(range(6))
    sampler.set_epoch(1)
    sampler.start_at(4)
    assert list(sampler) == [4, 5]
    assert list(sampler) == list(range(6))
    assert len(sampler) == 6


def test_read_in_time():
    assert read_in_time(len, "abc", 5) == 3
    with pytest.raises(CXRReadError, match=r"slow: was not read within 0\.05 s"):
        read_in_time(lambda path: time.sleep(1), "slow", 0.05)
    with pytest.raises(ZeroDivisionError):
        read_in_time(lambda path: 1 / 0, "x", 5)
