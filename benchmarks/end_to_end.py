# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images per second of whole SimCLR epochs: this package against lightly, and against its own step on synthetic data.

    python benchmarks/end_to_end.py [--data FOLDER] [--images 192] [--repeats 4] [--out end_to_end.json]

On a GPU, ``benchmarks/gpu.py`` runs it.

Images, of a phantom or of a folder that this package can index, are written once as 8-bit PNGs of ``--film_side``
pixels; both sides start from these files. Ours: decoded once into memory, not timed, as it is done once per run; then
``PairDataset`` -> uint8 views (on a GPU raw images, which it augments) -> ``training_loader`` -> ``MethodTrainer``.
lightly: ``LightlyDataset`` -> its ``SimCLRTransform`` -> ``DataLoader`` -> a plain loop with its projection head and
``NTXentLoss``. Encoder, batch, image size, optimizer and threads are the same.

"defaults" are ours as the bundle runs it (bfloat16 where the device gains from it, channels-last memory) and lightly's
as its tutorial does (colour views, so a network of three channels; float32). At the same precision, lightly is set to
our views on one channel. "synthetic" repeats one batch that lies on the device. An epoch drops the last, shorter batch;
warm-up, with the start of the workers, is not timed. Variants take turns; figures are medians over the turns, and
ratios medians of the ratios within a turn. Pairs that differ by little (ours and synthetic; float32 and lightly's, same
views) take three times as many turns, among themselves, and their ratio is that of these turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import torch
from ignite.engine import Events
from ignite.handlers import Timer
from measure import in_turns, judged, machine, print_targets, ratio, table, wait_for, write_json
from torch import nn
from torch.utils.data import DataLoader
from views import lightly_transform

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data import (
    DecodedImages,
    PairDataset,
    PairSampler,
    index_folder,
    patient_bags,
    read_cxr_uint,
    training_loader,
)
from monai_cxrssl.data.stores.small_film import decoded_side, shrink
from monai_cxrssl.engines import DeviceViews, MethodTrainer
from monai_cxrssl.handlers import LoaderThroughput
from monai_cxrssl.hardware import autocast_dtype
from monai_cxrssl.methods import SimCLR
from monai_cxrssl.networks import Encoder
from monai_cxrssl.transforms import MultiView

__all__ = ["Lightly", "Ours", "compare", "main", "synthetic", "write_films"]

#: Names of variants.
OURS, SYNTHETIC, SAME_VIEWS = "ours, defaults", "ours, synthetic", "lightly, our views, float32"
DISTINCT = 64  # images that differ; more are copies, which decode no faster
PACKAGES = ("torchvision", "monai", "pytorch-ignite", "lightly", "timm", "segmentation-models-pytorch", "Pillow")


def write_films(folder: Path, source: Path | None, images: int, side: int) -> list[dict[str, Any]]:
    """Write ``images`` 8-bit PNGs of shorter side ``side`` and return their items, each a patient of its own."""
    if source is None:
        from monai_cxrssl.phantom import make_phantom_dataset

        phantom = folder / "phantom"
        make_phantom_dataset(
            phantom, patients=min(images, DISTINCT), size=side * 5 // 4, images_per_patient=(1, 1), progress=False
        )
        datalist = index_folder(phantom)
    else:
        datalist = index_folder(source)
    paths = [item["image"] for item in datalist.all_items()][: min(images, DISTINCT)]
    films = folder / "films"
    films.mkdir()
    items = []
    for number in range(images):
        path = films / f"{number:06d}.png"
        if number < len(paths):
            cv2.imwrite(str(path), shrink(read_cxr_uint(paths[number]), side))
        else:
            os.link(films / f"{number % len(paths):06d}.png", path)
        items.append({"image": str(path), "patient_id": str(number)})
    return items


class Ours:
    """Epochs of this package; the share of an epoch that its device waited for batches, in %, is kept in ``waited``."""

    def __init__(
        self, loader: Iterable, transform: MultiView, options: argparse.Namespace, encoder: str, amp: bool | str
    ) -> None:
        self.prepare_batch = DeviceViews(transform)
        self.method = SimCLR(Encoder(encoder, in_channels=1))
        self.loader, self.device, self.amp = loader, options.device, amp
        self.optimizer = torch.optim.SGD(self.method.to(options.device).parameters(), lr=0.01, momentum=0.9)
        self.waited: list[float] = []

    def epoch(self, length: int | None = None) -> None:
        """Train an epoch, or its first ``length`` batches."""
        trainer = MethodTrainer(
            self.device,
            1,
            self.loader,
            self.method,
            self.optimizer,
            prepare_batch=self.prepare_batch,
            amp=self.amp,
            epoch_length=length,
        )
        wait = Timer(average=False)
        wait.attach(
            trainer,
            start=Events.EPOCH_STARTED,
            pause=Events.GET_BATCH_COMPLETED,
            resume=Events.GET_BATCH_STARTED,
        )
        LoaderThroughput(threshold=1.0).attach(trainer)
        # The timer runs from the start of the epoch to the first batch too: making the loader's iterator is its work.
        started = time.perf_counter()
        trainer.run()
        wait_for(self.device)
        seconds = time.perf_counter() - started
        if torch.device(self.device).type == "cuda":
            # The loop is ahead of a GPU, so only marks in the GPU's own queue tell whether that had to wait.
            self.waited.append(100 * trainer.state.metrics.get("loader_wait", 0.0))
        else:
            self.waited.append(100 * wait.value() / seconds)


class Lightly:
    """Epochs of lightly's parts in a plain loop."""

    def __init__(
        self, folder: Path, options: argparse.Namespace, encoder: str, tuned: bool, dtype: torch.dtype | None
    ) -> None:
        from lightly.data import LightlyDataset
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from torchvision.transforms import v2

        transform: Callable[[Any], Any] = lightly_transform(options.image_size, tuned)
        if tuned:
            transform = v2.Compose([v2.Grayscale(), transform])
        backbone = Encoder(encoder, in_channels=1 if tuned else 3)
        width = backbone.out_channels
        self.method = nn.Sequential(backbone, SimCLRProjectionHead(width, width, 128)).to(options.device)
        self.optimizer = torch.optim.SGD(self.method.parameters(), lr=0.01, momentum=0.9)
        self.criterion = NTXentLoss(temperature=0.1)
        self.device, self.dtype = torch.device(options.device), dtype
        workers = options.lightly_workers
        self.loader = DataLoader(
            LightlyDataset(str(folder), transform=transform),
            batch_size=options.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )

    def epoch(self, length: int | None = None) -> None:
        """Train an epoch, or its first ``length`` batches."""
        self.method.train()
        total = torch.zeros((), device=self.device)
        for number, ((first, second), _, _) in enumerate(self.loader):
            first = first.to(self.device, non_blocking=True)
            second = second.to(self.device, non_blocking=True)
            with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
                loss = self.criterion(self.method(first), self.method(second))
            total += loss.detach()
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            if length is not None and number + 1 == length:
                break


def synthetic(options: argparse.Namespace, batches: int) -> list[dict[str, torch.Tensor]]:
    """One batch of uint8 views on the device, as often as an epoch has batches."""
    shape = (options.batch_size, 2, 1, options.image_size, options.image_size)
    image = torch.randint(0, 256, shape, dtype=torch.uint8).to(options.device)
    return [{"image": image, "patient": torch.arange(options.batch_size, device=options.device)}] * batches


def name_of(dtype: torch.dtype) -> str:
    """``"bfloat16"`` and the like."""
    return str(dtype).removeprefix("torch.")


def compare(encoder: str, items: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Time the epochs of all variants with one encoder."""
    folder = Path(items[0]["image"]).parent
    images = DecodedImages(items, side=decoded_side(options.image_size), progress=False)
    transform = MultiView(size=options.image_size, return_uint8=True)
    sampler = PairSampler(patient_bags(images.items), simclr_epochs=None)

    def loader_of(augment_on: str) -> Any:
        pairs = PairDataset(images, transform, augment_on=augment_on, device=options.device)
        return training_loader(pairs, sampler, options.batch_size, options.device, options.num_workers)

    loader = loader_of("auto")
    low = autocast_dtype(options.device, "auto")
    variants: dict[str, Ours | Lightly] = {
        OURS: Ours(loader, transform, options, encoder, "auto"),
        SYNTHETIC: Ours(synthetic(options, len(loader)), transform, options, encoder, "auto"),
    }
    if torch.device(options.device).type == "cuda":
        variants["ours, views by processes"] = Ours(loader_of("workers"), transform, options, encoder, "auto")
    if low is not None:
        variants["ours, float32"] = Ours(loader, transform, options, encoder, False)
    try:
        variants["lightly, defaults"] = Lightly(folder, options, encoder, False, None)
        variants[SAME_VIEWS] = Lightly(folder, options, encoder, True, None)
        if low is not None:
            variants[f"lightly, our views, {name_of(low)}"] = Lightly(folder, options, encoder, True, low)
    except ModuleNotFoundError:
        print("lightly: not installed, left out with the ratios that need it")
    for variant in variants.values():
        variant.epoch(min(2, len(loader)))
        if isinstance(variant, Ours):
            variant.waited.clear()
    calls = {name: variant.epoch for name, variant in variants.items()}
    turns = [in_turns(calls, options.repeats, options.device, warm_up=0)]
    plain = "ours, float32" if low is not None else OURS
    for pair in ((OURS, SYNTHETIC), (plain, SAME_VIEWS)):
        if calls.keys() >= set(pair):
            alone = {name: calls[name] for name in pair}
            turns.append(in_turns(alone, 3 * options.repeats, options.device, warm_up=0))

    seen = len(loader) * loader.batch_size
    rows: dict[str, dict[str, float]] = {}
    for name, variant in variants.items():
        times = [time for part in turns for time in part.get(name, ())]
        rows[name] = {"images_per_s": seen / statistics.median(times), "epochs": len(times)}
        if isinstance(variant, Ours):
            rows[name]["waiting_percent"] = statistics.median(variant.waited)
    return {"images_per_epoch": seen, "workers": loader.num_workers, "variants": rows} | {
        "targets": targets_of(encoder, rows, turns, low, torch.device(options.device))
    }


def targets_of(
    encoder: str,
    rows: dict[str, dict[str, float]],
    turns: list[dict[str, list[float]]],
    low: torch.dtype | None,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Return the ratios that targets are set for; on a GPU these are others than on a CPU.

    Args:
        encoder: its name.
        rows: of the variants.
        turns: seconds per epoch turn by turn, of all variants and of pairs of them; of two variants, the last that
            holds both counts.
        low: what "defaults" computes in, ``None`` for float32.
        device: where.
    """

    def speed_up(name: str, base: str) -> float:
        return ratio(next(part for part in reversed(turns) if part.keys() >= {name, base}), base, name)

    plain = "ours, float32" if low is not None else OURS
    versus_synthetic = speed_up(OURS, SYNTHETIC)
    if device.type == "cuda":
        found = [judged(f"{encoder}: images/s end to end over synthetic", versus_synthetic, ">= 0.95")]
        least = {"same": ">= 1.5", "defaults": ">= 1.5"}
    else:
        found = [
            judged(f"{encoder}: share of the epoch that waits for data, %", rows[OURS]["waiting_percent"], "<= 5"),
            judged(f"{encoder}: share of the epoch beyond synthetic data, %", 100 * (1 - versus_synthetic), "<= 5"),
        ]
        least = {"same": ">= 1.1", "defaults": ">= 2"}
    if SAME_VIEWS not in rows:
        return found
    pairs = [("float32", plain, SAME_VIEWS)]
    if low is not None:
        pairs.append((name_of(low), OURS, f"lightly, our views, {name_of(low)}"))
    for name, mine, theirs in pairs:
        figure = f"{encoder}: images/s over lightly, same views, {name}"
        found.append(judged(figure, speed_up(mine, theirs), least["same"]))
    figure = f"{encoder}: images/s over lightly, defaults against defaults"
    found.append(judged(figure, speed_up(OURS, "lightly, defaults"), least["defaults"]))
    return found


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of X-rays instead of a phantom")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--encoders", nargs="+", default=["resnet18"])
    parser.add_argument("--image_size", type=int, default=128, help="side of the views in pixels")
    parser.add_argument("--film_side", type=int, default=512, help="shorter side of the PNG files in pixels")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--images", type=int, default=192, help="images of an epoch")
    parser.add_argument("--repeats", type=int, default=4, help="timed turns of all variants")
    parser.add_argument("--num_workers", default="auto", help="of our loader")
    parser.add_argument("--lightly_workers", type=int, help="of lightly's loader; by default one per core, at most 16")
    parser.add_argument("--threads", type=int, help="of torch; by default one per core")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    if options.lightly_workers is None:
        options.lightly_workers = min(16, usable_cores())
    torch.set_num_threads(options.threads or usable_cores())
    torch.manual_seed(0)

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        items = write_films(Path(folder), options.data, options.images, options.film_side)
        for encoder in options.encoders:
            results[encoder] = compare(encoder, items, options)
    where = machine(PACKAGES)
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    for encoder, result in results.items():
        print(f"\n{encoder}, {options.image_size} px, batch {options.batch_size}, on {options.device}: ", end="")
        print(f"{result['images_per_epoch']} images per epoch, medians of epochs\n")
        rows = [{"variant": name} | row for name, row in result["variants"].items()]
        print(table(rows, ["variant", "images_per_s", "epochs", "waiting_percent"]))
    targets = [row for result in results.values() for row in result.pop("targets")]
    print_targets(targets)
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    write_json({"settings": settings, "machine": where, "results": results, "targets": targets}, options.out)


if __name__ == "__main__":
    main()
