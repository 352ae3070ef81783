# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Atomic writing, checksums, locks and ordered parallel reading; and that they are written nowhere else."""

from __future__ import annotations

import _thread
import errno
import hashlib
import itertools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import filelock
import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import FILES_IN_FLIGHT, ask_all, atomic_write, lock, ordered_map, replace, sha256, write_json

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")


def python(code: str, *arguments: object, **options) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **options)


def write_text(path: Path) -> None:
    path.write_text("né\n", encoding="utf-8")


def write_bytes(path: Path) -> None:
    path.write_bytes(b"\x00\xff")


def write_by_library(path: Path) -> None:
    np.save(path, np.arange(3))


@pytest.mark.parametrize(
    ("write", "suffix", "expected"),
    [
        (write_text, ".partial", "né\n".encode()),
        (write_bytes, ".partial", b"\x00\xff"),
        (write_by_library, ".npy", None),
    ],
)
@pytest.mark.parametrize("sync", [False, True])
def test_whole_file_takes_the_place_of_the_old(tmp_path, write, suffix, expected, sync):
    path = tmp_path / "folder" / "file.npy"
    for _ in range(2):
        with atomic_write(path, sync=sync, suffix=suffix) as partial:
            assert partial.parent == path.parent
            assert partial.name.startswith(".")
            assert not partial.exists()
            write(partial)
    assert list(path.parent.iterdir()) == [path]
    if expected is None:
        np.testing.assert_array_equal(np.load(path), np.arange(3))
    else:
        assert path.read_bytes() == expected


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as partial:
        partial.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_not_written_is_an_error(tmp_path):
    for sync in (False, True):
        with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file", sync=sync):
            pass
    assert not list(tmp_path.iterdir())


@posix
@pytest.mark.parametrize("moment", ["half", "before the rename"])
def test_killed_while_writing(tmp_path, moment):
    path = tmp_path / "file"
    path.write_text("old")
    code = """
import os, signal, sys
from monai_cxrssl.files import atomic_write
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
with atomic_write(sys.argv[1], sync=True) as partial:
    partial.write_text("new")
    if sys.argv[2] == "half":
        die()
"""
    assert python(code, path, moment).wait(60) == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [left.read_text() for left in tmp_path.glob(".file.*.partial")] == ["new"]
    with atomic_write(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_concurrent_writers(tmp_path):
    path = tmp_path / "file"
    code = """
import sys
from monai_cxrssl.files import atomic_write
for _ in range(200):
    with atomic_write(sys.argv[1]) as partial, open(partial, "w") as stream:
        for _ in range(50):
            stream.write(sys.argv[2] * 1000)
"""
    writers = [python(code, path, letter) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            text = path.read_text()
            assert len(text) == 50_000
            seen |= set(text)
            assert len(set(text)) == 1
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert seen
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"), atomic_write(tmp_path / "file" / "below") as partial:
        partial.write_text("new")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):  # as for root
        return
    with pytest.raises(PermissionError), atomic_write(folder / "file") as partial:
        partial.write_text("new")


@posix
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_permissions_are_those_of_a_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_json({}, tmp_path / "a.json")
        write_json({}, tmp_path / "b.json", indent=None)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_the_longest_name(tmp_path):
    for name in ("n" * 255, "é" * 127, "\U0001fa7b" * 63):
        with atomic_write(tmp_path / name) as partial:
            partial.write_text("new")
        assert (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize(
    ("indent", "expected"),
    [
        (2, b'{\n  "a": [\n    1.5,\n    null\n  ],\n  "\xc3\xa9": "\\udcff"\n}\n'),
        (4, b'{\n    "a": [\n        1.5,\n        null\n    ],\n    "\xc3\xa9": "\\udcff"\n}\n'),
        (None, b'{"a":[1.5,null],"\\u00e9":"\\udcff"}\n'),
    ],
)
def test_bytes_of_json(tmp_path, indent, expected):
    content = {"a": [1.5, None], "é": "\udcff"}
    path = tmp_path / "folder" / "a.json"
    write_json(content, path, indent)
    assert path.read_bytes() == expected
    assert json.loads(path.read_text(encoding="utf-8")) == content
    for wrong, error in (({"a": float("nan")}, ValueError), ({"a": object()}, TypeError)):
        with pytest.raises(error):
            write_json(wrong, path, indent)
    assert path.read_bytes() == expected
    assert list(path.parent.iterdir()) == [path]


def test_an_equal_file_of_programs_is_left_alone(tmp_path):
    path = tmp_path / "a.json"
    write_json([1], path, indent=None)
    inode = path.stat().st_ino
    write_json([1], path, indent=None)
    assert path.stat().st_ino == inode
    write_json([2], path, indent=None)
    assert path.read_text() == "[2]\n"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_sha256(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


HOLD = """
import pathlib, sys, time
from monai_cxrssl.files import lock
with lock(pathlib.Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(params=["folder", "file"])
def place(request, tmp_path):
    return tmp_path if request.param == "folder" else tmp_path / ".lock"


def holder(place: Path, seconds: float) -> subprocess.Popen[str]:
    process = python(HOLD, place, seconds, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@posix
def test_a_killed_process_lets_go(place, tmp_path):
    process = holder(place, 60)
    with pytest.raises(ConfigurationError, match=r"^It is held\.$"), lock(place, "It is held."):
        pass
    process.kill()
    process.communicate()
    for _ in range(2):
        with lock(place, "It is held."):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ([] if place == tmp_path else [".lock"])


@posix
@pytest.mark.parametrize("seconds", [30.0, None])
def test_waiting_for_the_other(place, caplog, seconds):
    process = holder(place, 0.5)
    with caplog.at_level(logging.INFO), lock(place, "waiting for it", seconds):
        process.communicate(timeout=60)
    assert ("waiting for it" in caplog.text) == (seconds is None)


@posix
@pytest.mark.parametrize("inherited", [False, True])
def test_a_fork_lets_go_and_what_inherits_a_copy_holds_on(place, inherited):
    code = """
import os, pathlib, subprocess, sys, time
from monai_cxrssl.files import lock
with lock(pathlib.Path(sys.argv[1]), "busy") as handle:
    if sys.argv[2] == "True":
        copy = os.dup(handle)
        child = subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL, pass_fds=(copy,), preexec_fn=lambda: None).pid
    else:
        child = os.fork()
        if not child:
            os.close(1)
            time.sleep(30)
    print(child, flush=True)
    os._exit(0)
"""
    process = python(code, place, inherited, stdout=subprocess.PIPE)
    child = int(process.communicate(timeout=60)[0])
    try:
        with ExitStack() as stack:
            if inherited:
                stack.enter_context(pytest.raises(ConfigurationError, match="busy"))
            stack.enter_context(lock(place, "busy"))
    finally:
        os.kill(child, signal.SIGKILL)


@posix
def test_a_fork_may_take_a_lock_of_its_own(tmp_path):
    """Its descriptor may have the number of the one that the fork gave up."""
    first, second = tmp_path / "first", tmp_path / "second"
    with ExitStack() as stack:
        stack.enter_context(lock(first, "busy"))
        child = os.fork()
        if not child:
            status = 1
            try:
                with lock(second, "busy") as handle:
                    stack.close()
                    os.fstat(handle)
                    status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        other = python(HOLD, first, 0, stderr=subprocess.PIPE)
        assert "ConfigurationError: busy" in other.communicate(timeout=60)[1]


@posix
def test_a_file_renamed_between_opening_and_locking(tmp_path, monkeypatch):
    part = tmp_path / "block.part"
    plain = filelock.lock_descriptor

    def late(handle, **options):
        replace(part, tmp_path / "block")
        return plain(handle, **options)

    monkeypatch.setattr(filelock, "lock_descriptor", late)
    with pytest.raises(ConfigurationError, match="busy"), lock(part, "busy"):
        pass


def test_a_disk_without_locks(tmp_path, monkeypatch):
    def refuse(handle, **options):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    causes: list[OSError] = []
    with lock(tmp_path / ".lock", "busy"), lock(tmp_path / ".lock", "busy", without=causes.append):
        assert [cause.errno for cause in causes] == [errno.ENOLCK]


def test_a_lock_in_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError), lock(tmp_path / "absent" / ".lock", "busy"):
        pass


def test_results_are_in_order_of_parallel_calls():
    barrier = threading.Barrier(3, timeout=30)

    def slow_first(number: int) -> int:
        if number < 3:
            barrier.wait()  # only three calls at once come through
        time.sleep(0.05 * (number == 0))
        return number**2

    assert list(ordered_map(slow_first, range(50), 3)) == [number**2 for number in range(50)]
    assert list(ordered_map(slow_first, [], 3)) == []


def test_calls_are_a_few_ahead_only():
    called: list[int] = []
    gate = threading.Event()

    def call(number: int) -> int:
        if number == 0:
            gate.wait(30)
        called.append(number)
        return number

    taken = itertools.count()
    results = ordered_map(call, taken, threads=2)
    assert next(taken) == 0  # nothing is taken before the first result is asked for
    results = ordered_map(call, itertools.chain([0], taken), threads=2)
    threading.Timer(0.3, gate.set).start()
    assert next(results) == 0
    assert next(taken) == 8
    assert max(called) <= 7
    results.close()


def test_an_error_comes_in_its_turn_and_ends_the_rest():
    called: list[int] = []

    def call(number: int) -> int:
        called.append(number)
        time.sleep(0.02)
        if number == 5:
            raise KeyError(number)
        return number

    results = ordered_map(call, range(1000), threads=2)
    seen = []
    with pytest.raises(KeyError, match="5"):
        for result in results:
            seen.append(result)
    assert seen == [0, 1, 2, 3, 4]
    count = len(called)
    assert count <= 14
    time.sleep(0.1)
    assert len(called) == count


def test_leaving_cancels_what_waits():
    called: list[int] = []

    def call(number: int) -> int:
        called.append(number)
        time.sleep(0.05)
        return number

    for result in ordered_map(call, range(1000), threads=2, name="left early"):
        assert result == 0
        break
    assert len(called) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("left early")]


def test_ctrl_c_ends_what_runs_in_threads():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    called: list[int] = []

    def call(number: int) -> int:
        called.append(number)
        # By then all threads have started, of which a pool forgets one that an interrupt comes into. The second one is
        # for an interrupt that came into a destructor, which swallows it.
        if number in (200, 400):
            _thread.interrupt_main()
        time.sleep(0.02)
        return number

    try:
        with pytest.raises(KeyboardInterrupt):
            list(ordered_map(call, range(10_000), name="interrupted"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(called) < 1000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("interrupted")]


@pytest.mark.parametrize("count", [0, 1, 31, 1000, 20_000])
def test_questions_are_answered_in_order(count):
    assert ask_all(lambda number: -number, range(count)) == [-number for number in range(count)]


def test_questions_are_asked_side_by_side():
    barrier = threading.Barrier(FILES_IN_FLIGHT, timeout=30)
    assert ask_all(lambda _: barrier.wait() >= 0, range(FILES_IN_FLIGHT)) == [True] * FILES_IN_FLIGHT


def test_nowhere_else(repo):
    """Renaming a partial file, locks of the system and hashes of files are written in one place."""
    pattern = re.compile(
        r"os\.replace|\b(partial|temporary|waiting)\.replace\(|mkstemp"
        r"|\bfcntl\b|\bflock\b|FileLock|register_at_fork|sched_getaffinity|hashlib\.sha256\(\)"
    )
    allowed = {
        "files.py": r"os\.replace\(partial, path\)|register_at_fork|hashlib\.sha256\(\)",
        "cores.py": "sched_getaffinity",
        "data/datalists/split.py": r"hashlib\.sha256\(\)",  # of parsed content
        "checkpoints/settings.py": r"hashlib\.sha256\(\)",  # of a list of images
        "networks/weights/header.py": r"hashlib\.sha256\(\)",  # of tensors
        "apps/cli/export.py": r"partial\.replace\(",  # a file that fails its check is no error, and does not take its place
    }
    package = repo / "monai_cxrssl"
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if pattern.search(line)]
        assert not [line for line in lines if not re.search(allowed.get(name, "$^"), line)], name
