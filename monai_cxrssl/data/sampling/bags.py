# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patient bags and the pair sampler of SimCLR and MICLe.

Source: S. Azizi et al., "Big Self-Supervised Models Advance Medical Image Classification", ICCV 2021, arXiv
2101.05224: for a bag (one patient case) with two images or more, a positive pair is made of two different images of
the bag. A bag with one image gives two views of it, as in SimCLR. Going over the bags in rounds, so that an epoch of
either stage has as many pairs as there are images, is our choice.

MedAug (Y. Vu et al. 2021, arXiv 2102.10663) takes two images of the same study of a patient, of any view and side:
bags made by study, ``patient_bags(items, by="study")``, give its pairs; its other choices are those of
:class:`~monai_cxrssl.data.sampling.pair_choice.PairChoice`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Sampler

from monai_cxrssl.data.sampling.pair_choice import PairChoice, pair_choice
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

    With a ``multi_image_share`` that share of MICLe's pairs is of two different images, spread over the epoch so that
    any run of one process's draws, such as a batch, misses it by less than one pair. Bags with such pairs then take
    turns by themselves, and so do images without a partner, as pairs of themselves. A share below what comes by itself
    leaves more pairs of one image than there are such images; these are of all images.

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
        multi_image_share: float | None = None,
        choice: PairChoice | None = None,
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
        if multi_image_share is not None and not 0 <= multi_image_share <= 1:
            raise ConfigurationError(f"multi_image_share is {multi_image_share}; give a share between 0 and 1.")
        if choice is not None and len(choice.counts) != len(self.members):
            raise ConfigurationError(
                f"The choice of pairs is of {len(choice.counts)} images and the bags hold {len(self.members)}; make it "
                "of the same bags."
            )
        self.epoch = 0
        self.multi_image_share, self.choice = multi_image_share, choice
        paired = self.sizes[self.bag_of_member] > 1 if choice is None else choice.counts > 0
        self._paired = _Places(paired, self.bag_of_member)
        self.multi_image_bags = len(self._paired.starts)
        # Each bag has as many turns, and gives a pair as often as the first image that is drawn has a partner.
        as_they_come = float((np.bincount(self.bag_of_member, weights=paired) / self.sizes).mean())
        self.share = as_they_come if multi_image_share is None or not self.multi_image_bags else multi_image_share
        alone = np.ones_like(paired) if self.share < as_they_come or paired.all() else ~paired
        self._single = _Places(alone, self.bag_of_member)
        if simclr_epochs is not None and rank == 0:
            self._announce(as_they_come)

    @classmethod
    def of_items(
        cls,
        items: Sequence[Mapping[str, Any]],
        by: str = "patient",
        views: str = "any",
        studies: str = "any",
        **options: Any,
    ) -> PairSampler:
        """Make the sampler of datalist items.

        Args:
            items: of the images.
            by: see :func:`patient_bags`.
            views: see :class:`~monai_cxrssl.data.sampling.pair_choice.PairChoice`.
            studies: likewise.
            options: further arguments of the class.
        """
        bags = patient_bags(items, by)
        return cls(bags, choice=pair_choice(items, bags, views, studies), **options)

    def _announce(self, as_they_come: float) -> None:
        """Log what share of MICLe's pairs is of two different images, and what it costs."""
        if not self.multi_image_bags:
            logger.warning(
                "no bag (patient or study) has two images or more%s, so MICLe has no pairs of different images: "
                "all epochs draw SimCLR pairs (two views of one image)",
                "" if self.choice is None else " that the choice of pairs takes",
            )
            return
        turns = self.share * len(self.members) / self.multi_image_bags
        logger.info(
            "%.1f %% of MICLe's pairs are of two different images (%s): each of the %d of %d bags that have such pairs "
            "gives %.1f of them in an epoch. Up to %.1f %% no bag would give two in one epoch.",
            100 * self.share,
            "as they come" if self.multi_image_share is None else f"as they come {100 * as_they_come:.1f} %",
            self.multi_image_bags,
            len(self.sizes),
            turns,
            100 * self.multi_image_bags / len(self.members),
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

    def multi_image_pairs(self, epoch: int) -> float:
        """Return the share of an epoch's pairs, of all processes, that are of two different images."""
        first, second, _ = self._pairs(epoch)
        return float((first != second).mean())

    def _pairs(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First image, second image and bag of every draw of an epoch, each ``(images,)`` int64."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.stage(epoch) == "simclr":
            order = generator.permutation(len(self.members))
            return self.members[order], self.members[order], self.bag_of_member[order]
        if self.multi_image_share is not None:
            return self._pairs_by_share(generator)
        bag = _rounds(generator, len(self.sizes), len(self.members))
        sizes, starts = self.sizes[bag], self.starts[bag]
        first = generator.integers(0, sizes)
        if self.choice is not None:
            second = self.choice.draw(starts + first, generator) - starts
        else:
            second = self._other(first, sizes, generator)
        return self.members[starts + first], self.members[starts + second], bag

    @staticmethod
    def _other(first: np.ndarray, sizes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return the number of another image of each bag, or that of the first where there is none."""
        # A step of 1 to size - 1 around the bag reaches each other image with the same chance, and never the first.
        step = generator.integers(1, np.maximum(sizes, 2))
        return np.where(sizes > 1, (first + step) % sizes, first)

    def _pairs_by_share(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of an epoch, the wanted share of which are of two different images."""
        different = _spread(len(self.members), self.share, self.world_size, generator.random())
        first, second = np.empty((2, len(self.members)), dtype=np.int64)
        first[different] = self._paired.draw(int(different.sum()), generator)
        if self.choice is not None:
            second[different] = self.choice.draw(first[different], generator)
        else:
            bag = self.bag_of_member[first[different]]
            starts = self.starts[bag]
            second[different] = starts + self._other(first[different] - starts, self.sizes[bag], generator)
        first[~different] = second[~different] = self._single.draw(int((~different).sum()), generator)
        return self.members[first], self.members[second], self.bag_of_member[first]


class _Places:
    """Places of some images among all, by bag, and draws of them in rounds over the bags."""

    def __init__(self, chosen: np.ndarray, bag_of_member: np.ndarray) -> None:
        self.places = np.flatnonzero(chosen)
        bags = bag_of_member[self.places]
        self.starts, self.sizes = np.unique(bags, return_index=True, return_counts=True)[1:]

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return a place of each bag in turn, ``(count,)`` int64."""
        bag = _rounds(generator, len(self.starts), count)
        return self.places[self.starts[bag] + generator.integers(0, self.sizes[bag])]


def _spread(count: int, share: float, processes: int, phase: float) -> np.ndarray:
    """Return which draws are of two different images: bool ``(count,)``, even over the draws of every process."""
    turn, rank = np.divmod(np.arange(count), processes)
    # Processes are set off against each other, so that their draws together are as even as those of each.
    offset = (phase + rank / processes) % 1
    return np.floor((turn + 1) * share + offset) > np.floor(turn * share + offset)


def _rounds(generator: np.random.Generator, bags: int, count: int) -> np.ndarray:
    """Numbers of bags, ``(count,)``: each round holds every bag once, the last one is cut."""
    if not count:
        return np.zeros(0, dtype=np.int64)
    half = (bags + 1) // 2
    order = generator.permutation(bags)
    rounds = [order]
    for _ in range((count - 1) // bags):
        # Early bags stay early and late ones late, so that no bag follows itself across the border of two rounds.
        order = np.concatenate([generator.permutation(order[:half]), generator.permutation(order[half:])])
        rounds.append(order)
    return np.concatenate(rounds)[:count]
