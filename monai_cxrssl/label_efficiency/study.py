# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Grid on one data set, from its options to its report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.split import label_fraction, manifest_hash, save_split
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.label_efficiency import grid as fraction_grid
from monai_cxrssl.label_efficiency.frozen import FrozenCells
from monai_cxrssl.label_efficiency.grid import Cell, grid_lock, run_cells
from monai_cxrssl.label_efficiency.inits import RANDOM, Init
from monai_cxrssl.label_efficiency.measures import ATTENTION, METRICS
from monai_cxrssl.label_efficiency.rows import PIXELS, Row, grid_rows
from monai_cxrssl.label_efficiency.study_data import SHARES, check_patients, divided_for, opened_data, other_test_data
from monai_cxrssl.label_efficiency.study_report import describe_row, environment, study_figures
from monai_cxrssl.label_efficiency.trained import TrainedCell
from monai_cxrssl.runs.unknown_options import check_options

__all__ = ["OWN_OPTIONS", "Study", "hash_of", "save_once"]

#: Options of the bundle that the grid sets itself.
OWN_OPTIONS = (
    "config_file", "dataset_dir", "datalist", "output_dir", "model_path", "seed", "cache_dir", "pretrained",
    "encoder_weights",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What is compared on which data set, checked when it is opened by :meth:`open`."""

    rows: Sequence[Row]
    reference: str
    datalist: Datalist  #: in three splits.
    test_digest: str | None  #: of another data set that the rows are tested on.
    fractions: Sequence[float]
    draws: int
    seed: int
    metrics: Sequence[str]
    drifts: Sequence[str] = ()

    @classmethod
    def open(
        cls,
        bundles: Mapping[str, Path],
        inits: Sequence[Init],
        dataset_dir: Sequence[str] | None,
        datalist: str | None,
        given: Mapping[str, Any],
        words: Sequence[str],
        *,
        encoders: Sequence[str] = (),
        hows: Sequence[str] = ("finetune",),
        fractions: Sequence[float] = (1.0,),
        draws: int = 1,
        seed: int = 0,
        metrics: Sequence[str] = ("macro_auc",),
        drifts: Sequence[str] = (),
        reference: str | None = None,
        baselines: bool = True,
    ) -> Study:
        """Check everything, open the data set and divide it; nothing is written.

        Args:
            bundles: ``train.json`` of fine-tuning bundles by name.
            dataset_dir, datalist: see :func:`monai_cxrssl.data.sources.registry.index_folder`.
            given: further options of every run, and ``words``, the same as typed.
            encoders, hows: see :func:`~monai_cxrssl.label_efficiency.rows.grid_rows`.
            reference: name of a row; by default that of the first initialisation.
            baselines: add the rows of random encoders and of pixels.

        Raises:
            ConfigurationError: an option that cannot work.
            DatalistError: the data set cannot be divided or has nothing that a metric needs.
        """
        _check(fractions, draws, given)
        of_labels = any(METRICS[name].of_labels for name in metrics)
        used = [*inits, *([RANDOM] if baselines and not any(init.is_random for init in inits) else [])]
        if not of_labels and "probe" in hows:
            raise ConfigurationError(
                f"A probe has no {' or '.join(metrics)}; add a metric of labels, such as macro_auc, or leave --how out."
            )
        rows = grid_rows(bundles, encoders, used, hows, given, words, pixels=baselines and of_labels)
        for config, of_row in {(row.config, row.encoder): (row.config, row.given) for row in rows}.values():
            check_options(config, of_row)
        if any(row.how == PIXELS for row in rows) or drifts or ATTENTION in metrics or "probe" in hows:
            rows[0].options(datalist="")  # a bundle without recipes is refused here
        base = next(row.name for row in rows if row.how != PIXELS) if reference is None else reference
        if base not in [row.name for row in rows]:
            raise ConfigurationError(
                f"--reference is {base!r}; the rows are {'; '.join(repr(row.name) for row in rows)}."
            )
        divided = divided_for(opened_data(dataset_dir, datalist, given), metrics, seed)
        check_patients(fractions, divided)
        digest = other_test_data(divided, given)
        return cls(rows, base, divided, digest, fractions, draws, seed, metrics, drifts)

    def run(self, out: Path) -> dict[str, Any]:
        """Run what is left of the cells in a folder, and return the report in plain JSON values.

        Raises:
            ConfigurationError: the folder cannot be written, or another grid is at work in it.
        """
        with grid_lock(out) as lock:
            cells, subsets = self._cells(out)
            results = run_cells(cells, lock)
            found = study_figures(
                cells, results, {row.name: row for row in self.rows}, self.fractions, self.draws, self.metrics,
                self.drifts, self.reference, partial(self._trained, out),
            )  # fmt: skip
        for cell in found["cells"]:
            cell["folder"] = str(Path(cell["folder"]).relative_to(out))
        settings = {
            "rows": [describe_row(row) for row in self.rows], "reference": self.reference,
            "fractions": list(self.fractions), "draws": self.draws, "seed": self.seed, "metrics": list(self.metrics),
            "drifts": list(self.drifts),
        }  # fmt: skip
        listed = [{"fraction": f, "draw": d, **counts} for (f, d), counts in subsets.items()]
        return {"settings": settings, "environment": environment(), "data": self.datalist.summary(), "subsets": listed,
                **found}  # fmt: skip

    def _caches(self, out: Path) -> dict[str, Path]:
        """A cache of decoded images for each bundle, for bundles may want other sizes."""
        names = dict.fromkeys(row.bundle for row in self.rows)
        return {name: out / "cache" if len(names) == 1 else out / "cache" / name for name in names}

    def _cells(self, out: Path) -> tuple[list[Cell], dict[tuple[float, int], dict[str, Any]]]:
        """Write the datalists; lay out the grid, draw by draw, so that what is there early can be compared already."""
        recipe = {"seed": self.seed, "fractions": list(SHARES), "keep_official": True}
        whole = save_once(self.datalist, out / "datalist.json", recipe)
        frozen = FrozenCells(out / "datalist.json", out / "embeddings", self._caches(out), self.seed, self.drifts)
        subsets: dict[tuple[float, int], dict[str, Any]] = {}
        cells = []
        for draw in range(self.draws):
            for fraction in self.fractions:
                subset = label_fraction(self.datalist, fraction, draw, self.seed)
                path = _subset_path(out, fraction, draw)
                digest = save_once(
                    subset, path, {"seed": self.seed, "label_fraction": fraction, "draw": draw, "of": whole}
                )  # fmt: skip
                training = subset.splits["training"]
                patients = len({item["patient_id"] for item in training})
                subsets[fraction, draw] = {"sha256": digest, "patients": patients, "images": len(training)}
            # Of frozen rows one encoder after the other, for its embeddings serve all fractions.
            turns = [(row, fraction) for row in self.rows if row.how != "finetune" for fraction in self.fractions]
            turns += [(row, fraction) for fraction in self.fractions for row in self.rows if row.how == "finetune"]
            cells += [self._cell(row, fraction, draw, subsets[fraction, draw], out, frozen) for row, fraction in turns]
        return cells, subsets

    def _cell(
        self, row: Row, fraction: float, draw: int, subset: Mapping[str, Any], out: Path, frozen: FrozenCells
    ) -> Cell:
        folder = out / "cells" / row.folder / f"{_text(fraction)}_draw{draw}"
        path = _subset_path(out, fraction, draw)
        seed = self.seed + draw
        decides = [row.config.read_text(encoding="utf-8"), list(row.words), seed, subset["sha256"],
                   row.init.identity(draw), self.test_digest]  # fmt: skip
        if row.how != "finetune":
            key = hash_of([row.how, *decides, list(self.drifts)])
            work = partial(frozen.score, row, draw, path)
            return Cell(row.name, fraction, draw, subset["images"], folder, (), key, work)
        words = {
            "config_file": row.config, "datalist": path, "output_dir": folder, "model_path": folder / "model.pt",
            "seed": seed, "cache_dir": self._caches(out)[row.bundle], **row.init.options(draw),
        }  # fmt: skip
        command = (*fraction_grid.LAUNCH, *(w for k, v in words.items() for w in (f"--{k}", str(v))), *row.words)
        return Cell(row.name, fraction, draw, subset["images"], folder, command, hash_of(decides))

    def _trained(self, out: Path, cell: Cell) -> TrainedCell:
        """Open the network of a finished cell of a fine-tuned row."""
        row = next(row for row in self.rows if row.name == cell.row)
        given = {"datalist": str(_subset_path(out, cell.fraction, cell.draw)), "seed": self.seed + cell.draw}
        given |= {"cache_dir": str(self._caches(out)[row.bundle]), "output_dir": str(cell.folder)}
        return TrainedCell(cell.folder, partial(row.options, cell.draw, **given), row.bundle)


def _check(fractions: Sequence[float], draws: int, given: Mapping[str, Any]) -> None:
    """Refuse what cannot work, before anything is read."""
    if draws < 1:
        raise ConfigurationError(f"--draws is {draws}; expected 1 or more.")
    wrong = [fraction for fraction in fractions if not 0 < fraction <= 1]
    if wrong:
        raise ConfigurationError(
            f"--fractions names {wrong[0]:g}; expected more than 0 and at most 1 (1 is all labels)."
        )
    names = [_text(fraction) for fraction in fractions]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigurationError(f"--fractions names {twice[0]} twice; give each fraction once.")
    own = [name for name in given if name in OWN_OPTIONS]
    if own:
        raise ConfigurationError(f"--{own[0]} after -- is set by this command for every run; leave it out there.")


def save_once(datalist: Datalist, path: Path, recipe: dict[str, Any]) -> str:
    """Write a datalist unless the very same is there; return its hash."""
    digest = manifest_hash(datalist.to_dict(path.parent))
    try:
        if manifest_hash(json.loads(path.read_bytes())) == digest:
            return digest
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # not there, or not whole
    return save_split(datalist, path, recipe)


def _subset_path(out: Path, fraction: float, draw: int) -> Path:
    return out / "subsets" / f"{_text(fraction)}_draw{draw}.json"


def hash_of(parts: Any) -> str:
    """Return the SHA-256 of plain JSON values, by which a cell is known."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _text(fraction: float) -> str:
    return f"{fraction:.12g}"
