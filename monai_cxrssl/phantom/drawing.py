# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Drawing of phantom patients by several processes.

The processes are new interpreters that import this module alone: neither a fork of a process with threads nor
the caller's main module, which ``multiprocessing`` would import again, and torch with it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import ordered_map
from monai_cxrssl.phantom.patient import PhantomPatient
from monai_cxrssl.phantom.write import write_patient

__all__ = ["draw_patients", "serve"]

Items = list[dict[str, Any]]


def draw_patients(
    folder: Path, patients: Sequence[PhantomPatient], key: tuple[int, ...], processes: int
) -> Iterator[Items]:
    """Write the films of patients below a folder and yield the items of each in order, the same files whatever
    ``processes`` is; 1 draws in this process.

    Raises:
        ConfigurationError: a process was ended from outside.
    """
    if processes == 1:
        yield from (write_patient(folder, patient, key) for patient in patients)
        return
    with contextlib.ExitStack() as stack:
        idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
        for _ in range(processes):
            idle.put(stack.enter_context(_process()))

        def draw(patient: PhantomPatient) -> Items:
            process = idle.get()
            try:
                return _ask(process, (folder, patient, key))
            finally:
                idle.put(process)

        yield from ordered_map(draw, patients, processes, name="phantom")


@contextlib.contextmanager
def _process() -> Iterator[subprocess.Popen]:
    """A process that draws until its context is left, or this process ends."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # An empty entry is the working directory, also there.
    environment = os.environ | one_thread | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import serve; serve()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
    )  # fmt: skip
    assert process.stdin is not None
    with process:
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):  # what it was asked when it ended
                process.stdin.close()


def _ask(process: subprocess.Popen, call: tuple[Path, PhantomPatient, tuple[int, ...]]) -> Items:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump(call, process.stdin)
        process.stdin.flush()
        items, error = pickle.load(process.stdout)
    except (BrokenPipeError, EOFError):
        raise ConfigurationError(
            f"A process that draws phantoms ended with status {process.wait()}, perhaps for want of memory; draw them "
            "with fewer workers."
        ) from None
    if error is not None:
        raise error
    return items


def serve() -> None:
    """Draw what the process that started this one asks for on standard input, until that ends."""
    import cv2

    cv2.setNumThreads(1)  # there is a process for each core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks, which ends this one
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answer: tuple[Items | None, Exception | None]
    while True:
        try:
            folder, patient, key = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = write_patient(folder, patient, key), None
        except Exception as error:
            answer = None, error
        pickle.dump(answer, answers)
        answers.flush()
