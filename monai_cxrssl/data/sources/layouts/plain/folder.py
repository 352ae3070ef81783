# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A plain folder tree of PNG, JPEG, TIFF, NIfTI, ITK or DICOM files, without a table.

What is taken: every file with an image extension, whatever it holds (what cannot be read is reported later, by name),
and every file with another or no extension that holds DICOM or another image format. Hidden files, tables and texts
(``.csv``, ``.json``, ``.txt`` ...) are passed over. Links are followed, each folder once. DICOM objects of a modality
that is not projection radiography (CT, MR, SR, PR, KO ...) are left out and counted in the log; ``CR, DX, DR, RG, RF,
OT`` and a missing modality are kept, or what the option ``modalities`` names. Of DICOM files the header alone is read:
one with damaged pixels is listed, too.

Who the patient is, and by what that is known (``patient_from`` of each item): a pseudonym of the DICOM header's
PatientID (:mod:`monai_cxrssl.data.datalists.pseudonym`), when it is a person's; else the file's name, when it is of a
known data set (:mod:`monai_cxrssl.data.sources.layouts.plain.file_names`); else the sub-folder; else the study; else
the film is taken for its own patient, which a warning counts. When an id is no person's, when a folder is no patient's,
and how to choose: :mod:`monai_cxrssl.data.sources.patients.evidence` and the two modules that it names. Folders that
look like classes (:mod:`monai_cxrssl.data.sources.trees.class_names`) are no patients: the log names them, and the
layout that takes them for labels. The study is a pseudonym of the header's, else the sub-folder of the patient's. There
are no labels and no split: all items are ``training``.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension
from monai_cxrssl.data.reading.file_kind import file_kind
from monai_cxrssl.data.sources.layouts.plain.file_names import known_patients
from monai_cxrssl.data.sources.patients.evidence import checked_options, patient_items
from monai_cxrssl.data.sources.trees.class_names import find_classes
from monai_cxrssl.data.sources.trees.walk import is_within
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError

__all__ = ["KEPT_MODALITIES", "detect", "read"]

logger = logging.getLogger(__name__)

# fmt: off
IGNORED_EXTENSIONS = frozenset({
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".xml", ".html", ".htm", ".pdf", ".yaml", ".yml",
    ".xls", ".xlsx", ".doc", ".docx", ".log", ".py", ".ipynb", ".zip", ".gz", ".tar", ".pt", ".pth", ".npy", ".npz",
    ".raw", ".db", ".ini",
})
# fmt: on
KEPT_MODALITIES = frozenset({"CR", "DX", "DR", "RG", "RF", "OT", ""})


def detect(folder: Path) -> bool:
    """Whether a folder holds, at any depth, a file that may be an image."""
    return next(_candidates(Path(folder)), None) is not None


def read(
    folder: Path,
    header_reader: Callable[[str], dict[str, Any]] | None = None,
    modalities: Collection[str] = KEPT_MODALITIES,
    patient_ids: str = "pseudonym",
    salt_file: str | os.PathLike | None = None,
    without: Collection[str] = (),
    not_patients: Collection[str] | None = None,
    patient_from: str | Sequence[str] | None = None,
    patient_pattern: str | None = None,
) -> Datalist:
    r"""List the images below ``folder``.

    Args:
        folder: the top of the tree.
        header_reader: reads ``patient_id, study_id, view_position, sex, age, modality`` of a DICOM file without its
            pixels; by default :func:`monai_cxrssl.data.reading.dicom.read_dicom_header`.
        modalities: the DICOM modalities that are kept, such as ``("CR", "DX")``; ``""`` stands for a missing one. Files
            that are not DICOM have none, and are kept.
        patient_ids: what stands for the patient and study of a DICOM header: ``"pseudonym"`` or the ``"original"``.
            Names of folders and files stay as they are.
        salt_file: the key of the pseudonyms; by default the user's own.
        without: files and folders, relative to ``folder``, that are passed over.
        not_patients: names of folders that stand for no patient, nor do those above them; by default those that look
            like classes.
        patient_from: what tells the patient, in the order in which it is asked: some of ``dicom, name, folder, study``
            (the default) or ``file``, as a list or a text such as ``"folder,dicom"``. ``"dicom"`` alone takes every
            PatientID as it is.
        patient_pattern: a regular expression whose first group is the patient, looked for in each path below
            ``folder`` before anything else, such as ``r"([^/]+)_\d+\.png$"``.

    Returns:
        all images in ``training``, sorted by path.

    Raises:
        DatalistError: nothing is left to train on.
        ConfigurationError: modalities is one text, or empty; an option on patients that is none; no salt.
    """
    checked_options(patient_ids, patient_from, patient_pattern)
    if isinstance(modalities, str) or not modalities:
        raise ConfigurationError(f'modalities is {modalities!r}; expected a list such as ["CR", "DX"].')
    kept = {name.strip().upper() for name in modalities}
    folder = Path(folder)
    found: list[tuple[str, dict[str, Any]]] = []
    left_out: Counter[str] = Counter()
    for path, is_dicom in tqdm(sorted(_candidates(folder)), desc="indexing", unit="file", leave=False, disable=None):
        if without and is_within(Path(os.path.relpath(path, folder)).as_posix(), without):
            continue
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
    if not_patients is None:
        not_patients = _class_folders(folder, [path for path, _ in found])
    items = patient_items(
        found, folder, known_patients, patient_ids, salt_file, patient_from, patient_pattern, not_patients
    )
    name = folder.resolve().name or "folder"
    content = {"name": name, "training": [item | {"source": name} for item in items]}
    return Datalist.from_dict(content, folder, origin=f"of the folder {folder}")


def _class_folders(folder: Path, images: list[str]) -> Collection[str]:
    """Names of the folders that look like classes, which the log tells."""
    classes = find_classes(images)
    if classes is None:
        return ()
    told = ", ".join(f"{name} ({count})" for name, count in classes.counts.items())
    remedy = "give --layout class_folders for labels, and for the split where folders such as train and test tell it"
    logger.warning("%s: the folders %s look like classes; no labels are taken from them; %s", folder, told, remedy)
    return classes.names.keys()


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
