# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Sampler of fine-tuning: each image once, or classes balanced."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from monai_cxrssl.data.sampling.bags import Draw
from monai_cxrssl.errors import ConfigurationError

__all__ = ["ImageSampler"]


class ImageSampler(Sampler[Draw]):
    """Draw the images of an epoch, a function of (seed, epoch) alone, so that a resume is exact.

    Unbalanced, a pass over the data holds every image once, in random order. Balanced, the positions of a pass are
    dealt to the groups of images in turn, and each group gives its images round by round, every round in a new order:
    a rare class is repeated, of a frequent one each pass shows another part. An epoch is a pass, or goes on in the
    passes where the one before it ended.

    Groups are the classes of multi-class labels; the images without a label are one more group, so that those with a
    mask only are not lost. An image with multi-label labels is in the group of the rarest finding that it shows (our
    choice), or in that of the images that show none.

    Args:
        labels: of :class:`~monai_cxrssl.data.sampling.fine_tuning.FineTuningImages`.
        balanced: whether groups are drawn equally often.
        seed: any whole number of 0 or more.
        rank, world_size: this process gets every ``world_size``-th draw; up to ``world_size - 1`` last ones are left
            out.
        draws: of an epoch, over all processes; by default one pass.

    Raises:
        ConfigurationError: no images, fewer than processes, or numbers out of range.
    """

    def __init__(
        self,
        labels: np.ndarray,
        balanced: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        draws: int | None = None,
    ) -> None:
        self.size = len(labels)
        if not 0 <= rank < world_size:
            raise ConfigurationError(f"Process number {rank} is not one of 0 to {world_size - 1}.")
        if self.size < world_size:
            raise ConfigurationError(f"{self.size} images are too few for {world_size} processes.")
        if seed < 0:
            raise ConfigurationError(f"The seed is {seed}; expected 0 or more.")
        groups = _groups(np.asarray(labels)) if balanced else np.zeros(self.size, dtype=np.int64)
        self.members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        self.seed, self.rank, self.world_size, self.epoch = int(seed), rank, world_size, 0
        self.draws = self.size if draws is None else int(draws)
        if self.draws < world_size:
            raise ConfigurationError(f"{self.draws} draws are too few for {world_size} processes.")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (counted from 0) that the next pass draws."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return self.draws // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        epoch = self.epoch
        first, end = epoch * self.draws, (epoch + 1) * self.draws
        passes = range(first // self.size, -(-end // self.size))
        order = np.concatenate([self._order(number) for number in passes])[first - passes[0] * self.size :]
        for position in range(self.rank, len(self) * self.world_size, self.world_size):
            index = int(order[position])
            yield Draw(epoch, position, index, index, -1)

    def _order(self, number: int) -> np.ndarray:
        generator = np.random.default_rng([self.seed, number])
        # Which groups get one draw more when the pass does not divide evenly is drawn too.
        turns = generator.permutation(len(self.members))
        order = np.empty(self.size, dtype=np.int64)
        for turn, group in enumerate(turns.tolist()):
            places = np.arange(turn, self.size, len(self.members))
            members = self.members[group]
            rounds = [generator.permutation(members) for _ in range(-(-len(places) // len(members)))]
            order[places] = np.concatenate(rounds)[: len(places)] if rounds else members[:0]
        return order if len(self.members) == 1 else _shuffled_rows(order, len(self.members), generator)


def _groups(labels: np.ndarray) -> np.ndarray:
    """Number of each image's group, ``(samples,)`` int64."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    shown = labels > 0.5  # NaN is not
    frequency = shown.sum(0)
    rarest = np.where(shown, frequency, frequency.max(initial=0) + 1).argmin(1) if labels.shape[1] else 0
    without = np.where(np.isnan(labels).all(1), -1, labels.shape[1])
    return np.where(shown.any(1), rarest, without).astype(np.int64)


def _shuffled_rows(order: np.ndarray, width: int, generator: np.random.Generator) -> np.ndarray:
    """Shuffle within each turn over the groups: with as many processes as groups each would see one group only."""
    whole = len(order) // width * width
    rows = generator.permuted(order[:whole].reshape(-1, width), axis=1)
    return np.concatenate([rows.reshape(-1), order[whole:]])
