# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Group masking (GMML) by noise or another image."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, Transform
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError

__all__ = ["GroupMask", "GroupMaskd", "draw_blocks", "largest_sides", "warn_of_single_cells"]

logger = logging.getLogger(__name__)

#: Cells times blocks that :func:`draw_blocks` compares at a time; bounds its memory when a cell is one pixel.
_COMPARED_AT_ONCE = 2**24


class GroupMask(Transform):
    """Corrupt connected blocks of each image of a batch, as group masked model learning does.

    Blocks of at least two cells, of up to ``largest_block`` of the side rounded up, are drawn until a share of the
    image, U(``fraction``), is covered and filled with noise; a sample that ``alien_prob`` chooses instead gets blocks
    that cover ``alien_fraction``, filled with the same place of another image of the batch (GMML and SPCXR, Anwar et
    al. 2022, arXiv 2211.12944).

    Our choices: blocks keep to the patch grid. The noise is N(0, 1) of images standardised by ``noise_mean`` and
    ``noise_std``; for images in [0, 1] it is therefore N(``noise_mean``, ``noise_std``), not cut off at 0 and 1. No
    sample is its own donor, so a batch of one image gets noise only. An option out of its range is a
    ConfigurationError.

    Args:
        patch_size: side in pixels of the cells that blocks are made of; 1 places blocks freely.
        fraction: least and greatest share of pixels to fill with noise, in (0, 1].
        largest_block: greatest block height and width, as a share of the image's, in (0, 1]; rounded up to whole cells,
            at least two. Where the image has one cell only, its blocks are single cells, and a warning says so.
        alien_prob: probability that a sample is corrupted by a donor instead of noise.
        alien_fraction: share of pixels that a donor fills, in (0, 1].
        noise_mean, noise_std: of the noise; its standard deviation is greater than 0.

    Example:
        >>> corrupted, mask = GroupMask(patch_size=8)(torch.rand(2, 1, 64, 64), torch.Generator().manual_seed(0))
        >>> corrupted.shape, mask.shape
        (torch.Size([2, 1, 64, 64]), torch.Size([2, 1, 64, 64]))
    """

    def __init__(
        self,
        patch_size: int = 16,
        fraction: Sequence[float] = (0.5, 0.75),
        largest_block: float = 0.3,
        alien_prob: float = 0.5,
        alien_fraction: float = 0.3,
        noise_mean: float = 0.5,
        noise_std: float = 0.25,
    ) -> None:
        if patch_size < 1:
            raise ConfigurationError(f"patch_size is {patch_size!r}; give the side of a patch in pixels, at least 1.")
        if len(fraction) != 2 or not 0 < fraction[0] <= fraction[1] <= 1:
            raise ConfigurationError(f"fraction is {fraction!r}; give two increasing shares between 0 and 1.")
        for name, share in (("largest_block", largest_block), ("alien_fraction", alien_fraction)):
            if not 0 < share <= 1:
                raise ConfigurationError(f"{name} is {share!r}; give a share of the image greater than 0, at most 1.")
        if not 0 <= alien_prob <= 1:
            raise ConfigurationError(f"alien_prob is {alien_prob!r}; give a probability between 0 and 1.")
        if not noise_std > 0:
            raise ConfigurationError(f"noise_std is {noise_std!r}; give a standard deviation greater than 0.")
        self.patch_size = int(patch_size)
        self.fraction = (float(fraction[0]), float(fraction[1]))
        self.largest_block = float(largest_block)
        self.alien_prob, self.alien_fraction = float(alien_prob), float(alien_fraction)
        self.noise_mean, self.noise_std = float(noise_mean), float(noise_std)
        self._told = False

    def __call__(
        self, batch: Tensor, generator: torch.Generator | None = None, donors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Corrupt a batch; no operation waits for the device.

        Args:
            batch: images ``(B, C, H, W)``, floating point in [0, 1]; not changed.
            generator: random source on the batch's device; torch's own by default.
            donors: images ``(B, C, H, W)`` to take alien blocks from, by default other images of the batch, drawn.

        Returns:
            The corrupted images ``(B, C, H, W)`` and a bool mask ``(B, 1, H, W)`` of the blocks. Outside it nothing is
            changed; inside it a donor's pixel may happen to equal the one that it replaces.

        Raises:
            ConfigurationError: the batch has another shape or type, or its sides are no multiples of ``patch_size``.
        """
        self._check(batch, donors)
        size, _, height, width = batch.shape
        grid = (height // self.patch_size, width // self.patch_size)
        if not self._told:
            self._told = True
            warn_of_single_cells(grid, self.largest_block)
        chance, place, other = torch.rand(3, size, generator=generator, device=batch.device)
        low, high = self.fraction
        has_donor = donors is not None or size > 1
        alien = (chance < self.alien_prob) & has_donor
        target = torch.where(alien, self.alien_fraction, low + (high - low) * place)
        cells = draw_blocks(grid, target, self.largest_block, generator, max(high, self.alien_fraction))
        mask = cells.repeat_interleave(self.patch_size, 1).repeat_interleave(self.patch_size, 2)[:, None]
        filling = torch.empty_like(batch).normal_(self.noise_mean, self.noise_std, generator=generator)
        if has_donor:
            if donors is None:
                rows = torch.arange(size, device=batch.device)
                donors = batch[(rows + 1 + (other * (size - 1)).long()) % size]
            filling = torch.where(alien[:, None, None, None], donors, filling)
        return torch.where(mask, filling, batch), mask

    def _check(self, batch: Tensor, donors: Tensor | None) -> None:
        if batch.ndim != 4 or 0 in batch.shape or not batch.is_floating_point():
            raise ConfigurationError(
                f"Group masking got a {batch.dtype} batch of shape {tuple(batch.shape)}; expected floating-point "
                "images (B, C, H, W) in [0, 1]."
            )
        if batch.shape[2] % self.patch_size or batch.shape[3] % self.patch_size:
            raise ConfigurationError(
                f"Images of {batch.shape[2]} x {batch.shape[3]} pixels cannot be cut into patches of "
                f"{self.patch_size}; choose an image size that is a multiple of the patch size."
            )
        if donors is not None and donors.shape != batch.shape:
            raise ConfigurationError(
                f"Group masking got donors of shape {tuple(donors.shape)} for images {tuple(batch.shape)}; both must "
                "have one shape."
            )


class GroupMaskd(MapTransform, Randomizable):
    """Corrupt single images of a dictionary as :class:`GroupMask` does a batch.

    One item has no batch to find a donor in: alien blocks come from the image under ``alien_key``, and without it every
    image is corrupted by noise. Images of one shape under several keys get the same blocks.

    Args:
        keys: items with an image ``(C, H, W)``, floating point in [0, 1]; each becomes its corrupted form.
        alien_key: item with the donor image, of the same shape.
        mask_postfix: the bool mask ``(1, H, W)`` of the blocks is stored under the key followed by this.
        allow_missing_keys: pass over ``keys`` that a dictionary lacks.
        **options: those of :class:`GroupMask`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        alien_key: str | None = None,
        mask_postfix: str = "_mask",
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.alien_key, self.mask_postfix = alien_key, mask_postfix
        self.group_mask = GroupMask(**options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Corrupt every image of the item. KeyError: one is missing; ConfigurationError: one is not as described."""
        result = dict(data)
        seed = int(self.R.randint(2**31, dtype="int64"))
        donors = None if self.alien_key is None else torch.as_tensor(data[self.alien_key])[None]
        for key in self.key_iterator(data):
            image = torch.as_tensor(data[key])
            generator = torch.Generator(image.device).manual_seed(seed)
            corrupted, mask = self.group_mask(image[None], generator, donors)
            result[key], result[f"{key}{self.mask_postfix}"] = corrupted[0], mask[0]
        return result


def draw_blocks(
    grid: tuple[int, int],
    target: Tensor,
    largest_block: float,
    generator: torch.Generator | None = None,
    greatest_target: float = 1.0,
) -> Tensor:
    """Draw rectangles of cells, one after the other, until they cover a share of each sample's grid.

    Height and width of a rectangle are uniform over all pairs up to :func:`largest_sides` but the single cell, its
    place is uniform inside the grid. All samples are drawn at once: of every cell it is computed which rectangle covers
    it first, and a sample keeps the rectangles up to the one that reaches its target. Should those drawn not suffice,
    which is rare, single cells in random order complete them.

    Args:
        grid: rows and columns of cells.
        target: share to cover of each sample, ``(B,)`` in [0, 1]; its device is that of ``generator`` and the result.
        largest_block: greatest height and width of a rectangle, as a share of the grid's.
        greatest_target: the greatest share that ``target`` can hold; lets fewer rectangles be drawn.

    Returns:
        Bool ``(B, rows, columns)``, true where covered: at least the target, by less than one rectangle more.
    """
    rows, columns = grid
    size, cells, device = target.shape[0], rows * columns, target.device
    greatest = largest_sides(grid, largest_block)
    kinds = math.prod(greatest)
    single = int(kinds > 1)  # the first kind, one cell, is left out where there are others
    mean_share = (math.prod(side * (side + 1) // 2 for side in greatest) - single) / (kinds - single) / cells
    # Independent rectangles leave (1 - share)^n of the grid; twice that n, since places at the border are rarer.
    draws = 8 + math.ceil(2 * math.log(1 - min(greatest_target, 0.95)) / math.log1p(-min(mean_share, 0.95)))
    kind, *places = torch.rand(3, size, draws, 1, generator=generator, device=device)
    kind = single + (kind * (kinds - single)).long()
    lengths = (kind // greatest[1] + 1, kind % greatest[1] + 1)
    spans = []
    for side, length, place in zip(grid, lengths, places, strict=True):
        start = (place * (side - length + 1)).floor()
        position = torch.arange(side, device=device)
        spans.append((position >= start) & (position < start + length))
    # A cell that no rectangle covers comes after all of them, in random order.
    late = torch.rand(size, cells, generator=generator, device=device).argsort(1).view(size, rows, columns)
    first = late + draws
    step = max(1, _COMPARED_AT_ONCE // (size * cells))
    for begin in range(0, draws, step):
        numbers = torch.arange(begin, min(begin + step, draws), device=device)[:, None, None]
        covers = spans[0][:, begin : begin + step, :, None] & spans[1][:, begin : begin + step, None, :]
        first = torch.minimum(first, torch.where(covers, numbers, draws + cells).amin(1))
    wanted = (target * cells - 1e-4).ceil().long().clamp(1, cells)
    last = first.flatten(1).sort(1).values.gather(1, wanted[:, None] - 1)
    return first <= last[:, :, None]


def largest_sides(grid: tuple[int, int], largest_block: float) -> tuple[int, int]:
    """Return the greatest height and width of a group in cells: rounded up, at least two where the grid has two.

    Example:
        >>> [largest_sides((side, side), 0.3)[0] for side in (4, 6, 7, 8, 10, 14, 16)]
        [2, 2, 3, 3, 3, 5, 5]
    """
    rows, columns = (min(side, max(2, math.ceil(side * largest_block - 1e-6))) for side in grid)
    return rows, columns


def warn_of_single_cells(grid: tuple[int, int], largest_block: float) -> None:
    """Log a warning where no group could be larger than one cell."""
    if largest_sides(grid, largest_block) == (1, 1):
        logger.warning(
            "A group of patches cannot be larger than one patch: the image has %d x %d. Give a larger --image_size or "
            "an encoder of smaller patches, or groups are not masked at all.",
            *grid,
        )
