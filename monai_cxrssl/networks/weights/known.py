# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Table of known public weights: encoder, normalisation, licence, training data.

The table is ``known_weights.json``. A row fits weights by names and shapes of their tensors. Where these are no one's
alone (a plain ResNet-50 may be of ImageNet or of MoCo-CXR), the file's SHA-256, the ``config.json`` of its folder or
its name must say the rest; else the weights are not recognised.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from monai_cxrssl.files import sha256
from monai_cxrssl.networks.normalisation import Normalisation
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.header import read_header
from monai_cxrssl.networks.weights.hub_config import described_by_folder, read_folder_config

__all__ = ["KnownWeights", "candidates", "known_weights", "recognise"]

#: What says who weights are, the surest last.
_BY_NAMES, _BY_FILE, _BY_CONFIG, _BY_HASH = 1, 2, 3, 4
_WORDS = {
    _BY_NAMES: "the names and shapes of its tensors",
    _BY_FILE: "its file name, for the names of its tensors are not its own",
    _BY_CONFIG: "the config.json beside it",
    _BY_HASH: "its SHA-256",
}


class Match(BaseModel):
    """What tells weights from others.

    Args:
        shapes: by the end of a tensor's name; ``None`` for any size, or for any shape.
        absent: ends of names that none of its tensors has.
        files: patterns of the name of the file or of its folder, in lower case.
        config: values of the ``config.json`` or ``preprocessor_config.json`` beside it; texts are patterns.
        sha256: of the file, or its first digits.
        distinctive: no other public weights have such names and shapes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shapes: dict[str, list[int | None] | None] = Field(default_factory=dict)
    absent: list[str] = Field(default_factory=list)
    files: list[str] = Field(default_factory=list)
    config: dict[str, Any] = Field(default_factory=dict)
    sha256: list[str] = Field(default_factory=list)
    distinctive: bool = False


@dataclass(frozen=True)
class KnownWeights:
    """Public weights, and what it takes to use them.

    Args:
        name: of the weights.
        encoder_name: as :class:`~monai_cxrssl.networks.Encoder` takes it; ``None`` where no encoder here is of that
            architecture, or it is not known.
        get: how to get the file, in words.
        normalisation: of the images that they were trained on; ``None`` where it is not known.
        encoder_arguments: of the encoder, such as ``patch_size``.
        image_size: side of the images that they were trained on, pixels.
        supervision: ``"supervised"``, ``"self-supervised"``, ``"vision-language"`` or the like; ``None`` if not known.
        licence: of the weights; ``None`` where none is stated.
        page: on the web.
        trained_on: data sets, named as the layouts of this package name them; ``None`` where not known.
        note: what else a user should know.
        match: what tells them from others.
        recognised_by: how a file was recognised, in words.
    """

    name: str
    encoder_name: str | None
    get: str
    normalisation: Normalisation | None = None
    encoder_arguments: dict[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    supervision: str | None = None
    licence: str | None = None
    page: str | None = None
    trained_on: tuple[str, ...] | None = None
    note: str | None = None
    match: Match = field(default_factory=Match)
    recognised_by: str | None = None


@cache
def known_weights() -> tuple[KnownWeights, ...]:
    """Return the rows of the table."""
    adapter = TypeAdapter(KnownWeights)
    rows = []
    for source in _table()["sources"]:
        for row in source["weights"]:
            values = {**source, **row}
            del values["weights"]
            values["normalisation"] = values["normalisation"] and Normalisation.of(values["normalisation"])
            rows.append(adapter.validate_python(values))
    return tuple(rows)


def recognise(weights: str | os.PathLike | Mapping[str, Any]) -> KnownWeights | None:
    """Say which public weights these are.

    Args:
        weights: a file, or names with tensors or with shapes, of which file name and folder then tell nothing.

    Returns:
        The row of the table; or, of a folder of Hugging Face form whose weights no row knows, what its ``config.json``
        says. ``None`` where neither tells, and for weights of this package, which describe themselves.

    Raises:
        ConfigurationError: the file holds no weights.
    """
    path = None if isinstance(weights, Mapping) else Path(weights)
    if path is not None and read_header(path)[1] is not None:
        return None
    ranked = sorted(_fitting(weights, path), key=lambda pair: -pair[0])
    best = [row for rank, row in ranked if rank == ranked[0][0] and rank > 0]
    if not best or any(_differ(row, best[0]) for row in best[1:]):
        facts = None if path is None else described_by_folder(path)
        return None if facts is None else KnownWeights(**facts, recognised_by=_WORDS[_BY_CONFIG])
    return replace(best[0], recognised_by=_WORDS[ranked[0][0]])


def candidates(weights: str | os.PathLike | Mapping[str, Any]) -> list[KnownWeights]:
    """Return the known weights whose names and shapes fit, whatever the file is called."""
    path = None if isinstance(weights, Mapping) else Path(weights)
    return [row for _, row in _fitting(weights, path) if row.match.shapes]


def _table() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("known_weights.json").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Any]).validate_json(text)


def _differ(one: KnownWeights, other: KnownWeights) -> bool:
    facts = ("encoder_name", "encoder_arguments", "normalisation", "trained_on")
    return any(getattr(one, name) != getattr(other, name) for name in facts)


def _fitting(weights: str | os.PathLike | Mapping[str, Any], path: Path | None) -> Iterator[tuple[int, KnownWeights]]:
    """Each row whose shapes fit, with how surely it is meant: 0 where only the shapes say so."""
    tensors = read_weights(path) if path is not None else weights
    assert isinstance(tensors, Mapping)
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for name, value in tensors.items():
        shape = tuple(getattr(value, "shape", value))
        parts = name.split(".")
        for start in range(len(parts)):
            shapes.setdefault(".".join(parts[start:]), set()).add(shape)
    config = {} if path is None else read_folder_config(path)
    file_hash = None
    for row in known_weights():
        match = row.match
        if not all(_has(shapes, name, shape) for name, shape in match.shapes.items()):
            continue
        if any(name in shapes for name in match.absent):
            continue
        if match.sha256 and path is not None:
            file_hash = file_hash or sha256(path)
            if any(file_hash.startswith(digits) for digits in match.sha256):
                yield _BY_HASH, row
                continue
        if match.config and all(_says(config, key, value) for key, value in match.config.items()):
            yield _BY_CONFIG, row
        elif path is not None and _named(path, match.files):
            yield _BY_FILE, row
        else:
            yield _BY_NAMES if match.distinctive else 0, row


def _has(shapes: Mapping[str, set[tuple[int, ...]]], name: str, shape: Sequence[int | None] | None) -> bool:
    found = shapes.get(name, set())
    if shape is None:
        return bool(found)
    return any(
        len(each) == len(shape) and all(b is None or a == b for a, b in zip(each, shape, strict=True)) for each in found
    )


def _says(config: Mapping[str, Any], key: str, value: Any) -> bool:
    said = config.get(key)
    if isinstance(value, str):
        return isinstance(said, str) and fnmatchcase(said.lower(), value.lower())
    return bool(said == value)


def _named(path: Path, patterns: Sequence[str]) -> bool:
    names = (path.name.lower(), path.absolute().parent.name.lower())
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns for name in names)
