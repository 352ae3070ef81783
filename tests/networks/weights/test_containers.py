# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights inside checkpoints, beside what training leaves there."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import pickle
import sys
import types

import numpy as np
import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import read_weights
from monai_cxrssl.networks.weights.header import put_description, read_header

ONE, TWO = {"w": torch.ones(2)}, {"w": torch.zeros(2)}


@pytest.mark.parametrize(
    "content",
    [
        ONE,
        {"state_dict": ONE, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
        {"model": {"state_dict": ONE}},
        {"teacher": ONE, "student": TWO},
        {"state_dict": TWO, "state_dict_ema": ONE},
        {"model": TWO, "model_ema": ONE, "epoch": 3},
        {"model": ONE, "ema": None},
        {"encoder_q": ONE, "encoder_k": TWO},
        {"encoder": ONE, "predictor": TWO},
        {"encoder": TWO, "target_encoder": ONE},
        {"backbone": ONE, "head": TWO},
        {"classy_state_dict": {"base_model": {"model": {"trunk": ONE, "heads": {"0.w": torch.zeros(1)}}}}},
        {"state_dict": {"w": np.ones(2, np.float32)}, "iteration": torch.tensor(4)},
        {"model_state": ONE, "state": "done"},
    ],
)
def test_the_network_of_a_checkpoint(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    weights = read_weights(tmp_path / "w.pt")
    assert list(weights) == ["w"]
    assert torch.equal(weights["w"], torch.ones(2))
    torch.save(put_description(content, {"encoder_name": "x"}), tmp_path / "described.pt")
    assert read_header(tmp_path / "described.pt") == (["w"], {"encoder_name": "x"})


def test_unknown_containers_are_joined(tmp_path):
    torch.save({"image": {"w": torch.ones(1)}, "text": {"w": torch.zeros(1)}}, tmp_path / "w.pt")
    assert sorted(read_weights(tmp_path / "w.pt")) == ["image.w", "text.w"]


def unknown(name, base=object):
    """Make a class of a library that is not installed, as a pickle names it."""
    module, _, kind = name.rpartition(".")
    made = type(kind, (base,), {"__module__": module})
    for end in (*(place for place, sign in enumerate(module) if sign == "."), len(module)):
        sys.modules.setdefault(module[:end], types.ModuleType(module[:end]))
    setattr(sys.modules[module], kind, made)
    return made


@pytest.mark.parametrize(
    "value",
    [
        argparse.Namespace(lr=0.1, root=pathlib.Path("films")),
        np.float64(0.9),
        np.float32(0.9),
        np.arange(3),
        np.array(["a", "b"]),
        pathlib.Path("films"),
        datetime.datetime(2020, 1, 1),
        collections.defaultdict(list, a=[1]),
        collections.OrderedDict(a=1),
        collections.deque([1.0], maxlen=9),
        types.SimpleNamespace(a=1),
        {1, 2},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("new", [True, False])
def test_harmless_things_beside_weights(value, new, tmp_path):
    content = {"state_dict": ONE, "kept": value}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
    assert torch.equal(read_weights(tmp_path / "w.pt")["w"], torch.ones(2))


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("yacs.config.CfgNode", dict),
        ("mmengine.config.config.ConfigDict", dict),
        ("mmengine.logging.history_buffer.HistoryBuffer", object),
    ],
)
def test_settings_of_libraries_that_are_not_installed(name, base, tmp_path):
    known = set(sys.modules)
    value = unknown(name, base)()
    value.__dict__["x"] = 1
    if base is dict:
        value["a"] = 1
    torch.save({"state_dict": ONE, "cfg": value}, tmp_path / "w.pt")
    for module in set(sys.modules) - known:
        del sys.modules[module]
    assert torch.equal(read_weights(tmp_path / "w.pt")["w"], torch.ones(2))


def test_nothing_stays_allowed(tmp_path):
    """What this package reads as harmless is not so for the rest of the process."""
    torch.save({"state_dict": ONE, "kept": argparse.Namespace()}, tmp_path / "w.pt")
    before = set(torch.serialization.get_safe_globals())
    read_weights(tmp_path / "w.pt")
    assert set(torch.serialization.get_safe_globals()) == before


def test_any_other_type_is_refused_with_the_remedy(tmp_path):
    kind = unknown("some_library.Trainer")
    torch.save({"state_dict": ONE, "trainer": kind()}, tmp_path / "w.pt")
    with pytest.raises(ConfigurationError) as raised:
        read_weights(tmp_path / "w.pt")
    assert str(raised.value) == (
        f"{tmp_path / 'w.pt'} is a pickle of more than tensors (some_library.Trainer), and to load it would run code that "
        "came with it; where its library is installed and the file is trusted, save the state dict alone with "
        "torch.save(model.state_dict(), FILE) and give that file."
    )


def test_objects_of_numpy_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", w=np.array([object], dtype=object))
    with pytest.raises(ConfigurationError) as raised:
        read_weights(tmp_path / "w.npz")
    assert "\n" not in str(raised.value)


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"w": [1.0]}))
    with pytest.raises(ConfigurationError):
        read_weights(tmp_path / "w.pkl")
