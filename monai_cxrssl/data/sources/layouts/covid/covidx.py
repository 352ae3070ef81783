# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""COVIDx: the chest X-rays of COVID-Net, collected from about ten public sources, COVID-19 against the rest.

Folder layout (all versions; those that have no validation set lack ``val``)::

    train.txt, val.txt, test.txt        or with a version, as train_COVIDx9A.txt, test_COVIDx9A.txt
    train/<filename>
    val/<filename>
    test/<filename>

Each line is ``<patient id> <filename> <class> <source>``; lists of early versions have no source, and some file names
hold blanks. With lists of several versions side by side it is not clear which one is meant: they are refused.

Classes (multi-class), by what the lists call them:

- ``negative, positive`` (version 8 and later): 0 ``COVID-19 Negative`` (healthy, or another pneumonia), 1 ``COVID-19``;
- ``normal, pneumonia, COVID-19``: 0 ``No Finding``, 1 ``Pneumonia`` (not of COVID-19), 2 ``COVID-19``.

Items: ``patient_id`` (with the source in front, because sources number their patients alike), ``label``. The official
split is kept. The sources differ in more than the disease, so a classifier can learn the source; the images are also
found in other data sets (RSNA Pneumonia and ChestX-ray14, covid-chestxray-dataset, SIIM-FISABIO-RSNA COVID-19).

Licence: AGPL-3.0 for the repository that holds the lists (COVID-Net); the images on the terms of their sources.
Citation: L. Wang, Z. Q. Lin, A. Wong, "COVID-Net: a tailored deep convolutional neural network design for detection of
COVID-19 cases from chest X-ray images", Scientific Reports 2020.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.data.sources.tables.line_list import check_unique_lines, keep_existing_lines, read_lines, refuse_lines
from monai_cxrssl.data.sources.tables.table_file import open_text
from monai_cxrssl.errors import DatalistError

__all__ = ["NAME", "TWO_CLASSES", "THREE_CLASSES", "detect", "read"]

NAME = "COVIDx"
SPLITS = {"train": "training", "val": "validation", "test": "test"}
TWO_CLASSES = {"negative": "COVID-19 Negative", "positive": "COVID-19"}
THREE_CLASSES = {"normal": "No Finding", "pneumonia": "Pneumonia", "covid-19": "COVID-19"}
KINDS = TWO_CLASSES | THREE_CLASSES
PROBED = 20
IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg")


class _Line(NamedTuple):
    patient: str
    image: str
    kind: str
    source: str


def detect(folder: Path) -> bool:
    """Whether a folder holds a list of images whose first line is of COVIDx's form."""
    return any(_starts_as_covidx(path) for paths in _lists(Path(folder)).values() for path in paths)


def read(folder: Path, allow_absent: bool = False, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: holds the lists and the folders of images.
        allow_absent: leave absent images out instead of refusing the list.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: an image is missing, there are several lists of one split, or a line is wrong (named by its
            number).
    """
    folder = Path(folder)
    parsed: dict[str, tuple[Path, list[int], list[_Line]]] = {}
    for part, paths in _lists(folder).items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise DatalistError(f"{folder} holds several lists of the split {part} ({names}); leave the one to use.")
        numbered = read_lines(paths[0])
        numbers, lines = [number for number, _ in numbered], [_parse(text) for _, text in numbered]
        wrong = [number for number, line in zip(numbers, lines, strict=True) if line is None]
        shown = dict(numbered)[wrong[0]] if wrong else ""
        problem = f"{shown!r} is no line of the form <patient id> <filename> <class> <source>"
        refuse_lines(paths[0], wrong, problem, "expected an image and its class")
        films = [line for line in lines if line is not None]
        sources = {film.source for film in films if film.source}
        # One field behind an image is its class, unless it is known as a source.
        films = [f._replace(kind="", source=f.kind) if not f.source and f.kind in sources else f for f in films]
        parsed[part] = paths[0], numbers, films
    if not parsed:
        raise DatalistError(f"{folder} holds no list of images such as train.txt or test_COVIDx9A.txt.")

    kinds = _kinds(list(parsed.values()))
    order = list(kinds)
    unknown = UnknownLabels(folder, order, strict_labels, "image of a class", "images of classes")
    splits: dict[str, list[dict[str, Any]]] = {}
    for part, (path, numbers, films) in parsed.items():
        images = [f"{part}/{film.image}" for film in films]
        check_unique_lines(path, numbers, images)
        for number, film in zip(numbers, films, strict=True):
            if film.kind not in kinds:
                unknown.add(film.kind, f"{path.name}, line {number}")
        splits[SPLITS[part]] = [
            {"image": image, "patient_id": "-".join(filter(None, (films[i].source, films[i].patient))), "source": NAME}
            | ({"label": order.index(films[i].kind)} if films[i].kind in kinds else {})
            for i, image in keep_existing_lines(path, numbers, images, folder, allow_absent).items()
        ]
    unknown.tell()
    content = {"name": NAME, "classes": list(kinds.values()), "task": "multi_class", **splits}
    return Datalist.from_dict(content, folder, origin=str(folder))


def _lists(folder: Path) -> dict[str, list[Path]]:
    """The lists of each split that a folder has."""
    found: dict[str, list[Path]] = {}
    for part in SPLITS:
        paths = sorted(folder.glob(f"{part}*.txt"))
        found[part] = [path for path in paths if path.stem == part or path.stem[len(part)] == "_"]
    return {part: paths for part, paths in found.items() if paths}


def _starts_as_covidx(path: Path) -> bool:
    try:
        with open_text(path) as stream:
            lines = [_parse(line.strip()) for line in itertools.islice(stream, PROBED)]
    except (OSError, UnicodeDecodeError):
        return False
    return any(line is not None and line.kind in KINDS for line in lines)


def _parse(text: str) -> _Line | None:
    """A line's fields; they are counted from the end, because a file name may hold blanks."""
    fields, lines = text.split(), []
    for behind in (2, 1, 0):
        first = len(fields) - behind
        image = " ".join(fields[1:first])
        if image.lower().endswith(IMAGE_EXTENSIONS):
            kind, source = [*fields[first:], "", ""][:2]
            lines.append(_Line(fields[0], image, kind.lower() if kind.lower() in KINDS else kind, source))
    # A class that is known tells which fields of a name with blanks are which.
    return next((line for line in lines if line.kind in KINDS), lines[0] if lines else None)


def _kinds(parsed: list[tuple[Path, list[int], list[_Line]]]) -> dict[str, str]:
    """The classes of all lists, as two or as three."""
    if not any(line.kind in TWO_CLASSES for _, _, lines in parsed for line in lines):
        return THREE_CLASSES
    problem = "the class is one of three where other lines have one of two"
    for path, numbers, lines in parsed:
        mixed = [number for number, line in zip(numbers, lines, strict=True) if line.kind in THREE_CLASSES]
        refuse_lines(path, mixed, problem, "use lists of one version")
    return TWO_CLASSES
