# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Data set of a run: folder, datalist or phantom."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from monai_cxrssl.data.datalists.collapse import collapse_labels
from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist
from monai_cxrssl.data.datalists.label_maps import load_label_map
from monai_cxrssl.data.sources.registry import index_folder

__all__ = ["open_dataset"]

logger = logging.getLogger(__name__)


def open_dataset(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    datalist: str | os.PathLike | None = None,
    phantom_dir: str | os.PathLike = "phantom",
    phantom_patients: int = 64,
    phantom_size: int = 512,
    collapse: Any = None,
) -> Datalist:
    """Open the data that a run was given; given none, draw the phantom data set and say so.

    ``dataset_dir`` and ``datalist``: see :func:`monai_cxrssl.data.sources.registry.index_folder`, also for errors. The
    phantom is drawn once into ``phantom_dir``, with images of about ``phantom_size`` pixels a side. Its seed is fixed,
    not the run's: two runs of different seeds then differ in training alone. ``collapse`` is what
    :func:`~monai_cxrssl.data.datalists.label_maps.load_label_map` takes.
    """
    label_map = load_label_map(collapse)
    # An empty text, as an unset shell variable gives, is a mistake to report, not a wish for the phantom.
    if dataset_dir is not None or datalist is not None:
        return index_folder(dataset_dir, datalist, label_map)
    from monai_cxrssl.phantom.dataset import make_phantom_dataset

    told = f"running on a phantom of {phantom_patients} patients, not on real X-rays ({phantom_dir})"
    logger.info("No --dataset_dir or --datalist was given: %s.", told)
    phantom = load_datalist(make_phantom_dataset(phantom_dir, patients=phantom_patients, size=phantom_size))
    return phantom if label_map is None else collapse_labels(phantom, label_map)
