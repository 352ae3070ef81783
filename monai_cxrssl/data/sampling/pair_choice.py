# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Choice of the second image of a positive pair (MICLe, MedAug).

MedAug (Y. Vu et al. 2021, arXiv 2102.10663) draws the second image of a pair among those images of the patient that
meet conditions on metadata: of the same study or of another one, of the same laterality (frontal or lateral) or of the
other one. No condition asks for a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.data.stores.pretext_masks import LATERAL_VIEWS
from monai_cxrssl.errors import ConfigurationError

__all__ = ["PairChoice", "pair_choice"]

#: Number of a view or a study that is not known.
_UNKNOWN = -1


class PairChoice:
    """Which other images of its bag may be the second one of a pair, for every image.

    An image of unknown view or study is not known to meet a condition on it, and so has no partner.

    Args:
        items: datalist items with ``view_position`` and ``study_id`` where a condition asks for them.
        bags: item indices per bag, from :func:`monai_cxrssl.data.patient_bags`.
        views: ``"any"``, ``"same"`` (two frontal or two lateral images) or ``"different"`` (one of each).
        studies: ``"any"``, ``"same"`` or ``"different"``.

    Attributes:
        counts: ``(images,)`` int64, partners of each image, the images counted bag after bag.

    Raises:
        ConfigurationError: another word.

    Example:
        >>> views = [{"view_position": "PA"}, {"view_position": "AP"}, {"view_position": "LL"}]
        >>> PairChoice(views, [[0, 1, 2]], views="same").counts.tolist()
        [1, 1, 0]
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        bags: Sequence[Sequence[int]],
        views: str = "any",
        studies: str = "any",
    ) -> None:
        for name, word in (("views", views), ("studies", studies)):
            if word not in ("any", "same", "different"):
                raise ConfigurationError(f"The {name} of a pair are 'any', 'same' or 'different', not {word!r}.")
        members = np.array([index for bag in bags for index in bag], dtype=np.int64)
        conditions = []
        if views != "any":
            conditions.append((np.array([_side(items[index]) for index in members]), views == "same"))
        if studies != "any":
            numbers: dict[Any, int] = {}
            conditions.append((np.array([_study(items[index], numbers) for index in members]), studies == "same"))
        counts, partners, start = [], [], 0
        for bag in bags:
            places = np.arange(start, start + len(bag))
            rows, columns = np.nonzero(_allowed(places, conditions))
            counts.append(np.bincount(rows, minlength=len(bag)))
            partners.append(columns + start)
            start += len(bag)
        self.counts = np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)
        self._partners = np.concatenate(partners).astype(np.int32) if partners else np.zeros(0, dtype=np.int32)
        self._starts = np.cumsum(self.counts) - self.counts

    def draw(self, places: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return a partner of each of these places, uniformly drawn, or the place itself where it has none."""
        counts = self.counts[places]
        step = generator.integers(0, np.maximum(counts, 1))
        chosen = places.copy()
        paired = counts > 0
        chosen[paired] = self._partners[(self._starts[places] + step)[paired]]
        return chosen


def pair_choice(
    items: Sequence[Mapping[str, Any]], bags: Sequence[Sequence[int]], views: str = "any", studies: str = "any"
) -> PairChoice | None:
    """Return the choice that conditions leave, ``None`` where any other image of the bag may be the second one.

    Args and errors are those of :class:`PairChoice`.
    """
    return None if views == studies == "any" else PairChoice(items, bags, views, studies)


def _allowed(places: np.ndarray, conditions: Sequence[tuple[np.ndarray, bool]]) -> np.ndarray:
    """Return which place of a bag may follow which, a bool matrix with the first image in its rows."""
    allowed = ~np.eye(len(places), dtype=bool)
    for numbers, same in conditions:
        own = numbers[places]
        known = own != _UNKNOWN
        allowed &= ((own[:, None] == own[None, :]) == same) & known[:, None] & known[None, :]
    return allowed


def _side(item: Mapping[str, Any]) -> int:
    view = str(item.get("view_position") or "").strip().upper()
    if view in LATERAL_VIEWS:
        return 1
    return 0 if view.startswith(("PA", "AP")) else _UNKNOWN


def _study(item: Mapping[str, Any], numbers: dict[Any, int]) -> int:
    study = item.get("study_id")
    return _UNKNOWN if study in (None, "") else numbers.setdefault((item["patient_id"], study), len(numbers))
