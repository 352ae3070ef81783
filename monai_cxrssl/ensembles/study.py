# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Cross-validated fine-tuning: folds, members, ensemble, report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_cxrssl.data.audit.leak import refuse_shared_patients
from monai_cxrssl.data.audit.training_range import measure_training_range
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.predictions import Predictions, join_predictions, load_predictions, save_predictions
from monai_cxrssl.data.datalists.split import fold_datalists
from monai_cxrssl.ensembles.figures import ENSEMBLE, ensemble_figures
from monai_cxrssl.ensembles.out_of_fold import calibrated, member_temperature, out_of_fold
from monai_cxrssl.ensembles.weights import write_ensemble
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import sha256
from monai_cxrssl.label_efficiency.grid import LAUNCH, Cell, CellResult, cell_state, run_cells
from monai_cxrssl.label_efficiency.measures import METRICS
from monai_cxrssl.label_efficiency.study import hash_of, save_once
from monai_cxrssl.label_efficiency.study_report import environment
from monai_cxrssl.networks.weights.header import tensors_sha256
from monai_cxrssl.report.evaluation_files import split_predictions
from monai_cxrssl.runs.fine_tuning import FineTuningWiring, Labels
from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
from monai_cxrssl.runs.leak import refuse_leak

__all__ = ["FoldStudy"]

#: Options of a training that its evaluation has, too.
_OF_EVALUATION = ("batch_size", "num_workers", "memory_limit_gb", "boxes_shape", "device", "allow_leak")


class _Run(Cell):
    """A member's training, or the evaluation of the ensemble."""

    def __str__(self) -> str:
        return self.row


@dataclass(frozen=True)
class FoldStudy:
    """A bundle fine-tuned once per fold, and the ensemble of what came out."""

    train: Path  #: config of the bundle.
    evaluate: Path  #: and that of its evaluation.
    name: str  #: of the bundle.
    options: FineTuningOptions  #: of the runs, but for data, places and seed, which is that of the first fold.
    given: Mapping[str, Any]  #: options as typed.
    words: Sequence[str]  #: the same as words, without those of data, recipe, cache and seed.
    folds: int
    metrics: Sequence[str] = ()  #: by default those of what the bundle learns.

    def run(self, out: Path, lock: int | None = None) -> dict[str, Any]:
        """Run what is left in a folder, and return the report in plain JSON values.

        The folder gets a run per fold in ``members``, ``model.pt`` of the ensemble, ``out_of_fold.csv`` and
        ``evaluation`` with the ensemble's report.

        Raises:
            ConfigurationError: an option that cannot work.
            DatalistError: the patients cannot be divided so, or one is in two splits.
        """
        source = self.wiring.source()
        labels = self.wiring.labels(source)
        metrics = self._metrics(labels)
        self._refuse_leaks(source)
        digest = save_once(source, out / "datalist.json", {"split_seed": self.options.split_seed})
        folds = fold_datalists(source, self.folds, self.options.split_seed)
        cells = [self._member(fold, part, out, digest) for fold, part in enumerate(folds)]
        results = run_cells(cells, lock)
        found = {
            cell: out_of_fold(self.wiring, labels, fold, cell.folder)
            for cell, fold, result in zip(cells, folds, results, strict=True)
            if result.status == "finished"
        }
        temperatures = {cell: member_temperature(each, cell.row) for cell, each in found.items()}
        ensemble, evaluated = None, CellResult("failed", problem="not all members are finished")
        if len(found) == len(folds):
            ensemble, evaluated = self._ensemble(out, source, found, temperatures, lock)
        members = {cell.row: load_predictions(cell.predictions) for cell in found}
        runs = zip(cells, folds, results, strict=True)
        return {
            "settings": {
                "config_file": str(self.train), "folds": self.folds, "seed": self.options.seed,
                "split_seed": self.options.split_seed, "best_metric": self.options.best_metric,
                "metrics": list(metrics), "bundle_options": list(self.words),
            },
            "environment": environment(),
            "data": source.summary(),
            "folds": [
                _described(cell, fold, result, temperatures.get(cell), self.options.best_metric, out)
                for cell, fold, result in runs
            ],
            "ensemble": {"status": evaluated.status, "problem": evaluated.problem, "members": len(found),
                         "model": "model.pt", "report": "evaluation/report/index.html"},
            "metrics": {metric: ensemble_figures(members, ensemble, metric) for metric in metrics},
        }  # fmt: skip

    @cached_property
    def wiring(self) -> FineTuningWiring:
        """Parts of the runs."""
        return FineTuningWiring(self.options, self.name)

    def _metrics(self, labels: Labels) -> Sequence[str]:
        can = {"dice"} if self.options.decoder is not None else set()
        can |= {name for name, metric in METRICS.items() if metric.of_labels} if labels.classes else set()
        if wrong := [metric for metric in self.metrics if metric not in can]:
            raise ConfigurationError(
                f"--metrics names {wrong[0]}, and {self.name} is measured by {', '.join(sorted(can))} here."
            )
        return self.metrics or [metric for metric in ("macro_auc", "dice") if metric in can]

    def _refuse_leaks(self, source: Datalist) -> None:
        """Refuse test patients that are learnt from, now or by what the runs start from, before anything is run."""
        o = self.options
        refuse_shared_patients(source, o.allow_leak)
        for path in self._starts():
            refuse_leak(source.items("test"), path, o.allow_leak, what="fine-tuning", name=source.name)

    def _starts(self) -> list[str]:
        return [str(path) for path in (self.options.pretrained, self.options.teacher) if path is not None]

    def _member(self, fold: int, part: Datalist, out: Path, whole: str) -> Cell:
        o, name = self.options, f"fold{fold}"
        path, folder, seed = out / "folds" / f"{name}.json", out / "members" / name, o.seed + fold
        recipe = {"seed": o.split_seed, "folds": self.folds, "keep_official": True, "fold": fold, "of": whole}
        digest = save_once(part, path, recipe)
        own = {
            "config_file": self.train, "datalist": path, "output_dir": folder, "model_path": folder / "model.pt",
            "recipe": o.recipe, "seed": seed, "cache_dir": o.cache_dir,
        }  # fmt: skip
        decides = [self.train.read_text(encoding="utf-8"), list(self.words), o.recipe, seed, digest]
        key = hash_of([*decides, [tensors_sha256(Path(path)) for path in self._starts()]])
        training = part.splits["training"]
        return _Run(name, 1.0, fold, len(training), folder, (*LAUNCH, *_words(own), *self.words), key)

    def _ensemble(
        self, out: Path, source: Datalist, found: Mapping[Cell, Predictions], temperatures: Mapping[Cell, float],
        lock: int | None,
    ) -> tuple[Predictions | None, CellResult]:  # fmt: skip
        """Put the members together and evaluate what they are; return its test predictions and how that ended."""
        o, model, table = self.options, out / "model.pt", out / "out_of_fold.csv"
        own = {
            "config_file": self.evaluate, "datalist": out / "datalist.json", "output_dir": out / "evaluation",
            "model_path": model, "validation_predictions": table, "store_calibration": True, "amp": o.amp,
            "cache_dir": o.cache_dir, "seed": o.seed,
        }  # fmt: skip
        own |= {name: getattr(o, name) for name in _OF_EVALUATION if name in self.given}
        members = [[cell.key, sha256(cell.predictions)] for cell in found]
        key = hash_of([self.evaluate.read_text(encoding="utf-8"), members])
        command = (*LAUNCH, *_words(own), "--splits", "['test']")
        cell = _Run(ENSEMBLE, 1.0, 0, 0, out / "evaluation", command, key)
        if cell_state(cell)[0] != "finished" or not model.is_file():
            (cell.folder / "done.json").unlink(missing_ok=True)  # it told of weights that are gone
            save_predictions(join_predictions(calibrated(list(found.values()), list(temperatures.values()))), table)
            self._write_weights(model, source, list(temperatures.items()))
        (result,) = run_cells([cell], lock)
        if result.status != "finished":
            return None, result
        return split_predictions(load_predictions(cell.predictions))[0]["test"], result

    def _write_weights(self, model: Path, source: Datalist, members: Sequence[tuple[Cell, float]]) -> None:
        items = [*source.items("training"), *source.items("validation")]
        images = self.wiring.open_images(items)
        seen = measure_training_range(images, None, self.options.image_size)
        described: dict[str, Any] = {} if seen is None else {"training_range": seen.to_dict()}
        described["run"] = {"recipe": self.options.recipe, "source": source.name}
        files, temperatures = zip(*((cell.folder / "model.pt", value) for cell, value in members), strict=True)
        write_ensemble(files, model, items, temperatures, source.name, self._starts(), described)


def _words(options: Mapping[str, Any]) -> list[str]:
    return [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]


def _described(
    cell: Cell, fold: Datalist, result: CellResult, temperature: float | None, best_metric: str, out: Path
) -> dict[str, Any]:  # fmt: skip
    """Return a member's row: its patients, how it ended and what its run chose."""
    counts = {}
    for split in ("training", "validation"):
        items = fold.splits[split]
        counts[split] = {"images": len(items), "patients": len({item["patient_id"] for item in items})}
    path = cell.folder / "metrics.json"
    metrics = json.loads(path.read_bytes()) if result.status == "finished" else {}
    return {
        "member": cell.row, **counts, "status": result.status, "problem": result.problem,
        "seconds": None if result.seconds != result.seconds else round(result.seconds, 3),
        "best": metrics.get(best_metric), "best_epoch": metrics.get("best_epoch"), "temperature": temperature,
        "folder": cell.folder.relative_to(out).as_posix(), "command": list(cell.command), "key": cell.key,
    }  # fmt: skip
