# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Registry of layouts, and the indexing of folders."""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from monai_cxrssl.data.datalists.collapse import collapse_labels
from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist
from monai_cxrssl.data.datalists.label_maps import LabelMap
from monai_cxrssl.data.datalists.mixing import mix_datalists
from monai_cxrssl.data.sources.discovery.read_folder import read_folder
from monai_cxrssl.errors import DatalistError

__all__ = ["LAYOUTS", "find_layout", "mix_datalists", "index_folder"]

logger = logging.getLogger(__name__)

# Tried in this order; the plain folder accepts whatever holds images, so it stays last.
# fmt: off
_MODULES = (
    "covid.actualmed", "covid.figure1", "covid.covid_chestxray", "covid.hannover", "covid.covid_radiography",
    "chexpert", "brax", "chestxray14", "mimic_cxr_jpg", "padchest", "kermany", "covid.siim_covid", "rsna_pneumonia",
    "montgomery", "shenzhen", "vindr_cxr", "vindr_pcxr", "open_i", "siim_pneumothorax", "candid_ptx", "object_cxr",
    "chestx_det", "covid.covidx", "covid.covid_qu_ex", "tbx11k", "jsrt", "plain.csv_table", "plain.class_folders",
    "plain.image_mask_folders", "plain.folder",
)
# fmt: on
LAYOUTS: dict[str, ModuleType] = {
    name.rpartition(".")[2]: import_module(f"monai_cxrssl.data.sources.layouts.{name}") for name in _MODULES
}
DATALIST_FILE = "datalist.json"


def index_folder(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    datalist: str | os.PathLike | None = None,
    collapse: LabelMap | None = None,
) -> Datalist:
    """Read the data a user points at.

    Args:
        dataset_dir: one folder, a list of folders, or that list as text (``"['a','b']"``). A folder that holds
            ``datalist.json`` is read as that; any other by the layouts of :data:`LAYOUTS` that know it, or a folder
            below or above it (:mod:`monai_cxrssl.data.sources.discovery.read_folder`). Several are mixed
            (:func:`mix_datalists`).
        datalist: a datalist file; its paths are relative to ``dataset_dir`` (then one folder), else to its own folder.
        collapse: brings the labels of each data set onto a few classes, before several are mixed.

    Raises:
        DatalistError: a folder is missing, empty, a file, or holds no image; the datalist is wrong; or no label is
            known after ``collapse``.
    """
    opened = _opened(dataset_dir, datalist)
    if collapse is not None:
        opened = [collapse_labels(each, collapse) for each in opened]
    whole = opened[0] if len(opened) == 1 else mix_datalists(opened)
    if collapse is not None and not whole.has_labels:
        raise DatalistError(
            f"No image of {whole.name} has a label that the map {collapse.name} brings onto "
            f"{', '.join(collapse.classes)}; choose another map, give your own as a file, or bring labels."
        )
    return whole


def _opened(dataset_dir: Any, datalist: str | os.PathLike | None) -> list[Datalist]:
    """The data sets that are pointed at, one by one."""
    folders = _folders(dataset_dir)
    if datalist is not None:
        if len(folders) > 1:
            raise DatalistError(
                f"datalist {datalist} comes with {len(folders)} folders in dataset_dir; give the one folder that its "
                "paths start from, or none."
            )
        base = _existing_folder(folders[0]) if folders else None
        return [load_datalist(datalist, base)]
    if not folders:
        raise DatalistError("Neither dataset_dir nor datalist is given; point one of them at the images.")
    return [_open_folder(_existing_folder(path)) for path in folders]


def find_layout(path: str | os.PathLike) -> str | None:
    """Name of the first layout that knows a folder itself, or ``None``."""
    return next((name for name, layout in LAYOUTS.items() if layout.detect(Path(path))), None)


def _folders(dataset_dir: Any) -> list[Path]:
    if dataset_dir is None:
        return []
    if isinstance(dataset_dir, str) and dataset_dir.lstrip().startswith(("[", "(")) and not Path(dataset_dir).exists():
        try:
            dataset_dir = ast.literal_eval(dataset_dir.strip())
        except (ValueError, SyntaxError):
            raise DatalistError(
                f"dataset_dir {dataset_dir} is neither a folder nor a list of folders such as \"['a','b']\"."
            ) from None
    entries = [dataset_dir] if isinstance(dataset_dir, str | os.PathLike) else dataset_dir
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, str | os.PathLike) for entry in entries):
        raise DatalistError(f"dataset_dir is {dataset_dir!r}; expected a folder or a list of folders.")
    if not entries or not all(os.fspath(entry).strip() for entry in entries):
        raise DatalistError(f"dataset_dir is {dataset_dir!r}, which names no folder; expected a folder of images.")
    return [Path(entry).expanduser() for entry in entries]


def _existing_folder(path: Path) -> Path:
    if path.is_dir():
        return path.absolute()
    if path.exists():
        hint = " Give a datalist file as datalist." if path.suffix.lower() == ".json" else ""
        raise DatalistError(f"dataset_dir {path} is a file; expected a folder of images.{hint}")
    raise DatalistError(f"dataset_dir {path} does not exist; expected a folder of images.")


def _open_folder(path: Path) -> Datalist:
    try:
        empty = next(path.iterdir(), None) is None
    except OSError as error:
        raise DatalistError(f"dataset_dir {path} cannot be listed ({error.strerror or error}).") from error
    if empty:
        raise DatalistError(f"dataset_dir {path} is empty; expected a folder of images.")
    if (path / DATALIST_FILE).is_file():
        logger.info("%s: read by its %s", path, DATALIST_FILE)
        return load_datalist(path / DATALIST_FILE, path)
    return read_folder(path, LAYOUTS)
