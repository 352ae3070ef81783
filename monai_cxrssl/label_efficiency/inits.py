# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Initialisations of a grid: random, published, or files of weights."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import find_description, undescribed
from monai_cxrssl.networks.start import encoder_of_file
from monai_cxrssl.networks.weights.header import read_header, tensors_sha256
from monai_cxrssl.networks.weights.locations import HUB, TIMM, resolve_weights

__all__ = ["RANDOM", "Init", "read_inits"]

#: Names of files and folders that say nothing of where weights come from.
_PLAIN_NAMES = frozenset(
    ("model", "models", "encoder", "weights", "checkpoint", "checkpoints", "best", "final", "runs")
)
#: What a description of weights says that an encoder depends on.
_DECIDING = (
    "encoder_arguments", "input_mean", "input_std", "input_scale", "pooling", "positions", "head_norm",
)  # fmt: skip
_NAME = re.compile(r"\w[\w.+ -]*")


@dataclass(frozen=True)
class Init:
    """What encoders of a row start from."""

    name: str  #: fit for a folder.
    published: str | None = None  #: name of weights that come with the encoder, such as ``"imagenet"``.
    files: tuple[Path, ...] = ()  #: of weights; draw d starts from the d-th, in turn.
    encoder: str | None = None  #: that the files are of; ``None`` where they do not say.

    @property
    def is_random(self) -> bool:
        """Whether the weights are drawn, anew in each draw."""
        return self.published is None and not self.files

    def options(self, draw: int) -> dict[str, str]:
        """Return the options of a run that starts from it."""
        if self.files:
            return {"pretrained": str(self.files[draw % len(self.files)])}
        return {} if self.published is None else {"encoder_weights": self.published}

    def identity(self, draw: int) -> str | None:
        """Return what tells these weights from others: of files the tensors, and what is said of their use."""
        if not self.files:
            return self.published
        path = self.files[draw % len(self.files)]
        said = find_description(path) or {}
        told = {name: said[name] for name in _DECIDING if name in said}
        return tensors_sha256(path) + (json.dumps(told, sort_keys=True) if told else "")


RANDOM = Init("random")


def read_inits(texts: Sequence[str]) -> list[Init]:
    """Read the words of ``--init``.

    Each is ``random``; the name of published weights, such as ``imagenet``; or a place of weights as ``--pretrained``
    takes it. ``NAME=`` before it names the row, and several places with commas between, of several pretrainings, are
    taken in turn by the draws.

    Raises:
        ConfigurationError: weights that are not there, that lack a description which they need, or are of several
            encoders; a name or an initialisation is given twice.
    """
    inits: list[Init] = []
    for text in texts:
        name, places = _named(text)
        init = _init(text, name, places, [other.name for other in inits])
        if any((init.published, init.files) == (other.published, other.files) for other in inits):
            raise ConfigurationError(f"--init names {text} twice; give each initialisation once.")
        inits.append(init)
    return inits


def _named(text: str) -> tuple[str | None, list[str]]:
    """The name before ``=``, if any, and the places; a path that exists is taken whole."""
    if Path(text).expanduser().exists():
        return None, [text]
    name, sign, places = text.partition("=")
    if not sign:
        name, places = "", text
    elif not _NAME.fullmatch(name):
        raise ConfigurationError(f"--init {text}: {name!r} is no name; give letters and digits before the '='.")
    return name or None, [places] if Path(places).expanduser().exists() else places.split(",")


def _init(text: str, name: str | None, places: list[str], taken: Sequence[str]) -> Init:
    if len(places) == 1 and (places[0] == "random" or places[0] in _published_names()):
        init = Init(name or places[0], None if places[0] == "random" else places[0])
    else:
        files = tuple(_file(place) for place in places)
        encoders = {encoder_of_file(path)[0] for path in files} - {None}
        if len(encoders) > 1:
            raise ConfigurationError(
                f"--init {text}: the files are of the encoders {', '.join(sorted(map(str, encoders)))}; give those of "
                "one encoder, each other as an --init of its own."
            )
        names = [name] if name else _names(places[0])
        found = next((each for each in names if each not in (*taken, "random")), None)
        if found is None:
            raise ConfigurationError(f"--init names two rows {name!r}; give each its own name.")
        return Init(found, None, files, next(iter(encoders), None))
    if init.name in taken:
        raise ConfigurationError(f"--init names {init.name} twice; give each initialisation once.")
    return init


def _file(place: str) -> Path:
    path = resolve_weights(place if place.startswith((TIMM, HUB)) else Path(place).expanduser().absolute())
    if not path.exists():
        raise ConfigurationError(
            f"--init {place}: there is no such file of weights; give its path, timm:NAME, hf://ORG/REPO/FILE, random, "
            "or imagenet."
        )
    if find_description(path) is None and any("classification_head." in name for name in read_header(path)[0]):
        # Its rows would start as those of classes that nobody has named.
        raise undescribed(path)
    return path


def _published_names() -> frozenset[str]:
    from segmentation_models_pytorch.encoders import encoders

    return frozenset(name for entry in encoders.values() for name in entry.get("pretrained_settings") or ())


def _names(place: str) -> Iterator[str]:
    """Candidates for the name of weights, the shortest first: folders are added in front until it is unique."""
    if place.startswith(TIMM):
        parts: list[str] = [place.removeprefix(TIMM)]
    else:
        path = PurePosixPath(place.removeprefix(HUB) if place.startswith(HUB) else os.path.abspath(place))  # noqa: PTH100
        parts = [*path.parent.parts, path.stem]
    words = [word for part in parts if (word := re.sub(r"[^\w.-]+", "_", part).strip("_"))]
    telling = [word for word in words if word.lower() not in _PLAIN_NAMES] or words
    for count in range(1, len(telling) + 1):
        yield "_".join(telling[-count:]).lstrip(".") or "weights"
    number = 2
    while True:
        yield f"{telling[-1]}_{number}"
        number += 1
