# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Locations of weights: files, Hugging Face folders, timm, the hub."""

from __future__ import annotations

import contextlib
import difflib
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.hub_config import MAIN_FILES

__all__ = ["HUB", "TIMM", "resolve_weights"]

logger = logging.getLogger(__name__)

TIMM = "timm:"
HUB = "hf://"
#: What the hub has beside weights that says how to use them.
_BESIDE = ("config.json", "preprocessor_config.json")
_OFFLINE = "If this machine has no way to the hub, bring the file and give its path."


def resolve_weights(text: str | os.PathLike) -> Path:
    """Return the file of weights that a text names, downloaded where it says so.

    Args:
        text: a file; a folder of Hugging Face form (``config.json`` beside ``model.safetensors`` or
            ``pytorch_model.bin``); ``timm:<name>`` for pretrained weights of timm; or ``hf://ORG/REPO/FILE``, with
            ``@REVISION`` after the repository if wanted. Whatever exists under the text as a path is taken as that.

    Returns:
        The file. A path that does not exist is returned as it is, for the reader to refuse.

    Raises:
        ConfigurationError: the folder holds no such file or only parts of one, there are no weights of that name, or
            they cannot be had; the sentence says which.
    """
    path = Path(text)
    if path.is_dir():
        return _in_folder(path)
    if isinstance(text, str) and not path.exists():
        if text.startswith(HUB):
            return _from_hub(text)
        if text.startswith(TIMM):
            return _from_timm(text.removeprefix(TIMM).strip())
    return path


def _in_folder(folder: Path) -> Path:
    for name in MAIN_FILES:
        if (folder / name).is_file():
            return folder / name
    for name in MAIN_FILES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            raise ConfigurationError(
                f"{folder} holds its weights in {_parts(index)}; join them in one file, for instance with "
                "transformers: AutoModel.from_pretrained(FOLDER).save_pretrained(OUT, max_shard_size='100GB')."
            )
    raise ConfigurationError(
        f"{folder} is a folder without {' or '.join(MAIN_FILES)}; give the file of weights in it, such as model.pt."
    )


def _parts(index: Path) -> str:
    try:
        return f"{len(set(json.loads(index.read_text(encoding='utf-8'))['weight_map'].values()))} parts"
    except (OSError, ValueError, KeyError, AttributeError):
        return "parts"


def _from_hub(text: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    found = re.fullmatch(r"hf://([^/@\s]+/[^/@\s]+)(?:@([^/\s]+))?/(.+)", text)
    if found is None:
        raise ConfigurationError(f"{text} names no file of the hub; write hf://ORG/REPO/FILE.")
    repository, revision, name = found.groups()
    logger.info("%s is looked for on the Hugging Face Hub.", text)
    folder = name.rpartition("/")[0]
    try:
        with _quiet_hub():
            path = Path(hf_hub_download(repository, name, revision=revision))
            for beside in _BESIDE:
                with contextlib.suppress(EntryNotFoundError):
                    hf_hub_download(repository, f"{folder}/{beside}".lstrip("/"), revision=revision)
    except Exception as error:
        raise ConfigurationError(_hub_sentence(text, repository, name, error)) from error
    return path


def _hub_sentence(text: str, repository: str, name: str, error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"{text}: {repository} is gated; ask for access on https://huggingface.co/{repository} and sign in with "
            "`hf auth login`."
        )
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return f"{text}: {_reason(error)}. {_OFFLINE}"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{text}: {repository} has no file {name}; look at https://huggingface.co/{repository}/tree/main."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{text}: {repository} has no such revision; leave @REVISION out."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{text}: there is no {repository} on the Hugging Face Hub, or it is not public; check the name, or sign "
            "in with `hf auth login`."
        )
    if isinstance(error, errors.HFValidationError):
        return f"{text}: {repository} is no name of a repository; write hf://ORG/REPO/FILE."
    return f"{text}: it cannot be had from the Hugging Face Hub ({_reason(error)}). {_OFFLINE}"


def _from_timm(name: str) -> Path:
    import timm
    import torch
    from timm.models import save_for_hf

    if not name or any(sign in name for sign in ":/\\") or not timm.is_model(name.split(".")[0]):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), 3, 0.5)
        raise ConfigurationError(
            f"timm:{name} names no model of timm {timm.__version__}"
            + (f"; the nearest names are {', '.join(near)}." if near else "; timm.list_models() lists them.")
        )
    cfg: Any = None
    with contextlib.suppress(RuntimeError):  # an unknown tag
        cfg = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if cfg is None or not cfg.has_weights:
        known = timm.list_pretrained(f"{name.split('.')[0]}.*")
        raise ConfigurationError(
            f"timm:{name}: timm {timm.__version__} has no weights of that name"
            + (f"; it has {', '.join(f'timm:{each}' for each in known[:4])}." if known else " for this architecture.")
        )
    folder = Path(torch.hub.get_dir()) / "monai_cxrssl" / f"{cfg.architecture}.{cfg.tag}".rstrip(".")
    path = folder / MAIN_FILES[0]
    # The config is written last.
    if not (folder / "config.json").is_file():
        logger.info("timm:%s is looked for where timm has it.", name)
        try:
            with _quiet_hub():
                save_for_hf(timm.create_model(name, pretrained=True), str(folder), safe_serialization=True)
        except Exception as error:
            raise ConfigurationError(
                f"timm:{name}: its weights cannot be had ({_reason(error)}). {_OFFLINE}"
            ) from error
    return path


def _reason(error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return "the Hugging Face Hub cannot be reached, and the file was not downloaded before"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep what the hub's library says of each try from the log; what comes of them is raised."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
