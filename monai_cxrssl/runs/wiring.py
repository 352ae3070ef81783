# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts that pretraining and fine-tuning runs share, made of their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.handlers import TensorBoardStatsHandler
from monai.utils import set_determinism

from monai_cxrssl.checkpoints.checkpoint import RunCheckpoint
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.label_maps import LabelMap
from monai_cxrssl.data.sampling.loader import training_loader
from monai_cxrssl.data.sources.source import open_dataset
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.images import open_images
from monai_cxrssl.handlers.monitors.curves import CurvesPlot
from monai_cxrssl.handlers.monitors.progress import RunProgressBar
from monai_cxrssl.hardware.device import require_device
from monai_cxrssl.hardware.precision import autocast_dtype
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.trained_on import trained_on
from monai_cxrssl.runs.options import RunOptions
from monai_cxrssl.runs.run_folder import phantom_folder
from monai_cxrssl.runs.run_log import open_run_log
from monai_cxrssl.runs.run_record import finish_run, start_run
from monai_cxrssl.runs.starting_point import StartingPoint, starting_point
from monai_cxrssl.transforms.views.multi_view import MultiView

__all__ = ["Wiring"]


class Wiring:
    """Make the parts of a run from its options; a config puts them together, and may replace any of them.

    Args:
        options: of the run.
        name: of the bundle, by which a single stage is called.
    """

    def __init__(self, options: RunOptions, name: str) -> None:
        self.options = options
        self.name = name

    @property
    def output_dir(self) -> Path:
        """Folder of the run's results."""
        return Path(self.options.output_dir)

    @cached_property
    def start(self) -> StartingPoint | None:
        """What the encoder starts from, ``None`` for random weights."""
        return starting_point(self.options)

    def origins(self) -> dict[str, Any]:
        """Return what a description of the weights says of those that came before: in words, and the data they saw."""
        before = {} if self.start is None else {"started_from": str(self.start)}
        teachers = [getattr(self.options, name, None) for name in ("teacher", "teacher_weights")]
        seen = [*(self.start.trained_on if self.start else ()), *trained_on([t for t in teachers if t is not None])]
        return before | ({"trained_on": list(dict.fromkeys(seen))} if seen else {})

    def prepare(self) -> None:
        """Make sure that the device is there, and seed everything random of this process."""
        require_device(self.options.device)
        set_determinism(seed=self.options.seed)

    def open_dataset(self, collapse: LabelMap | None = None) -> Datalist:
        """Open the data set that the options name, or the phantom, its labels brought onto the classes of a map."""
        o = self.options
        phantom = phantom_folder(o.output_dir, o.phantom_patients, o.phantom_size)
        return open_dataset(o.dataset_dir, o.datalist, phantom, o.phantom_patients, o.phantom_size, collapse)

    def open_images(
        self, items: Sequence[Mapping[str, Any]], max_unreadable: float | None = None, cache_dir: str | None = None
    ) -> ImageStore:
        """Open the images of some items, decoded at 12/7 of the network's side or kept in the cache.

        Args:
            items: datalist items.
            max_unreadable: as :func:`monai_cxrssl.data.open_images` has it, instead of the option.
            cache_dir: instead of the option.
        """
        o = self.options
        limit = o.max_unreadable if max_unreadable is None else max_unreadable
        return open_images(items, o.decoded_side, cache_dir or o.cache_dir, o.memory_limit_gb, limit)

    def views(self, number: int, return_uint8: bool = True) -> MultiView:
        """Make the random views of an image.

        Args:
            number: views of an image.
            return_uint8: give eight bits instead of floats.
        """
        return self._views(number, self.options.image_size, self.options.crop_scale, return_uint8)

    def local_views(self, number: int, multiple: int) -> MultiView:
        """Make the small random views of an image beside two large ones (DINO): 96 px where the others have 224.

        Args:
            number: views of an image.
            multiple: of this many pixels their side must be.
        """
        side = max(round(self.options.image_size * 3 / 7 / multiple), 1) * multiple
        least = self.options.crop_scale[0]
        # From 5 % of the image to where the large views begin.
        return self._views(number, side, [min(0.05, least / 2), least], return_uint8=True)

    def _views(self, number: int, size: int, scale: Sequence[float], return_uint8: bool) -> MultiView:
        o = self.options
        low, high = 1 - 0.8 * o.jitter, 1 + 0.8 * o.jitter
        return MultiView(
            size=size, num_views=number, seed=o.seed, return_uint8=return_uint8, scale=tuple(scale),
            rotation=o.rotation, brightness=[low, high], contrast=[low, high],
            gamma=[1 / (1 + 0.5 * o.jitter), 1 + 0.5 * o.jitter],
        )  # fmt: skip

    def loader(self, dataset: Any, sampler: Any) -> Any:
        """Make the loader of training batches."""
        o = self.options
        return training_loader(
            dataset, sampler, o.batch_size, o.device, o.num_workers, max_unreadable=o.max_unreadable
        )  # fmt: skip

    def open_run_log(self) -> None:
        """Make the output folder and log into it from now on."""
        open_run_log(self.options.output_dir, rank=self.options.rank)

    def start_run(self, source: Datalist, resolved: Mapping[str, Any] | None = None) -> None:
        """Write what this run is into its folder, with what its recipe was resolved to."""
        o = self.options
        start_run(o.output_dir, "train", source.name, o.recipe, options=o.given, resolved=resolved)

    def finish_run(self) -> None:
        """Complete what was written of this run."""
        finish_run(self.options.output_dir)

    def records(self, state: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Any]:
        """Make the handlers that write what the record of the epochs holds: TensorBoard, curves, checkpoints, a bar.

        Args:
            state: the parts whose state a checkpoint holds, by name; ``history`` and, if any, ``probe`` among them.
            settings: by which a resumed run is compared.
        """
        board = []
        if self.options.rank == 0:
            folder = str(self.output_dir / "tensorboard")
            board = [TensorBoardStatsHandler(log_dir=folder, iteration_log=False, epoch_log=True)]
        curves = CurvesPlot(state["history"], self.output_dir / "curves.png", state.get("probe"))
        return [*board, curves, self.checkpoint(state, settings), RunProgressBar()]

    def checkpoint(self, state: Mapping[str, Any], settings: Mapping[str, Any]) -> RunCheckpoint:
        """Make the handler that saves and resumes the run.

        Args:
            state: the parts whose state a checkpoint holds, by name.
            settings: by which a resumed run is compared.
        """
        o = self.options
        folder = self.output_dir / "checkpoints"
        return RunCheckpoint(
            folder, dict(state), every_minutes=o.checkpoint_minutes, resume=o.resume, settings=settings
        )  # fmt: skip

    def all_settings(self, summary: Any) -> dict[str, Any]:
        """Return every option of the run, with what its summary records, for a checkpoint and a tracker."""
        return {**self.options.model_dump(include=set(self.options.names)), **summary.settings}

    def settings(self, network: Encoder | MultiTaskNet, batch_size: int, **others: Any) -> dict[str, Any]:
        """Return what ``metrics.json`` records of a network and of the options, with others beside."""
        o = self.options
        return {
            **described_encoder(network),
            "image_size": o.image_size,
            "batch_size": batch_size,
            "recipe": o.recipe,
            "seed": o.seed,
            "device": str(o.device),
            "precision": str(autocast_dtype(o.device, o.amp) or torch.float32),
            **self.origins(),
            **others,
        }
