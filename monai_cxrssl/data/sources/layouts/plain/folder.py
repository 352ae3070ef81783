# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A plain folder tree of PNG, JPEG, TIFF, NIfTI, ITK or DICOM files, without a table.

What is taken: every file with an image extension, whatever it holds (what cannot be read is reported later, by name),
and every file with another or no extension that holds DICOM or another image format; of these the chest X-rays alone
(:mod:`monai_cxrssl.data.sources.chest_film`). Reports, colour captures, other modalities and parts of the body, raw
images beside their images, masks, thumbnails, recycle bins and snapshots, files of this package, packed files and files
of other kinds are left out and counted. Links are followed, each folder once. Modalities ``CR, DX, DR, RG, RF, OT`` and
a missing one are kept, or what the option ``modalities`` names. Of DICOM files the header alone is read: one with
damaged pixels is listed, too.

Who the patient is, and by what that is known (``patient_from`` of each item): a pseudonym of the DICOM header's
PatientID (:mod:`monai_cxrssl.data.datalists.pseudonym`), when it is a person's; else the file's name, when it is of a
known data set (:mod:`monai_cxrssl.data.sources.layouts.plain.file_names`); else the sub-folder; else the study; else
the image is taken for its own patient, which a warning counts. When an id is no person's, when a folder is no
patient's, and how to choose: :mod:`monai_cxrssl.data.sources.patients.evidence` and the two modules that it names.
Folders that look like classes (:mod:`monai_cxrssl.data.sources.trees.class_names`) are no patients: the log names them,
and the layout that takes them for labels. The study is a pseudonym of the header's, else the sub-folder of the
patient's. There are no labels and no split: all items are ``training``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.left_out import LeftOut, sentence
from monai_cxrssl.data.sources.chest_film.header import KEPT_MODALITIES
from monai_cxrssl.data.sources.chest_film.select import say_left_out, select_films
from monai_cxrssl.data.sources.chest_film.walk import walk_files
from monai_cxrssl.data.sources.layouts.plain.file_names import known_patients
from monai_cxrssl.data.sources.patients.evidence import checked_options, patient_items
from monai_cxrssl.data.sources.trees.class_names import find_classes
from monai_cxrssl.data.sources.trees.walk import is_within
from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["detect", "read"]

logger = logging.getLogger(__name__)


def detect(folder: Path) -> bool:
    """Whether a folder holds, at any depth, a file that may be an image, or something that takes its place."""
    left_out = LeftOut()
    return next(walk_files(Path(folder), left_out), None) is not None or left_out.worth_saying


def read(
    folder: Path,
    header_reader: Callable[[str], dict[str, Any]] | None = None,
    modalities: Collection[str] = KEPT_MODALITIES,
    patient_ids: str = "pseudonym",
    salt_file: str | os.PathLike | None = None,
    keep: Collection[str] = (),
    without: Collection[str] = (),
    not_patients: Collection[str] | None = None,
    patient_from: str | Sequence[str] | None = None,
    patient_pattern: str | None = None,
) -> Datalist:
    r"""List the images below ``folder``.

    Args:
        folder: the top of the tree.
        header_reader: reads ``patient_id, study_id, view_position, sex, age, modality`` and more of a DICOM file
            without its pixels; by default :func:`monai_cxrssl.data.sources.chest_film.header.read_film_header`.
        modalities: the DICOM modalities that are kept, such as ``("CR", "DX")``; ``""`` stands for a missing one. Files
            that are not DICOM have none, and are kept.
        patient_ids: what stands for the patient and study of a DICOM header: ``"pseudonym"`` or the ``"original"``.
            Names of folders and files stay as they are.
        salt_file: the key of the pseudonyms; by default the user's own.
        keep: kinds of :data:`monai_cxrssl.data.datalists.left_out.KINDS` that are images here.
        without: files and folders, relative to ``folder``, that are passed over.
        not_patients: names of folders that stand for no patient, nor do those above them; by default those that look
            like classes.
        patient_from: what tells the patient, in the order in which it is asked: some of ``dicom, name, folder, study``
            (the default) or ``file``, as a list or a text such as ``"folder,dicom"``. ``"dicom"`` alone takes every
            PatientID as it is.
        patient_pattern: a regular expression whose first group is the patient, looked for in each path below
            ``folder`` before anything else, such as ``r"([^/]+)_\d+\.png$"``.

    Returns:
        all images in ``training``, sorted by path; ``extra["left_out"]`` counts what is left out.

    Raises:
        DatalistError: nothing is left to train on.
        ConfigurationError: modalities is one text, or empty; an option on patients that is none; keep names no kind;
            no salt.
    """
    checked_options(patient_ids, patient_from, patient_pattern)
    if isinstance(modalities, str) or not modalities:
        raise ConfigurationError(f'modalities is {modalities!r}; expected a list such as ["CR", "DX"].')
    folder, left_out = Path(folder), LeftOut(keep)
    walked = (found for found in walk_files(folder, left_out) if not (without and is_within(found.relative, without)))
    candidates = sorted(walked, key=lambda candidate: candidate.path)
    films = select_films(candidates, left_out, header_reader, {name.strip().upper() for name in modalities})
    if not films:
        raise DatalistError(
            f"{folder} holds no chest X-ray; expected DICOM, PNG, JPEG, TIFF or NIfTI files. "
            f"{sentence(left_out.records())}."
        )
    records = say_left_out(folder, left_out)
    found = [(film.relative, film.header) for film in films]
    if not_patients is None:
        not_patients = _class_folders(folder, [path for path, _ in found])
    items = patient_items(
        found, folder, known_patients, patient_ids, salt_file, patient_from, patient_pattern, not_patients
    )
    name = folder.resolve().name or "folder"
    content = {"name": name, "training": [item | {"source": name} for item in items], **records}
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
