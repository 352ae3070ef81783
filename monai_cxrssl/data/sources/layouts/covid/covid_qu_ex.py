# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""COVID-QU-Ex: 33,920 chest X-rays with lung masks, 5,826 of them with masks of the COVID-19 infection.

Folder layout; any of the three levels may be given, and the archive repeats each part's name once::

    Lung Segmentation Data/Lung Segmentation Data/
        Train/COVID-19/images/covid_1.png          and Val, Test; Non-COVID, Normal
        Train/COVID-19/lung masks/covid_1.png
    Infection Segmentation Data/Infection Segmentation Data/
        Train/COVID-19/images/covid_1.png
        Train/COVID-19/lung masks/covid_1.png
        Train/COVID-19/infection masks/covid_1.png

With both parts there, the images and the split are those of the lung part, which holds all; an image that is found in
the infection part too, by class, name and content, gets its infection mask from there. To use the infection part's own
split, give that part's folder.

Classes (multi-class): 0 ``No Finding`` (Normal), 1 ``COVID-19``, 2 ``Other Pneumonia`` (Non-COVID: viral or bacterial).

Items: ``patient_id`` (class and file name: who the patients are was not published), ``label``, ``lung_mask`` and where
there is one ``infection_mask`` (a path, white = infected). Images and masks are 256 x 256. The lung masks were drawn by
a network and corrected by people. The official split is kept.

Licence: see the data set's page on Kaggle (anasmohammedtahir/covidqu).
Citation: A. M. Tahir, M. E. H. Chowdhury et al., "COVID-19 infection localization and severity grading from chest X-ray
images", Computers in Biology and Medicine 2021.
"""

from __future__ import annotations

import filecmp
import logging
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.tables.label_columns import known_class
from monai_cxrssl.data.sources.tables.label_words import UnknownLabels
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import ordered_map

__all__ = ["CLASSES", "NAME", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "COVID-QU-Ex"
CLASSES = ("No Finding", "COVID-19", "Other Pneumonia")
KINDS = ("Normal", "COVID-19", "Non-COVID")
SPLITS = {"Train": "training", "Val": "validation", "Test": "test"}
LUNGS, INFECTIONS = "Lung Segmentation Data", "Infection Segmentation Data"


def detect(folder: Path) -> bool:
    """Whether a folder holds a part of the data set: images of its classes beside lung masks."""
    return bool(_parts(Path(folder)))


def read(folder: Path, strict_labels: bool = False) -> Datalist:
    """Read the data set in ``folder``.

    Args:
        folder: any of the three levels.
        strict_labels: refuse labels that nobody foresaw, which are otherwise unknown and named in one warning.

    Raises:
        DatalistError: there is no image, or images have no lung mask (counted, the first named).
    """
    folder = Path(folder)
    parts = _parts(folder)
    if not parts:
        raise DatalistError(f"{folder} holds no images such as Train/COVID-19/images beside Train/COVID-19/lung masks.")
    top, *others = parts
    infected = {key: film for other in others for key, film in _films(other).items()}
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS.values()}
    bare: list[Path] = []
    differing = 0
    unknown = UnknownLabels(top, KINDS, strict_labels, "image of a class", "images of classes")
    films = _films(top)

    def beside(key: tuple[str, str, str]) -> tuple[bool, list[Path], list[Path], Path | None]:
        """Whether there are lungs, the twins of an image and those that are the same file, and its infection mask."""
        _, kind, name = key
        film = films[key]
        # The two parts have splits of their own, so the same image may lie in another one there.
        twins = [infected[place] for other in SPLITS if (place := (other, kind, name)) in infected]
        same = [twin for twin in twins if filecmp.cmp(film, twin, shallow=False)]
        infection = (same[0] if same else film).parent.parent / "infection masks" / name
        return _lungs(film).is_file(), twins, same, infection if infection.is_file() else None

    for ((part, kind, _), film), (has_lungs, twins, same, infection) in zip(
        films.items(), ordered_map(beside, films, name="masks"), strict=True
    ):
        lungs = _lungs(film)
        if not has_lungs:
            bare.append(lungs)
            continue
        image, mask = (path.relative_to(folder).as_posix() for path in (film, lungs))
        item: dict[str, Any] = {"image": image, "patient_id": f"{kind}/{film.stem}", "source": NAME}
        item["lung_mask"] = mask
        number = known_class(KINDS, kind)
        if number is None:
            unknown.add(kind, image)
        else:
            item["label"] = number
        differing += bool(twins) and not same
        if infection is not None:
            item["infection_mask"] = infection.relative_to(folder).as_posix()
        splits[SPLITS[part]].append(item)
    unknown.tell()
    if bare:
        raise DatalistError(
            f"{top} has {len(bare)} images without a lung mask (looked for {bare[0]}, for one); put the masks there or "
            "remove these images."
        )
    if differing:
        logger.warning("%s: %d images differ from those of the same name in %s", NAME, differing, INFECTIONS)
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", **splits}
    return Datalist.from_dict(content, folder, origin=str(top))


def _lungs(film: Path) -> Path:
    return film.parent.parent / "lung masks" / film.name


def _parts(folder: Path) -> list[Path]:
    """The folders above ``Train``: of the lung part, of the infection part; or the folder itself."""
    found = []
    for tops in ((folder,), *((folder / name / name, folder / name) for name in (LUNGS, INFECTIONS))):
        found += [top for top in tops if _is_part(top)][:1]
    return found


def _is_part(top: Path) -> bool:
    places = [top / part / kind for part in SPLITS if (top / part).is_dir() for kind in KINDS]
    return any((place / "images").is_dir() and (place / "lung masks").is_dir() for place in places)


def _films(top: Path) -> dict[tuple[str, str, str], Path]:
    """The images of a part by split, class and file name."""
    films: dict[tuple[str, str, str], Path] = {}
    for part in SPLITS:
        for images in sorted((top / part).glob("*/images")):
            kind = images.parent.name
            films |= {(part, kind, film.name): film for film in sorted(images.glob("*.png"))}
    return films
