# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Does a long run grow? The bundle of SimCLR trains for half an hour and more, and is looked at every few seconds.

    python benchmarks/soak.py [--minutes 30] --out FOLDER [--picture docs/images/soak.png]
    python docs/make_reliability_table.py     # puts the figures beside that picture into docs/reliability.md

``monai.bundle run`` trains a small network on phantoms out of a cache, with loader processes, a checkpoint every six
seconds and the online probe every tenth epoch. Two of the images were cut before they were cached, and two bits of the
cache are flipped before the run, so that in each epoch two samples cannot be read and are replaced by others. In the
end the run is stopped with SIGTERM, and must have saved its state.

Of the process and all its descendants are sampled: own memory (anonymous and shared pages, what several processes share
divided among them), open file descriptors, threads and files of shared memory; and the bytes on the disk. Pages of
program files are shown, but not counted: their share falls and rises as other programs on the machine use the same
libraries. The slope of a quantity is that of Theil and Sen with its 95 % interval, over the medians of each minute
after the warm-up. Linux only.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from measure import machine, table, write_json

__all__ = ["main"]

REPO = Path(__file__).resolve().parents[1]
STOPPED_STATUS = 75
IMAGE_SIZE = 32
# What is sampled: its name, its unit, and the name in the table.
QUANTITIES = {
    "memory_mib": "own memory of all processes, MiB",
    "trainer_mib": "of the training process, MiB",
    "loaders_mib": "of the loader processes, MiB",
    "files_mib": "pages of program files, MiB",
    "descriptors": "open file descriptors",
    "threads": "threads",
    "shared_files": "files of shared memory",
    "checkpoints_mib": "checkpoints on the disk, MiB",
    "rest_mib": "rest of the output folder, MiB",
}


def descendants(process: int) -> list[int]:
    """A process and all that it and they have started."""
    found = [process]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text(encoding="ascii").split()]
    return found


def proportional_mib(process: int) -> tuple[float, float]:
    """Own memory of a process and its pages of files, in MiB; of what it shares with n others, one part in n + 1."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kib = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return (kib["Pss_Anon:"] + kib["Pss_Shmem:"]) / 1024, kib["Pss_File:"] / 1024


def shared_memory_files(processes: Sequence[int]) -> int:
    """Files below ``/dev/shm`` that processes have mapped, and those named after them that nobody has."""
    mapped = set()
    for process in processes:
        for line in Path(f"/proc/{process}/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            if "/dev/shm/" in line:
                mapped.add(line.split()[4])
    names = [path.name for path in Path("/dev/shm").glob("*")]
    return len(mapped) + sum(f"_{process}_" in name for name in names for process in processes)


def bytes_below(folder: Path) -> int:
    """Bytes of all files of a folder; those that go meanwhile are passed over."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def sample(process: int, output: Path) -> dict[str, float] | None:
    """The quantities now; None when a process ended while it was looked at."""
    try:
        family = descendants(process)
        checkpoints = bytes_below(output / "checkpoints")
        memory = [proportional_mib(member) for member in family]
        return {
            "memory_mib": sum(own for own, _ in memory),
            "trainer_mib": memory[0][0],
            "loaders_mib": sum(own for own, _ in memory[1:]),
            "files_mib": sum(files for _, files in memory),
            "descriptors": sum(len(list(Path(f"/proc/{member}/fd").iterdir())) for member in family),
            "threads": sum(len(list(Path(f"/proc/{member}/task").iterdir())) for member in family),
            "shared_files": shared_memory_files(family),
            "checkpoints_mib": checkpoints / 2**20,
            "rest_mib": max(0, bytes_below(output) - checkpoints) / 2**20,
        }
    except (FileNotFoundError, ProcessLookupError):
        return None


def prepare(folder: Path, patients: int) -> tuple[Path, Path]:
    """Write images, two of them cut, and a cache of them with two flipped bits; return both folders."""
    from monai_cxrssl.data import decoded_side, open_dataset, open_images
    from monai_cxrssl.phantom import make_phantom_dataset

    films, cache = folder / "films", folder / "cache"
    make_phantom_dataset(films, patients=patients, size=2 * IMAGE_SIZE, images_per_patient=(1, 2), progress=False)
    source = open_dataset(str(films), None)
    items = source.items("training")
    for item in items[10:12]:
        os.truncate(item["image"], Path(item["image"]).stat().st_size // 2)
    images = open_images(items, decoded_side(IMAGE_SIZE), cache, max_unreadable=1, progress=False)
    block = next(cache.glob("block-*.cxr"))
    starts = [sum(images.image(before).size for before in range(index)) for index in (20, 30)]
    with block.open("r+b") as file:
        for start in starts:
            file.seek(start + 100)
            byte = file.read(1)[0]
            file.seek(start + 100)
            file.write(bytes([byte ^ 1]))
    return films, cache


def command(options: argparse.Namespace, films: Path, cache: Path, output: Path) -> list[str]:
    """The run, as a user would start it."""
    given = {
        "config_file": REPO / "bundles/simclr/configs/train.json",
        "bundle_root": REPO / "bundles/simclr",
        "dataset_dir": films,
        "cache_dir": cache,
        "output_dir": output,
        "model_path": output / "model.pt",
        "recipe": "short",
        "image_size": IMAGE_SIZE,
        "batch_size": 16,
        "max_epochs": 100_000,
        "num_workers": options.workers,
        "checkpoint_minutes": 0.1,
        "probe_every": 10,
        "device": "cpu",
    }
    words = [sys.executable, "-m", "monai.bundle", "run"]
    for name, value in given.items():
        words += [f"--{name}", str(value)]
    return words


def slope(minutes: Sequence[float], values: Sequence[float], warm_up: float) -> dict[str, float]:
    """Growth per hour after the warm-up, with its 95 % interval.

    Neighbouring samples resemble each other, which would make the interval too narrow; so each minute counts once.
    """
    from scipy.stats import theilslopes

    rows = [(minute, value) for minute, value in zip(minutes, values, strict=True) if minute >= warm_up]
    blocks = [[value for _, value in block] for _, block in groupby(rows, key=lambda row: int(row[0]))]
    medians = [statistics.median(block) for block in blocks]
    result = theilslopes(medians, [number / 60 for number in range(len(medians))], 0.95)
    return {
        "first": medians[0],
        "last": medians[-1],
        "highest": max(value for _, value in rows),
        "per_hour": float(result.slope),
        "low": float(result.low_slope),
        "high": float(result.high_slope),
    }


def work_done(said: str) -> dict[str, int]:
    """Epochs and iterations that a run says it has done when it is stopped."""
    epochs = re.findall(r"epoch (\d+)/\d+ \(", said)
    stopped = re.search(r"the run was stopped after iteration (\d+) of", said)
    return {"epochs": int(epochs[-1]) if epochs else 0, "iterations": int(stopped[1]) if stopped else 0}


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw the quantities over time."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    minutes = [row["minute"] for row in report["samples"]]
    panels = (
        ("memory, MiB", ("memory_mib", "trainer_mib", "loaders_mib", "files_mib")),
        ("number", ("descriptors", "threads", "shared_files")),
        ("on the disk, MiB", ("checkpoints_mib", "rest_mib")),
    )
    figure = Figure(figsize=(8, 8.5), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, gridspec_kw={"height_ratios": (2, 1, 1)})
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for axis, (unit, names) in zip(axes, panels, strict=True):
        for name, colour in zip(names, colours, strict=False):
            label = QUANTITIES[name].removesuffix(", MiB")
            axis.plot(minutes, [row[name] for row in report["samples"]], color=colour, linewidth=1, label=label)
        axis.axvspan(0, report["options"]["warm_up"], color="0.93", linewidth=0)
        axis.set_ylabel(unit)
        axis.set_ylim(0, 1.45 * max(row[name] for row in report["samples"] for name in names))
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", fontsize=9, ncols=2)
    growth = report["slopes"]["memory_mib"]
    axes[0].set_title(
        f"A run of {minutes[-1]:.0f} minutes: own memory {growth['per_hour']:+.1f} MiB per hour "
        f"(95 % interval {growth['low']:+.1f} to {growth['high']:+.1f})",
        fontsize=10,
    )
    axes[-1].set_xlabel("minutes; grey: warm-up, not in the slope")
    axes[-1].set_xlim(0, minutes[-1])
    figure.savefig(path, dpi=100)
    print(f"written: {path}")


def watch(options: argparse.Namespace, words: Sequence[str], output: Path) -> tuple[list[dict[str, float]], int]:
    """Start the run, sample it, stop it; return the samples and the exit status."""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    with (options.out / "run.txt").open("w") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said, cwd=REPO, env=environment)
        rows: list[dict[str, float]] = []
        try:
            while not (output / "checkpoints").is_dir() and process.poll() is None:
                time.sleep(1)
            began = time.monotonic()
            while (seconds := time.monotonic() - began) < options.minutes * 60 and process.poll() is None:
                found = sample(process.pid, output)
                if found is not None:
                    rows.append({"minute": seconds / 60, **found})
                time.sleep(options.every)
            process.send_signal(signal.SIGTERM)
            return rows, process.wait(timeout=120)
        finally:
            process.kill()


def main() -> None:
    """Run, print the table, write the samples and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm_up", type=float, default=10, help="minutes at the start that the slope leaves out")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples")
    parser.add_argument("--patients", type=int, default=160, help="phantoms to train on")
    parser.add_argument("--workers", type=int, default=2, help="loader processes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run and samples.json; must not exist")
    parser.add_argument("--picture", type=Path, help="the picture; by default soak.png in the folder")
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit("This benchmark reads /proc, as Linux has it; run it there.")
    if options.minutes < options.warm_up + 3:
        parser.error(f"--minutes {options.minutes:g} leave fewer than three after --warm_up {options.warm_up:g}.")
    options.out.mkdir(parents=True)

    films, cache = prepare(options.out, options.patients)
    output = options.out / "run"
    words = command(options, films, cache, output)
    samples, status = watch(options, words, output)
    if not samples or samples[-1]["minute"] < options.minutes - 1:
        raise SystemExit(f"The run ended early, with status {status}: see {options.out / 'run.txt'}.")
    minutes = [row["minute"] for row in samples]
    slopes = {name: slope(minutes, [row[name] for row in samples], options.warm_up) for name in QUANTITIES}
    said = (options.out / "run.txt").read_text(encoding="utf-8")
    report = {
        "machine": machine(("monai", "pytorch-ignite")),
        "options": {name: value for name, value in vars(options).items() if not isinstance(value, Path | None)},
        "quantities": QUANTITIES,
        "done": work_done(said),
        "exit_status": status,
        "checkpoints_left": sorted(path.name for path in (output / "checkpoints").glob("*")),
        "replaced": said.count("unreadable now, replaced"),
        "slopes": slopes,
        "samples": samples,
    }
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    rows = [{"": label, **slopes[name]} for name, label in QUANTITIES.items()]
    print(table(rows, list(rows[0])))
    write_json(report, options.out / "samples.json")
    # The figures go beside the picture, under its name.
    picture = options.picture or options.out / "soak.png"
    draw(report, picture)
    write_json({name: value for name, value in report.items() if name != "samples"}, picture.with_suffix(".json"))
    if status != STOPPED_STATUS:
        raise SystemExit(f"The run ended with status {status}, not {STOPPED_STATUS}: see {options.out / 'run.txt'}.")


if __name__ == "__main__":
    main()
