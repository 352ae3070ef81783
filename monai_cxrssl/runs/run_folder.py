# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of a bundle's runs."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import new_folder
from monai_cxrssl.runs.run_record import is_held, read_record

__all__ = ["kept_folder", "newest_report", "phantom_folder", "run_folder", "training_folder"]

logger = logging.getLogger(__name__)

_RUNS = "runs"
#: Folders that were given to runs of this process which asked for none.
_given: set[str] = set()


def run_folder(bundle_root: str | os.PathLike, kind: str = "") -> str:
    """Make a folder for a run: ``<bundle>/runs/<time>_<name>``, ``<name>`` being that of the bundle's folder.

    The processes of one run get the same folder. It goes again when the process ends and nothing was written into it.
    Where none can be made, as in a bundle that is read-only, the run says so when it begins.

    Args:
        bundle_root: folder of the bundle.
        kind: of a run other than training, put behind the name.

    Returns:
        The path, as a config wants it.

    Raises:
        ConfigurationError: several processes have not joined each other, so they cannot agree.
    """
    return _given_to_all(lambda: _new(Path(bundle_root), kind))


def training_folder(bundle_root: str | os.PathLike, resume: bool | str = False) -> str:
    """Return the folder of a training: a new one, or that of the newest incomplete training to go on in.

    Args:
        bundle_root: folder of the bundle.
        resume: as for :class:`~monai_cxrssl.checkpoints.RunCheckpoint`; with ``"auto"`` or True a training that neither
            came to its end nor runs at the moment is gone on with, if there is one.

    Returns:
        The path, as a config wants it.

    Raises:
        ConfigurationError: see :func:`run_folder`.
    """
    return _given_to_all(lambda: _to_go_on_in(Path(bundle_root), resume) or _new(Path(bundle_root), ""))


def phantom_folder(output_dir: str | os.PathLike, patients: int, size: int) -> str:
    """Return where the phantom data set of a run is kept, see :func:`kept_folder`.

    Args:
        output_dir: of the run.
        patients: number of phantom patients.
        size: about how many pixels a side of a phantom image has.
    """
    return kept_folder(output_dir, "phantom", f"_{patients}x{size}")


def kept_folder(output_dir: str | os.PathLike, name: str, variant: str = "") -> str:
    """Return the folder of what a run makes and later ones may use.

    One that the user chose for the run holds it itself; the others of a bundle share it.

    Args:
        output_dir: of the run.
        name: of the folder.
        variant: put behind the name where it is shared.
    """
    if str(output_dir) not in _given:
        return str(Path(output_dir) / name)
    return str(Path(output_dir).parent / f"{name}{variant}")


def newest_report(bundle_root: str | os.PathLike, is_of_model: Callable[[Path], bool]) -> Path | None:
    """Return the report of the newest evaluation below a bundle that is of a certain model.

    Args:
        bundle_root: folder of the bundle.
        is_of_model: whether the folder of a report is of it.
    """
    folders = sorted((Path(bundle_root) / _RUNS).glob("*/report"), reverse=True)
    return next((folder for folder in folders if (folder / "metrics.json").is_file() and is_of_model(folder)), None)


def _new(bundle_root: Path, kind: str) -> Path:
    name = bundle_root.resolve().name + (f"_{kind}" if kind else "")
    try:
        folder = new_folder(bundle_root / _RUNS, name)
    except OSError:
        return bundle_root / _RUNS / name
    atexit.register(_remove_if_empty, folder.absolute(), os.getpid())
    return folder


def _remove_if_empty(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a fork may end earlier
        with contextlib.suppress(OSError):
            folder.rmdir()
            folder.parent.rmdir()


def _to_go_on_in(bundle_root: Path, resume: bool | str) -> Path | None:
    if str(resume).lower() not in ("auto", "true"):
        return None
    for folder in sorted((bundle_root / _RUNS).glob("*"), reverse=True):
        record = read_record(folder)
        if record.get("kind") == "train" and record.get("status") != "complete" and not is_held(folder):
            logger.info("Going on with the newest incomplete training of this bundle: %s.", folder)
            return folder
    logger.info("There is no incomplete training in %s, so this is a new one.", bundle_root / _RUNS)
    return None


def _given_to_all(choose: Callable[[], Path]) -> str:
    """Let the first process choose a folder for all."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        folder = str(choose())
    else:
        import torch.distributed as dist

        if not dist.is_initialized():
            raise ConfigurationError(
                "Several processes of one run must share its folder, and have not joined each other yet; give "
                "--output_dir, or add configs/multi_gpu_train.json to the config files."
            )
        chosen = [str(choose()) if dist.get_rank() == 0 else ""]
        dist.broadcast_object_list(chosen, src=0)
        folder = chosen[0]
    _given.add(folder)
    return folder
