# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Time and peak memory of what surrounds the network in a training step, against the least that it could cost.

    python benchmarks/losses.py [--batches 256 1024] [--repeats 21] [--device cpu] [--processor_time]
        [--out losses.json]

* NT-Xent, forward and backward, of pairs of 128 numbers, against the bare thing: one matrix product and torch's
  cross-entropy, without normalisation and without leaving anything out; MONAI's ContrastiveLoss (at batch 256 only, for
  it is slow) and lightly's NTXentLoss beside them.
* InfoNCE of 256 queries against a queue of 65,536, against a matrix product, a concatenation and cross-entropy.
* MoCo's queue taking 256 keys, against writing a slice.
* The moving average of a ResNet-50, against a bare ``torch._foreach_lerp_`` of as many tensors.
* GMML's corruption of 64 images of 224 px, against forward and backward of a ViT-S on them, 16 at a time.

Calls take turns; times are medians, ratios are medians over turns of the ratio within a turn. Peak memory is what torch
held at most beyond what it held before the call. With ``--processor_time`` the times are those that this process had a
processor, which other processes disturb less. A package that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import in_turns, judged, machine, peak_mib, print_targets, ratio, table, take_processor_time, write_json
from torch import Tensor

from monai_cxrssl.hardware import autocast_dtype
from monai_cxrssl.losses import InfoNCELoss, NTXentLoss
from monai_cxrssl.methods import MoCo
from monai_cxrssl.networks import EMACopy, Encoder
from monai_cxrssl.transforms import GroupMask

__all__ = ["main"]

_LENGTH, _TEMPERATURE = 128, 0.1
_COLUMNS = ("what", "ms", "x time", "MiB", "x memory")


def _row(what: str, seconds: dict[str, list[float]], name: str, base: str) -> dict[str, Any]:
    return {"what": what, "ms": 1e3 * statistics.median(seconds[name]), "x time": ratio(seconds, name, base)}


def _backward(loss: Callable[..., Tensor], *leaves: Tensor) -> Callable[[], None]:
    """Return a call that takes a loss and its gradient."""

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None
        loss(*leaves).backward()

    return call


def _bare(z1: Tensor, z2: Tensor) -> Tensor:
    embeddings, batch = torch.cat([z1, z2]), z1.shape[0]
    positive = (torch.arange(2 * batch, device=z1.device) + batch) % (2 * batch)
    return F.cross_entropy((embeddings / _TEMPERATURE) @ embeddings.T, positive)


def nt_xent(batch: int, repeats: int, device: torch.device) -> list[dict[str, Any]]:
    """Time and memory of the losses of ``batch`` pairs."""
    pairs = [F.normalize(torch.randn(batch, _LENGTH, device=device), dim=1).requires_grad_() for _ in range(2)]
    losses: dict[str, Callable[..., Tensor]] = {"matmul + cross-entropy": _bare, "ours": NTXentLoss(_TEMPERATURE)}
    if importlib.util.find_spec("lightly") is None:
        print("lightly: not installed")
    else:
        from lightly.loss import NTXentLoss as Lightly

        losses["lightly"] = Lightly(temperature=_TEMPERATURE)
    calls = {name: _backward(loss, *pairs) for name, loss in losses.items()}
    base = "matmul + cross-entropy"
    seconds = in_turns(calls, repeats, device, warm_up=2)
    if batch <= 256:
        from monai.losses import ContrastiveLoss

        calls["MONAI ContrastiveLoss"] = _backward(ContrastiveLoss(temperature=_TEMPERATURE), *pairs)
        pair = in_turns({name: calls[name] for name in (base, "MONAI ContrastiveLoss")}, 3, device)
        slow = [_row("MONAI ContrastiveLoss", pair, "MONAI ContrastiveLoss", base)]
    else:
        slow = []
    rows = [_row(name, seconds, name, base) for name in losses] + slow
    peaks = {name: peak_mib(call, device) for name, call in calls.items()}
    for row in rows:
        name = row["what"]
        row |= {"what": f"NT-Xent {batch}: {name}", "MiB": peaks[name], "x memory": peaks[name] / peaks[base]}
    return rows


def large_nt_xent(batch: int, device: torch.device) -> list[dict[str, Any]]:
    """Peak memory of one large batch."""
    pairs = [torch.randn(batch, _LENGTH, device=device, requires_grad=True) for _ in range(2)]
    held = {
        name: peak_mib(_backward(loss, *pairs), device)
        for name, loss in (("matmul + cross-entropy", _bare), ("ours", NTXentLoss(_TEMPERATURE)))
    }
    base = held["matmul + cross-entropy"]
    return [
        {"what": f"NT-Xent {batch}: {name}", "MiB": value, "x memory": value / base} for name, value in held.items()
    ]


def queue(repeats: int, device: torch.device, batch: int = 256, length: int = 65536) -> list[dict[str, Any]]:
    """InfoNCE against a full queue, and the queue taking keys."""
    keys = F.normalize(torch.randn(batch, _LENGTH, device=device), dim=1)
    query = torch.randn(batch, _LENGTH, device=device, requires_grad=True)
    moco = MoCo(Encoder("resnet18"), queue_length=length, projection_channels=_LENGTH).to(device)
    moco.queue.copy_(F.normalize(torch.randn_like(moco.queue), dim=0))
    loss, plain, positions = InfoNCELoss(_TEMPERATURE), moco.queue.clone(), iter(range(0, 10**9, batch))

    def bare(query: Tensor) -> Tensor:
        positive = (query * keys).sum(1, keepdim=True)
        logits = torch.cat([positive, query @ plain], dim=1)
        return F.cross_entropy(logits, torch.zeros(batch, dtype=torch.int64, device=device))

    def write() -> None:
        start = next(positions) % length
        plain[:, start : start + batch] = keys.T

    losses = {"bare": _backward(bare, query), "ours": _backward(lambda q: loss(q, keys, moco.queue), query)}
    seconds = in_turns(losses, max(3, repeats // 3), device)
    names = {"bare": "matmul + cat + cross-entropy", "ours": "ours"}
    rows = [_row(f"InfoNCE {batch} x {length}: {names[name]}", seconds, name, "bare") for name in losses]
    peaks = {name: peak_mib(call, device) for name, call in losses.items()}
    for row, name in zip(rows, losses, strict=True):
        row |= {"MiB": peaks[name], "x memory": peaks[name] / peaks["bare"]}
    updates = {"bare": write, "ours": lambda: moco._enqueue(keys, None)}
    seconds = in_turns(updates, 3 * repeats, device, warm_up=3)
    return rows + [
        _row(f"queue, {batch} keys: {told}", seconds, name, "bare")
        for name, told in (("bare", "slice"), ("ours", "ours"))
    ]


def momentum(repeats: int, device: torch.device) -> list[dict[str, Any]]:
    """The moving average of a ResNet-50."""
    network = Encoder("resnet50").to(device)
    twin, other = EMACopy(network), EMACopy(network)
    floating = [name for name, value in network.state_dict().items() if value.is_floating_point()]
    averages, targets = ([module.state_dict()[name] for name in floating] for module in (other.network, network))
    calls = {"bare": lambda: torch._foreach_lerp_(averages, targets, 0.001), "ours": lambda: twin.update(network)}
    seconds = in_turns(calls, 3 * repeats, device, warm_up=3)
    return [
        _row(f"moving average, ResNet-50: {told}", seconds, name, "bare")
        for name, told in (("bare", "_foreach_lerp_"), ("ours", "ours"))
    ]


def corruption(repeats: int, device: torch.device, batch: int = 64, part: int = 16) -> list[dict[str, Any]]:
    """GMML's corruption beside the step that it is for."""
    network = Encoder("tu-vit_small_patch16_224").to(device)
    images, corrupt = torch.rand(batch, 1, 224, 224, device=device), GroupMask(patch_size=16)
    dtype = autocast_dtype(device)

    def step() -> None:
        for images_of_part in images.split(part):
            with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
                loss = network(images_of_part).square().mean()
            loss.backward()
        network.zero_grad(set_to_none=True)

    base = f"ViT-S step, {batch} images, {str(dtype or torch.float32).removeprefix('torch.')}"
    calls = {base: step, f"GMML corruption, {batch} images": lambda: corrupt(images)}
    seconds = in_turns(calls, repeats, device)
    return [_row(name, seconds, name, base) for name in calls]


def targets_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures that a target is set for."""
    found = []
    for row in rows:
        what = row["what"]
        if what.startswith("NT-Xent") and what.endswith(": ours") and "ms" in row:
            found.append(judged(f"{what}, time over matmul + cross-entropy", row["x time"], "<= 1.2"))
            found.append(judged(f"{what}, peak memory over matmul + cross-entropy", row["x memory"], "<= 1.5"))
        elif what.startswith("NT-Xent") and what.endswith(": ours"):
            # "A few hundred MB", taken as no more than 500.
            found.append(judged(f"{what}, peak memory in MiB", row["MiB"], "<= 500"))
        elif what == "moving average, ResNet-50: ours":
            found.append(judged(f"{what}, time over _foreach_lerp_", row["x time"], "<= 1.15"))
        elif what.startswith("GMML"):
            found.append(judged(f"{what}, % of a ViT-S step", 100 * row["x time"], "< 5"))
    return found


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="*", default=[256, 1024], help="pairs per batch of NT-Xent")
    parser.add_argument("--large_batch", type=int, default=4096, help="pairs of the memory measurement; 0 for none")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--vit_repeats", type=int, default=3, help="ViT-S steps, the slowest part; 0 for none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--processor_time", action="store_true", help="not the wall's time: for a busy machine")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.processor_time:
        take_processor_time()
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    for batch in options.batches:
        rows += nt_xent(batch, options.repeats, options.device)
    if options.large_batch:
        rows += large_nt_xent(options.large_batch, options.device)
    rows += queue(options.repeats, options.device) + momentum(options.repeats, options.device)
    if options.vit_repeats:
        rows += corruption(options.vit_repeats, options.device)
    print(table(rows, _COLUMNS))
    targets = targets_of(rows)
    print_targets(targets)
    where = machine(("monai", "lightly", "timm"))
    print("\n" + ", ".join(f"{name} {value}" for name, value in where.items()))
    settings = {name: str(value) for name, value in vars(options).items() if name != "out"}
    write_json({"machine": where, "settings": settings, "rows": rows, "targets": targets}, options.out)


if __name__ == "__main__":
    main()
