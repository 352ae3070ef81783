# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patient-disjoint splits, k folds and label fractions.

Every patient gets a number u in [0, 1), the hash of the seed and its id. Patients of one stratum (rarest class that
the patient has, views that it was taken in) are ranked by u, and the patient at rank r of n stands at q = (r + u) / n.
Those below the test fraction are test, the next ones validation, the rest training. So each stratum is cut in
proportion, a stratum of one patient is cut by chance alone, and since q is close to u, adding images or patients moves
only patients close to a cut; ``previous`` keeps even those. Ids of one person
(:mod:`monai_cxrssl.data.datalists.persons`) count as one patient here. A split that would be empty though it was asked
for is refused.

Example:
    >>> items = [{"image": f"{n}.png", "patient_id": str(n // 2), "label": n // 2 % 2} for n in range(400)]
    >>> whole = Datalist(classes=("normal", "ill"), splits={"training": items})
    >>> parts = split_datalist(whole, fractions=(0.7, 0.1, 0.2))
    >>> [len(parts.splits[name]) for name in SPLITS]
    [280, 40, 80]
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known, write_datalist
from monai_cxrssl.data.datalists.datalist_schema import positive_classes
from monai_cxrssl.data.datalists.persons import united_patients
from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["fold_datalists", "label_fraction", "manifest_hash", "save_split", "split_datalist"]

logger = logging.getLogger(__name__)

Item = dict[str, Any]
# Made once: json.dumps with options makes an encoder per call, and an item is a call.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def split_datalist(
    datalist: Datalist,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    keep_official: bool = True,
    previous: Datalist | None = None,
) -> Datalist:
    """Divide the images of a datalist by patient, stratified over labels and views.

    Args:
        datalist: what to divide.
        fractions: of the patients, for training, validation and test; their sum is 1.
        seed: another seed gives another division.
        keep_official: images that are in ``validation`` or ``test`` already stay there; what remains is divided among
            training and those of the two that are empty, in proportion to their fractions. False: divide everything.
        previous: an earlier split of (part of) the same patients, who stay where they were.

    Raises:
        ConfigurationError: fractions that are no division of 1.
        DatalistError: a patient is in two of the splits that are to be kept, or a split with a fraction is empty.
    """
    shares = _checked_fractions(fractions)
    asked = [name for name in SPLITS if shares[name] > 0]
    items = _all(datalist)
    person = united_patients([*items, *(_all(previous) if previous is not None else ())], datalist.name)
    fixed: dict[str, str] = {}
    if previous is not None:
        _fix(fixed, previous, SPLITS, "of the previous split", {})
        _follow(fixed, person)
    if keep_official:
        official = [name for name in ("validation", "test") if datalist.splits[name]]
        kept: dict[str, str] = {}
        _fix(kept, datalist, official, "that the data set comes with", person)
        fixed.update(kept)
        shares.update(dict.fromkeys(official, 0.0))
    total = sum(shares.values())
    if total <= 0:
        shares, total = {"training": 1.0, "validation": 0.0, "test": 0.0}, 1.0
    patients, position = _positions(items, datalist, f"split/{seed}", fixed, person)
    cuts = np.cumsum([shares["test"] / total, shares["validation"] / total])
    side = np.searchsorted(cuts, position, side="right")
    names = ("test", "validation", "training")
    split_of = {patient: names[number] for patient, number in zip(patients, side.tolist(), strict=True)}
    splits: dict[str, list[Item]] = {name: [] for name in SPLITS}
    for item in items:
        patient = item["patient_id"]
        splits[fixed.get(patient) or split_of[person[patient]]].append(item)
    _refuse_empty(splits, asked, datalist, person, shares)
    return replace(datalist, splits=splits, extra=_without_manifest(datalist))


def fold_datalists(datalist: Datalist, folds: int = 5, seed: int = 0, keep_official: bool = True) -> list[Datalist]:
    """Divide the images into k folds by patient: fold i is the validation split of the i-th datalist.

    Another ``seed`` gives another division. With ``keep_official``, images of the split ``test`` are test in every
    datalist, outside of all folds; without, they are divided among the folds too, and no datalist has a test split.

    Raises:
        ConfigurationError: fewer than 2 folds, or more than patients.
        DatalistError: a patient of the official test split is also in another one, or a fold is empty.
    """
    items = _all(datalist)
    person = united_patients(items, datalist.name)
    fixed: dict[str, str] = {}
    if keep_official:
        _fix(fixed, datalist, ("test",), "that the data set comes with", person)
    patients, position = _positions(items, datalist, f"fold/{seed}", fixed, person)
    if not 2 <= folds <= len(patients):
        why = f"; {_what_tells(datalist)}" if len(patients) == 1 else ""
        raise ConfigurationError(f"folds is {folds}; expected 2 to the number of patients ({len(patients)}){why}.")
    fold_of = dict(zip(patients, (position * folds).astype(int).tolist(), strict=True))
    made = []
    for fold in range(folds):
        splits: dict[str, list[Item]] = {name: [] for name in SPLITS}
        for item in items:
            own = fold_of.get(person[item["patient_id"]])
            splits["test" if own is None else "validation" if own == fold else "training"].append(item)
        if not splits["validation"] or not splits["training"]:
            raise DatalistError(
                f"Datalist {datalist.name}: fold {fold} of {folds} would be empty, since there are {len(patients)} "
                "patients; ask for fewer folds, or give another --seed."
            )
        made.append(replace(datalist, splits=splits, extra=_without_manifest(datalist)))
    return made


def label_fraction(datalist: Datalist, fraction: float, draw: int = 0, seed: int = 0) -> Datalist:
    """Keep a fraction of the training patients, as if only those had been labelled; the other splits stay whole.

    The fraction is in (0, 1], and at least one patient is kept. Of one ``draw`` (the number of the sample) and
    ``seed``, the smaller fraction is always inside the larger one.

    Raises:
        ConfigurationError: a fraction out of range.
        DatalistError: nothing is in training.
    """
    if not 0 < fraction <= 1:
        raise ConfigurationError(f"The label fraction is {fraction}; expected more than 0 and at most 1.")
    items = list(datalist.splits["training"])
    if not items:
        raise DatalistError(f"Datalist {datalist.name} has no training images to take a fraction of; split it first.")
    patients, position = _positions(items, datalist, f"fraction/{seed}/{draw}")
    count = max(1, round(fraction * len(patients)))
    kept = {patients[index] for index in np.argsort(position, kind="stable")[:count]}
    training = [item for item in items if item["patient_id"] in kept]
    return replace(datalist, splits={**datalist.splits, "training": training}, extra=_without_manifest(datalist))


def manifest_hash(content: Mapping[str, Any]) -> str:
    """SHA-256, in 64 hexadecimal digits, of the classes, task and items of a parsed datalist file.

    Neither their order and the file's layout nor ``"manifest"`` and ``"name"`` count.
    """
    digest = hashlib.sha256()
    for key in ("classes", "task"):
        digest.update(_canonical({key: content.get(key)}))
    for split in SPLITS:
        digest.update(b"\n" + split.encode() + b"\n")
        for line in sorted(_canonical(item) for item in content.get(split) or ()):
            digest.update(line + b"\n")
    return digest.hexdigest()


def save_split(datalist: Datalist, path: str | os.PathLike, recipe: Mapping[str, Any] | None = None) -> str:
    """Write a datalist file with ``"manifest": {"sha256": ..., "recipe": ...}`` in it, and return its hash.

    That is :func:`manifest_hash` of the content. Paths in it are relative to its folder; ``recipe`` says in plain JSON
    how it was made (seed, fractions ...).
    """
    content = datalist.to_dict(Path(path).expanduser().absolute().parent)
    digest = manifest_hash(content)
    content.pop("manifest", None)
    # First in the file, where a person looks.
    write_datalist({"manifest": {"sha256": digest, "recipe": dict(recipe or {})}, **content}, path)
    return digest


def _checked_fractions(fractions: Sequence[float]) -> dict[str, float]:
    values = [float(value) for value in fractions]
    if len(values) != 3 or not all(0 <= value <= 1 for value in values) or not math.isclose(sum(values), 1.0):
        raise ConfigurationError(
            f"fractions is {', '.join(f'{value:g}' for value in values)}; expected three numbers for training, "
            "validation and test whose sum is 1."
        )
    return dict(zip(SPLITS, values, strict=True))


def _all(datalist: Datalist) -> list[Item]:
    return [item for split in SPLITS for item in datalist.splits[split]]


def _fix(
    fixed: dict[str, str], datalist: Datalist, splits: Sequence[str], which: str, person: Mapping[str, str]
) -> None:
    """Set the split of the patients in ``splits``, and of all other ids of these persons.

    A training image of a patient who is kept in test would have to move there, and change the official split: refused.
    """
    of_person: dict[str, tuple[str, str]] = {}
    for split in splits:
        for item in datalist.splits[split]:
            patient = item["patient_id"]
            of_person.setdefault(person.get(patient, patient), (split, patient))
    for split in SPLITS:
        for item in datalist.splits[split]:
            patient = item["patient_id"]
            own, first = of_person.get(person.get(patient, patient), (split, patient))
            if own != split:
                also = "" if first == patient else f" as {patient}, by a shared study or an id that differs in writing"
                raise DatalistError(
                    f"Datalist {datalist.name}: patient {first} is in {own} and also in {split}{also} {which}; divide "
                    "everything anew (keep_official=False, --ignore_official), or correct the datalist."
                )
    fixed.update({patient: of_person[one][0] for patient, one in person.items() if one in of_person})
    fixed.update({patient: split for split, patient in of_person.values()})


def _follow(fixed: dict[str, str], person: Mapping[str, str]) -> None:
    """Let the other ids of a person stay where one of them was; ids that were apart stay apart, and that is said."""
    places: dict[str, dict[str, None]] = {}
    for patient, split in fixed.items():
        places.setdefault(person.get(patient, patient), {})[split] = None
    for patient, one in person.items():
        if one in places:
            fixed.setdefault(patient, next(iter(places[one])))
    apart = sum(len(splits) > 1 for splits in places.values())
    if apart:
        logger.warning(
            "%d persons of several ids were in several splits of the previous division and stay there; figures on them "
            "are too good",
            apart,
        )


def _refuse_empty(
    splits: Mapping[str, Sequence[Item]],
    asked: Sequence[str],
    datalist: Datalist,
    person: Mapping[str, str],
    shares: Mapping[str, float],
) -> None:
    empty = next((name for name in asked if not splits[name]), None)
    if empty is None:
        return
    start = f"Datalist {datalist.name}: {empty} would be empty"
    patients = {person[item["patient_id"]] for item in _all(datalist)}
    full = [name for name in SPLITS if splits[name]]
    if len(patients) == 1:
        raise DatalistError(
            f"{start}, since all {len(splits[full[0]])} images are of one patient, who stays together in {full[0]}; "
            f"{_what_tells(datalist)}."
        )
    if not shares[empty] or not any(shares[name] for name in full):
        raise DatalistError(
            f"{start}, since all images stay in {' and '.join(full)}, where they were; divide everything anew "
            "(keep_official=False, --ignore_official), or give no --previous."
        )
    raise DatalistError(
        f"{start}, since {shares[empty]:.0%} of {len(patients)} patients is too few to get one; give it a larger "
        "share in --fractions or 0, another --seed, or use --folds."
    )


def _what_tells(datalist: Datalist) -> str:
    """What to do where all images are of one patient."""
    kinds = {item.get("patient_from") for item in _all(datalist)}
    if "dicom" in kinds or "folder" in kinds or "name" in kinds:
        return (
            "if they are of several, index again with what tells them apart (--option patient_from=study, or a pattern)"
        )
    return "if they are of several, correct the patient_id of its items"


def _positions(
    items: Sequence[Item],
    datalist: Datalist,
    key: str,
    skip: Mapping[str, str] | None = None,
    person: Mapping[str, str] | None = None,
) -> tuple[list[str], np.ndarray]:
    """The patients not in ``skip``, and where in [0, 1) each stands within its stratum: float64 ``(patients,)``.

    ``person`` gives for each patient id the one of its person.
    """
    number: dict[str, int] = {}
    rows = [item for item in items if not skip or item["patient_id"] not in skip]
    ids = [item["patient_id"] if person is None else person[item["patient_id"]] for item in rows]
    owner = np.array([number.setdefault(patient, len(number)) for patient in ids], dtype=np.int64)
    patients = list(number)
    if not patients:
        return [], np.zeros(0)
    unit = np.array([_unit(key, patient) for patient in patients])
    _, stratum = np.unique(_strata(rows, owner, len(patients), datalist), return_inverse=True)
    # Ids break the (unlikely) tie of two hashes, so that the order of the file never matters.
    order = np.lexsort((np.array(patients), unit, stratum))
    sizes = np.bincount(stratum)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.empty(len(patients), dtype=np.int64)
    rank[order] = np.arange(len(patients)) - starts[stratum[order]]
    return patients, (rank + unit) / sizes[stratum]


def _strata(rows: Sequence[Item], owner: np.ndarray, patients: int, datalist: Datalist) -> np.ndarray:
    """One number per patient: its rarest class (or none, or unknown) and the set of its views."""
    classes = len(datalist.classes)
    has = np.zeros((patients, classes), dtype=bool)
    known = np.zeros(patients, dtype=bool)
    views = np.zeros(patients, dtype=np.int64)
    np.bitwise_or.at(views, owner, np.array([_view_bit(item.get("view_position")) for item in rows]))
    for item, patient in zip(rows, owner.tolist(), strict=True):
        known[patient] |= is_known(item.get("label"))
        has[patient, positive_classes(item.get("label"))] = True
    if not classes:
        return views
    rarity = np.argsort(np.argsort(has.sum(axis=0), kind="stable"), kind="stable")
    rarest = np.where(has, rarity, classes).min(axis=1)
    rarest[~known] = classes + 1
    return rarest * 16 + views


def _view_bit(view: Any) -> int:
    text = str(view or "").strip().upper()
    if text.startswith("PA"):
        return 1
    if text.startswith("AP"):
        return 2
    return 4 if text in ("L", "LL", "RL", "LAT", "LATERAL", "LLD", "RLD", "LLO") else 8


def _unit(key: str, patient: str) -> float:
    # 53 bits, so that the quotient is exact and below 1.
    digest = hashlib.blake2b(f"{key}/{patient}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _canonical(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def _without_manifest(datalist: Datalist) -> dict[str, Any]:
    return {key: value for key, value in datalist.extra.items() if key != "manifest"}
