# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Drawing of phantom patients by several processes.

The processes are new interpreters that import this module alone: neither a fork of a process with threads nor
the caller's main module, which ``multiprocessing`` would import again, and torch with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import ordered_map
from monai_cxrssl.phantom.patient import PhantomPatient, sample_patient
from monai_cxrssl.phantom.write import write_patient

__all__ = ["draw_patients", "serve"]

Items = list[dict[str, Any]]


def draw_patients(
    folder: Path, patients: Sequence[PhantomPatient], recipe: Mapping[str, Any], key: Sequence[int], processes: int
) -> Iterator[Items]:
    """Write the images of patients below a folder and yield the items of each in order.

    Args:
        folder: where :func:`~monai_cxrssl.phantom.write.write_patient` writes.
        patients: those to draw.
        recipe: the arguments of :func:`~monai_cxrssl.phantom.patient.sample_patient` that all of them were made by.
        key: numbers that tell the data set.
        processes: how many draw, the same files for any number; 1 draws in this process.

    Raises:
        ConfigurationError: a process ended.
        OSError: a file cannot be written.
    """
    if processes == 1:
        yield from (write_patient(folder, patient, tuple(key)) for patient in patients)
        return
    with contextlib.ExitStack() as stack:
        idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
        for _ in range(processes):
            idle.put(stack.enter_context(_process()))

        def draw(patient: PhantomPatient) -> Items:
            process = idle.get()
            made_by = {"index": patient.index, "label": patient.label, **recipe}
            try:
                return _ask(process, {"folder": str(folder), "patient": made_by, "key": list(key)})
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


def _ask(process: subprocess.Popen, call: dict[str, Any]) -> Items:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(call).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = b""
    if not line:
        raise ConfigurationError(
            f"A process that draws phantoms ended with status {process.wait()}, perhaps for want of memory; draw them "
            "with fewer workers."
        )
    answer = json.loads(line)
    if "error" in answer:
        raise OSError(*answer["error"])
    return answer["items"]


def serve() -> None:
    """Draw what the process that started this one asks for on standard input, a line of JSON each, until that ends."""
    import cv2

    cv2.setNumThreads(1)  # there is a process for each core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks, which ends this one
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin.buffer:
        call = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {
                "items": write_patient(Path(call["folder"]), sample_patient(**call["patient"]), tuple(call["key"]))
            }
        except OSError as error:
            answer = {"error": [error.errno, error.strerror, error.filename and os.fsdecode(error.filename)]}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
