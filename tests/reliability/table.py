# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``docs/reliability.md``: each case with what must be seen and what was."""

from __future__ import annotations

import json
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

A run of other settings than the checkpoint's is refused, and each setting that differs is named with both its values
("the checkpoint is of image_size 64, this run has 96"): options, optimiser, steps, and what the data hold (file names,
patients, labels, masks; the folder may have moved). What cannot change the result may differ: `--num_workers`,
`--cache_dir`, `--memory_limit_gb`, `--checkpoint_minutes`, `--probe_every`, the number of a GPU. A curriculum compares
before it trains anything.

SIGTERM and SIGINT save after the current iteration and end the process with status 75; a second signal ends it at
once. With several processes the launcher's way of stopping holds, and the last checkpoint is what is left.

Several processes save together, after the same iteration, in the middle of an epoch too; when that is, the clock of the
first one says. Its file holds the random generators and the sums of the epoch of each of the others as well, so that as
many processes go on exactly: `tests/reliability/test_two_processes.py` kills two processes on processors (gloo) within
epochs with SIGKILL, and they end bit-equal to two that were never stopped. Several GPUs were not tried. Another number
of processes goes on too, with a warning that it is not exact. Processes that find different checkpoints, as machines
with an output folder each, are refused.
"""

_SOAK = """
## A long run

![Memory, descriptors and disk over time]({picture})

`python benchmarks/soak.py --minutes {minutes:g}` trains the SimCLR bundle on a small network and phantoms out of a cache,
with {workers} loader processes, a checkpoint every six seconds and the online probe every tenth epoch, while two images were
cut before they were cached and two have a flipped bit in the cache. The process and its descendants were looked at every
{every:g} seconds, the run was stopped with SIGTERM in the end, and had saved its state (status {exit_status}). A slope is
that of Theil and Sen with its 95 % interval, over the medians of the minutes after the first {warm_up:g}. {epochs:,} epochs,
{iterations:,} iterations; {cores} cores, torch {torch}, Python {python}.

| | first minute | last minute | highest | slope per hour |
| --- | --- | --- | --- | --- |
{rows}
"""


def page() -> str:
    """Run all cases and write the page.

    Raises:
        AssertionError: a case was seen to be other than expected.
    """
    inputs, faults = _table(INPUTS), _table(FAULTS)
    return f"{_BEFORE}{long_run()}\n## Bad files: {len(INPUTS)}\n\n{inputs}\n\n## Faults of a run: {len(FAULTS)}\n\n{faults}\n"


def long_run() -> str:
    """The section on the long run, of the figures that ``benchmarks/soak.py`` left beside its picture, if there."""
    figures_file = PAGE.parent / "images" / "soak.json"
    if not figures_file.is_file():
        return ""
    told = json.loads(figures_file.read_text(encoding="utf-8"))
    rows = []
    for name, figures in told["slopes"].items():
        first, last, highest = (f"{figures[key]:,.4g}" for key in ("first", "last", "highest"))
        slope = "{per_hour:+.3g} ({low:+.3g} to {high:+.3g})".format(**figures)
        rows.append(f"| {told['quantities'][name]} | {first} | {last} | {highest} | {slope} |")
    return _SOAK.format(
        picture="images/soak.png", rows="\n".join(rows), exit_status=told["exit_status"], **told["machine"],
        **told["options"], **told["done"],
    )  # fmt: skip


def committed_cases() -> list[str]:
    """The cases of the committed page."""
    text = PAGE.read_text(encoding="utf-8")
    lines = text[text.index("## Bad files") :].splitlines()
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
