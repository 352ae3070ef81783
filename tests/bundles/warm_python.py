# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m MODULE ARGUMENTS`` without the ten seconds in which torch and MONAI are imported.

Run as a program it imports the two, but nothing of this package, and waits. Each line of its standard input, a JSON
object, makes it fork; the child is given its folder, environment, output files and arguments, and runs the module to
the end of a Python program as ``python -m`` would: exit status, ``sys.excepthook`` and what is registered for the exit
are those of the interpreter itself. The parent answers with the child's status.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import warnings


def wait_for_work() -> dict | None:
    """Return in a forked child, with what it is to do; in the parent only at the end of the input, with None."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def become(work: dict) -> None:
    """Take folder, environment and streams of a new process."""
    os.chdir(work["folder"])
    os.environ.clear()
    os.environ.update(work["environment"])
    for stream, name, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, work["out"], os.O_WRONLY),
        (2, work["err"], os.O_WRONLY),
    ):
        handle = os.open(name, mode)
        os.dup2(handle, stream)
        os.close(handle)
    warnings.simplefilter("ignore")
    sys.path[0] = work["folder"]
    sys.argv = [work["module"], *work["arguments"]]


if __name__ == "__main__":
    import monai.bundle  # noqa: F401
    import torch  # noqa: F401

    todo = wait_for_work()
    if todo is not None:
        become(todo)
        runpy.run_module(todo["module"], run_name="__main__", alter_sys=True)
