# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""COVID-19 Radiography Database: 21,165 adult and child images of four classes with lung masks.

Folder layout (Kaggle ``tawsifurrahman/covid19-radiography-database``)::

    COVID/images/COVID-1.png                COVID/masks/COVID-1.png
    Lung_Opacity/images, Lung_Opacity/masks
    Normal/images, Normal/masks
    Viral Pneumonia/images, Viral Pneumonia/masks

Releases before 2021 have no masks, no ``Lung_Opacity``, and the images right in ``COVID-19``, ``NORMAL`` and ``Viral
Pneumonia``. The tables beside the folders hold no labels and are not read.

Classes (multi-class): 0 ``No Finding``, 1 ``COVID-19``, 2 ``Lung Opacity``, 3 ``Viral Pneumonia``.

Items: ``patient_id`` (class and file name: who the patients are was not published, so that a split by it cannot be
known to be patient-disjoint), ``label``, ``lung_mask`` where there is one (drawn by a network). The viral pneumonias
are the Kermany children's, the opacities and most normal images RSNA's: a classifier across the classes learns the
source. There is no split: all items are ``training``.

Licence: see the data set's page on Kaggle.
Citation: M. E. H. Chowdhury et al., "Can AI Help in Screening Viral and COVID-19 Pneumonia?", IEEE Access 2020; T.
Rahman et al., "Exploring the effect of image enhancement techniques on COVID-19 detection using chest X-ray images",
Computers in Biology and Medicine 2021.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS
from monai_cxrssl.errors import DatalistError

__all__ = ["CLASSES", "NAME", "detect", "read"]

logger = logging.getLogger(__name__)

NAME = "COVID-19 Radiography Database"
CLASSES = ("No Finding", "COVID-19", "Lung Opacity", "Viral Pneumonia")
KINDS = {"normal": 0, "covid": 1, "covid-19": 1, "lung_opacity": 2, "viral pneumonia": 3}


def detect(folder: Path) -> bool:
    """Whether a folder holds the folders of COVID-19 and of viral pneumonia under the data set's own names."""
    kinds = {place.name.lower() for place in _places(Path(folder))}
    return "viral pneumonia" in kinds and bool(kinds & {"covid", "covid-19"})


def read(folder: Path) -> Datalist:
    """Read the data set in ``folder``.

    Raises:
        DatalistError: there is no image in the folders of the classes.
    """
    folder = Path(folder)
    items: list[dict[str, Any]] = []
    bare = 0
    for place in _places(folder):
        films = place / "images" if (place / "images").is_dir() else place
        masks = {mask.stem: mask for mask in (place / "masks").glob("*")}
        for film in sorted(films.iterdir()):
            if film.suffix.lower() not in IMAGE_EXTENSIONS:
                continue
            item: dict[str, Any] = {"image": film.relative_to(folder).as_posix(), "source": NAME}
            item |= {"patient_id": f"{place.name}/{film.stem}", "label": KINDS[place.name.lower()]}
            if film.stem in masks:
                item["lung_mask"] = masks[film.stem].relative_to(folder).as_posix()
            bare += bool(masks) and film.stem not in masks
            items.append(item)
    if not items:
        raise DatalistError(f"{folder} has the folders of the {NAME}, and no image in them; unpack it again.")
    if bare:
        logger.warning("%s: %d images without a mask beside images with one", NAME, bare)
    content = {"name": NAME, "classes": list(CLASSES), "task": "multi_class", "training": items}
    return Datalist.from_dict(content, folder, origin=str(folder))


def _places(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if place.name.lower() in KINDS and place.is_dir())
