# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m MODULE`` and ``python SCRIPT`` without the ten seconds in which torch and MONAI are imported.

Run as a program it imports the two, but nothing of this package, and waits. Each line of its standard input, a JSON
object, makes it fork; the child is given its folder, environment, output files and arguments, and runs the module to
the end of a Python program as ``python`` would: exit status, ``sys.excepthook`` and what is registered for the exit
are those of the interpreter itself. The parent answers with the child's number, and with its status once it has ended;
several children may be at work at once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 900
#: Of the environment: what is read as modules are imported, once for all children.
QUIET = {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": ""}


class Program:
    """A program in a fork; what it says goes into two files. Its methods are those of ``subprocess.Popen``."""

    def __init__(self, warm: WarmPython, pid: int, words: list[str], streams: tuple[Path, Path]) -> None:
        self.warm, self.pid, self.words, self.streams = warm, pid, words, streams
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, or None while the program runs."""
        self.warm.listen(0)
        return self.returncode

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Return the exit status; a program that takes longer is killed."""
        end = time.monotonic() + timeout
        while self.returncode is None and time.monotonic() < end:
            self.warm.listen(end - time.monotonic())
        if self.returncode is None:
            self.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(self.words, timeout, *(path.read_bytes() for path in self.streams))
        return self.returncode

    def communicate(self, timeout: float = TIMEOUT) -> tuple[str, str]:
        """Return what was said once the program has ended."""
        self.wait(timeout)
        out, err = (path.read_text(errors="replace") for path in self.streams)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal to a program that has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the program at once."""
        self.send_signal(signal.SIGKILL)


class WarmPython:
    """The process that forks, and its children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, __file__], env={**os.environ, **QUIET}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.programs: list[Program] = []
        self.unread = b""

    def start(self, words: Sequence[object], cwd: Path | str, **environment: str) -> Program:
        """Start ``python WORDS``: ``-m`` and a module, or a script, and arguments; more variables may be given."""
        told = [str(word) for word in words]
        number = len(self.programs)
        streams = (self.folder / f"{number}.out", self.folder / f"{number}.err")
        for path in streams:
            path.touch()
        work: dict[str, object] = {
            "words": told,
            "folder": str(cwd),
            "streams": [*map(str, streams)],
            "environment": {**os.environ, **QUIET, **environment},
        }
        self.process.stdin.write(json.dumps(work).encode() + b"\n")
        self.process.stdin.flush()
        self.programs.append(Program(self, 0, told, streams))
        while not self.programs[number].pid:
            assert self.listen(TIMEOUT), "the process that forks does not answer"
        return self.programs[number]

    def run(self, words: Sequence[object], cwd: Path | str, **environment: str) -> subprocess.CompletedProcess:
        """As ``subprocess.run`` of ``python WORDS`` with captured output."""
        program = self.start(words, cwd, **environment)
        out, err = program.communicate()
        for path in program.streams:
            path.unlink()
        return subprocess.CompletedProcess([sys.executable, *program.words], program.returncode, out, err)

    def run_job(self, words: Sequence[object], cwd: Path | str, processes: int = 2) -> subprocess.CompletedProcess:
        """As :meth:`run` of several processes that are told of each other as by torchrun, on processors.

        torchrun itself, which imports torch anew in each, is run by tests/docs/test_expert_commands.py.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            job = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(probe.getsockname()[1]), "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
        started = [self.start(words, cwd, **job, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(processes)]
        while None in (status := [program.poll() for program in started]) and not any(status):
            time.sleep(0.05)
        if any(status):
            for program in started:
                program.kill()
        out, err = ("".join(said) for said in zip(*(program.communicate() for program in started), strict=True))
        return subprocess.CompletedProcess(list(words), next(filter(None, status), 0), out, err)

    def listen(self, seconds: float) -> bool:
        """Take in what the process says within so many seconds; False if it was silent."""
        if not select.select([self.process.stdout], [], [], max(0.0, seconds))[0]:
            return False
        said = os.read(self.process.stdout.fileno(), 65536)
        assert said, "the process that forks has ended"
        *lines, self.unread = (self.unread + said).split(b"\n")
        for line in lines:
            pid, status = json.loads(line)
            if status is None:
                next(program for program in self.programs if not program.pid).pid = pid
            else:
                # The system gives numbers again: of those that had it, the one that has not ended.
                [program] = [each for each in self.programs if each.pid == pid and each.returncode is None]
                program.returncode = status
        return True

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(60)


def wait_for_work() -> dict | None:
    """Return in a forked child, with what it is to do; in the parent only at the end of the input, with None."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    unread = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            with contextlib.suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    say(ended[0], os.waitstatus_to_exitcode(ended[1]))
        if 0 in ready:
            said = os.read(0, 65536)
            if not said:
                return None
            *lines, unread = (unread + said).split(b"\n")
            for line in lines:
                child = os.fork()
                if not child:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.close(woken)
                    os.close(wake)
                    return json.loads(line)
                say(child, None)


def say(pid: int, status: int | None) -> None:
    """Tell of a child that began, or that ended with a status."""
    os.write(1, json.dumps([pid, status]).encode() + b"\n")


def become(work: dict) -> None:
    """Take folder, environment, streams and path of a new process."""
    os.chdir(work["folder"])
    os.environ.clear()
    os.environ.update(work["environment"])
    for stream, name in enumerate((os.devnull, *work["streams"])):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC if stream else os.O_RDONLY)
        os.dup2(handle, stream)
        os.close(handle)
    tempfile.tempdir = None
    warnings.simplefilter("ignore")
    script = work["words"][0]
    first = work["folder"] if script == "-m" else str(Path(script).resolve().parent)
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [first, *added, *(path for path in sys.path[1:] if path not in added)]


if __name__ == "__main__":
    # What lives now lives on in each child: without it, a child's last collection takes longer than many a program.
    gc.disable()
    import monai.bundle  # noqa: F401
    import segmentation_models_pytorch  # noqa: F401
    import torch  # noqa: F401

    gc.freeze()
    gc.enable()
    todo = wait_for_work()
    if todo is not None:
        become(todo)
        words = todo["words"]
        sys.argv = words[1:] if words[0] == "-m" else words
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
