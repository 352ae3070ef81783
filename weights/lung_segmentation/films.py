# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images and human lung masks that the shipped weights learn from and are measured on.

Learnt from are images whose own licence lets everybody share what is made of them: the children of Kermany et al.
(CC BY 4.0) and those images of covid-chestxray-dataset that its table gives a CC BY or CC0 licence; their masks are
v7labs' (CC BY 4.0). All others are measured on alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from monai_cxrssl.data import FineTuningImages, ImageSampler

__all__ = ["Films", "divided", "measured_sources", "permitted", "source_sampler"]

#: Non-commercial, share-alike and no-derivatives licences would bind the weights; an empty cell allows nothing.
_PERMITTED = re.compile(r"CC0.*|CC BY( \d\.\d)?")
_COVID = "covid-chestxray-dataset"


@dataclass(frozen=True)
class Films:
    """Folders of the images: ``corpus`` and ``data``, as ``../shared`` has them."""

    corpus: Path
    data: Path

    def table(self, folder: str, name: str, source: str) -> list[dict[str, Any]]:
        """Read images and their masks of a table."""
        root = self.corpus / folder
        items = []
        for row in pd.read_csv(root / name, dtype=str, keep_default_na=False).to_dict("records"):
            item = {"patient_id": f"{source}:{row['patient_id']}", "source": source}
            item |= {"view_position": row["view"]} if row.get("view") else {}
            files = {key: row[key] for key in ("image", "lung_mask", "heart_mask") if row.get(key)}
            items.append(item | {key: str((root / path).resolve()) for key, path in files.items()})
        return items

    def children(self) -> list[dict[str, Any]]:
        """Return the images of children."""
        return self.table("kermany-pediatric", "human_lung_masks.csv", "kermany-pediatric")

    def hospital(self, table: str = "human_lung_masks.csv") -> list[dict[str, Any]]:
        """Return the images of covid-chestxray-dataset, with their ``license``."""
        licences = pd.read_csv(self.data / _COVID / "metadata.csv", dtype=str, keep_default_na=False)
        by_name = dict(zip(licences["filename"], licences["license"].str.strip(), strict=True))
        items = self.table("covid-chestxray-masks", table, _COVID)
        return [{**item, "license": by_name[Path(item["image"]).name]} for item in items]


def divided(
    films: Films, seed: int = 0, validation: float = 0.06, test: float = 0.12
) -> dict[str, list[dict[str, Any]]]:
    """Divide what may be learnt from by patient, each source for itself.

    Args:
        films: the folders.
        seed: of the division.
        validation, test: shares of the patients; of the few adults a fifth validates and none tests, as those of no
            permitted licence do that.

    Returns:
        ``training``, ``validation`` and ``test``.
    """
    radiologists = {item["patient_id"] for item in films.hospital("radiologist_masks.csv")}
    adults = [item for item in films.hospital() if permitted(item) and item["patient_id"] not in radiologists]
    children = _by_patient(films.children(), seed, {"validation": validation, "test": test})
    hospital = _by_patient(adults, seed, {"validation": 0.2})
    return {
        "training": children["training"] + hospital["training"],
        "validation": children["validation"] + hospital["validation"],
        "test": children["test"],
    }


def permitted(item: Mapping[str, Any]) -> bool:
    """Return whether an image's own licence allows weights that everybody may use."""
    return _PERMITTED.fullmatch(item["license"]) is not None


def measured_sources(films: Films, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Return the images to measure on, by the name of the set; none of their patients was learnt from."""
    division = divided(films, seed)
    seen = {item["patient_id"] for split in ("training", "validation") for item in division[split]}
    other = [item for item in films.hospital() if item["patient_id"] not in seen]
    return {
        "children": division["test"],
        "hospital, radiologists' masks": films.hospital("radiologist_masks.csv"),
        "hospital, v7labs' masks": other,
        "JSRT": films.table("jsrt", "table.csv", "jsrt"),
        "OpenIST": films.table("openist", "table.csv", "openist"),
    }


def source_sampler(dataset: FineTuningImages, seed: int, draws: int) -> ImageSampler:
    """Make the sampler that draws every sixth image from the few adults.

    Args:
        dataset: of training.
        seed: of the order.
        draws: of an epoch.
    """
    children = 5  # groups, each drawn as often as the adults
    groups = [0 if item["source"] == _COVID else 1 + number % children for number, item in enumerate(dataset.data)]
    return ImageSampler(np.array(groups), balanced=True, seed=seed, draws=draws)


def _by_patient(
    items: Iterable[dict[str, Any]], seed: int, shares: Mapping[str, float]
) -> dict[str, list[dict[str, Any]]]:
    items = list(items)
    patients = sorted({item["patient_id"] for item in items})
    np.random.default_rng(seed).shuffle(patients)
    split_of: dict[str, str] = {}
    for split, share in shares.items():
        count = round(share * len(patients))
        free = [patient for patient in patients if patient not in split_of]
        split_of |= dict.fromkeys(free[:count], split)
    divided_items: dict[str, list[dict[str, Any]]] = {split: [] for split in ("training", *shares)}
    for item in items:
        divided_items[split_of.get(item["patient_id"], "training")].append(item)
    return divided_items
