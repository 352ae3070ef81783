# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Record of a run: data, options, status, metrics."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import lock, write_json

__all__ = ["RECORD", "command_line", "finish_run", "is_held", "list_runs", "read_record", "runs_table", "start_run"]

logger = logging.getLogger(__name__)

#: Name of the record in a run's folder.
RECORD = "run.json"
#: Files that hold the metrics of a run, below its folder; the first that is there counts.
_METRICS = {
    "train": ("metrics.json",),
    "evaluate": ("report/metrics.json", "evaluation.json", "probe.json"),
    "inference": (),
}
_TABLES = ("predictions.csv", "embeddings.csv")
#: Options that say where things are, or how a run goes on, and nothing of what is learnt.
_PLACES = frozenset(
    {"config_file", "meta_file", "logging_file", "run_id", "output_dir", "model_path", "dataset_dir", "datalist",
     "recipe", "resume", "replace", "cache_dir", "num_workers", "device", "memory_limit_gb", "checkpoint_minutes"}
)  # fmt: skip
#: Starts of the runs of this process, seconds of a clock that only goes on, and what holds their folders.
_started: dict[Path, tuple[float, contextlib.ExitStack]] = {}


def start_run(
    output_dir: str | os.PathLike,
    kind: str,
    source: str | None = None,
    recipe: str | None = None,
    options: Mapping[str, Any] | None = None,
    resolved: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``run.json``, by which one knows later what a run was, and hold the folder until the process ends.

    Only the first process writes. The record of a training that goes on keeps when it began.

    Args:
        output_dir: folder of the run.
        kind: ``"train"``, ``"evaluate"`` or ``"inference"``.
        source: name of the data set.
        recipe: ``"full"`` or ``"short"``, of a training.
        options: that the user gave; by default those of the command line.
        resolved: values that the recipe was resolved to by what is trained.

    Returns:
        The record's path.
    """
    import ignite.distributed as idist

    from monai_cxrssl import __version__

    folder = Path(output_dir).absolute()
    path = folder / RECORD
    if idist.get_rank() != 0:
        return path
    files, given = command_line(sys.argv)
    before = read_record(folder)
    going_on = before.get("kind") == kind == "train" and before.get("status") != "complete"
    record: dict[str, Any] = {
        "kind": kind,
        "status": "running",
        "config": files,
        "options": dict(given if options is None else options),
        "changed": _changed(given if options is None else options, files, recipe),
        "recipe": recipe,
        **({} if resolved is None else {"resolved": dict(resolved)}),
        "data": source,
        "version": __version__,
        "started": _now(),
    }
    if going_on:
        record |= {"started": before.get("started"), "resumed": [*before.get("resumed", []), record["started"]]}
    write_json(_plain(record), path)
    _release(folder)
    held = contextlib.ExitStack()
    with contextlib.suppress(ConfigurationError, OSError):  # a second run in one folder; its checkpoints refuse it
        held.enter_context(lock(folder, f"Another run is writing to {folder}."))
    _started[folder] = (time.monotonic(), held)
    return path


def finish_run(output_dir: str | os.PathLike) -> None:
    """Complete the record of a run: status, time, and its main metrics."""
    import ignite.distributed as idist

    folder = Path(output_dir).absolute()
    record = read_record(folder)
    if idist.get_rank() != 0 or not record:
        return
    metrics = _main_metrics(folder, str(record.get("kind")))
    seconds = metrics.pop("seconds", None)
    if folder in _started and (seconds is None or "resumed" not in record):
        seconds = time.monotonic() - _started[folder][0]
    record |= {"status": "complete", "finished": _now(), "seconds": seconds, "metrics": metrics}
    write_json(_plain(record), folder / RECORD)
    _release(folder)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a run; nothing where there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def is_held(folder: Path) -> bool:
    """Return whether another process runs in a folder."""
    if folder.absolute() in _started:
        return False
    try:
        with lock(folder, "held"):
            return False
    except ConfigurationError:
        return True
    except OSError:
        return False


def list_runs(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Return the records of runs, the oldest first.

    Args:
        folder: of a bundle, whose ``runs`` are listed, or of runs, or of one run.

    Returns:
        The records, each with ``folder``; the status of a run that ended before its end is ``"incomplete"``.

    Raises:
        ConfigurationError: there is no such folder.
    """
    top = Path(folder).expanduser()
    if not top.is_dir():
        raise ConfigurationError(f"There is no folder {top}; give the folder of a bundle, or of runs.")
    runs = top / "runs" if (top / "runs").is_dir() else top
    records = []
    for place in (runs, *sorted(path for path in runs.iterdir() if path.is_dir())):
        record = read_record(place)
        if record:
            running = record.get("status") == "running"
            status = ("running" if is_held(place) else "incomplete") if running else record.get("status")
            records.append({"folder": place.as_posix(), **record, "status": status})
    return sorted(records, key=lambda record: str(record.get("started")))


def runs_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Lay records out as aligned columns."""
    header = ("run", "kind", "status", "data", "recipe", "options", "metrics", "time")
    rows: list[tuple[str, ...]] = [header]
    for record in records:
        metrics = (f"{name} {_number(value)}" for name, value in (record.get("metrics") or {}).items())
        changed = (f"{name} {value}" for name, value in (record.get("changed") or {}).items())
        rows.append(
            (
                Path(record["folder"]).name,
                *(str(record.get(name) or "-") for name in ("kind", "status", "data", "recipe")),
                ", ".join(changed) or "-",
                ", ".join(metrics) or "-",
                _duration(record.get("seconds")),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def command_line(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return config files and options of ``monai.bundle run`` or of our own ``run``; nothing of another program.

    Args:
        words: program and arguments.

    Example:
        >>> command_line(["bundle", "run", "--config_file", "a.json", "--max_epochs", "3", "--compile"])
        (['a.json'], {'max_epochs': 3, 'compile': True})
    """
    if len(words) < 2 or words[1] != "run":
        return [], {}
    from fire.parser import DefaultParseValue

    options: dict[str, Any] = {}
    rest = list(words[2:])
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            continue
        name, sign, text = word[2:].partition("=")
        if not sign and rest and not rest[0].startswith("--"):
            sign, text = "=", rest.pop(0)
        options[name] = DefaultParseValue(text) if sign else True
    options.pop("strict", None)
    files = options.pop("config_file", [])
    return [str(file) for file in (files if isinstance(files, list | tuple) else [files])], options


def _changed(options: Mapping[str, Any], files: Sequence[str], recipe: str | None) -> dict[str, Any]:
    """The options that make a run another one than its recipe."""
    usual: dict[str, Any] = {}
    for file in files:
        path = Path(file)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            recipes = content.get("recipes")
            beside = path.parent / "recipes.json"
            if not isinstance(recipes, dict) and beside.is_file():
                recipes = json.loads(beside.read_text(encoding="utf-8"))
            usual |= content | ((recipes or {}).get(recipe) or {})
    return {
        name: value
        for name, value in options.items()
        if name not in _PLACES and not (name in usual and usual[name] == value)
    }


def _main_metrics(folder: Path, kind: str) -> dict[str, Any]:
    from monai_cxrssl.handlers.run_model import MAIN_METRICS

    for name in _METRICS.get(kind, ()):
        with contextlib.suppress(OSError, ValueError):
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            # A probe has its metrics one level down.
            flat = {**content, **content.get("linear", {})} if isinstance(content.get("linear"), dict) else content
            main = {key: flat[key] for key in (*MAIN_METRICS, "verdict") if flat.get(key) is not None}
            return {**main, "seconds": flat["seconds"]} if kind == "train" and "seconds" in flat else main
    for name in _TABLES:
        with contextlib.suppress(OSError), open(folder / name, newline="", encoding="utf-8", errors="replace") as file:
            return {"images": max(0, sum(1 for _ in csv.reader(file)) - 1)}
    return {}


def _release(folder: Path) -> None:
    if folder in _started:
        _started.pop(folder)[1].close()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _plain(content: Any) -> Any:
    """Content that JSON knows: an option may be a path or another object."""
    return json.loads(json.dumps(content, default=str))


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"
