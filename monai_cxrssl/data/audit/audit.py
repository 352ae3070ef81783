# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Audit of datalists: leaks, duplicates, doubtful patients, bad files, odd images, labels.

A leak is a patient, a study, a file or a picture that stands in two different splits, within one datalist or over
several (a pretraining corpus and a test set). Images of one patient look alike; near-duplicates are therefore reported
between patients only. A study whose id is unique is looked for whatever its patient is called.

Files of one k-fold division (told by the recipe in their manifests) are alternatives, each a whole split: that the
training patients of one are the validation patients of another is no leak. Everything else given together is compared.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.audit.burned_in_text import text_lines
from monai_cxrssl.data.audit.cached_films import CachedFilms
from monai_cxrssl.data.audit.duplicates import fingerprint, near_duplicates, pixel_digest
from monai_cxrssl.data.audit.patients import doubts_about_patients
from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_unknown
from monai_cxrssl.data.datalists.datalist_schema import is_path_field
from monai_cxrssl.data.datalists.persons import MOST_PATIENTS, study_key
from monai_cxrssl.data.reading.file_kind import file_kind
from monai_cxrssl.data.reading.read import read_cxr_uint, read_film
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import ordered_map

__all__ = ["AuditResult", "Finding", "audit_datalists", "looks_inverted", "patient_numbers", "patient_of"]

_FRONTAL = ("PA", "AP")
# Of 1,455 frontal images of three public sets none is at or below -0.41, and of the same images inverted 99 % are below
# -0.6 (tests/data/audit/test_audit.py counts both).
_INVERTED_BELOW = -0.6
_IMBALANCE = 50
_IDENTIFYING = (
    *("PatientName", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "OtherPatientIDs"),
    *("OtherPatientNames", "PatientMotherBirthName", "InstitutionName", "InstitutionAddress", "AccessionNumber"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        kind: such as ``"patient"``, ``"near_duplicate"`` or ``"unreadable"``.
        severity: ``"leak"`` (figures will be too good), ``"warning"`` or ``"note"``.
        items: the patient, study or image paths concerned.
        sentence: what it means.
    """

    kind: str
    severity: str
    items: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class AuditResult:
    """All findings of an audit, leaks first, and how many images were looked at."""

    images: int
    findings: tuple[Finding, ...] = field(default=())

    @property
    def has_leak(self) -> bool:
        """Whether any finding is a leak."""
        return any(finding.severity == "leak" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """``{"images", "has_leak", "findings": [{"kind", "severity", "items", "sentence"}]}``, plain JSON values."""
        findings = [{**asdict(finding), "items": list(finding.items)} for finding in self.findings]
        return {"images": self.images, "has_leak": self.has_leak, "findings": findings}

    def table(self) -> str:
        """The findings as lines of text with aligned columns."""
        if not self.findings:
            return f"{self.images} images: nothing found."
        rows = [(f.severity, f.kind, f.sentence) for f in self.findings]
        first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
        lines = [f"{a:<{first}}  {b:<{second}}  {c}" for a, b, c in rows]
        return "\n".join([*lines, f"{self.images} images, {len(rows)} findings."])


@dataclass(frozen=True)
class _Place:
    """Where an item stands: its split, and for a file of a k-fold division which division and which fold."""

    split: str
    division: tuple[Any, ...] | None = None
    fold: Any = None

    def leaks_to(self, other: _Place) -> bool:
        """Whether the same patient or picture in both places is a leak."""
        if self.division is not None and self.division == other.division and self.fold != other.fold:
            # The test split is that of all folds, so one of its patients in another file's training is a leak still.
            return self.split != other.split and "test" in (self.split, other.split)
        return self.split != other.split


@dataclass
class _Film:
    """A file and what the datalists say of it."""

    source: str
    item: dict[str, Any]
    places: set[_Place] = field(default_factory=set)


@dataclass
class _Look:
    """What reading a file told."""

    problems: list[Finding] = field(default_factory=list)
    digest: bytes | None = None
    vector: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)

    def warn(self, kind: str, path: str, problem: str) -> None:
        self.problems.append(Finding(kind, "warning", (path,), f"{path}: {problem}."))


def audit_datalists(
    datalists: Sequence[Datalist],
    phi: bool = False,
    pixels: bool = True,
    workers: int | None = None,
    progress: bool = True,
    cache_dir: str | os.PathLike | None = None,
) -> AuditResult:
    """Look for leaks, duplicates and bad images in one datalist or over several.

    Args:
        datalists: what to look at, together; the folds of one division are told by the recipe of
            :func:`monai_cxrssl.data.datalists.split.save_split`.
        phi: list identifying DICOM tags that hold something, and images that seem to have text in their pixels
            (:func:`monai_cxrssl.data.audit.burned_in_text.text_lines`).
        pixels: read the files; False looks at the datalists only.
        workers: threads that read; by default one per usable CPU core.
        progress: show a progress bar.
        cache_dir: a cache of all these images, whose pixels are looked at in place of the files'. Duplicates are then
            equal at its size, and sizes of masks are compared after the same reduction.

    Raises:
        ConfigurationError: the cache does not hold these images as their files are now; ``phi`` with a cache, whose
            images are too small to show letters.
    """
    if cache_dir is not None and phi:
        raise ConfigurationError(
            "The images of a cache are too small to show letters in their pixels; give --phi without --cache_dir."
        )
    # One file may be in several datalists; it is read once.
    films: dict[str, _Film] = {}
    where: dict[tuple[str, ...], set[_Place]] = defaultdict(set)
    of_study: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for datalist in datalists:
        for split in SPLITS:
            place = _place(datalist, split)
            for item in datalist.items(split):
                source, patient = patient_of(datalist.name, item)
                path = os.path.realpath(item["image"])
                where["patient", source, patient].add(place)
                if item.get("study_id") not in (None, ""):
                    own = (source, patient, str(item["study_id"]).removeprefix(f"{source}:"))
                    study = ("study", *(study_key(item, datalist.name) or own))
                    where[study].add(place)
                    of_study[study].add((source, patient))
                where["file", path].add(place)
                films.setdefault(path, _Film(datalist.name, item)).places.add(place)
    findings = _shared(where, of_study) + [finding for d in datalists for finding in _imbalance(d)]
    findings += _doubts(datalists)
    if pixels:
        unique = list(films.values())
        cached = None if cache_dir is None else CachedFilms(cache_dir, [film.item for film in unique])
        look = partial(_look, phi=phi, cached=cached)
        seen = ordered_map(look, (film.item for film in unique), workers or usable_cores(), name="audit")
        looks = list(tqdm(seen, total=len(unique), desc="auditing", disable=not progress))
        findings += [finding for look in looks for finding in look.problems]
        findings += _duplicates(unique, looks, " at the cache's size" if cached else "")
        findings += _notes_of_reading(unique, looks)
    rank = {"leak": 0, "warning": 1, "note": 2}
    return AuditResult(len(films), tuple(sorted(findings, key=lambda f: (rank[f.severity], f.kind, f.items))))


def patient_of(name: str, item: Mapping[str, Any]) -> tuple[str, str]:
    """Return who an image is of, the one rule of the package: data set and patient id, since data sets number alike.

    ``name`` of the datalist stands in where the item names no ``source``.
    """
    source = str(item.get("source") or name)
    return source, str(item["patient_id"]).removeprefix(f"{source}:")


def patient_numbers(items: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """Return the number of each item's patient ``(N,)`` int64, counted in the order of the items."""
    # Texts of any kind become numbers.
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(patient_of("", item), len(numbers)) for item in items], dtype=np.int64)


def _place(datalist: Datalist, split: str) -> _Place:
    recipe = (datalist.extra.get("manifest") or {}).get("recipe") or {}
    if "fold" not in recipe:
        return _Place(split)
    # What made the division; files of another seed or data set are no alternatives of these.
    division = (datalist.name, *(str(recipe.get(key)) for key in ("folds", "seed", "keep_official")))
    return _Place(split, division, recipe["fold"])


def _leaking(first: set[_Place], second: set[_Place]) -> list[str]:
    """The splits between which something in these places leaks, in their usual order; empty when nothing does."""
    pairs = [(a, b) for a in first for b in second if a.leaks_to(b)]
    return [split for split in SPLITS if any(split in (a.split, b.split) for a, b in pairs)]


def _shared(
    where: Mapping[tuple[str, ...], set[_Place]], of_study: Mapping[tuple[str, ...], set[tuple[str, ...]]]
) -> list[Finding]:
    """Patients, studies and files in more than one split."""
    told = {key: _leaking(places, places) for key, places in where.items() if len(places) > 1}
    shared = {key: splits for key, splits in told.items() if splits}
    patients = {key[1:] for key in shared if key[0] == "patient"}
    findings = []
    for key, splits in shared.items():
        people = of_study.get(key, set())
        # What is shared because its patient is shared would tell the same leak again; what images of many share is no
        # study.
        if people & patients or len(people) > MOST_PATIENTS:
            continue
        what = key[-1] if key[0] == "file" else f"{key[-1]} of {sorted(people)[0][0] if people else key[1]}"
        who = f" under the patients {' and '.join(patient for _, patient in sorted(people))}" if len(people) > 1 else ""
        text = f"The {key[0]} {what} is in {' and '.join(splits)}{who}."
        findings.append(Finding(key[0], "leak", (key[-1],), text))
    return findings


def _doubts(datalists: Sequence[Datalist]) -> list[Finding]:
    """Doubts about the patients of each data set, whose images may be in several datalists."""
    items: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for datalist in datalists:
        items[datalist.name] |= {item["image"]: item for item in datalist.all_items()}
    return [Finding(*doubt) for name, own in items.items() for doubt in doubts_about_patients(name, list(own.values()))]


def _imbalance(datalist: Datalist) -> list[Finding]:
    counts = datalist.summary()["splits"].get("training", {}).get("classes", {})
    if len(counts) < 2 or not any(counts.values()):
        return []
    most = max(counts, key=lambda name: counts[name])
    few = [name for name, count in counts.items() if count * _IMBALANCE < counts[most]]
    start, end = f"{datalist.name}: training has", f"against {counts[most]} of {most}."
    images = {name: f"{start} {counts[name]} images of class {name} {end}" for name in few}
    return [Finding("label_imbalance", "note", (name,), text) for name, text in images.items()]


def _look(item: dict[str, Any], phi: bool, cached: CachedFilms | None) -> _Look:
    look, path = _Look(), item["image"]
    try:
        pixels, metadata = cached.read(path) if cached else read_cxr_uint(path, with_metadata=True)
    except ConfigurationError:  # of the cache, and not of this image
        raise
    except CXRReadError as error:
        look.warn("unreadable", path, f"{error.cause or error}")
        return look
    except Exception as error:  # a decoder may raise anything on a damaged file
        look.warn("unreadable", path, f"{type(error).__name__}: {error}")
        return look
    look.notes = metadata["warnings"]
    if pixels.min() == pixels.max():
        look.warn("unreadable", path, "holds one value only")
        return look
    look.digest, look.vector = pixel_digest(pixels), fingerprint(pixels).astype(np.float16)
    declared = str(item.get("view_position") or "").upper()
    found = str(metadata.get("view_position") or "").upper()
    if found.startswith(("L", "RL")) and (not declared or declared.startswith(_FRONTAL)):
        look.warn(
            "lateral", path, f"is listed as {declared or 'an image of unknown view'}, but its header says {found}"
        )
    elif (not declared or declared.startswith(_FRONTAL)) and looks_inverted(pixels):
        look.warn("inverted", path, "looks inverted (lungs and background brighter than the rest); look at it")
    _look_at_mask(item, pixels.shape, look, cached)
    if phi:
        _look_at_tags(path, look)
        _look_for_text(path, pixels, look)
    return look


def _notes_of_reading(films: Sequence[_Film], looks: Sequence[_Look]) -> list[Finding]:
    """Notes that the reader made, counted by kind; each image whose range was replaced by itself."""
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for film, look in zip(films, looks, strict=True):
        for note in look.notes:
            by_kind[getattr(note, "kind", "other")].setdefault(film.item["image"], str(note))
    replaced = by_kind.pop("range_replaced", {})
    findings = [Finding("range_replaced", "warning", (path,), f"{path}: {note}.") for path, note in replaced.items()]
    for kind, notes in by_kind.items():
        path, note = next(iter(notes.items()))
        text = f"{len(notes)} image(s) were read with a note on {kind.replace('_', ' ')}, such as {path}: {note}."
        findings.append(Finding(f"reading_{kind}", "note", tuple(notes), text))
    return findings


def looks_inverted(pixels: np.ndarray) -> bool:
    """Whether a frontal chest X-ray ``(H, W)``, bright = dense, of any type, range and size, is probably its negative.

    It misses most and suspects hardly any wrongly.
    """
    return _polarity(pixels) < _INVERTED_BELOW


def _polarity(pixels: np.ndarray) -> float:
    """How much the image looks as it should, in its standard deviations; inverting it changes the sign.

    The sum of three differences, each positive on most images: the mediastinum is brighter than the lungs, the image
    brighter than its upper corners (air), the abdomen brighter than the image. An image that is off centre, cropped or
    of one white lung fails one of them, hardly ever all.
    """
    small = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    lungs = (small[16:44, 12:24].mean() + small[16:44, 40:52].mean()) / 2
    corners = (small[:8, :8].mean() + small[:8, -8:].mean()) / 2
    # The mean of the whole image stands in the last two differences, once with each sign.
    sum_of_three = (small[16:44, 28:36].mean() - lungs) - corners + small[52:].mean()
    return float(sum_of_three / max(float(small.std()), 1e-6))


def _look_at_mask(item: dict[str, Any], shape: tuple[int, ...], look: _Look, cached: CachedFilms | None) -> None:
    for key in (key for key in item if key != "image" and is_path_field(key)):
        masks = item[key]
        for mask in [masks] if isinstance(masks, str) else list(masks or ()):
            try:
                pixels = read_film(mask, window=None).pixels
            except CXRReadError as error:
                look.warn("mask_unreadable", mask, f"{error.cause or error}")
                continue
            found = cached.reduced(pixels.shape) if cached else pixels.shape
            if found != shape:
                size = f"is {found[1]} x {found[0]} pixels, its image {shape[1]} x {shape[0]}"
                look.warn("mask_size", mask, f"{size}, both as reduced for the cache" if cached else size)
            # Without a finding, a mask of a finding may well be empty; lungs are on every chest X-ray.
            if key == "lung_mask" and pixels.min() == pixels.max():
                look.warn("mask_empty", mask, "holds one value only, so it marks no lung")


def _look_at_tags(path: str, look: _Look) -> None:
    import pydicom

    if file_kind(path) != "dicom":
        return
    tags = [*_IDENTIFYING, "BurnedInAnnotation"]
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
    present = [tag for tag in _IDENTIFYING if not is_unknown(header.get(tag)) and str(header.get(tag)).strip()]
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        present.append("BurnedInAnnotation")
    if present:
        look.warn("phi", path, f"holds {', '.join(present)}")


def _look_for_text(path: str, pixels: np.ndarray, look: _Look) -> None:
    lines = text_lines(pixels)
    if lines:
        top, left, rows, columns = lines[0].box
        where = f"{lines[0].glyphs} shapes at rows {top} to {top + rows}, columns {left} to {left + columns}"
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        look.warn("burned_in_text", path, f"may have text burned into its pixels ({where}{more}); look at it")


def _duplicates(films: Sequence[_Film], looks: Sequence[_Look], size: str) -> list[Finding]:
    """Pairs of files with the same pixels, and near-duplicates of different patients."""
    vectors = {index: look.vector for index, look in enumerate(looks) if look.vector is not None}
    if not vectors:
        return []
    read = list(vectors)
    findings = []
    for i, j, cosine in near_duplicates(np.stack(list(vectors.values())).astype(np.float32)):
        first, second = read[i], read[j]
        exact = looks[first].digest == looks[second].digest
        a, b = films[first].item, films[second].item
        same_patient = patient_of(films[first].source, a) == patient_of(films[second].source, b)
        if same_patient and not exact:
            continue
        leak = _leaking(films[first].places, films[second].places)
        whose = "one patient" if same_patient else f"patients {a['patient_id']} and {b['patient_id']}"
        what = f"hold the same pixels{size}" if exact else f"look the same (cosine {cosine:.3f})"
        where = " and ".join(leak or sorted({place.split for place in films[first].places}))
        kind = "exact_duplicate" if exact else "near_duplicate"
        text = f"{a['image']} and {b['image']} of {whose}, in {where}, {what}."
        findings.append(Finding(kind, "leak" if leak else "warning", (a["image"], b["image"]), text))
    return findings
