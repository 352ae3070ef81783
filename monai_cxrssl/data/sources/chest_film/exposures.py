# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""FOR PROCESSING images beside the FOR PRESENTATION image of one exposure."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from monai_cxrssl.data.sources.chest_film.candidate import Candidate
from monai_cxrssl.data.sources.chest_film.pixels import decode
from monai_cxrssl.errors import CXRReadError

__all__ = ["split_raw"]

#: Rank correlation, of either sign, of a raw image and its image at 32 x 32: above 0.95 in practice.
_ALIKE = 0.9


def split_raw(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Return the raw images whose image is among ``candidates``, and the raw images without one.

    A pair refers to one another by its instance UIDs, or else is of one study and patient and of one acquisition time;
    where no time is given, of one instance number; and where no number agrees, the images are paired in their order,
    each image once. Those whose study differs or is unknown are paired when they lie in one folder, are of one patient,
    have no time that contradicts, and look alike: this alone reads pixels.
    """
    raw = [c for c in candidates if c.header.get("raw")]
    if not raw:
        return [], []
    films = [c for c in candidates if c.header and not c.header.get("raw")]
    instances = {c.header["instance"]: c for c in films if c.header.get("instance")}
    referred = {uid for c in films for uid in c.header.get("references", ())}
    by_study: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    by_folder: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for other in films:
        by_study[_study(other)].append(other)
        by_folder[_folder(other)].append(other)
    taken: set[int] = set()
    paired: list[Candidate] = []
    alone: list[Candidate] = []
    for image in raw:
        header = image.header
        linked = header["instance"] in referred or any(uid in instances for uid in header["references"])
        film = None if linked else _of_study(image, by_study.get(_study(image), []), taken)
        if film is None and not linked:
            film = _look_alike(image, by_folder.get(_folder(image), []), taken)
        if film is not None:
            taken.add(id(film))
        (paired if linked or film is not None else alone).append(image)
    return paired, alone


def _of_study(image: Candidate, films: Sequence[Candidate], taken: set[int]) -> Candidate | None:
    if not image.header.get("study_id"):
        return None
    timed = [film for film in films if film.header["acquired"] and image.header["acquired"]]
    for film in timed:
        if film.header["acquired"] == image.header["acquired"]:
            return film
    rest = [film for film in films if film not in timed and id(film) not in taken and _same_view(image, film)]
    number = image.header["number"]
    return next((film for film in rest if number and film.header["number"] == number), rest[0] if rest else None)


def _look_alike(image: Candidate, films: Sequence[Candidate], taken: set[int]) -> Candidate | None:
    times = image.header["acquired"]
    rest = [f for f in films if id(f) not in taken and f.header["acquired"] in ("", times or f.header["acquired"])]
    return next((film for film in rest if _same_view(image, film) and _alike(image.path, film.path)), None)


def _alike(first: str, second: str) -> bool:
    from pandas import Series

    try:
        ranks = [Series(_small(path).ravel()).rank() for path in (first, second)]
    except CXRReadError:
        return False
    return bool(abs(np.corrcoef(*ranks)[0, 1]) >= _ALIKE)


def _small(path: str) -> np.ndarray:
    return cv2.resize(decode(path, "dicom").astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA).ravel()


def _same_view(first: Candidate, second: Candidate) -> bool:
    views = {c.header.get("view_position") or "" for c in (first, second)} - {""}
    return len(views) < 2


def _study(candidate: Candidate) -> tuple[str, str]:
    return str(candidate.header.get("patient_id") or ""), str(candidate.header.get("study_id") or "")


def _folder(candidate: Candidate) -> tuple[str, str]:
    return os.path.dirname(candidate.path), str(candidate.header.get("patient_id") or "")  # noqa: PTH120
