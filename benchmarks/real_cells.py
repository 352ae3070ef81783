# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The cells of ``real_cxr.py``: one encoder, one task, one share of the labels, one draw; each leaves one file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from few_labels import balanced_cross_entropy, forward, linear_scores, predict_in_autocast, train_briefly
from real_tasks import LabelTask, Tasks
from torch import Tensor, nn

from monai_cxrssl.data import DecodedMasks, decoded_side, open_images
from monai_cxrssl.losses import MultiTaskLoss
from monai_cxrssl.metrics import lung_area_fraction, overlap_per_image, pointing_game, positive_fraction_of_saliency
from monai_cxrssl.networks import Encoder, MultiTaskNet
from monai_cxrssl.probing import attention_method, saliency_maps
from monai_cxrssl.transforms import MultiView, ResizeCXR

__all__ = ["FRACTIONS", "MASKS", "PROTOCOLS", "Cell", "CellMaker", "Films", "cells_of"]

FRACTIONS = (0.01, 0.1, 1.0)
PROTOCOLS = ("linear", "fine-tuned")
MASKS = (5, 10, 50)
#: The task whose test films have lung masks: of its models on all labels, it is asked where they look.
ATTENTION = "covid"

Item = Mapping[str, Any]


class Cell(NamedTuple):
    """What is trained and scored once.

    Attributes:
        task: key of a labelled task, or ``"lungs"``.
        protocol: ``"linear"`` or ``"fine-tuned"``.
        amount: share of the labels, or number of masks.
        draw: which labels; a random encoder also has other weights in each.
    """

    task: str
    protocol: str
    amount: float
    draw: int

    @property
    def file(self) -> str:
        """Name of the file of this cell."""
        return f"{self.task}_{self.protocol}_{self.amount:g}_{self.draw}.npz"


def cells_of(tasks: Tasks, draws: int, full_draws: int) -> list[Cell]:
    """All cells of one encoder; a task whose labels do not suffice at a fraction has none there."""
    cells = []
    for key, task in tasks.labelled.items():
        for fraction in FRACTIONS:
            of_fraction = task.draws(fraction, draws)
            cells += [Cell(key, "linear", fraction, draw) for draw in of_fraction]
            tuned = of_fraction[:full_draws] if fraction == 1 else of_fraction
            cells += [Cell(key, "fine-tuned", fraction, draw) for draw in tuned]
    for count in MASKS:
        many = full_draws if count == max(MASKS) else draws
        if count <= len(tasks.lungs.training):
            cells += [Cell("lungs", "fine-tuned", count, draw) for draw in range(many)]
    return cells


class Films:
    """All films of all tasks, decoded once.

    Args:
        tasks: whose films to open.
        size: side of what networks see, in pixels.
        cache_dir: of the decoded films.
    """

    def __init__(self, tasks: Tasks, size: int, cache_dir: Path) -> None:
        self.store = open_images(tasks.films(), decoded_side(size), cache_dir=cache_dir, progress=False)
        self.masks = DecodedMasks(self.store, "lung", num_threads=1, progress=False)
        self.place = {item["image"]: index for index, item in enumerate(self.store.items)}
        self.resize = ResizeCXR(size=size)

    def pixels(self, item: Item) -> np.ndarray:
        """A film ``(1, h, w)`` of 8 bits."""
        return self.store.image(self.place[item["image"]])[None]

    def mask(self, item: Item) -> np.ndarray:
        """Its lungs ``(1, h, w)``, uint8 of 0 and 1."""
        index = self.place[item["image"]]
        if not self.masks.has_mask[index]:
            raise ValueError(f"{item['image']} has no lung mask that can be read.")
        shape = self.store.image(index).shape
        return self.masks.mask(index, (int(shape[0]), int(shape[1])))[None]

    def resized(self, items: Sequence[Item]) -> Tensor:
        """Whole films ``(N, 1, S, S)``, float32 in [0, 1]."""
        return torch.stack([self.resize(self.pixels(item)) for item in items])

    def resized_masks(self, items: Sequence[Item]) -> Tensor:
        """Whole masks ``(N, 1, S, S)``, uint8."""
        return torch.stack([self.resize.apply_mask(self.mask(item)) for item in items])


class CellMaker:
    """Trains and scores the cells of one encoder.

    Args:
        encoder: name of its architecture.
        weights: file of its weights; ``None`` for a random encoder, other in each draw.
        tasks: what to score it on.
        films: of these tasks.
        size: side of what networks see, in pixels.
        steps: of fine-tuning on a part of the labels, and on all.
        mask_steps: of fine-tuning on masks.
    """

    def __init__(
        self,
        encoder: str,
        weights: Path | None,
        tasks: Tasks,
        films: Films,
        size: int,
        steps: tuple[int, int],
        mask_steps: int,
    ) -> None:
        self.encoder, self.weights = encoder, weights
        self.tasks, self.films, self.size = tasks, films, size
        self.steps, self.mask_steps = steps, mask_steps
        self._features: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        self._known: dict[tuple[str, str], Tensor] = {}

    def make(self, cell: Cell, file: Path) -> None:
        """Compute a cell and leave its file, which is there whole or not at all."""
        started = time.process_time()
        maker: Callable[[Cell], dict[str, np.ndarray]] = {
            "linear": self._linear, "fine-tuned": self._lungs if cell.task == "lungs" else self._fine_tuned,
        }[cell.protocol]  # fmt: skip
        found = maker(cell)
        partial = file.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.savez(stream, core_seconds=time.process_time() - started, **found)
        partial.replace(file)

    def _whole(self, task: str, split: str) -> Tensor:
        if (task, split) not in self._known:
            self._known[task, split] = self.films.resized(list(self.tasks.labelled[task].data.items(split)))
        return self._known[task, split]

    def _linear(self, cell: Cell) -> dict[str, np.ndarray]:
        task = self.tasks.labelled[cell.task]
        # A pretrained encoder is the same in all draws, a random one in none.
        start = cell.draw if self.weights is None else 0
        if (cell.task, start) not in self._features:
            torch.manual_seed(1000 + start)
            network = Encoder(self.encoder, pretrained=self.weights).to(memory_format=torch.channels_last)
            self._features[cell.task, start] = {
                split: forward(network, self._whole(cell.task, split)) for split in ("training", "test")
            }
        features = self._features[cell.task, start]
        place = {item["image"]: index for index, item in enumerate(task.data.items("training"))}
        kept = task.kept(cell.amount, cell.draw)
        rows = [place[item["image"]] for item in kept]
        labels = np.array([item["label"] for item in kept])
        scores = linear_scores(features["training"][rows], labels, features["test"], len(task.data.classes))
        return {"scores": scores}

    def _network(self, draw: int, classes: int, decoder: str | None) -> MultiTaskNet:
        """A network with this encoder, and heads that are the same for all encoders of its architecture."""
        torch.manual_seed(1000 + draw)
        network = MultiTaskNet(self.encoder, classes, decoder, pretrained=self.weights, return_dict=False)
        return network.to(memory_format=torch.channels_last)

    def _fine_tuned(self, cell: Cell) -> dict[str, np.ndarray]:
        task = self.tasks.labelled[cell.task]
        kept = task.kept(cell.amount, cell.draw)
        images = [self.films.pixels(item) for item in kept]
        labels = np.array([item["label"] for item in kept])
        network = self._network(cell.draw, len(task.data.classes), None)
        head = network.classification_head
        for module in head.modules() if head is not None else ():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
        loss = balanced_cross_entropy(labels, len(task.data.classes))
        views = MultiView(size=self.size, num_views=1, scale=(0.6, 1.0), rotation=10, seed=cell.draw)

        def loss_of(step: int, chosen: Sequence[int]) -> Tensor:
            films = torch.cat([views(images[index], key=(step, index)) for index in chosen])
            value: Tensor = loss(predict_in_autocast(network, films), torch.from_numpy(labels[list(chosen)]))
            return value

        self._train(network, len(images), loss_of, self.steps[cell.amount == 1], cell.draw)
        logits = forward(network, self._whole(cell.task, "test"))
        found = {"scores": torch.softmax(torch.from_numpy(logits).double(), 1).numpy()}
        if cell.task == ATTENTION and cell.amount == 1:
            found |= self._attention(network, task)
        return found

    def _attention(self, network: MultiTaskNet, task: LabelTask) -> dict[str, np.ndarray]:
        """Where the network looks on the test films that have a lung mask, for the class that it predicts."""
        items = [item for item in task.data.items("test") if item.get("lung_mask") is not None]
        films, masks = self.films.resized(items), self.films.resized_masks(items)
        method, layer = attention_method(network)
        maps = torch.cat([saliency_maps(network, part, None, method, layer) for part in films.split(32)])
        return {
            "pfs": positive_fraction_of_saliency(maps, masks).numpy(),
            "area": lung_area_fraction(masks).numpy(),
            "pointing": pointing_game(maps, masks).numpy(),
        }

    def _lungs(self, cell: Cell) -> dict[str, np.ndarray]:
        task = self.tasks.lungs
        kept = task.kept(int(cell.amount), cell.draw)
        pairs = [(self.films.pixels(item), self.films.mask(item)) for item in kept]
        network = self._network(cell.draw, 0, "DPT" if "vit" in self.encoder else "Unet")
        loss = MultiTaskLoss("multi_class")
        views = MultiView(size=self.size, num_views=1, scale=(0.6, 1.0), rotation=10, seed=cell.draw)

        def loss_of(step: int, chosen: Sequence[int]) -> Tensor:
            drawn = [views.sample(pairs[index][0].shape[1:], key=(step, index)) for index in chosen]
            both = list(zip(chosen, drawn, strict=True))
            films = torch.cat([views.apply(pairs[index][0], view) for index, view in both])
            masks = torch.cat([views.apply_mask(pairs[index][1], view) for index, view in both])
            batch = {"mask": masks.float(), "has_mask": torch.ones(len(chosen), dtype=torch.bool)}
            value: Tensor = loss({"mask": predict_in_autocast(network, films)}, batch)["loss"]
            return value

        self._train(network, len(pairs), loss_of, self.mask_steps, cell.draw)
        drawn = torch.from_numpy(forward(network, self.films.resized(list(task.test)))) > 0
        return {"dice": overlap_per_image(drawn, self.films.resized_masks(list(task.test)))[:, 0].numpy()}

    def _train(
        self, network: MultiTaskNet, count: int, loss_of: Callable[[int, Sequence[int]], Tensor], steps: int, draw: int
    ) -> None:
        encoder = {id(weight) for weight in network.encoder_parameters()}
        learnt = [weight for weight in network.parameters() if weight.requires_grad]
        parts = [[weight for weight in learnt if (id(weight) in encoder) == own] for own in (True, False)]
        torch.manual_seed(2000 + draw)
        train_briefly(network, parts[0], parts[1], count, loss_of, steps, draw)
