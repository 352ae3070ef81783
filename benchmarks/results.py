# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run the benchmarks of speed and memory one after another, and write the page of their results.

    python benchmarks/results.py --work DIR [--only views step] [--page benchmarks/RESULTS.md] [--patience 5]

Each script runs at its defaults, or as ``SCRIPTS`` says, in a process of its own; its JSON, what it printed and how it
ran stay in the work folder. What is there is not measured again, so a call that was stopped is gone on with by the same
call; ``--again`` names scripts to measure anew. Before each script the machine is waited for until its processors have
been idle for some seconds, ``--patience`` minutes at most; after it, the processor time that others took meanwhile is
kept and shown, so that a reader can tell a quiet run from a disturbed one. All scripts together take about fifty-five
minutes on two idle cores. A script that fails is told at the end, and the page leaves it out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["main"]

HERE = Path(__file__).resolve().parent


class Script(NamedTuple):
    """A benchmark, its options, and about how many minutes it takes on two idle cores."""

    name: str
    options: tuple[str, ...]
    minutes: float


# The short ones first: what a window is too short for is then the least.
SCRIPTS = (
    Script("reading", (), 1.5),
    Script("public_formats", (), 4),
    Script("views", (), 3),
    Script("losses", (), 2.5),
    Script("scaling", (), 1.5),
    Script("end_to_end", (), 10.5),
    Script("step", ("--compile",), 3.5),
    Script("imports", (), 5),
    Script("cache", (), 1.5),
    Script("evaluation", (), 1.5),
    Script("inference", (), 7),
    Script("data_layer", (), 3.5),
    Script("archives", ("--repeats", "2"), 4),
    Script("memory", (), 6.5),
)
GPU = "python benchmarks/gpu.py --out gpu.json"
IDLE = 0.08  # share of the processors that may be busy
LOOK_SECONDS = 4.0


def busy_seconds() -> float | None:
    """Processor time that everything on this machine has taken since it started; None where the system does not say."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(value) for value in first[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor time of this process and of the children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in used)


def wait_until_idle(patience_minutes: float, cores: int) -> bool:
    """Wait until the processors are idle, or until patience ends; says which."""
    until = time.perf_counter() + 60 * patience_minutes
    while True:
        before, started = busy_seconds(), time.perf_counter()
        if before is None:
            return False
        time.sleep(LOOK_SECONDS)
        share = ((busy_seconds() or 0.0) - before) / (cores * (time.perf_counter() - started))
        if share <= IDLE:
            return True
        if time.perf_counter() >= until:
            return False


def run(script: Script, work: Path, patience: float) -> bool:
    """Run a script and keep what it gives; False when it failed."""
    cores = os.cpu_count() or 1
    idle = wait_until_idle(patience, cores)
    report, partial = work / f"{script.name}.json", work / f"{script.name}.partial.json"
    # Settings for a busy machine, such as one thread for all, would change what is measured.
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, str(HERE / f"{script.name}.py"), *script.options, "--out", str(partial)]
    print(f"{datetime.datetime.now():%H:%M:%S} {script.name}, about {script.minutes:g} minutes", flush=True)
    busy, own, started = busy_seconds(), own_seconds(), time.perf_counter()
    with (work / f"{script.name}.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=HERE.parent, env=free, stdout=subprocess.PIPE, stderr=log, text=True)
    seconds = time.perf_counter() - started
    if done.returncode or not partial.is_file():
        print(f"{script.name} failed; see {log.name}", flush=True)
        return False
    others = None
    if busy is not None:
        others = max(0.0, (busy_seconds() or 0.0) - busy - (own_seconds() - own)) / (cores * seconds)
    how = {
        "date": f"{datetime.date.today():%Y-%m-%d}",
        "options": list(script.options),
        "seconds": seconds,
        "idle_before": idle,
        "share_of_others": others,
        "printed": [line for line in done.stdout.splitlines() if not line.startswith("written: ")],
    }
    (work / f"{script.name}.run.json").write_text(json.dumps(how, indent=1) + "\n", encoding="utf-8")
    # Last: this file says that the script is done.
    partial.replace(report)
    return True


def loaded(work: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What each finished script gave, and how it ran."""
    return {
        script.name: tuple(json.loads((work / f"{script.name}{end}").read_text()) for end in (".json", ".run.json"))
        for script in SCRIPTS
        if (work / f"{script.name}.json").is_file() and (work / f"{script.name}.run.json").is_file()
    }


def as_text(value: float) -> str:
    """Three figures and no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def page(found: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Return the page as Markdown."""
    machines = [report["machine"] for report, _ in found.values()]
    known: dict[str, Any] = {}
    for one in machines:
        known |= {**one.pop("versions", {}), **{name: value for name, value in one.items() if value is not None}}
    device = f"{known.pop('processor', '?')}, {known.pop('cores', '?')} cores"
    device += f", GPU {known.pop('gpu')}" if "gpu" in known else ", no GPU"
    known.pop("threads", None)
    dates = sorted({how["date"] for _, how in found.values()})
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/results.py --work DIR --page benchmarks/RESULTS.md`; do not edit. Ratios compare"
        " runs of one",
        "script, in turns, on one machine. Trust them more than the times.",
        "",
        f"- device: {device}",
        f"- date: {' to '.join(dict.fromkeys((dates[0], dates[-1])))}",
        f"- versions: {', '.join(f'{name} {value}' for name, value in sorted(known.items()))}",
        "",
        "## Targets",
        "",
        "| figure | target | measured | holds | script |",
        "|---|---|---|---|---|",
    ]
    for name, (report, _) in found.items():
        for row in report.get("targets", []):
            cells = (row["figure"], row["target"], as_text(row["value"]), "yes" if row["holds"] else "**no**")
            lines.append(f"| {' | '.join(cells)} | `{name}.py` |")
    lines += [
        "",
        "## On a GPU",
        "",
        f"Not measured. `{GPU}` measures it in one call.",
    ]
    for name, (_, how) in found.items():
        others = how["share_of_others"]
        quiet = "what others took is not known" if others is None else f"others took {100 * others:.0f} % of the cores"
        command = " ".join(["python", f"benchmarks/{name}.py", *how["options"]])
        lines += ["", f"## {name}", "", f"`{command}`: {how['seconds'] / 60:.1f} minutes; {quiet}.", "", "```text"]
        lines += [*"\n".join(how["printed"]).strip("\n").splitlines(), "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [script.name for script in SCRIPTS]
    parser.add_argument("--work", type=Path, required=True, help="folder of the reports")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="scripts to run")
    parser.add_argument("--again", nargs="+", choices=names, default=[], help="scripts to run although they are done")
    parser.add_argument("--page", type=Path, help="Markdown file to write of all that is done")
    parser.add_argument("--patience", type=float, default=5.0, help="minutes to wait for an idle machine, each time")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.again:
        (options.work / f"{name}.json").unlink(missing_ok=True)
    wanted = set(options.only) | set(options.again)
    failed = [
        script.name
        for script in SCRIPTS
        if script.name in wanted
        and not (options.work / f"{script.name}.json").is_file()
        and not run(script, options.work, options.patience)
    ]
    found = loaded(options.work)
    if options.page is not None and found:
        options.page.write_text(page(found), encoding="utf-8")
        print(f"written: {options.page}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; the logs are in {options.work}")


if __name__ == "__main__":
    main()
