# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Public data sets: their many names, and which share images."""

from __future__ import annotations

from functools import cache

__all__ = ["KNOWN_DATA_SETS", "public_name", "shared_origin"]

#: Other names by the name that the layouts of this package give. A name of seven letters or more also counts where it
#: is a part of what a list is called: ``chexpert`` of ``chexpert-small-frontal``.
_ALIASES = {
    "ChestX-ray14": ("nih", "nihcxr", "nihchestxray", "chestxray8", "cxr8", "cxr14", "nihchestxray14", "chestxray14"),
    "CheXpert": ("chexpert", "chexphoto"),
    "MIMIC-CXR-JPG": ("mimic", "mimiccxr", "mscxr", "cxrlt"),
    "PadChest": ("padchest", "bimcvpadchest"),
    "RSNA Pneumonia": ("rsna", "rsnapneumonia", "rsnapneumoniadetectionchallenge"),
    "VinDr-CXR": ("vindr", "vindrcxr", "vinbigdata", "vinbigdatachestxray"),
    "SIIM-FISABIO-RSNA COVID-19": ("siimcovid", "siimcovid19", "siimfisabiorsna", "siimcovid19detection"),
    "SIIM-ACR Pneumothorax": ("siimacr", "siimpneumothorax", "siimacrpneumothorax"),
    "COVIDx": ("covidx", "covidxcxr"),
    "covid-chestxray-dataset": ("covidchestxray", "covidchestxraydataset", "cohencovid"),
    "COVID-QU-Ex": ("covidqu", "covidquex"),
    "Kermany": ("kermany", "chestxraypneumonia"),
    "Shenzhen": ("shenzhen", "chinaset", "chncxr"),
    "Montgomery": ("montgomery", "montgomeryset", "mcucxr"),
    "TBX11K": ("tbx11k", "tbx11"),
    "JSRT": ("jsrt",),
    "BRAX": ("brax",),
    "Open-I": ("openi", "iuxray", "indianauniversity"),
    "ChestX-Det": ("chestxdet", "chestxdet10"),
    "Object-CXR": ("objectcxr",),
    "CANDID-PTX": ("candidptx",),
    "VinDr-PCXR": ("vindrpcxr",),
    "COVID-19 Radiography Database": ("covid19radiography", "covidradiography"),
    "Figure 1 COVID-19": ("figure1covid",),
    "Actualmed COVID-19": ("actualmed",),
    "Hannover COVID-19": ("hannovercovid", "covid19imagerepository", "mlhannover"),
}
_SHORTEST_PART = 7
#: Towns and people, who have other images, too.
_WHOLE = ("shenzhen", "montgomery", "kermany")
#: Data sets made of images of others, as their authors say.
_PARTS = {
    "RSNA Pneumonia": ("ChestX-ray14",),
    "SIIM-ACR Pneumothorax": ("ChestX-ray14",),
    "ChestX-Det": ("ChestX-ray14",),
    "SIIM-FISABIO-RSNA COVID-19": ("BIMCV-COVID19", "MIDRC-RICORD"),
    "COVIDx": (
        *("covid-chestxray-dataset", "Figure 1 COVID-19", "Actualmed COVID-19", "COVID-19 Radiography Database"),
        *("RSNA Pneumonia", "SIIM-FISABIO-RSNA COVID-19", "MIDRC-RICORD", "BIMCV-COVID19"),
    ),
    "COVID-19 Radiography Database": (
        *("covid-chestxray-dataset", "Hannover COVID-19", "RSNA Pneumonia", "Kermany", "BIMCV-COVID19"),
    ),
    "COVID-QU-Ex": ("covid-chestxray-dataset", "RSNA Pneumonia", "PadChest", "Kermany", "BIMCV-COVID19"),
}
KNOWN_DATA_SETS = tuple(_ALIASES)


@cache
def public_name(name: str) -> str | None:
    """Return the public data set that a list or a source of this name is of, ``None`` where no name is known.

    Example:
        >>> public_name("NIH chest x-ray 14, frontal")
        'ChestX-ray14'
    """
    word = _word(name)
    best: tuple[int, str] | None = None
    for data_set, aliases in _ALIASES.items():
        for alias in (_word(data_set), *aliases):
            if word == alias:
                return data_set
            partial = len(alias) >= _SHORTEST_PART and alias not in _WHOLE and alias in word
            if partial and (best is None or len(alias) > best[0]):
                best = (len(alias), data_set)
    return None if best is None else best[1]


def shared_origin(one: str, other: str) -> str | None:
    """Return the data set whose images are in both, ``None`` where none is known to be.

    Args:
        one: a data set by any of its names.
        other: likewise.
    """
    first, second = _origins(public_name(one) or one), _origins(public_name(other) or other)
    return next((origin for origin in first if origin in second), None)


@cache
def _origins(name: str) -> tuple[str, ...]:
    """A data set and all that it was made of, itself first."""
    found = [name]
    for part in found:
        found += [each for each in _PARTS.get(part, ()) if each not in found]
    return tuple(found)


def _word(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
