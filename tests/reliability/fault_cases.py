# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while a run trains: each case makes it go wrong and returns what the person sees."""

from __future__ import annotations

import builtins
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from ignite.engine import Events

from monai_cxrssl.data import DecodedImages, PairDataset, PairSampler, patient_bags, training_loader
from monai_cxrssl.files import write_json
from monai_cxrssl.handlers import InputRangeCheck, StopOnInvalidLoss
from tests.reliability.cache_fault_cases import CACHE_FAULTS
from tests.reliability.fault_frame import ends, films
from tests.reliability.tiny_run import BATCHES, TinyFilms, tiny_run, two_views

__all__ = ["FAULTS"]


class At:
    """Do something when an iteration of a run starts."""

    def __init__(self, iteration: int, action: Callable[[Any], None]) -> None:
        self.iteration, self.action = iteration, action

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED(once=self.iteration), self.action)


def fails(folder: Path, error: Exception) -> str:
    def action(engine: Any) -> None:
        raise error

    return ends(tiny_run(folder, more=[At(8, action)]).run)


@contextmanager
def full_disk(number: int, after: int = 3000) -> Iterator[None]:
    """A disk that takes so many bytes of a file and then refuses."""
    plain = builtins.open

    class Full:
        def __init__(self, *arguments: Any) -> None:
            self.file, self.left = plain(*arguments), after

        def write(self, data: Any) -> int:
            self.left -= len(memoryview(data).cast("B"))
            if self.left < 0:
                raise OSError(number, os.strerror(number))
            return self.file.write(data)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: Any) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with mock.patch("monai_cxrssl.checkpoints.file.open", Full, create=True):
        yield


def checkpoint_refused(folder: Path, number: int) -> str:
    def action(engine: Any) -> None:
        refusing.__enter__()

    refusing = full_disk(number)
    try:
        return ends(tiny_run(folder, more=[At(8, action)]).run)
    finally:
        refusing.__exit__(None, None, None)


def metrics_refused(folder: Path) -> str:
    error = OSError(errno.ENOSPC, "No space left on device", str(folder / "metrics.json"))

    def action(engine: Any) -> None:
        with mock.patch("pathlib.Path.write_text", side_effect=error), mock.patch("os.replace", side_effect=error):
            write_json({"a": 1}, folder / "metrics.json")

    return ends(tiny_run(folder, more=[At(8, action)]).run)


def run_over(folder: Path, spoil: Callable[[list[dict[str, str]]], None], workers: int = 0, **options: Any) -> str:
    """An epoch over images that are decoded at each access, some spoilt after they were looked at."""
    items = films(folder)
    images = DecodedImages(items, side=32, memory_limit_gb=0, progress=False, num_threads=2, **options)
    spoil(items)
    sampler = PairSampler(patient_bags(images.items), seed=0)
    # 8 x 8 pixels of each are enough.
    data = PairDataset(images, lambda image, key, views=None: two_views(image[:, :8, :8], key, views))
    loader = training_loader(data, sampler, 4, num_workers=workers)
    return ends(lambda: [batch["image"].shape for batch in loader])


def vanish(items: list[dict[str, str]]) -> None:
    Path(items[3]["image"]).unlink()


def damage(items: list[dict[str, str]]) -> None:
    path = Path(items[3]["image"])
    path.write_bytes(path.read_bytes()[:500])


def vanish_many(items: list[dict[str, str]]) -> None:
    for item in items[:12]:
        Path(item["image"]).unlink()


def too_slow(folder: Path) -> str:
    from monai_cxrssl.data.reading.read import read_cxr_uint

    items = films(folder, 8)
    slow = items[3]["image"]

    def read(path: str) -> np.ndarray:
        if path == slow:
            time.sleep(3)
        return read_cxr_uint(path)

    return ends(lambda: DecodedImages(items, side=32, reader=read, read_seconds=0.5, progress=False))


def dead_worker(folder: Path) -> str:
    def action(engine: Any) -> None:
        worker = engine._dataloader_iter.gi_frame.f_locals["batches"]._workers[0]
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()

    return ends(tiny_run(folder, workers=1, more=[At(8, action)]).run)


def out_of_memory(folder: Path) -> str:
    return ends(tiny_run(folder, more=[At(8, lambda engine: torch.empty(10**16))]).run)


def no_number(folder: Path) -> str:
    def action(engine: Any) -> None:
        engine.state.batch["image"] = torch.full((4, 2, 1, 8, 8), float("nan"))

    return ends(tiny_run(folder, more=[StopOnInvalidLoss(), At(8, action)]).run)


def unreadable(folder: Path, bad: int, limit: float) -> str:
    items = films(folder, 20)
    for item in items[:bad]:
        Path(item["image"]).write_text("<html>log in</html>")
    return ends(lambda: DecodedImages(items, side=32, max_unreadable=limit, progress=False))


def loader_over(count: int, batch_size: int, patients: int = 99, **options: Any) -> str:
    tiny = TinyFilms(count)
    for number, item in enumerate(tiny.items):
        item["patient_id"] = f"p{number % patients}"
    sampler = PairSampler(patient_bags(tiny.items), simclr_epochs=None, seed=0, **options)
    told: list[str] = []

    def run() -> None:
        loader = training_loader(PairDataset(tiny, two_views), sampler, batch_size)
        told.extend(str(len(batch["image"])) for batch in loader)

    return f"{ends(run)} (batches of {', '.join(told) or 'nothing'})"


def shards(folder: Path) -> str:
    return "; ".join(loader_over(11, 2, rank=rank, world_size=3).split("(")[1] for rank in range(3))


def two_runs(folder: Path) -> str:
    """A second run in the output folder of a run at work in another process, which must end as if alone."""
    shared = folder / "shared"
    command = [sys.executable, "-m", "tests.reliability.tiny_run", str(shared), "auto", "2", "0.2"]
    first = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    with first.stdout:
        assert first.stdout.readline() == "started\n"
        seen = ends(lambda: tiny_run(shared, epochs=2, resume="auto"))
        assert first.poll() is None, "the first run ended too early to be disturbed"
        assert first.wait(timeout=120) == 0
    alone = tiny_run(folder / "alone", epochs=2)
    alone.run()
    final = torch.load(shared / "final.pt", weights_only=True)
    equal = all(torch.equal(final[name], value) for name, value in alone.method.state_dict().items())
    return f"{seen} The first ends with the weights of a run alone: {equal}."


def views_of(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> str:
    def action(engine: Any) -> None:
        engine.state.batch["image"] = change(engine.state.batch["image"])

    class Change:
        def attach(self, engine: Any) -> None:
            engine.add_event_handler(Events.GET_BATCH_COMPLETED, action)

    return ends(tiny_run(folder, epochs=1, minutes=10, more=[Change(), InputRangeCheck()]).run)


def blocked_folder(folder: Path) -> str:
    (folder / "eval").write_text("a file")
    return ends(lambda: tiny_run(folder / "eval" / "checkpoints"))


def resumed_from(folder: Path, spoil: Callable[[Path], None]) -> str:
    tiny_run(folder, epochs=2, minutes=0).run()
    spoil(folder / "checkpoint_epoch=0002.pt")
    return ends(lambda: tiny_run(folder, epochs=2, resume="auto", minutes=0))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.find(b"data/0") + 3000
    content[at] ^= 1
    path.write_bytes(bytes(content))


# What happens, what must be said (a regular expression), how it is brought about in a folder.
FAULTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "full disk as a checkpoint is written": (
        r"stops: .*was not written\. The disk is full; free some space.*Go on from",
        lambda folder: checkpoint_refused(folder, errno.ENOSPC),
    ),
    "quota used up as a checkpoint is written": (
        r"stops: .*was not written\. The disk quota is used up", lambda folder: checkpoint_refused(folder, errno.EDQUOT)
    ),
    "input/output error as a checkpoint is written": (
        r"stops: .*was not written\. The disk reports an input/output error",
        lambda folder: checkpoint_refused(folder, errno.EIO),
    ),
    "output folder has become read-only": (
        r"stops: .*was not written\. The file system is read-only",
        lambda folder: checkpoint_refused(folder, errno.EROFS),
    ),
    "full disk as metrics.json is written": (r"stops: The disk is full.*Go on from", metrics_refused),
    "output folder cannot be made": (r"stops: The folder .* cannot be made", blocked_folder),
    "file vanished after the scan": (
        r"goes on: unreadable now, replaced .*3\.png does not exist", lambda folder: run_over(folder, vanish)
    ),
    "file vanished after the scan, two workers": (
        r"goes on: unreadable now, replaced .*3\.png does not exist", lambda folder: run_over(folder, vanish, 2)
    ),
    "file cut after the scan": (
        r"goes on: unreadable now, replaced .*3\.png", lambda folder: run_over(folder, damage)
    ),
    "more than 5 % of the files vanish": (
        r"stops: \d+ of 40 samples can no longer be read", lambda folder: run_over(folder, vanish_many)
    ),
    "file that takes too long": (r"goes on: unreadable: .*3\.png: was not read within 0\.5 s", too_slow),
    **CACHE_FAULTS,
    "loader process killed": (r"stops: A process that loads data has died.*Go on from", dead_worker),
    "processor memory used up": (r"stops: The memory of the .* is used up\. Lower --batch_size", out_of_memory),
    "GPU memory used up": (
        r"stops: The memory of the device is used up\. Lower --batch_size.*--accumulation_steps.*gradient_cache_chunk",
        lambda folder: fails(folder, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
    ),
    "machine memory used up": (
        r"stops: The memory of this machine is used up", lambda folder: fails(folder, MemoryError())
    ),
    "loss is no number": (r"stops: The loss is nan .*\.png", no_number),
    "all files unreadable": (r"stops: All 20 images are unreadable", lambda folder: unreadable(folder, 20, 0.05)),
    "more unreadable files than allowed": (
        r"stops: 4 of 20 images are unreadable, more than the 5%", lambda folder: unreadable(folder, 4, 0.05)
    ),
    "three unreadable files of 20": (r"goes on: unreadable: .*HTML", lambda folder: unreadable(folder, 3, 0.05)),
    "one patient only": (r"stops: All 8 images are of one patient", lambda _: loader_over(8, 4, patients=1)),
    "batch larger than the data": (
        r"goes on: The batch size of 64 is more than the 8 samples .*batches of 8\)", lambda _: loader_over(8, 64)
    ),
    "one image only": (r"stops: A batch must hold at least two", lambda _: loader_over(1, 4)),
    "odd last batch": (r"goes on: .*batches of 4, 4\)", lambda _: loader_over(11, 4)),
    "uneven shards of three processes": (r"^(batches of 2[,2 ]*\)(; )?){3}$", shards),
    "two runs in one output folder": (
        r"stops: Another run is writing to .*weights of a run alone: True", two_runs
    ),
    "views beyond [0, 1]": (
        r"stops: The views of the first batch go from 0 to 255; expected uint8",
        lambda folder: views_of(folder, lambda views: views.float().clamp_(max=0).index_fill_(0, torch.tensor([1]), 255)),
    ),
    "views that are no numbers": (
        r"stops: The views of the first batch hold NaN", lambda folder: views_of(folder, lambda views: views * float("nan"))
    ),
    "views of one value": (r"goes on: 100% of the views", lambda folder: views_of(folder, lambda views: views * 0)),
    "newest checkpoint cut": (
        r"goes on: Skipped the checkpoint .*epoch=0002\.pt: it is cut or damaged", lambda folder: resumed_from(folder, cut)
    ),
    "bit flipped in the newest checkpoint": (
        r"goes on: Skipped the checkpoint .*epoch=0002\.pt: ", lambda folder: resumed_from(folder, flip)
    ),
}  # fmt: skip
assert BATCHES > 1
