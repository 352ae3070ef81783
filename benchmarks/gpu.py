# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""All figures of a GPU in one call under ten minutes: SimCLR at 224 px of a ResNet-50 and a ViT-S.

    python benchmarks/gpu.py [--images 6144] [--repeats 3] [--out gpu.json]

For each encoder: images per second of whole epochs and of synthetic data, the share of time that the GPU waits, and
lightly's SimCLR on the same GPU with its own loader, all as ``end_to_end.py`` measures them, in the precision that
``amp="auto"`` takes; views are made by the device and, beside it, by the loader's processes; the batch is the largest
of ``--batch_sizes`` that the memory holds. Then, on synthetic data, the network compiled against the plain one, and a
few steps under torch's profiler: the operations that take most of the device's time. ``--device cpu`` tries the script
out, by default without the compiler.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from end_to_end import PACKAGES, Ours, compare, synthetic, write_films
from measure import in_turns, machine, print_targets, ratio, table, wait_for, write_json

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.hardware.compile import compile_network
from monai_cxrssl.transforms import MultiView

__all__ = ["main"]

TOP = 3


def trained_on_synthetic(encoder: str, options: argparse.Namespace, steps: int) -> Ours:
    """Our training on one batch that lies on the device, as often as there are steps."""
    transform = MultiView(size=options.image_size, return_uint8=True)
    return Ours(synthetic(options, steps), transform, options, encoder, "auto")


def largest_batch(encoder: str, options: argparse.Namespace) -> int:
    """Return the largest batch size of the options at which two steps run within the device's memory.

    Raises:
        SystemExit: none does.
    """
    for size in sorted(options.batch_sizes, reverse=True):
        try:
            trained_on_synthetic(encoder, argparse.Namespace(**{**vars(options), "batch_size": size}), 2).epoch()
        except torch.OutOfMemoryError:
            continue
        finally:
            torch.cuda.empty_cache()
        # lightly's side holds its own network beside ours, so that half of the memory has to do.
        # And float32 takes twice the memory of bfloat16.
        if options.device != "cuda" or 3 * torch.cuda.max_memory_reserved() < torch.cuda.mem_get_info()[1]:
            return size
        torch.cuda.reset_peak_memory_stats()
    raise SystemExit(f"{encoder}: none of the batch sizes {options.batch_sizes} fits into the memory of the device.")


def compiled(encoder: str, options: argparse.Namespace, steps: int = 10) -> dict[str, float]:
    """Seconds of the first step of the compiled network, images per second after it, and times faster than plain."""
    plain, fast = (trained_on_synthetic(encoder, options, steps) for _ in range(2))
    compile_network(fast.method, options.device)
    started = time.perf_counter()
    fast.epoch(1)
    first = time.perf_counter() - started
    seconds = in_turns({"plain": plain.epoch, "compiled": fast.epoch}, options.repeats, options.device)
    best = statistics.median(seconds["compiled"])
    return {
        "first_step_s": first,
        "images_per_s": steps * options.batch_size / best,
        "times_faster": ratio(seconds, "plain", "compiled"),
    }


def costs(encoder: str, options: argparse.Namespace, steps: int = 3) -> list[dict[str, Any]]:
    """The operations of a training step that take most of the device's own time, in % of all of it."""
    training = trained_on_synthetic(encoder, options, steps)
    training.epoch()
    cuda = options.device == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * cuda
    with torch.profiler.profile(activities=kinds) as profile:
        training.epoch()
        wait_for(options.device)
    times = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in profile.key_averages()
        # On a GPU both an operation and its kernels are told; the operations are the readable ones.
        if event.key.startswith("aten::") or not cuda
    }
    whole = sum(times.values())
    names = sorted(times, key=times.__getitem__, reverse=True)[:TOP]
    return [
        {"operation": name, "share_percent": 100 * times[name] / whole, "ms/step": times[name] / 1e3 / steps}
        for name in names
    ]


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=["resnet50", "tu-vit_small_patch16_224"])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--image_size", type=int, default=224, help="side of the views in pixels")
    parser.add_argument("--film_side", type=int, default=384, help="shorter side of the PNG files in pixels")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[64, 128, 256], help="the largest that fits")
    parser.add_argument("--images", type=int, default=6144, help="images of an epoch")
    parser.add_argument("--repeats", type=int, default=3, help="timed epochs of each variant")
    parser.add_argument("--num_workers", default="auto", help="of our loader")
    parser.add_argument("--lightly_workers", type=int, default=min(16, usable_cores()), help="of lightly's loader")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="measure the compiled network; by default on a GPU"
    )
    parser.add_argument("--data", type=Path, help="folder of X-rays instead of a phantom")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("This benchmark needs a GPU that torch can use, and finds none.")
    torch.manual_seed(0)
    started = time.perf_counter()
    results: dict[str, dict[str, Any]] = {}
    targets: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        items = write_films(Path(folder), options.data, options.images, options.film_side)
        for encoder in options.encoders:
            options.batch_size = largest_batch(encoder, options)
            results[encoder] = {"batch_size": options.batch_size, **compare(encoder, items, options)}
            if options.device == "cuda" if options.compile is None else options.compile:
                results[encoder]["compiled"] = compiled(encoder, options)
            results[encoder]["costs"] = costs(encoder, options)
            targets += results[encoder].pop("targets")
    where = machine(PACKAGES)
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    for encoder, result in results.items():
        print(f"\n{encoder}, {options.image_size} px, batch {result['batch_size']}, {options.images} images per epoch")
        rows = [{"variant": name} | row for name, row in result["variants"].items()]
        print(table(rows, ["variant", "images_per_s", "waiting_percent"]))
        if "compiled" in result:
            print(table([{"compiled": "synthetic"} | result["compiled"]], ["compiled", *result["compiled"]]))
        print(table(result["costs"], ["operation", "share_percent", "ms/step"]))
    print_targets(targets)
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes in all")
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    write_json({"settings": settings, "machine": where, "results": results, "targets": targets}, options.out)


if __name__ == "__main__":
    main()
