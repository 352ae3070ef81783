# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A plain folder tree of PNG, JPEG, TIFF, NIfTI, ITK or DICOM files, without a table.

What is taken: every file with an image extension, whatever it holds (what cannot be read is reported later, by name),
and every file with another or no extension that holds DICOM or another image format; of these the chest films alone
(:mod:`monai_cxrssl.data.sources.chest_film`). Reports, colour captures, other modalities and parts of the body, raw
images beside their films, masks, thumbnails, recycle bins and snapshots, files of this package, packed files and files
of other kinds are left out and counted. Links are followed, each folder once. Modalities ``CR, DX, DR, RG, RF, OT`` and
a missing one are kept, or what the option ``modalities`` names. Of DICOM files the header alone is read: one with
damaged pixels is listed, too.

Who the patient is: a pseudonym of the DICOM header's PatientID (:mod:`monai_cxrssl.data.datalists.pseudonym`); without
one, the first sub-folder below the images' common parent folder; for a file that lies in no such sub-folder, the file
itself (its name without extension). Folders with names such as ``train``, ``images`` or ``normal``
(:data:`NOT_PATIENTS`) never stand for a patient, nor do folders that look like classes
(:mod:`monai_cxrssl.data.sources.trees.class_names`): the log names them, and the layout that takes them for labels. The
study is a pseudonym of the header's, else the second sub-folder. There are no labels and no split: all items are
``training``.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import image_stem
from monai_cxrssl.data.datalists.left_out import LeftOut, sentence
from monai_cxrssl.data.datalists.pseudonym import pseudonym, read_salt
from monai_cxrssl.data.sources.chest_film.header import KEPT_MODALITIES
from monai_cxrssl.data.sources.chest_film.select import say_left_out, select_films
from monai_cxrssl.data.sources.chest_film.walk import walk_files
from monai_cxrssl.data.sources.trees.class_names import CONTAINERS, SPLIT_NAMES, find_classes
from monai_cxrssl.data.sources.trees.walk import is_within
from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["NOT_PATIENTS", "detect", "read"]

logger = logging.getLogger(__name__)

PATIENT_IDS = ("pseudonym", "original")
# fmt: off
NOT_PATIENTS = CONTAINERS | SPLIT_NAMES.keys() | {
    "normal", "abnormal", "healthy", "pneumonia", "covid", "covid-19", "covid19", "tuberculosis", "positive",
    "negative",
}
# fmt: on
# One patient rarely has more; a class or split folder taken for a patient does.
SUSPICIOUS_BAG = 50


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
) -> Datalist:
    """List the images below ``folder``.

    Args:
        folder: the top of the tree.
        header_reader: reads ``patient_id, study_id, view_position, sex, age, modality`` and more of a DICOM file
            without its pixels; by default :func:`monai_cxrssl.data.sources.chest_film.header.read_film_header`.
        modalities: the DICOM modalities that are kept, such as ``("CR", "DX")``; ``""`` stands for a missing one. Files
            that are not DICOM have none, and are kept.
        patient_ids: what stands for the patient and study of a DICOM header: ``"pseudonym"`` or the ``"original"``.
            Names of folders and files stay as they are.
        salt_file: the key of the pseudonyms; by default the user's own.
        keep: kinds of :data:`monai_cxrssl.data.datalists.left_out.KINDS` that are films here.
        without: files and folders, relative to ``folder``, that are passed over.
        not_patients: names of folders that stand for no patient, nor do those above them; by default those that look
            like classes.

    Returns:
        all images in ``training``, sorted by path; ``extra["left_out"]`` counts what is left out.

    Raises:
        DatalistError: nothing is left to train on.
        ConfigurationError: modalities is one text, or empty; patient_ids is neither of the two; keep names no kind;
            no salt.
    """
    if patient_ids not in PATIENT_IDS:
        raise ConfigurationError(f"patient_ids is {patient_ids!r}; expected one of {', '.join(PATIENT_IDS)}.")
    if isinstance(modalities, str) or not modalities:
        raise ConfigurationError(f'modalities is {modalities!r}; expected a list such as ["CR", "DX"].')
    folder, left_out = Path(folder), LeftOut(keep)
    walked = (found for found in walk_files(folder, left_out) if not (without and is_within(found.relative, without)))
    candidates = sorted(walked, key=lambda candidate: candidate.path)
    films = select_films(candidates, left_out, header_reader, {name.strip().upper() for name in modalities})
    if not films:
        raise DatalistError(
            f"{folder} holds no chest film; expected DICOM, PNG, JPEG, TIFF or NIfTI files. "
            f"{sentence(left_out.records())}."
        )
    records = say_left_out(folder, left_out)
    found = [(film.relative, film.header) for film in films]
    if patient_ids == "pseudonym":
        _hide_ids([header for _, header in found], salt_file)
    if not_patients is None:
        not_patients = _class_folders(folder, [path for path, _ in found])
    items = _items(found, not_patients)
    own = sum(item.pop("own_patient") for item in items)
    if own:
        told = f"{own} of {len(items)} images have no DICOM patient and no patient sub-folder"
        logger.info("%s: %s; each is taken for its own patient", folder, told)
    for patient, count in Counter(item["patient_id"] for item in items).most_common(3):
        if count > SUSPICIOUS_BAG:
            told = f"{count} images are taken for one patient, {patient!r}"
            logger.warning("%s: %s; if they are not, name the patients in a datalist", folder, told)
    name = folder.resolve().name or "folder"
    content = {"name": name, "training": [item | {"source": name} for item in items], **records}
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


def _class_folders(folder: Path, images: list[str]) -> Collection[str]:
    """Names of the folders that look like classes, which the log tells."""
    classes = find_classes(images)
    if classes is None:
        return ()
    told = ", ".join(f"{name} ({count})" for name, count in classes.counts.items())
    remedy = "give --layout class_folders for labels, and for the split where folders such as train and test tell it"
    logger.warning("%s: the folders %s look like classes; no labels are taken from them; %s", folder, told, remedy)
    return classes.names.keys()


def _items(found: list[tuple[str, dict[str, Any]]], not_patients: Collection[str]) -> list[dict[str, Any]]:
    """Items of (path relative to the folder, DICOM header) pairs."""
    common = len(_common_parents([path for path, _ in found]))
    items = []
    for path, header in found:
        *parents, name = path.split("/")[common:]
        classes = [index for index, parent in enumerate(parents) if parent in not_patients]
        people = parents[classes[0] + 1 :] if classes else list(parents)
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


def _common_parents(paths: list[str]) -> list[str]:
    """The folders that all paths begin with."""
    levels = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    return [names[0] for names in itertools.takewhile(lambda names: len(set(names)) == 1, levels)]
