# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Gradient caching for contrastive losses over large batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.contrastive import ContrastiveMethod

__all__ = ["GradientCache", "check_chunk"]


def check_chunk(chunk: int, method: nn.Module) -> None:
    """Raise ConfigurationError unless a bare method embeds each sample by itself and the chunk is 1 or more."""
    if chunk < 1:
        raise ConfigurationError(f"gradient_cache_chunk must be at least 1, got {chunk}.")
    if not isinstance(method, ContrastiveMethod):
        raise ConfigurationError(
            f"gradient_cache_chunk works for contrastive methods, whose loss is taken between embeddings; "
            f"{type(method).__name__} is none. Use accumulation_steps, which is exact where the loss is a mean over "
            "samples."
        )


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let normalisation layers in training mode leave their running statistics as they are."""
    layers = [layer for layer in module.modules() if isinstance(layer, _NormBase) and layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def _replayed(states: list[Tensor], device: torch.device) -> Iterator[None]:
    """Draw from earlier states of torch's random generators, and go on from the present ones afterwards."""
    present = _random_state(device)
    _set_random_state(states, device)
    try:
        yield
    finally:
        _set_random_state(present, device)


class GradientCache:
    """One batch of a contrastive method, embedded chunk by chunk and compared as a whole.

    The method follows Gao et al. 2021 (arXiv 2101.06983): all chunks are embedded without a graph; the loss of the
    whole batch gives its gradient at the embeddings; then each chunk is embedded again, with a graph and with the same
    random numbers, and its part of that gradient goes back through it. It costs a second forward pass and holds the
    activations of one chunk; the gradient is that of the whole batch. Batch normalisation is the exception: its
    statistics are those of a chunk, so that the gradient is that of the network which is trained, not of the whole
    batch. Its running statistics move in the second pass only, once per chunk.

    Making an object runs the first pass and the loss; ``output`` is what ``forward`` returns for the whole batch. Call
    ``backward`` on ``output["loss"]`` (scaled if need be), then :meth:`backward`.

    Args:
        method: a :class:`monai_cxrssl.methods.ContrastiveMethod`, bare or in ``DistributedDataParallel``.
        batch: tensors and lists whose first axis is the sample's are cut; the rest goes to every chunk as it is.
        chunk: samples per chunk; the last one may be smaller.
        call: what calls a network on a batch, such as MONAI's ``SimpleInferer``.
        autocast: makes a context of the wanted precision.
        exchange: makes a context in which processes exchange gradients (``True``) or do not (``False``).
    """

    def __init__(
        self,
        method: nn.Module,
        batch: dict[str, Any],
        chunk: int,
        call: Callable[..., dict[str, Tensor]],
        autocast: Callable[[], AbstractContextManager],
        exchange: Callable[[bool], AbstractContextManager],
    ) -> None:
        self.method, self.call, self.autocast, self.exchange = method, call, autocast, exchange
        self.bare: Any = getattr(method, "module", method)
        self.device = batch["image"].device
        self.chunks = self._cut(batch, chunk)
        self.states: list[tuple[list[Tensor], Any]] = []
        parts = []
        # Each pass has its own autocast context: the casts of weights that one keeps know nothing of gradients.
        with torch.no_grad(), _statistics_kept(self.bare), self.autocast():
            for piece in self.chunks:
                self.states.append((_random_state(self.device), self.bare.get_extra_state()))
                # Not through the wrapper: nothing is to be exchanged yet.
                parts.append(self.call(piece, self.bare, contrast=False)["embedding"])
        self.embeddings = torch.cat(parts).requires_grad_()
        with self.autocast():
            self.output = self.bare.contrast(self.embeddings, batch)

    @staticmethod
    def _cut(batch: dict[str, Any], chunk: int) -> list[dict[str, Any]]:
        samples = batch["image"].shape[0]

        def part(value: Any, rows: slice) -> Any:
            if isinstance(value, Tensor):
                return value[rows] if value.ndim and value.shape[0] == samples else value
            return value[rows] if isinstance(value, list) and len(value) == samples else value

        return [
            {name: part(value, slice(start, start + chunk)) for name, value in batch.items()}
            for start in range(0, samples, chunk)
        ]

    def backward(self, exchange: bool = True) -> None:
        """Carry the embeddings' gradient to the weights, by chunks; the last may exchange it between processes."""
        gradient = self.embeddings.grad
        if gradient is None:
            raise RuntimeError("GradientCache.backward needs the loss's backward pass before it.")
        after = self.bare.get_extra_state()
        start = 0
        for number, (piece, (states, draws)) in enumerate(zip(self.chunks, self.states, strict=True)):
            end = start + piece["image"].shape[0]
            with self.exchange(exchange and number == len(self.chunks) - 1):
                self.bare.set_extra_state(draws)
                with _replayed(states, self.device), self.autocast():
                    embeddings = self.call(piece, self.method, contrast=False)["embedding"]
                embeddings.backward(gradient[start:end])
            start = end
        self.bare.set_extra_state(after)
