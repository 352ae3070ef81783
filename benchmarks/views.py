# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Time two augmented views of one chest X-ray: this package's fused form against the field's pipelines.

    python benchmarks/views.py [--image FILM.png] [--side 384] [--repeats 40] [--workers 0 1 2] [--processor_time]

Two tables: milliseconds per view on one core, without a loader; and views per second out of torch's DataLoader with
batches of 16, by number of workers (0: the training process itself).

Pipelines make the same kind of view: random resized crop (area 0.2 to 1), rotation up to 45 degrees, horizontal flip,
brightness and contrast jitter, float32 in [0, 1]. "lightly default" is ``SimCLRTransform(224)`` as it comes, on RGB as
lightly's loader gives it: colour jitter, random grey and blur, but no rotation. "tuned for grey" is the same class set
to our views on one channel; "crop and flip" leaves out its rotation and jitter, so it does less than ours. "cached"
starts from the image in memory, in the form that the library likes best, "file" from an 8-bit PNG of the same size.
Pipelines take turns within each repeat, so that a busy machine slows all of them alike; figures are medians. Libraries
that are not installed are named and left out, with the ratios that need them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measure import judged, machine, now, print_targets, take_processor_time
from torch.utils.data import DataLoader, Dataset

from monai_cxrssl.data import read_cxr_uint
from monai_cxrssl.transforms import MultiView

__all__ = ["lightly_transform", "main", "synthetic_film"]

Pipelines = dict[str, Callable[[], Any]]
AREA = (0.2, 1.0)
CALLS = 4  # timed calls in a row, per turn
BATCH = 16  # images per batch of a loader
PACKAGES = ("monai", "torchvision", "numpy", "opencv-python-headless", "albumentations", "lightly")
EPOCH_SECONDS = 0.3  # about how long an epoch of a loader takes on one core
# Our row, a peer's, and how many times slower than ours it is to be at least.
TARGETS = (
    ("MultiView, cached uint8", "lightly default, cached", 10.0),
    ("MultiView, cached uint8", "lightly tuned for grey, cached", 4.0),
    ("MultiView, cached uint8", "MONAI array chain, cached", 8.0),
    ("MultiView, file", "lightly default, file", 4.0),
)


def synthetic_film(side: int) -> np.ndarray:
    """An image-like uint8 image ``(side, side)``: dark lungs in a bright body, with texture."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    lungs = sum(np.exp(-((((x - centre) / 0.13) ** 2 + (y / 0.3) ** 2) ** 2)) for centre in (-0.2, 0.2))
    body = 0.8 * np.exp(-((x / 0.45) ** 4)) * (1 - 0.7 * lungs)
    noise = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((side, side)), (0, 0), 1.5)
    return ((body + 0.1 * noise).clip(0, 1) * 255).astype(np.uint8)


def read_grey(file: str) -> np.ndarray:
    """Pixels of an 8-bit file ``(H, W)``.

    Raises:
        SystemExit: OpenCV cannot read it.
    """
    pixels = cv2.imread(file, cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise SystemExit(f"OpenCV cannot read {file} as an image; give a PNG, JPEG or TIFF.")
    return pixels


def ours(film: np.ndarray, file: str, size: int) -> Pipelines:
    """The fused forms of this package."""
    as_float, as_uint8 = MultiView(size=size), MultiView(size=size, return_uint8=True)
    deep = film.astype(np.uint16)[None] * 257
    batch = torch.from_numpy(film).expand(16, 1, *film.shape).contiguous()
    turn = iter(range(10**9))

    def batched(images: torch.Tensor) -> None:
        views = as_float.sample_batch(film.shape, next(turn), range(len(images)))
        as_float.apply_batch(images, views)
        if images.is_cuda:
            torch.cuda.synchronize()

    pipelines: Pipelines = {
        "MultiView, cached uint8": lambda: as_float(film[None], key=(0, next(turn))),
        "MultiView, cached uint8, uint8 out": lambda: as_uint8(film[None], key=(0, next(turn))),
        "MultiView, cached uint16": lambda: as_float(deep, key=(0, next(turn))),
        "MultiView, file": lambda: as_float(read_cxr_uint(file)[None], key=(0, next(turn))),
        "MultiView, file by OpenCV, unchecked": lambda: as_float(read_grey(file)[None], key=(0, next(turn))),
        "MultiView.apply_batch, 16 images, CPU": lambda: batched(batch),
    }
    if torch.cuda.is_available():
        on_device = torch.from_numpy(film).expand(256, 1, *film.shape).contiguous().cuda()
        pipelines["MultiView.apply_batch, 256 images, GPU"] = lambda: batched(on_device)
    return pipelines


def monai_chain(film: np.ndarray, file: str, size: int) -> Pipelines:
    """MONAI's array and dictionary transforms, one after the other, with and without metadata tracking."""
    from monai.data import set_track_meta
    from monai.transforms import (
        Compose,
        EnsureChannelFirst,
        EnsureChannelFirstd,
        LoadImage,
        LoadImaged,
        RandAdjustContrast,
        RandAdjustContrastd,
        RandFlip,
        RandFlipd,
        RandRotate,
        RandRotated,
        RandScaleIntensity,
        RandScaleIntensityd,
        RandSpatialCrop,
        RandSpatialCropd,
        Resize,
        Resized,
        ScaleIntensityRange,
        ScaleIntensityRanged,
    )

    smallest = [round(side * math.sqrt(AREA[0])) for side in film.shape]
    scale = ScaleIntensityRange(0, 255, 0, 1, clip=True)
    augment = [
        RandSpatialCrop(roi_size=smallest, max_roi_size=list(film.shape), random_size=True),
        RandRotate(range_x=math.pi / 4, prob=1.0, keep_size=True, padding_mode="zeros"),
        RandFlip(prob=0.5, spatial_axis=1),
        Resize((size, size), mode="bilinear"),
        RandScaleIntensity(factors=0.4, prob=0.8),
        RandAdjustContrast(prob=0.8, gamma=(0.8, 1.25)),
    ]
    chain = Compose([scale, *augment])
    read = Compose([LoadImage(image_only=True), EnsureChannelFirst()])
    chain_of_dictionaries = Compose(
        [
            ScaleIntensityRanged("image", 0, 255, 0, 1, clip=True),
            RandSpatialCropd("image", roi_size=smallest, max_roi_size=list(film.shape), random_size=True),
            RandRotated("image", range_x=math.pi / 4, prob=1.0, keep_size=True, padding_mode="zeros"),
            RandFlipd("image", prob=0.5, spatial_axis=1),
            Resized("image", (size, size), mode="bilinear"),
            RandScaleIntensityd("image", factors=0.4, prob=0.8),
            RandAdjustContrastd("image", prob=0.8, gamma=(0.8, 1.25)),
        ]
    )
    read_dictionary = Compose([LoadImaged("image", image_only=True), EnsureChannelFirstd("image")])

    def views(track: bool, from_file: bool) -> list[torch.Tensor]:
        set_track_meta(track)
        image = read(file) if from_file else film[None]
        made = [torch.as_tensor(chain(image)) for _ in range(2)]
        set_track_meta(True)
        return made

    def dictionary_views(from_file: bool) -> list[torch.Tensor]:
        item = read_dictionary({"image": file}) if from_file else {"image": film[None]}
        return [torch.as_tensor(chain_of_dictionaries(item)["image"]) for _ in range(2)]

    return {
        "MONAI dictionary chain, cached": lambda: dictionary_views(False),
        "MONAI dictionary chain, file": lambda: dictionary_views(True),
        "MONAI array chain, cached": lambda: views(True, False),
        "MONAI array chain, cached, set_track_meta(False)": lambda: views(False, False),
        "MONAI array chain, file": lambda: views(True, True),
    }


def torchvision_v2(film: np.ndarray, file: str, size: int) -> Pipelines:
    """torchvision's v2 transforms on a uint8 tensor."""
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    chain = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=AREA, antialias=True),
            v2.RandomRotation(45, interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(brightness=0.4, contrast=0.4)], p=0.8),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    cached = torch.from_numpy(film)[None]

    def views(image: torch.Tensor) -> list[torch.Tensor]:
        return [chain(image) for _ in range(2)]

    return {
        "torchvision v2, cached": lambda: views(cached),
        "torchvision v2, file": lambda: views(decode_image(file, mode=ImageReadMode.GRAY)),
    }


def albumentations_chain(film: np.ndarray, file: str, size: int) -> Pipelines:
    """albumentations on a uint8 array."""
    import albumentations as A

    chain = A.Compose(
        [
            A.RandomResizedCrop(size=(size, size), scale=AREA),
            A.Rotate(limit=45, p=1.0, border_mode=cv2.BORDER_CONSTANT),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(0.4, 0.4, p=0.8),
        ]
    )

    def views(image: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(chain(image=image)["image"]).float().div_(255) for _ in range(2)]

    return {
        "albumentations, cached": lambda: views(film),
        "albumentations, file": lambda: views(read_grey(file)),
    }


def lightly_transform(size: int, tuned: bool, rotation: float = 45.0, jitter: bool = True) -> Callable[[Any], Any]:
    """lightly's SimCLR transform: two views, as it comes or set to the views of this package on one channel."""
    from lightly.transforms import SimCLRTransform

    if not tuned:
        return SimCLRTransform(input_size=size)
    return SimCLRTransform(
        input_size=size,
        min_scale=AREA[0],
        cj_prob=0.8 if jitter else 0.0,
        cj_bright=0.4,
        cj_contrast=0.4,
        cj_sat=0.0,
        cj_hue=0.0,
        random_gray_scale=0.0,
        gaussian_blur=0.0,
        rr_prob=1.0 if rotation else 0.0,
        rr_degrees=rotation,
        normalize=None,
    )


def lightly_simclr(film: np.ndarray, file: str, size: int) -> Pipelines:
    """lightly's SimCLR transform, default on RGB; tuned for grey on a PIL image or a uint8 tensor of one channel."""
    from PIL import Image

    default, tuned = lightly_transform(size, tuned=False), lightly_transform(size, tuned=True)
    least = lightly_transform(size, tuned=True, rotation=0.0, jitter=False)
    grey, colour, tensor = Image.fromarray(film), Image.fromarray(film).convert("RGB"), torch.from_numpy(film)[None]
    return {
        "lightly default, cached": lambda: default(colour),
        "lightly default, file": lambda: default(Image.open(file).convert("RGB")),
        "lightly tuned for grey, cached": lambda: tuned(grey),
        "lightly tuned for grey, cached tensor": lambda: tuned(tensor),
        "lightly tuned for grey, file": lambda: tuned(Image.open(file).convert("L")),
        "lightly crop and flip only, cached": lambda: least(grey),
    }


PEERS = {
    "monai": monai_chain,
    "torchvision": torchvision_v2,
    "albumentations": albumentations_chain,
    "lightly": lightly_simclr,
}


def measure(pipelines: Pipelines, repeats: int) -> dict[str, list[float]]:
    """Seconds per call of every turn; the pipelines take turns."""
    for call in pipelines.values():
        for _ in range(3):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(repeats):
        for name, call in pipelines.items():
            call()  # not timed: it refills the processor's caches after the pipeline before it
            begin = now()
            for _ in range(CALLS):
                call()
            seconds[name].append((now() - begin) / CALLS)
    return seconds


class Repeated(Dataset):
    """A number of samples that all come from one call."""

    def __init__(self, call: Callable[[], Any], images: int) -> None:
        self.call, self.images = call, images

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Any:
        return self.call()


def loaders(
    pipelines: Pipelines, seconds: dict[str, float], workers: list[int], repeats: int
) -> dict[str, dict[str, float]]:
    """Views per second of each pipeline out of a loader, by number of workers.

    Args:
        pipelines: each call gives two views of one image.
        seconds: per call; chooses how many images an epoch has.
        workers: numbers of worker processes; they stay over the epochs, and the first epoch is not timed.
        repeats: timed epochs.
    """
    rates: dict[str, dict[str, float]] = {name: {} for name in pipelines}
    for count in workers:
        images = {name: BATCH * round(max(2, min(256, EPOCH_SECONDS / seconds[name] / BATCH))) for name in pipelines}
        opened = {
            name: DataLoader(Repeated(call, images[name]), BATCH, num_workers=count, persistent_workers=count > 0)
            for name, call in pipelines.items()
        }
        times: dict[str, list[float]] = {name: [] for name in pipelines}
        for turn in range(repeats + 1):
            for name, loader in opened.items():
                begin = time.perf_counter()
                for _ in loader:
                    pass
                if turn:
                    times[name].append(time.perf_counter() - begin)
        for name in pipelines:
            rates[name][str(count)] = 2 * images[name] / statistics.median(times[name])
        del opened, loader
    return rates


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="image to use instead of a synthetic one")
    parser.add_argument("--side", type=int, default=384, help="side of the cached image in pixels")
    parser.add_argument("--size", type=int, default=224, help="side of the views in pixels")
    parser.add_argument("--repeats", type=int, default=40, help="turns without a loader")
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2], help="of the loaders; none for no loaders")
    parser.add_argument("--loader_repeats", type=int, default=3, help="timed epochs of each loader")
    parser.add_argument("--processor_time", action="store_true", help="without a loader: for a busy machine")
    parser.add_argument("--out", "--output", dest="output", help="JSON file (default: views.json with temporary files)")
    options = parser.parse_args()
    if options.processor_time:
        take_processor_time()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    film = synthetic_film(options.side)
    if options.image:
        film = cv2.resize(read_grey(options.image), (options.side, options.side), interpolation=cv2.INTER_AREA)

    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "film.png")
        cv2.imwrite(file, film)
        pipelines = ours(film, file, options.size)
        for name, build in PEERS.items():
            if importlib.util.find_spec(name) is None:
                print(f"{name}: not installed")
            else:
                pipelines.update(build(film, file, options.size))
        seconds = measure(pipelines, options.repeats)
        single = {name: call for name, call in pipelines.items() if "apply_batch" not in name}
        middle_of = {name: statistics.median(times) for name, times in seconds.items()}
        rates = loaders(single, middle_of, options.workers, options.loader_repeats) if options.workers else {}

    base = statistics.median(seconds["MultiView, cached uint8"]) / 2
    rows = {}
    print(f"\n{options.size}-px views of a {options.side}-px image, one core, {options.repeats} repeats")
    print(f"{'pipeline':50} {'ms/view':>8} {'quartiles':>15} {'x MultiView':>12}")
    for name, times in seconds.items():
        views = 2 * (16 if "16 images" in name else 256 if "256 images" in name else 1)
        low, middle, high = (1000 * value / views for value in statistics.quantiles(times, n=4))
        rows[name] = {"ms_per_view": middle, "q1": low, "q3": high, "ratio": middle / 1000 / base}
        print(f"{name:50} {middle:8.3f} {low:7.3f}-{high:.3f} {middle / 1000 / base:12.1f}")
    if rates:
        heads = "".join(f"{f'{count} workers':>12}" for count in options.workers)
        print(f"\nviews per second out of a loader, {options.loader_repeats} epochs\n{'pipeline':50}{heads}")
        for name, row in rates.items():
            print(f"{name:50}" + "".join(f"{rate:12.0f}" for rate in row.values()))
    targets = [
        judged(
            f"two {options.size}-px views: {peer}, times slower than {own}",
            statistics.median(theirs / mine for mine, theirs in zip(seconds[own], seconds[peer], strict=True)),
            f">= {factor:g}",
        )
        for own, peer, factor in TARGETS
        if peer in rows
    ]
    print_targets(targets)
    where = machine(PACKAGES)
    print("\n" + ", ".join(f"{key} {value}" for key, value in where.items()))
    output = Path(options.output) if options.output else Path(tempfile.gettempdir()) / "views.json"
    settings = {"side": options.side, "size": options.size, "repeats": options.repeats, "views_per_image": 2}
    told = {"settings": settings, "machine": where, "pipelines": rows, "views_per_second": rates, "targets": targets}
    output.write_text(json.dumps(told, indent=2) + "\n")
    print(f"written: {output}")


if __name__ == "__main__":
    main()
