# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The walk over folders against :func:`os.walk`, with many listings in flight."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from monai_cxrssl.data.sources.chest_film.folder_walk import FolderWalk


def walked(top, may=lambda name: True):
    walk = FolderWalk(str(top), may)
    found = []
    for here, (_, names, error) in walk:
        assert error is None
        walk.enter(f"{here}{os.sep}{name}" for name, is_folder in names.items() if is_folder and may(name))
        found.append((here, [name for name in names if not names[name]]))
    return found


def reference(top, may=lambda name: True):
    found, visited = [], set()
    for here, folders, names in os.walk(top, followlinks=True):
        if os.path.realpath(here) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(here))
        folders[:] = sorted(filter(may, folders))
        found.append((here, sorted(names)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_random_trees_with_links(tmp_path, seed):
    rng = np.random.default_rng(seed)
    folders = [tmp_path / "top"]
    folders[0].mkdir()
    for number in range(400):
        parent = folders[rng.integers(len(folders))]
        if rng.random() < 0.5:
            folders.append(parent / f"d{number}")
            folders[-1].mkdir()
        elif rng.random() < 0.3:
            (parent / f"link{number}").symlink_to(folders[rng.integers(len(folders))])
        else:
            (parent / f"f{number}").touch()
    (tmp_path / "top" / "loop").symlink_to(tmp_path / "top" / "loop")
    for may in (lambda name: True, lambda name: not name.endswith("7")):
        assert walked(tmp_path / "top", may) == reference(str(tmp_path / "top"), may)


def test_a_folder_that_is_not_there(tmp_path):
    ((here, listing),) = FolderWalk(str(tmp_path / "gone"), lambda name: True)
    assert (here, listing.names, type(listing.error)) == (str(tmp_path / "gone"), {}, FileNotFoundError)


def test_a_folder_for_each_film_is_not_waited_for_one_by_one(tmp_path, monkeypatch):
    for number in range(150):
        (tmp_path / f"p{number:03d}" / "study" / "series").mkdir(parents=True)
    wanted = reference(str(tmp_path))
    real, lock, now, most = os.scandir, threading.Lock(), 0, 0

    def slow(path):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return real(path)

    monkeypatch.setattr(os, "scandir", slow)
    started = time.monotonic()
    assert walked(tmp_path) == wanted
    assert most >= 16
    assert len(wanted) * 0.05 >= 8 * (time.monotonic() - started)
