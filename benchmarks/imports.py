# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What importing this package adds to ``import monai``, and how soon its command line answers.

    python benchmarks/imports.py [--repeats 7] [--out imports.json]

Each repetition starts new processes, in turns: ``import monai``; that and ``import monai_cxrssl``; that and every room
of the package, as a bundle imports them; ``python -m monai_cxrssl --help``; and ``split`` of twenty images. Given are
medians of the processor time (user and system, with the interpreter's start) and of the wall time. What is added is
timed inside one process, right after ``import monai``, so that the swings of that do not hide it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

ROOMS = ("data", "transforms", "networks", "losses", "methods", "metrics", "engines", "handlers", "report", "apps")
# What the data room offers is imported when it is asked for.
EVERY_ROOM = "import " + ", ".join(f"monai_cxrssl.{room}" for room in ROOMS) + "; from monai_cxrssl.data import *"
FILMS = json.dumps({"training": [{"image": f"{n}.png", "patient_id": str(n)} for n in range(20)]})
PROGRAMS = {
    "import monai": ["-c", "import monai"],
    "import monai, monai_cxrssl": ["-c", "import monai, monai_cxrssl"],
    "import monai and every room": ["-c", f"import monai; {EVERY_ROOM}"],
    "python -m monai_cxrssl --help": ["-m", "monai_cxrssl", "--help"],
    "python -m monai_cxrssl split": ["-m", "monai_cxrssl", "split", "d.json", "--out", "s.json"],
}
ADDED = """
import time
begin = time.process_time()
import monai
middle = time.process_time()
{statement}
print("share", (time.process_time() - middle) / (middle - begin))
"""


def run(words: list[str], folder: str | None = None) -> tuple[float, float, str]:
    """Start Python with these words in a folder; returns processor seconds, wall seconds and what it printed."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, wall, done.stdout


def added(statement: str) -> float:
    """Processor time of a statement over that of ``import monai`` before it, in one process."""
    text = run(["-c", ADDED.format(statement=statement)])[2]
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("share "))


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    shares: dict[str, list[float]] = {"import monai_cxrssl": [], "import every room": []}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "d.json").write_text(FILMS)
        for _ in range(options.repeats):
            for name, words in PROGRAMS.items():
                times[name].append(run(words, folder)[:2])
            shares["import monai_cxrssl"].append(added("import monai_cxrssl"))
            shares["import every room"].append(added(EVERY_ROOM))

    # Only now: measure imports torch, and a process that is forked from a large one starts later.
    from measure import judged, machine, print_targets, table, write_json

    rows: list[dict[str, Any]] = [
        {"program": name, "cpu_s": statistics.median(cpu), "wall_s": statistics.median(wall)}
        for name, (cpu, wall) in ((name, zip(*pairs, strict=True)) for name, pairs in times.items())
    ]
    of = {row["program"]: row["cpu_s"] for row in rows}
    targets = [
        judged(f"{name}, added to import monai, %", 100 * statistics.median(share), "< 10")
        for name, share in shares.items()
    ]
    answer = of["python -m monai_cxrssl --help"] / of["import monai"]
    targets.append(judged("--help against import monai, times", answer, "< 2"))
    where = machine(("monai",))
    print(", ".join(f"{key} {value}" for key, value in where.items()) + f"; medians of {options.repeats}\n")
    print(table(rows, ["program", "cpu_s", "wall_s"]))
    print_targets(targets)
    write_json({"repeats": options.repeats, "machine": where, "programs": rows, "targets": targets}, options.out)


if __name__ == "__main__":
    main()
