# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A plain folder tree of PNG, JPEG, TIFF, NIfTI, ITK or DICOM files, without a table.

What is taken: every file with an image extension, whatever it holds (what cannot be read is reported later, by name),
and every file with another or no extension that holds DICOM or another image format. Hidden files, tables and texts
(``.csv``, ``.json``, ``.txt`` ...) are passed over. Links are followed, each folder once. DICOM objects of a modality
that is not projection radiography (CT, MR, SR, PR, KO ...) are left out and counted in the log; ``CR, DX, DR, RG, RF,
OT`` and a missing modality are kept, or what the option ``modalities`` names. Of DICOM files the header alone is read:
one with damaged pixels is listed, too.

Who the patient is: a pseudonym of the DICOM header's PatientID (:mod:`monai_cxrssl.data.datalists.pseudonym`); without
one, the first sub-folder below the images' common parent folder; for a file that lies in no such sub-folder, the file
itself (its name without extension). Folders with names such as ``train``, ``images`` or ``normal``
(:data:`NOT_PATIENTS`) never stand for a patient. The study is a pseudonym of the header's, else the second sub-folder.
There are no labels and no split: all items are ``training``.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension, image_stem
from monai_cxrssl.data.datalists.pseudonym import pseudonym, read_salt
from monai_cxrssl.data.reading.file_kind import file_kind
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError

__all__ = ["KEPT_MODALITIES", "NOT_PATIENTS", "detect", "read"]

logger = logging.getLogger(__name__)

# fmt: off
IGNORED_EXTENSIONS = frozenset({
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".xml", ".html", ".htm", ".pdf", ".yaml", ".yml",
    ".xls", ".xlsx", ".doc", ".docx", ".log", ".py", ".ipynb", ".zip", ".gz", ".tar", ".pt", ".pth", ".npy", ".npz",
    ".raw", ".db", ".ini",
})
# fmt: on
PATIENT_IDS = ("pseudonym", "original")
KEPT_MODALITIES = frozenset({"CR", "DX", "DR", "RG", "RF", "OT", ""})
# fmt: off
NOT_PATIENTS = frozenset({
    "train", "training", "val", "valid", "validation", "test", "testing", "data", "dataset", "image", "images", "img",
    "imgs", "dicom", "dicoms", "dcm", "png", "jpg", "jpeg", "normal", "abnormal", "healthy", "pneumonia", "covid",
    "covid-19", "covid19", "tuberculosis", "positive", "negative",
})
# fmt: on
# One patient rarely has more; a class or split folder taken for a patient does.
SUSPICIOUS_BAG = 50


def detect(folder: Path) -> bool:
    """Whether a folder holds, at any depth, a file that may be an image."""
    return next(_candidates(Path(folder)), None) is not None


def read(
    folder: Path,
    header_reader: Callable[[str], dict[str, Any]] | None = None,
    modalities: Collection[str] = KEPT_MODALITIES,
    patient_ids: str = "pseudonym",
    salt_file: str | os.PathLike | None = None,
) -> Datalist:
    """List the images below ``folder``.

    Args:
        folder: the top of the tree.
        header_reader: reads ``patient_id, study_id, view_position, sex, age, modality`` of a DICOM file without its
            pixels; by default :func:`monai_cxrssl.data.reading.dicom.read_dicom_header`.
        modalities: the DICOM modalities that are kept, such as ``("CR", "DX")``; ``""`` stands for a missing one. Files
            that are not DICOM have none, and are kept.
        patient_ids: what stands for the patient and study of a DICOM header: ``"pseudonym"`` or the ``"original"``.
            Names of folders and files stay as they are.
        salt_file: the key of the pseudonyms; by default the user's own.

    Returns:
        all images in ``training``, sorted by path.

    Raises:
        DatalistError: nothing is left to train on.
        ConfigurationError: modalities is one text, or empty; patient_ids is neither of the two; no salt.
    """
    if patient_ids not in PATIENT_IDS:
        raise ConfigurationError(f"patient_ids is {patient_ids!r}; expected one of {', '.join(PATIENT_IDS)}.")
    if isinstance(modalities, str) or not modalities:
        raise ConfigurationError(f'modalities is {modalities!r}; expected a list such as ["CR", "DX"].')
    kept = {name.strip().upper() for name in modalities}
    folder = Path(folder)
    found: list[tuple[str, dict[str, Any]]] = []
    left_out: Counter[str] = Counter()
    for path, is_dicom in tqdm(sorted(_candidates(folder)), desc="indexing", unit="file", leave=False, disable=None):
        header = _header(path, header_reader) if is_dicom else {}
        modality = str(header.get("modality") or "").strip().upper()
        if not is_dicom or modality in kept:
            found.append((Path(os.path.relpath(path, folder)).as_posix(), header))
        else:
            left_out[modality or "no modality"] += 1
    if left_out:
        told = ", ".join(f"{modality} {count}" for modality, count in left_out.most_common())
        logger.warning("%s: %d DICOM files that are no chest X-ray left out (%s)", folder, left_out.total(), told)
    if not found:
        what = "no DICOM file of a projection radiograph" if left_out else "no image"
        raise DatalistError(
            f"{folder} holds {what} ({left_out.total()} files of another modality); expected chest X-rays as DICOM, "
            "PNG, JPEG, TIFF or NIfTI."
        )
    if patient_ids == "pseudonym":
        _hide_ids([header for _, header in found], salt_file)
    items = _items(found)
    own = sum(item.pop("own_patient") for item in items)
    if own:
        told = f"{own} of {len(items)} images have no DICOM patient and no patient sub-folder"
        logger.info("%s: %s; each is taken for its own patient", folder, told)
    for patient, count in Counter(item["patient_id"] for item in items).most_common(3):
        if count > SUSPICIOUS_BAG:
            told = f"{count} images are taken for one patient, {patient!r}"
            logger.warning("%s: %s; if they are not, name the patients in a datalist", folder, told)
    name = folder.resolve().name or "folder"
    content = {"name": name, "training": [item | {"source": name} for item in items]}
    return Datalist.from_dict(content, folder, origin=f"of the folder {folder}")


def _hide_ids(headers: list[dict[str, Any]], salt_file: str | os.PathLike | None) -> None:
    """Replace the ids of the headers; without any, no salt is needed."""
    kinds = (("patient_id", "patient"), ("study_id", "study"))
    named = [header for header in headers if any(header.get(key) for key, _ in kinds)]
    salt = read_salt(salt_file) if named else b""
    for header in named:
        for key, kind in kinds:
            text = str(header.get(key) or "").strip()
            if text:
                header[key] = pseudonym(text, salt, kind)


def _items(found: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Items of (path relative to the folder, DICOM header) pairs."""
    common = len(_common_parents([path for path, _ in found]))
    items = []
    for path, header in found:
        *parents, name = path.split("/")[common:]
        people = list(parents)
        while people and people[0].lower() in NOT_PATIENTS:
            people.pop(0)
        patient = str(header.get("patient_id") or "").strip()
        study = str(header.get("study_id") or "").strip()
        own = not patient and not people
        if not study and len(people) > 1:
            study = "/".join(people[:2])
        if own:
            patient = "/".join([*parents, image_stem(name)])
        item: dict[str, Any] = {"image": path, "patient_id": patient or people[0], "own_patient": own}
        known = {"study_id": study} | {key: header.get(key) for key in ("view_position", "sex", "age")}
        items.append(item | {key: value for key, value in known.items() if value not in (None, "")})
    return items


def _candidates(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield (path, holds DICOM) of every file that may be an image, each real folder once."""
    pending = [str(folder)]
    visited: set[tuple[int, int]] = set()
    while pending:
        here = pending.pop()
        try:
            status = os.stat(here)  # noqa: PTH116 (follows links: a loop leads to a folder seen before)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            logger.warning("folder %s cannot be listed (%s); passed over", here, error.strerror or error)
            continue
        folders = []
        for name in names:
            path = f"{here}{os.sep}{name}"
            if os.path.isdir(path):  # noqa: PTH112
                folders.append(path)
                continue
            extension = file_extension(name)
            # A pipe, a broken link or a text file with an image's name is listed too: the reader refuses it by name.
            if extension in IMAGE_EXTENSIONS:
                yield path, _content(path) == "dicom"
            elif extension not in IGNORED_EXTENSIONS and name != "DICOMDIR" and (kind := _content(path)):
                yield path, kind == "dicom"
        pending.extend(reversed(folders))


def _header(path: str, header_reader: Callable[[str], dict[str, Any]] | None) -> dict[str, Any]:
    if header_reader is None:
        from monai_cxrssl.data.reading.dicom import read_dicom_header

        header_reader = read_dicom_header
    try:
        return header_reader(path) or {}
    except Exception as error:  # pydicom raises many kinds on damaged files; the reader will name the cause
        logger.debug("no DICOM header in %s (%s)", path, error)
        return {}


def _content(path: str) -> str:
    """Kind of the file by its content, empty when it is no image."""
    try:
        return file_kind(path)
    except CXRReadError:
        return ""


def _common_parents(paths: list[str]) -> list[str]:
    """The folders that all paths begin with."""
    levels = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    return [names[0] for names in itertools.takewhile(lambda names: len(set(names)) == 1, levels)]
