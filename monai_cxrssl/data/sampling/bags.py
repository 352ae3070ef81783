# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patient bags and the pair sampler of SimCLR and MICLe.

Source: S. Azizi et al., "Big Self-Supervised Models Advance Medical Image Classification", ICCV 2021, arXiv
2101.05224: for a bag (one patient case) with two images or more, a positive pair is made of two different images of
the bag. A bag with one image gives two views of it, as in SimCLR. Going over the bags in rounds, so that an epoch of
either stage has as many pairs as there are images, is our choice.

MedAug (Y. Vu et al. 2021, arXiv 2102.10663) takes two images of the same study of a patient, of any view and side:
bags made by study, ``patient_bags(items, by="study")``, give its pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Sampler

from monai_cxrssl.errors import ConfigurationError

__all__ = ["Draw", "PairSampler", "patient_bags", "patient_numbers"]

logger = logging.getLogger(__name__)


class Draw(NamedTuple):
    """One positive pair: which images, and the key that its random views are drawn by.

    ``epoch`` and ``position`` (in the epoch, over all processes) count from 0 and never occur twice together. ``first``
    and ``second`` are the item indices of the images of views 0 and 1, equal for two views of one image; both come from
    ``bag``.
    """

    epoch: int
    position: int
    first: int
    second: int
    bag: int


def patient_bags(items: Sequence[Mapping[str, Any]], by: str = "patient") -> list[list[int]]:
    """Group images into bags, in order of first appearance: item indices per bag, each once.

    Args:
        items: datalist items with ``patient_id`` and, for studies, ``study_id``.
        by: ``"patient"``: a bag is one patient, the case of MICLe; ``"study"``: one study of one patient, whatever the
            views, the positives of MedAug. An image of unknown study is then a bag of its own. All else is a
            ConfigurationError.

    Example:
        >>> patient_bags([{"patient_id": "a"}, {"patient_id": "b"}, {"patient_id": "a"}])
        [[0, 2], [1]]
    """
    if by not in ("patient", "study"):
        raise ConfigurationError(f"Bags are made by 'patient' or 'study', not by {by!r}.")
    bags: dict[tuple, list[int]] = {}
    for index, item in enumerate(items):
        key: tuple = (item["patient_id"],)
        if by == "study":
            study = item.get("study_id")
            key += (study,) if study not in (None, "") else (None, index)
        bags.setdefault(key, []).append(index)
    return list(bags.values())


def patient_numbers(items: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Number of each image's patient, counted in order of first appearance: ``(images,)`` int64. Bags made by study are
    smaller, and images of other studies of a patient must still not count as negatives."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(item["patient_id"], len(numbers)) for item in items], dtype=np.int64)


class PairSampler(Sampler[Draw]):
    """Draws the pairs of an epoch: SimCLR first, MICLe from epoch ``simclr_epochs`` on.

    SimCLR: every image once, in random order, paired with itself. MICLe: rounds over the bags in random order; a bag of
    two images or more gives two different ones, drawn uniformly, a bag of one gives it twice. Both have as many draws
    as there are images. Between two occurrences of a bag lie at least half as many draws as there are bags, so that a
    batch rarely holds a patient twice. The order is a function of (seed, epoch) alone.

    Args:
        bags: item indices per bag, from :func:`patient_bags`.
        seed: any whole number of 0 or more.
        simclr_epochs: number of SimCLR epochs before MICLe; ``None`` for SimCLR only, 0 for MICLe only.
        rank, world_size: this process gets every ``world_size``-th draw. All get equally many: the up to
            ``world_size - 1`` last draws are left out, because ranks with different numbers of batches would wait for
            each other for ever.

    Raises:
        ConfigurationError: no bags, an empty bag, an index twice, or numbers out of range.
    """

    def __init__(
        self,
        bags: Sequence[Sequence[int]],
        seed: int = 0,
        simclr_epochs: int | None = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.sizes = np.array([len(bag) for bag in bags], dtype=np.int64)
        if not len(self.sizes) or not self.sizes.all():
            raise ConfigurationError(f"{len(self.sizes)} bags, {int((self.sizes == 0).sum())} of them empty: no pairs.")
        self.members = np.concatenate([np.asarray(bag, dtype=np.int64) for bag in bags])
        if len(np.unique(self.members)) != len(self.members):
            raise ConfigurationError("An image is in more than one bag, or twice in one; each must be in one bag.")
        if not 0 <= rank < world_size:
            raise ConfigurationError(f"Process number {rank} is not one of 0 to {world_size - 1}.")
        if len(self.members) < world_size:
            raise ConfigurationError(f"{len(self.members)} images are too few for {world_size} processes.")
        if seed < 0:
            raise ConfigurationError(f"The seed is {seed}; expected 0 or more.")
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.bag_of_member = np.repeat(np.arange(len(self.sizes)), self.sizes)
        self.seed, self.simclr_epochs, self.rank, self.world_size = int(seed), simclr_epochs, rank, world_size
        self.epoch = 0
        self.multi_image_bags = int((self.sizes > 1).sum())
        if simclr_epochs is not None and not self.multi_image_bags:
            logger.warning(
                "no bag (patient or study) has two images or more, so MICLe has no pairs of different images: "
                "all epochs draw SimCLR pairs (two views of one image)"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (counted from 0) that the next pass draws."""
        self.epoch = int(epoch)

    def stage(self, epoch: int | None = None) -> str:
        """``"simclr"`` or ``"micle"``, for an epoch (by default the one chosen)."""
        epoch = self.epoch if epoch is None else epoch
        if self.simclr_epochs is None or not self.multi_image_bags or epoch < self.simclr_epochs:
            return "simclr"
        return "micle"

    def __len__(self) -> int:
        return len(self.members) // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        epoch = self.epoch
        first, second, bag = self._pairs(epoch)
        for position in range(self.rank, len(self) * self.world_size, self.world_size):
            yield Draw(epoch, position, int(first[position]), int(second[position]), int(bag[position]))

    def _pairs(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First image, second image and bag of every draw of an epoch, each ``(images,)`` int64."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.stage(epoch) == "simclr":
            order = generator.permutation(len(self.members))
            return self.members[order], self.members[order], self.bag_of_member[order]
        bag = self._rounds(generator)
        sizes, starts = self.sizes[bag], self.starts[bag]
        first = generator.integers(0, sizes)
        # A step of 1 to size - 1 around the bag reaches each other image with the same chance, and never the first.
        step = generator.integers(1, np.maximum(sizes, 2))
        second = np.where(sizes > 1, (first + step) % sizes, first)
        return self.members[starts + first], self.members[starts + second], bag

    def _rounds(self, generator: np.random.Generator) -> np.ndarray:
        """Bag numbers of an epoch, ``(images,)``: each round holds every bag once, the last one is cut."""
        half = (len(self.sizes) + 1) // 2
        order = generator.permutation(len(self.sizes))
        rounds = [order]
        for _ in range((len(self.members) - 1) // len(order)):
            # Early bags stay early and late ones late, so that no bag follows itself across the border of two rounds.
            order = np.concatenate([generator.permutation(order[:half]), generator.permutation(order[half:])])
            rounds.append(order)
        return np.concatenate(rounds)[: len(self.members)]
