# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Jigsaw puzzle pretext task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.transforms.corruptions.jigsaw_tiles import cut_tiles, permutation_set

__all__ = ["Jigsaw"]

# A smaller piece of a chest X-ray shows too little to place it (our choice).
SMALLEST_TILE = 16


class Jigsaw(PretextMethod):
    """Solve jigsaw puzzles (Noroozi & Favaro 2016, arXiv 1603.09246).

    An image is cut into ``grid x grid`` cells, a tile at a random place out of each, every tile brought to one mean
    and spread, so that neither edges nor brightness tell its neighbours. The tiles, shuffled by one permutation of a
    fixed set, go through the encoder one by one; their embeddings, side by side in the shuffled order, go through a
    perceptron that names the permutation.

    Mean and spread of a tile are 0.5 and 0.25, not 0 and 1 as in the paper, because encoders of this package take
    images in [0, 1]. Tiles are scaled up to the next multiple of the encoder's stride, which vision transformers need.
    A tile must have 16 pixels: with the default options images must have a side of 57 or more.

    Args:
        grid: cells along either side, 2 or 3.
        permutations: size of the set, 2,000 in VISSL; a few hundred suit a short run. At most ``(grid * grid)!``.
        tile_crop: side of a tile as a fraction of that of its cell; 64 / 75 in the paper.
        tile_channels: length to which each tile's embedding is projected.
        seed: of permutations, places and shuffling.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    num_views: ClassVar[int] = 1
    permutations: Tensor

    def __init__(
        self,
        network: Encoder,
        grid: int = 3,
        permutations: int = 2000,
        tile_crop: float = 0.85,
        tile_channels: int = 512,
        hidden_channels: int = 1024,
        seed: int = 0,
    ) -> None:
        super().__init__(network, seed)
        if grid not in (2, 3):
            raise ConfigurationError(f"grid is {grid!r}; a puzzle has 2 x 2 or 3 x 3 tiles.")
        if not 0 < tile_crop <= 1:
            raise ConfigurationError(f"tile_crop is {tile_crop!r}; give a fraction of a cell, above 0 and at most 1.")
        self.grid = int(grid)
        self.tile_crop = float(tile_crop)
        # A buffer: a checkpoint keeps the classes that its classifier was trained on.
        self.register_buffer("permutations", permutation_set(grid * grid, permutations, seed))
        self.tile_head = nn.Sequential(nn.Linear(network.out_channels, tile_channels), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(
            nn.Linear(grid * grid * tile_channels, hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, permutations),
        )

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the cross-entropy of a batch and, as ``accuracy``, the share of puzzles solved.

        Each view of ``image`` ``(B, V, 1, H, W)`` float in [0, 1] is a puzzle of its own. Beside ``loss`` and
        ``accuracy`` there are ``trivial_loss``, of equal probabilities, and ``embedding`` ``(B * V * tiles, D)``, one
        per tile.

        Raises:
            ConfigurationError: the images are too small.
        """
        tiles, order = self.shuffle(batch["image"].flatten(0, 1))
        embedding = self.network(tiles.flatten(0, 1))
        logits = self.classifier(self.tile_head(embedding).reshape(len(tiles), -1)).float()
        accuracy = (logits.detach().argmax(dim=1) == order).float().mean()
        trivial = logits.new_tensor(float(len(self.permutations))).log()
        return {
            "loss": cross_entropy(logits, order),
            "trivial_loss": trivial,
            "accuracy": accuracy,
            "embedding": embedding.detach(),
        }

    def shuffle(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Make a puzzle of every image ``(N, C, H, W)``.

        Return tiles ``(N, grid * grid, C, t, t)``, of which number ``k`` is that of cell ``permutations[order][k]``,
        and the order ``(N,)`` int64, a row of :attr:`permutations`. Images that are too small raise a
        ConfigurationError.
        """
        side = min(images.shape[-2:]) // self.grid
        tile = int(side * self.tile_crop + 0.5)
        if tile < SMALLEST_TILE:
            raise ConfigurationError(
                f"Images of {images.shape[-1]} x {images.shape[-2]} px give {self.grid} x {self.grid} tiles of {tile} "
                f"px; a tile needs {SMALLEST_TILE}. Raise --image_size to {self._smallest_image()} or more, or take a "
                "grid of 2."
            )
        generator = self.generator(images.device)
        tiles = cut_tiles(images, self.grid, tile, generator)
        tiles = tiles - tiles.mean(dim=(2, 3, 4), keepdim=True)
        # A tile beside the body may be black all over; noise must not be blown up there.
        spread = tiles.square().mean(dim=(2, 3, 4), keepdim=True).sqrt().clamp(min=0.01)
        tiles = 0.5 + 0.25 * tiles / spread
        order = torch.randint(len(self.permutations), (len(tiles),), device=tiles.device, generator=generator)
        sample = torch.arange(len(tiles), device=tiles.device)[:, None]
        tiles = tiles[sample, self.permutations[order]]
        encoder: Any = self.network.encoder
        stride = int(encoder.output_stride)
        wanted = -(-tile // stride) * stride
        if wanted != tile:
            shape = tiles.shape
            tiles = interpolate(tiles.flatten(0, 1), size=(wanted, wanted), mode="bilinear", align_corners=False)
            tiles = tiles.reshape(*shape[:3], wanted, wanted)
        return tiles, order

    def _smallest_image(self) -> int:
        side = 1
        while int(side * self.tile_crop + 0.5) < SMALLEST_TILE:
            side += 1
        return side * self.grid
