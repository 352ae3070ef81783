# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Cells of logistic regression on frozen embeddings or on pixels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_cxrssl.data.datalists.predictions import Predictions, save_predictions
from monai_cxrssl.data.sampling.bags import patient_numbers
from monai_cxrssl.data.sampling.pretext import ImageDataset
from monai_cxrssl.data.stores.images import open_images
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.files import atomic_write, write_json
from monai_cxrssl.label_efficiency.corrupted import Corrupted, predictions_name
from monai_cxrssl.label_efficiency.logistic import LabelledFeatures, fit_logistic
from monai_cxrssl.label_efficiency.rows import PIXELS, Row
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.probing.embedding import embed
from monai_cxrssl.probing.linear_probe import one_hot_labels
from monai_cxrssl.runs.evaluated_config import default_device
from monai_cxrssl.runs.fine_tuning import FineTuningWiring, Labels
from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
from monai_cxrssl.runs.leak import refuse_leak
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["PIXEL_SIDE", "FrozenCells"]

#: Rows and columns of grey values that the pixel row is fitted on.
PIXEL_SIDE = 24

Item = dict[str, Any]


class FrozenCells:
    """Fit and score cells of frozen rows; the embeddings of an encoder are computed once and kept in files.

    Args:
        datalist: the file of the whole data set, whose subsets the cells learn from.
        folder: of the embeddings.
        caches: folder of decoded images of each bundle.
        seed: of the first draw; a random encoder is another in each draw.
        drifts: corruptions under which the test images are scored too.
    """

    def __init__(
        self, datalist: Path, folder: Path, caches: Mapping[str, Path], seed: int, drifts: Sequence[str] = ()
    ) -> None:
        self.datalist, self.folder, self.caches, self.seed, self.drifts = datalist, folder, caches, seed, drifts
        self._latest: tuple[str, dict[str, np.ndarray]] = ("", {})

    def score(self, row: Row, draw: int, subset: Path, folder: Path) -> None:
        """Fit on a subset, and write ``predictions.csv``, ``probe.json``, and predictions under every drift.

        Raises:
            ConfigurationError: the bundle learns no labels, or an option cannot be.
            DatalistError: the data cannot be used.
        """
        options = self._options(row, draw, subset)
        wiring = FineTuningWiring(options, row.bundle)
        source = wiring.source()
        labels, test = wiring.labels(source), wiring.test_source(source)
        if not labels.classes:
            raise ConfigurationError(f"The bundle {row.bundle} learns no labels, so there is nothing to probe.")
        if row.how != PIXELS and options.pretrained is not None:
            refuse_leak(
                test.items("test"), options.pretrained, options.allow_leak, what="probing", name=test.name
            )  # fmt: skip
        vectors = self._vectors(row, draw)
        training, validation = (
            _labelled(_known(source.items(split), vectors), labels, vectors) for split in ("training", "validation")
        )
        model = fit_logistic(training, len(labels.classes), validation)
        items = _known(test.items("test"), vectors)
        items = [item for item in items if not _is_unknown(_labels([item], labels))]
        for drift in (None, *self.drifts):
            shown = vectors if drift is None else self._vectors(row, draw, drift)
            films = _labelled(_known(items, shown), labels, shown)
            written = [{**item, "split": "test", "source": item.get("source") or test.name} for item in items]
            found = Predictions(list(labels.classes), labels.task, written, model(films.features), films.labels)
            save_predictions(found, folder / predictions_name(drift))
        write_json({"inverse_strength": model.strength, "chosen_on": model.chosen_on}, folder / "probe.json")

    def _options(self, row: Row, draw: int, datalist: Path) -> FineTuningOptions:
        given = {"datalist": str(datalist), "seed": self.seed + draw, "cache_dir": str(self.caches[row.bundle])}
        device = {} if "device" in row.given else {"device": default_device()}
        return row.options(draw, **given, **device)

    def _vectors(self, row: Row, draw: int, drift: str | None = None) -> dict[str, np.ndarray]:
        """Features of every image by :func:`_place`; under a drift those of the test images only."""
        options = self._options(row, draw, self.datalist)
        wiring = FineTuningWiring(options, row.bundle)
        source = wiring.source()
        splits = () if drift else ("training", "validation")
        items = [item for split in splits for item in source.items(split)]
        items += wiring.test_source(source).items("test")
        images = {_place(item): {key: item[key] for key in ("image", "patient_id")} for item in items}
        key = self._key(row, draw, options, sorted(images), drift)
        if self._latest[0] == key and not drift:
            return self._latest[1]
        path = self.folder / f"{key[:24]}.npz"
        if path.is_file():
            with np.load(path) as stored:
                found = dict(zip(stored["images"].tolist(), stored["features"], strict=True))
        else:
            found = self._embedded(row, draw, options, list(images.values()), drift)
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as partial, open(partial, "wb") as stream:
                np.savez(stream, images=np.array(list(found)), features=np.stack(list(found.values())))
        if not drift:
            self._latest = key, found
        return found

    def _key(self, row: Row, draw: int, options: FineTuningOptions, places: list[str], drift: str | None) -> str:
        files = [(place, os.stat(place).st_size, os.stat(place).st_mtime_ns) for place in places]  # noqa: PTH116
        parts: list[Any] = [row.how == PIXELS, drift, files]
        if row.how != PIXELS:
            seed = self.seed + draw if row.init.is_random else None
            start = {name: value for name, value in options.start.items() if name != "pretrained"}
            parts += [options.encoder_name, start, options.image_size, row.init.identity(draw), seed]
        return hashlib.sha256(json.dumps(parts, default=str).encode("utf-8", "surrogatepass")).hexdigest()

    def _embedded(
        self, row: Row, draw: int, options: FineTuningOptions, items: list[Item], drift: str | None
    ) -> dict[str, np.ndarray]:
        images = open_images(items, options.decoded_side, options.cache_dir, options.memory_limit_gb, 1.0)
        network: nn.Module = nn.Flatten()
        size = PIXEL_SIDE
        if row.how != PIXELS:
            size = options.image_size
            with torch.random.fork_rng():
                torch.manual_seed(self.seed + draw)
                network = Encoder(options.encoder_name, start=options.start)
            network.check_size(size, size)
        transform = ResizeCXR(size) if drift is None else Corrupted(options.image_size, drift, size)
        label = f"{row.name}, draw {draw}" + (f", {drift}" if drift else "")
        features = embed(
            network.to(options.device), ImageDataset(images, transform), options.device, amp=options.amp, progress=label
        )  # fmt: skip
        return {_place(item): feature for item, feature in zip(images.items, features, strict=True)}


def _place(item: Mapping[str, Any]) -> str:
    """The path without the way back out of a datalist's folder, which differs from file to file."""
    return os.path.normpath(item["image"])


def _known(items: Sequence[Item], vectors: Mapping[str, np.ndarray]) -> list[Item]:
    """The items whose image could be read."""
    return [item for item in items if _place(item) in vectors]


def _labels(items: Sequence[Item], labels: Labels) -> np.ndarray:
    table = one_hot_labels([item.get("label") for item in items], len(labels.classes))
    if labels.task == "multi_class":
        return np.where(np.isnan(table).any(axis=1), -1, np.nan_to_num(table).argmax(axis=1))
    return table.astype(np.float32)


def _is_unknown(labels: np.ndarray) -> bool:
    return bool((labels < 0).all() if labels.ndim == 1 else np.isnan(labels).all())


def _labelled(items: Sequence[Item], labels: Labels, vectors: Mapping[str, np.ndarray]) -> LabelledFeatures:
    if not items:
        raise DatalistError("No image of a split could be read, so there is nothing to learn or to score.")
    features = np.stack([vectors[_place(item)] for item in items]).astype(np.float64)
    return LabelledFeatures(features, _labels(items, labels), patient_numbers(items))
