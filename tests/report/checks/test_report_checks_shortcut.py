# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A planted shortcut, a corner marker that equals the label, is found by the checks of the report."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader

from monai_cxrssl.data import DecodedImages, DecodedMasks, FineTuningImages, load_predictions, open_dataset
from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.metrics import ResamplingPlan, attention_above_chance
from monai_cxrssl.report.checks import ReportChecks
from monai_cxrssl.transforms import ResizeCXR

CLASSES = ["well", "ill"]


class _Patches(nn.Module):
    """Brightness and darkness of patches of 8 px, of some patches only."""

    def __init__(self, seen: torch.Tensor) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.register_buffer("seen", seen.float())

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        bright = nn.functional.avg_pool2d(image, 8)
        return [image, self.gain * self.seen * torch.cat([bright, 1 - bright], 1)]


class PatchReader(nn.Module):
    """Calls an image ill that is bright in the patches that it sees."""

    def __init__(self, seen: torch.Tensor) -> None:
        super().__init__()
        self.encoder = _Patches(seen)
        self.classification_head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
        with torch.no_grad():
            self.classification_head[2].weight.copy_(torch.tensor([[-9.0, 9.0], [9.0, -9.0]]))
            self.classification_head[2].bias.zero_()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"label": self.classification_head(self.encoder(image)[-1])}


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> list[dict]:
    """Phantoms of 16 patients with a marker in the upper left corner, white in the ill and black in the well."""
    folder = tmp_path_factory.mktemp("marked")
    source = open_dataset(phantom_dir=str(folder / "set"), phantom_patients=16, phantom_size=64)
    items = [item for split in ("training", "validation", "test") for item in source.items(split)]
    films = DecodedImages(items, side=64, progress=False)
    made = []
    for number, item in enumerate(films.items):
        label = int(number % 3 == 0)
        film = films.image(number).copy()
        film = (film >> 8).astype(np.uint8) if film.dtype == np.uint16 else film
        film[:7, :7] = 255 * label
        path = str(folder / f"{number}.png")
        cv2.imwrite(path, film)
        made.append({**item, "image": path, "label": label})
    return made


@pytest.mark.parametrize(
    ("reads", "kept", "lost"),
    [("corner", ("lungs",), ("corners", "border", "outside_lungs")), ("lungs", ("corners",), ("lungs",))],
)
def test_the_region_that_the_score_comes_from_is_found(tmp_path, marked, reads, kept, lost):
    seen = torch.zeros(8, 8)
    if reads == "corner":
        seen[0, 0] = 1
        items = marked
    else:
        # What is planted in the lungs instead: the ill ones are brighter there.
        seen[2:6, 1:3] = seen[2:6, 5:7] = 1
        items = []
        lungs = DecodedMasks(DecodedImages(marked, side=64, progress=False), "lung", progress=False)
        for number, item in enumerate(marked):
            film = cv2.imread(item["image"], cv2.IMREAD_GRAYSCALE)
            film[:7, :7] = 128
            film[lungs.mask(number, film.shape) > 0] = 220 if item["label"] else 20
            path = str(tmp_path / f"{number}.png")
            cv2.imwrite(path, film)
            items.append({**item, "image": path})
    images = DecodedImages(items, side=64, progress=False)
    dataset = FineTuningImages(images, ResizeCXR(64, mode="stretch"), "multi_class", CLASSES, progress=False)
    network = PatchReader(seen)
    checks = ReportChecks(network, dataset, tmp_path, CLASSES, "multi_class", amp=False, progress=False)
    MultiTaskPredictor(
        "cpu", DataLoader(dataset, 16), network, "multi_class", CLASSES, amp=False, val_handlers=[checks]
    ).run()
    whole = load_predictions(tmp_path / "predictions.csv")

    def area(table):
        return roc_auc_score(table.labels, table.scores[:, 1])

    assert area(whole) == 1
    for region in kept:
        assert area(load_predictions(tmp_path / "blanked" / f"{region}.csv")) > 0.97
    for region in lost:
        assert area(load_predictions(tmp_path / "blanked" / f"{region}.csv")) < 0.75
    pfs, chance = whole.measures["pfs"], whole.measures["lung_area"]
    attention = attention_above_chance(
        pfs, chance, [item["patient_id"] for item in whole.items], plan=ResamplingPlan(200)
    )
    assert attention.above_chance == (reads == "lungs")
    if reads == "corner":
        assert (pfs < chance).all()
