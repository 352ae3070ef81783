# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Trial of a search as an ordinary run of its bundle."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_cxrssl.checkpoints.stop_signal import STOPPED_STATUS
from monai_cxrssl.errors import TrainingError
from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.paused_run import PAUSED
from monai_cxrssl.label_efficiency import grid
from monai_cxrssl.tuning.halving import Outcome

__all__ = ["TrialRuns"]


class TrialRuns:
    """Run candidates to a share of their training, each in a folder of its own, and go on with it at the next rung.

    Args:
        folder: of the runs' folders.
        words: of the command that all have in common, config and data among them.
        lock: a descriptor for the runs to inherit.
        say: takes a line before and after each run.
    """

    def __init__(self, folder: Path, words: Sequence[str], lock: int | None, say: Callable[[str], None]) -> None:
        self.folder, self.words, self.lock, self.say = folder, list(words), lock, say

    def __call__(self, number: int, params: Mapping[str, Any], share: float) -> Outcome:
        """Train, or take what is there already.

        Raises:
            TrainingError: the run was stopped from outside, and says nothing of its options.
        """
        folder = self.place(number, params)
        if not self._reached(folder, share):
            self.say(f"{folder.name}: to {100 * share:.0f} % of the training")
            started = time.monotonic()
            status, problem = grid.run_process(self._command(folder, params, share), folder / "output.txt", self.lock)
            self._count(folder, time.monotonic() - started)
            if status < 0 or status == STOPPED_STATUS:
                raise TrainingError(
                    f"The run in {folder} was stopped (status {status}): {problem or 'nothing was said'}. The same "
                    "command goes on from its last checkpoint."
                )
            if status or not self._reached(folder, share):
                return Outcome(None, problem or f"the run ended with status {status} and left no {PAUSED}")
        record = self.record(number, params)
        if record["best"] is None:
            return Outcome(None, f"validation gave no finite {record['metric']}")
        self.say(f"{folder.name}: {record['metric']} {record['best']:.4f} after epoch {record['best_epoch']}")
        return Outcome(record["best"])

    def place(self, number: int, params: Mapping[str, Any]) -> Path:
        """Return the folder of a candidate."""
        told = "_".join(f"{n}={v:.6g}" if isinstance(v, float) else f"{n}={v}" for n, v in params.items())
        return self.folder / f"{number:03}_{re.sub(r'[^A-Za-z0-9_.=+-]+', '-', told)[:120]}"

    def record(self, number: int, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a candidate's run left at its last pause, and its ``seconds``; nothing of one without."""
        folder = self.place(number, params)
        return {**_read(folder / PAUSED), "seconds": _read(folder / "seconds.json").get("seconds", 0.0)}

    def described(self, number: int, params: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a candidate's row of the search with what its run left."""
        record = self.record(number, params)
        told = {name: record.get(name) for name in ("best_epoch", "epoch", "epochs", "seconds")}
        folder = self.place(number, params).relative_to(self.folder.parent).as_posix()
        validation = record.get("validation", [])
        return {"number": number, "params": dict(params), **row, **told, "folder": folder, "validation": validation}

    def _reached(self, folder: Path, share: float) -> bool:
        return _read(folder / PAUSED).get("pause_at", 0.0) >= share

    def _command(self, folder: Path, params: Mapping[str, Any], share: float) -> list[str]:
        own = {**params, "output_dir": folder, "model_path": folder / "model.pt", "resume": "auto", "pause_at": share}
        return [*grid.LAUNCH, *self.words, *(word for name, value in own.items() for word in (f"--{name}", str(value)))]

    def _count(self, folder: Path, seconds: float) -> None:
        before = _read(folder / "seconds.json").get("seconds", 0.0)
        write_json({"seconds": round(before + seconds, 3)}, folder / "seconds.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}
