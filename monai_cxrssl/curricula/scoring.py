# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning and evaluation of every start at every label fraction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist, is_known
from monai_cxrssl.data.datalists.split import label_fraction, save_split
from monai_cxrssl.label_efficiency import grid

__all__ = ["ScoredStart", "Scoring", "command_words", "digest_of"]


@dataclass(frozen=True)
class ScoredStart:
    """A start as a run of a fine-tuning bundle takes it."""

    name: str  #: in the table.
    folder: str  #: name of its folder.
    words: tuple[str, ...]  #: of the command, such as ``--pretrained FILE``; none for random weights.
    digest: str  #: of the weights.


@dataclass(frozen=True)
class Scoring:
    """How models are fine-tuned, and what is looked at after."""

    train: Path  #: config of the fine-tuning bundle.
    evaluate: Path  #: config of its evaluation, which measures attention.
    options: tuple[str, ...]  #: words that every fine-tuning gets.
    out: Path  #: folder of all results; the data stand there in three splits, as ``datalist.json``.
    datalist: Datalist  #: the same.
    seed: int  #: of the samples of patients, and of the first draw's training.
    max_checked: int  #: images that attention is measured on, at most.

    def training_cells(self, starts: Sequence[ScoredStart], fractions: Sequence[float], draws: int) -> list[grid.Cell]:
        """Write the datalist of each sample of patients, and lay out the runs, draw by draw."""
        splits = {
            split: [item for item in items if is_known(item.get("label"))]
            for split, items in self.datalist.splits.items()
        }
        labelled, config = replace(self.datalist, splits=splits), self.train.read_text(encoding="utf-8")
        cells = []
        for draw in range(draws):
            for fraction in fractions:
                subset = label_fraction(labelled, fraction, draw, self.seed)
                name, seed = f"{fraction:.12g}_draw{draw}", self.seed + draw
                path = self.out / "subsets" / f"{name}.json"
                digest = save_split(subset, path, {"seed": self.seed, "label_fraction": fraction, "draw": draw})
                for start in starts:
                    folder = self.out / "models" / start.folder / name
                    words = command_words(
                        self.train, datalist=path, output_dir=folder, model_path=folder / "model.pt", seed=seed,
                        cache_dir=self.out / "cache",
                    )  # fmt: skip
                    key = digest_of([config, self.options, seed, digest, start.digest])
                    command, images = (*words, *start.words, *self.options), len(subset.splits["training"])
                    cells.append(grid.Cell(start.name, fraction, draw, images, folder, command, key))
        return cells

    def evaluation_cells(self, starts: Sequence[ScoredStart], trained: Sequence[grid.Cell]) -> list[grid.Cell]:
        """Lay out the evaluation of trained models on the validation and the test split."""
        names = {start.folder: start.name for start in starts}
        config = self.evaluate.read_text(encoding="utf-8")
        cells = []
        for cell in trained:
            folder = self.out / "evaluations" / cell.folder.relative_to(self.out / "models")
            words = command_words(
                self.evaluate, datalist=self.out / "datalist.json", output_dir=folder,
                model_path=cell.folder / "model.pt", seed=self.seed, max_checked=self.max_checked,
                cache_dir=self.out / "cache",
            )  # fmt: skip
            key = digest_of([cell.key, config, self.seed, self.max_checked])
            name = names[cell.folder.parent.name]
            cells.append(grid.Cell(name, cell.fraction, cell.draw, cell.images, folder, words, key))
        return cells


def command_words(config: Path, **options: Any) -> tuple[str, ...]:
    """Return the command that runs a config of a bundle with options."""
    words = (word for name, value in options.items() for word in (f"--{name}", str(value)))
    return (*grid.LAUNCH, "--config_file", str(config), *words)


def digest_of(parts: Sequence[Any]) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
