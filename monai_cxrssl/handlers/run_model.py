# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Trained weights of a run, and their place in the bundle."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import atomic_write, new_folder, write_json
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.phantom.dataset import PHANTOM_NAME

__all__ = ["MAIN_METRICS", "METRICS", "RunModel", "place_model", "read_run"]

logger = logging.getLogger(__name__)

#: Metrics of a run, in its folder.
METRICS = "metrics.json"
#: Metrics by which people tell runs apart, the most telling first.
MAIN_METRICS = ("macro_auc", "dice", "probe_after", "probe_knn_after", "loss_last_epoch")


class RunModel:
    """Write the model of a complete run into the run's own folder, then put it where the bundle looks for it.

    A model that stood in either place is kept (:func:`place_model`). A model of the phantom by the short recipe takes
    the place of another such one only: what was trained by the full recipe, on real images, or by whom nobody knows,
    stays, unless ``replace`` is true.

    Args:
        output_dir: the run's own folder, which gets ``model.pt``, ``model.json`` and ``model.patients.json``.
        model_path: where the bundle looks for its weights.
        recipe: ``"short"`` or ``"full"``.
        source: name of the data set.
        replace: a phantom's model may replace any.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        model_path: str | os.PathLike,
        recipe: str | None = None,
        source: str | None = None,
        replace: bool = False,
    ) -> None:
        self.folder = Path(output_dir)
        self.own_path = self.folder / "model.pt"
        self.model_path = Path(model_path)
        self.run = {"recipe": recipe, "source": source}
        self.replace = bool(replace)
        # A federated run writes after every round, and need not keep what it wrote itself.
        self._kept: set[Path] = set()

    @property
    def metrics_path(self) -> Path:
        """Where the run's metrics go."""
        return self.folder / METRICS

    def announce(self) -> None:
        """Say at the start what will become of the model, where it will not take the bundle's place.

        Raises:
            ConfigurationError: the place is in the run's own folder, so there is none other for the weights.
        """
        reason = self._refusal()
        if reason is None:
            return
        if _same(self.own_path, self.model_path):
            raise ConfigurationError(
                f"{reason}, and the weights of this run would go there, too; give another --output_dir, or --replace "
                "True."
            )
        logger.warning(
            "%s, so the weights of this run will stay in its own folder, %s; --replace True puts them there.",
            reason,
            self.own_path,
        )

    def write(
        self,
        network: nn.Module,
        settings: Mapping[str, Any],
        items: Sequence[Mapping[str, Any]] | None,
        pretrained: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        projection_head: nn.Module | None = None,
    ) -> None:
        """Write the model into the run's own folder; see :func:`~monai_cxrssl.handlers.model_files.write_model`."""
        if self.own_path not in self._kept:
            _keep(self.own_path, self.metrics_path)
            self._kept.add(self.own_path)
        described = {**settings, "run": {"folder": ".", **self.run}}
        name = str(self.run["source"] or "dataset")
        write_model(network, self.own_path, described, items, name, pretrained, projection_head)

    def place(self) -> None:
        """Put the model, whose metrics are written by now, in the bundle's place, or say why not."""
        if _same(self.own_path, self.model_path):
            logger.info("Weights: %s. Metrics: %s.", self.model_path, self.metrics_path)
            return
        reason = self._refusal()
        if reason is None:
            place_model(self.own_path, self.model_path, keep=self.model_path not in self._kept)
            self._kept.add(self.model_path)
        else:
            logger.warning("%s, and was left as it is; --replace True replaces it.", reason)
        where = self.own_path if reason else self.model_path
        logger.info("Weights: %s. Metrics: %s.", where, self.metrics_path)

    def _refusal(self) -> str | None:
        """Why the model at the place stays, if it does: the beginning of a sentence."""
        if self.replace or not _is_phantom(self.run) or not self.model_path.is_file():
            return None
        standing = read_run(self.model_path)
        if _is_phantom(standing):
            return None
        return f"{self.model_path} is {_words(standing)}, which a phantom's does not replace"


def place_model(own_path: Path, model_path: Path, keep: bool = True) -> None:
    """Put a run's model and metrics in a place; what stood there is kept in ``previous/<time>/`` beside it.

    Beside the weights, ``.json`` names the run's folder, relative to itself where the run is below the folder of the
    bundle, and ``.metrics.json`` holds the run's metrics.

    Args:
        own_path: ``model.pt`` in the run's folder, with its description, patients and metrics beside it.
        model_path: the place; its folder is made.
        keep: what stood there; not needed of what the same run put there.
    """
    if keep:
        _keep(model_path, model_path.with_suffix(".metrics.json"))
    settings = json.loads(own_path.with_suffix(".json").read_text(encoding="utf-8"))
    run = {**settings.get("run", {}), "folder": _folder_seen_from(model_path, own_path.parent)}
    with contextlib.ExitStack() as moved:
        # All are written beside their places before the first takes its own. The weights come last: a program that
        # reads them anew then finds the rest.
        partial = moved.enter_context(atomic_write(model_path, sync=True))
        shutil.copyfile(own_path, partial)
        for suffix, source in (
            (".patients.json", own_path.with_suffix(".patients.json")),
            (".metrics.json", own_path.with_name(METRICS)),
        ):
            target = model_path.with_suffix(suffix)
            if source.is_file():
                shutil.copyfile(source, moved.enter_context(atomic_write(target)))
            else:
                target.unlink(missing_ok=True)  # it told of other weights
        write_json({**settings, "run": run}, moved.enter_context(atomic_write(model_path.with_suffix(".json"))))


def read_run(model_path: Path) -> dict[str, Any]:
    """Return what a model's description says of its run: ``folder``, as a path, ``recipe`` and ``source``.

    Nothing is returned of a model without a description, or of one that was trained elsewhere.
    """
    try:
        run = json.loads(model_path.with_suffix(".json").read_text(encoding="utf-8")).get("run")
    except (OSError, ValueError, AttributeError):
        return {}
    if not isinstance(run, dict):
        return {}
    folder = run.get("folder")
    return {**run, "folder": model_path.parent / folder if isinstance(folder, str) else None}


def _is_phantom(run: Mapping[str, Any]) -> bool:
    return run.get("recipe") == "short" and run.get("source") == PHANTOM_NAME


def _same(path: Path, other: Path) -> bool:
    return path.absolute() == other.absolute() or (path.exists() and other.exists() and path.samefile(other))


def _words(run: Mapping[str, Any]) -> str:
    recipe, source = run.get("recipe"), run.get("source")
    if recipe is None and source is None:
        return "a model of which nobody knows how it was trained"
    return f"a model of the {recipe or 'unknown'} recipe on {source or 'unknown data'}"


def _folder_seen_from(model_path: Path, folder: Path) -> str:
    """The run's folder in the description of a model: relative within one bundle, which may be moved as a whole."""
    models, folder = model_path.resolve().parent, folder.resolve()
    if folder.is_relative_to(models.parent):
        return Path(os.path.relpath(folder, models)).as_posix()
    return folder.as_posix()


def _keep(model_path: Path, metrics_path: Path) -> None:
    """Keep what stands at a model's place in a folder ``previous/<time>`` beside it, and say so."""
    if not model_path.is_file():
        return
    kept = new_folder(model_path.parent / "previous")
    described = [model_path.with_suffix(suffix) for suffix in (".json", ".patients.json")]
    for name, path in (
        (model_path.name, model_path),
        *((path.name, path) for path in described),
        (METRICS, metrics_path),
    ):
        if path.is_file():
            _link(path, kept / name)
    logger.info("What stood at %s (%s) is kept in %s.", model_path, _summary(model_path, kept / METRICS), kept)


def _link(path: Path, other: Path) -> None:
    """Give a file a second name, or copy it where the disk has none; its first name goes to another file soon."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)


def _summary(model_path: Path, metrics_path: Path) -> str:
    figures: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        figures = json.loads(metrics_path.read_text(encoding="utf-8"))
    shown = [f"{name} {figures[name]:.4g}" for name in MAIN_METRICS if isinstance(figures.get(name), float)]
    return ", ".join([_words(read_run(model_path)), *shown[:2]])
