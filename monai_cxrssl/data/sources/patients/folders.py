# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Sub-folders that stand for patients.

The first sub-folder below the images' common parent stands for the patient. Passed over are names of splits, classes,
formats, views, dates, sites and batches (:func:`is_no_patient`), and folders that look like classes
(:mod:`monai_cxrssl.data.sources.trees.class_names`). A level whose folders hold more than :data:`MOST_FILMS` images, or
images of more than :data:`MOST_STUDIES` studies, for the typical image is no level of patients: the next one below is
looked at, and where there is none, no folder stands for the patient. Single large folders beside small ones stay: one
patient may have many images.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from statistics import median_low

from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.data.sources.trees.class_names import CONTAINERS, SPLIT_NAMES

__all__ = ["MOST_FILMS", "folder_patients", "is_no_patient"]

MOST_FILMS = 50
MOST_STUDIES = 5
_SITES = re.compile(r"(?:site|cent(?:er|re)|hospital|clinic)[-_ ]?(?:\d{1,3}|[a-z])?", re.IGNORECASE)
_DATE = re.compile(r"(?:19[89]\d|20[0-4]\d)(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])?)?")
_PATIENT = re.compile(r"(?:p|pa|pat|patient|patients?_?id|case|sub|subject|person|id|mrn|pid)[-_ ]?\d+", re.IGNORECASE)
# fmt: off
_NO_PATIENTS = re.compile(
    "(?:" + "|".join((
        *CONTAINERS, *SPLIT_NAMES, r"(?:train|val|test)set|holdout|tiff?|nifti|raw|processed|originals?",
        r"all|files|images|datasets|archive|exports?|chest[-_ ]?x[-_ ]?rays?|cxrs?|x[-_ ]?rays?|radiographs?|frontal",
        r"lateral|pa|ap|views?|cr|dx|dr|inbox|outbox",
        r"batch|part|fold|chunk|shard|subset|split|set|scanner|device|room|ward|vol",
        r"volume|year|month|day|scans|new|old|misc|other|others|unsorted|unlabell?ed|labell?ed",
        # classes
        r"normals?|abnormals?|healthy|sick|ill|disease|positives?|negatives?|pneumonia|covid",
        r"covid[-_ ]?19|non[-_ ]?covid|tuberculosis|tb|bacteria|bacterial|virus|viral|control|controls|cases|opacity",
        # dates, sizes
        r"(?:19|20)\d\d[-_. ](?:0\d|1[0-2])(?:[-_. ][0-3]\d)?|\d{2,4}x\d{2,4}|q[1-4]",
    )) + r")(?:[-_ ]?\d{1,3})?",
    re.IGNORECASE,
)
# fmt: on


def is_no_patient(name: str) -> bool:
    """Whether a folder's name is that of a split, class, format, view, site or batch.

    Example:
        >>> [is_no_patient(name) for name in ("Train", "images_001", "COVID-19", "p12", "1033")]
        [True, True, True, False, False]
    """
    name = name.strip()
    if _PATIENT.fullmatch(name):
        return False
    patterns = (_NO_PATIENTS, _SITES)
    return any(pattern.fullmatch(name) for pattern in patterns) or canonical_pathology(name) is not None


def folder_patients(
    parents: Sequence[Sequence[str]], studies: Sequence[str], not_patients: Collection[str] = ()
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return patient and study of each image as its folders tell them, ``""`` for what they do not, and what to say.

    Args:
        parents: the folders of each image below the common one.
        studies: the study of each image as far as it is known otherwise, else ``""``.
        not_patients: names of folders that stand for no patient, nor do those above them.
    """
    dates = _dates({name for path in parents for name in path})
    people = [_people(path, dates, not_patients) for path in parents]
    deepest = max(map(len, people), default=0)
    names, depth = [""] * len(people), 0
    sentences = []
    for depth in range(1, deepest + 1):
        names = ["/".join(path[:depth]) for path in people]
        films, counts = _sizes(names, studies)
        # The typical image decides, so that one patient of many images does no harm.
        typical = median_low([films[name] for name in names if name])
        if typical <= MOST_FILMS and median_low([counts[name] for name in names if name]) <= MOST_STUDIES:
            break
    else:
        depth = deepest
        films, counts = _sizes(names, studies)
        names = [name if films[name] <= MOST_FILMS and counts[name] <= MOST_STUDIES else "" for name in names]
    if depth > 1 and any(names):
        tops = sorted({path[0] for path in people if path})
        sentences.append(
            f"the {len(tops)} folders such as {tops[0]!r} hold too many images or studies to be patients; the folders "
            "below them are taken for patients"
        )
    deeper = [path[depth] if name and len(path) > depth else "" for name, path in zip(names, people, strict=True)]
    return [(name, f"{name}/{study}" if study else "") for name, study in zip(names, deeper, strict=True)], sentences


def _people(path: Sequence[str], dates: Collection[str], not_patients: Collection[str]) -> list[str]:
    """The folders from the first that may be a patient's on; one of a site begins with it, since sites number alike."""
    below = next((index + 1 for index, name in enumerate(path) if name in not_patients), 0)
    rest = list(itertools.dropwhile(lambda name: name in dates or is_no_patient(name), path[below:]))
    sites = [name for name in path[: len(path) - len(rest)] if _SITES.fullmatch(name)]
    return ["/".join([*sites, rest[0]]), *rest[1:]] if rest else []


def _sizes(names: Sequence[str], studies: Sequence[str]) -> tuple[Counter[str], dict[str, int]]:
    """How many images, and how many known studies, each folder holds."""
    of_folder: dict[str, set[str]] = defaultdict(set)
    for name, study in zip(names, studies, strict=True):
        of_folder[name].add(study)
    return Counter(names), {name: len(known - {""}) for name, known in of_folder.items()}


def _dates(names: Collection[str]) -> set[str]:
    """Years and days, unless other numbers of as many digits stand beside them."""
    numbers: dict[int, set[str]] = defaultdict(set)
    for name in names:
        if name.isdigit():
            numbers[len(name)].add(name)
    return {name for group in numbers.values() if all(map(_DATE.fullmatch, group)) for name in group}
