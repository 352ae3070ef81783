# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report of a packed model, without patient ids, images and machine paths."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_cxrssl.apps.pack.metadata import read_json
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import sha256, write_json
from monai_cxrssl.networks.weights.header import tensors_sha256

__all__ = ["copy_evidence", "find_machine_paths", "is_of_weights", "report_is_of", "without_paths"]

#: An absolute path of two parts or more, not a web address, a fraction or the end of a tag.
_ABSOLUTE = re.compile(
    r"(?<![\w.:/<+=~-])/(?:[\w.+@~-]+/)+([\w.+@~-]*)|\b[A-Za-z]:\\(?:[^\\\s\"'<>]+\\)+([^\\\s\"'<>]*)"
)
#: Where people's files lie; configs hold expressions such as ``@output_dir + '/a/b'``, which are no paths.
_PRIVATE = re.compile(
    r"(?<![\w.:/+=-])/(?:home|root|Users|tmp|mnt|media|srv|scratch|work|var|opt|private|Volumes)/[\w.-]+|"
    r"\b[A-Za-z]:\\{1,2}Users\b[\\\w.-]*"
)
_PICTURE = re.compile(r"data:image/[\w+.-]+;base64,([A-Za-z0-9+/=]+)")
_FIGURE = re.compile(r"<figure>.*?</figure>", flags=re.DOTALL)
_GALLERY = "gallery_"
_TEXTS = (".json", ".conf", ".md", ".txt", ".html", ".yml", ".csv", "")


def without_paths(content: Any) -> Any:
    """Return text, or JSON content, with every absolute path cut down to its last part."""
    if isinstance(content, str):
        return _ABSOLUTE.sub(lambda match: match[1] or match[2] or "", content)
    if isinstance(content, dict):
        return {without_paths(key): without_paths(value) for key, value in content.items()}
    return [without_paths(value) for value in content] if isinstance(content, list) else content


def find_machine_paths(folder: Path, *private: Path) -> list[str]:
    """Say, a sentence each, which text files below a folder name a path of this machine, or one of ``private``."""
    told = []
    # A folder such as "/" or "/data" would be found in innocent text.
    known = [str(path) for path in (Path.home(), *private) if len(path.parts) > 2]
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix not in _TEXTS:
            continue
        text = _PICTURE.sub("", path.read_text(encoding="utf-8", errors="replace"))
        match = _PRIVATE.search(text)
        found = match[0] if match else next((name for name in known if name in text), None)
        if found is not None:
            told.append(f"{path.relative_to(folder).as_posix()} names {found}, a path of one machine.")
    return told


def is_of_weights(provenance: Mapping[str, Any], weights: Path) -> bool | None:
    """Whether a report is of these weights, ``None`` where it does not say which it is of.

    A calibration that was stored with the weights since changes their file and not their tensors.

    Args:
        provenance: the report's ``provenance.json``.
        weights: a file of weights.
    """
    known = provenance.get("weights") or {}
    if known.get("tensors_sha256") is not None:
        return known["tensors_sha256"] == tensors_sha256(weights)
    return None if known.get("sha256") is None else known["sha256"] == sha256(weights)


def report_is_of(weights: Path, report: Path) -> bool:
    """Return whether a report says that it is of these weights."""
    try:
        provenance = read_json(report / "provenance.json")
    except (OSError, ValueError, ConfigurationError):
        return False
    return is_of_weights(provenance, weights) is True


def copy_evidence(
    report: Path, target: Path, weights: Path, include_predictions: bool = False, include_films: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Copy ``index.html``, ``metrics.json`` and what matters of ``provenance.json`` of a report.

    Args:
        report: folder of the report.
        target: folder that gets it.
        weights: that it must be of.
        include_predictions: with ``predictions.csv``, which holds patient ids.
        include_films: with pictures of images. Otherwise only those figures stay in the page that the report lists as
            plots, since its pictures are inlined.

    Returns:
        The figures of ``metrics.json``, and sentences about what was left out or is not known.

    Raises:
        ConfigurationError: the report is not whole, or of other weights.
    """
    try:
        figures = without_paths(read_json(report / "metrics.json"))
        page = (report / "index.html").read_text(encoding="utf-8")
        provenance = read_json(path) if (path := report / "provenance.json").is_file() else {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The report {report} cannot be read ({error}); expected index.html and metrics.json, as "
            "python -m monai_cxrssl report writes them."
        ) from None
    notes = []
    same = is_of_weights(provenance, weights)
    if same is False:
        raise ConfigurationError(
            f"The report {report} is of other weights than {weights}; evaluate this model, or leave the report out."
        )
    if same is None:
        notes.append("The report does not say which weights it is of; make it with --weights to be sure.")
    target.mkdir(parents=True)
    if not include_films:
        page, removed = _without_films(page, report)
        if removed:
            notes.append(f"{removed} pictures of images were taken out of the report.")
    # Pictures are no text: what looks like a path in them is none.
    parts = re.split(f"({_PICTURE.pattern.replace('(', '(?:')})", page)
    page = "".join(part if number % 2 else without_paths(part) for number, part in enumerate(parts))
    (target / "index.html").write_text(page, encoding="utf-8")
    kept = {key: provenance.get(key) for key in ("weights", "bundle", "libraries", "python", "seed")}
    kept["leaks"] = (provenance.get("split_audit") or {}).get("leaks")
    for name, content in (("metrics.json", figures), ("provenance.json", without_paths(kept))):
        write_json(content, target / name)
    if include_predictions:
        try:
            shutil.copyfile(report / "predictions.csv", target / "predictions.csv")
        except OSError as error:
            raise ConfigurationError(f"{report} has no predictions.csv to take along ({error.strerror}).") from None
    return figures, notes


def _without_films(page: str, report: Path) -> tuple[str, int]:
    plots = {
        base64.b64encode(path.read_bytes()).decode()
        for path in (report / "figures").glob("*.png")
        if not path.name.startswith(_GALLERY)
    }
    removed = 0

    def keep(match: re.Match[str]) -> str:
        nonlocal removed
        if all(picture in plots for picture in _PICTURE.findall(match[0])):
            return match[0]
        removed += 1
        return "<p>A picture of images stood here; it was left out of the pack.</p>"

    page = _FIGURE.sub(keep, page)
    if not all(picture in plots for picture in _PICTURE.findall(page)):
        raise ConfigurationError(
            f"The page of {report} shows pictures that are none of its figures; write the report again, or take its "
            "images along with --films."
        )
    return page, removed
