# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Time two augmented views of one chest X-ray on one core: this package's fused form against the field's pipelines.

    python benchmarks/views.py [--image FILM.png] [--side 384] [--size 224] [--repeats 60] [--output views.json]

All pipelines make the same kind of view: random resized crop (area 0.2 to 1), rotation up to 45 degrees, horizontal
flip, brightness and contrast jitter, float32 in [0, 1]. "cached" starts from a uint8 image in memory, "file" from an
8-bit PNG of the same size. Pipelines take turns within each repeat, so that a busy machine slows all of them alike; the
table gives medians in milliseconds per view. Libraries that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import torch

from monai_cxrssl.transforms import MultiView

Pipelines = dict[str, Callable[[], object]]
AREA = (0.2, 1.0)
CALLS = 4  # timed calls in a row, per turn


def synthetic_film(side: int) -> np.ndarray:
    """A film-like uint8 image ``(side, side)``: dark lungs in a bright body, with texture."""
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
        "MultiView, file": lambda: as_float(read_grey(file)[None], key=(0, next(turn))),
        "MultiView.apply_batch, 16 images, CPU": lambda: batched(batch),
    }
    if torch.cuda.is_available():
        on_device = torch.from_numpy(film).expand(256, 1, *film.shape).contiguous().cuda()
        pipelines["MultiView.apply_batch, 256 images, GPU"] = lambda: batched(on_device)
    return pipelines


def monai_chain(film: np.ndarray, file: str, size: int) -> Pipelines:
    """MONAI's array transforms, one after the other, with and without metadata tracking."""
    from monai.data import set_track_meta
    from monai.transforms import (
        Compose,
        EnsureChannelFirst,
        LoadImage,
        RandAdjustContrast,
        RandFlip,
        RandRotate,
        RandScaleIntensity,
        RandSpatialCrop,
        Resize,
        ScaleIntensityRange,
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

    def views(track: bool, from_file: bool) -> None:
        set_track_meta(track)
        image = read(file) if from_file else film[None]
        for _ in range(2):
            chain(image)
        set_track_meta(True)

    return {
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

    def views(image: torch.Tensor) -> None:
        for _ in range(2):
            chain(image)

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

    def views(image: np.ndarray) -> None:
        for _ in range(2):
            torch.from_numpy(chain(image=image)["image"]).float().div_(255)

    return {
        "albumentations, cached": lambda: views(film),
        "albumentations, file": lambda: views(read_grey(file)),
    }


def lightly_simclr(film: np.ndarray, file: str, size: int) -> Pipelines:
    """lightly's SimCLR transform without colour and blur, on a PIL image."""
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    transform = SimCLRTransform(
        input_size=size,
        min_scale=AREA[0],
        cj_sat=0.0,
        cj_hue=0.0,
        random_gray_scale=0.0,
        gaussian_blur=0.0,
        rr_prob=1.0,
        rr_degrees=45,
        normalize=None,
    )
    cached = Image.fromarray(film)
    return {
        "lightly SimCLRTransform, cached": lambda: transform(cached),
        "lightly SimCLRTransform, file": lambda: transform(Image.open(file).convert("L")),
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
            begin = time.perf_counter()
            for _ in range(CALLS):
                call()
            seconds[name].append((time.perf_counter() - begin) / CALLS)
    return seconds


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    names = ("monai", "torch", "torchvision", "numpy", "opencv-python-headless", "albumentations", "lightly")
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": model, "cores": os.cpu_count(), "gpu": device, "python": platform.python_version(), **versions}


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="film to use instead of a synthetic one")
    parser.add_argument("--side", type=int, default=384, help="side of the cached image in pixels")
    parser.add_argument("--size", type=int, default=224, help="side of the views in pixels")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--output", help="JSON file to write (default: views.json in the temporary folder)")
    options = parser.parse_args()

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

    base = statistics.median(seconds["MultiView, cached uint8"]) / 2
    rows = {}
    print(f"\n{options.size}-px views of a {options.side}-px image, one core, {options.repeats} repeats")
    print(f"{'pipeline':50} {'ms/view':>8} {'quartiles':>15} {'x MultiView':>12}")
    for name, times in seconds.items():
        views = 2 * (16 if "16 images" in name else 256 if "256 images" in name else 1)
        low, middle, high = (1000 * value / views for value in statistics.quantiles(times, n=4))
        rows[name] = {"ms_per_view": middle, "q1": low, "q3": high, "ratio": middle / 1000 / base}
        print(f"{name:50} {middle:8.3f} {low:7.3f}-{high:.3f} {middle / 1000 / base:12.1f}")
    where = machine()
    print("\n" + ", ".join(f"{key} {value}" for key, value in where.items()))
    output = Path(options.output) if options.output else Path(tempfile.gettempdir()) / "views.json"
    settings = {"side": options.side, "size": options.size, "repeats": options.repeats, "views_per_image": 2}
    output.write_text(json.dumps({"settings": settings, "machine": where, "pipelines": rows}, indent=2) + "\n")
    print(f"written: {output}")


if __name__ == "__main__":
    main()
