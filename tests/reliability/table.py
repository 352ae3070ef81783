# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``docs/reliability.md``: each case with what must be seen and what was."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.reliability.fault_cases import FAULTS
from tests.reliability.input_cases import INPUTS

__all__ = ["PAGE", "committed_cases", "page"]

Cases = Mapping[str, tuple[str, Callable[[Path], str]]]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

_BEFORE = """# What is bad, what goes wrong, and what is seen

This page is written by `python docs/make_reliability_table.py`, which brings about every case below with the code of
`tests/reliability/`; the same cases are tests. "Expected" is a regular expression that what is seen must match.

## Going on after a stop

A run with `--resume auto` goes on from the newest checkpoint that is undamaged, and says which ones it skipped and why.
A checkpoint holds the parts named in the configuration (method with its queue and teacher, optimiser, schedule,
history, probe), the gradient scaler, epoch and iteration, and the generators of torch, numpy and Python; views and
sampling are functions of seed, epoch and position. It is written every `--checkpoint_minutes` (10), within an epoch
too, into a temporary file, which is brought to the disk, read back and compared with its checksums, and renamed; the
older one goes only then. So no more than these minutes are lost, and the time of one iteration. On a CPU, in one
process and with the same number of workers, a run that was killed and resumed ends with weights bit-equal to those of
an uninterrupted one: `tests/reliability/test_kill.py` kills at random moments, 5 times, or as often as
`CXRSSL_KILLS` says.

SIGTERM and SIGINT save after the current iteration and end the process with status 75; a second signal ends it at
once. With several processes the launcher's way of stopping holds, and the last checkpoint is what is left.
"""


def page() -> str:
    """Run all cases and write the page.

    Raises:
        AssertionError: a case was seen to be other than expected.
    """
    inputs, faults = _table(INPUTS), _table(FAULTS)
    return f"{_BEFORE}\n## Bad files: {len(INPUTS)}\n\n{inputs}\n\n## Faults of a run: {len(FAULTS)}\n\n{faults}\n"


def committed_cases() -> list[str]:
    """The cases of the committed page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.split(" | ")[0][2:] for line in lines if line.startswith("| ")]
    return [cell for cell in cells if cell not in ("case", "---")]


def _table(cases: Cases) -> str:
    lines = ["| case | expected | seen |", "| --- | --- | --- |"]
    for name, (expected, cause) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            seen = cause(Path(folder))
            assert re.search(expected, seen), f"{name}: {seen}"
            seen = seen.replace(folder, "…")
        # The number of a process is another in every run.
        seen = re.sub(r"\(pid\(s\) \d+\) ", "", seen)
        seen = seen if len(seen) < 400 else f"{seen[:400]} …"
        cells = (name, f"`{expected}`", seen)
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
