# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Named label maps, and those of a user's JSON file."""

from __future__ import annotations

import ast
import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from monai_cxrssl.data.datalists.vocabulary import finding_key
from monai_cxrssl.errors import ConfigurationError

__all__ = ["ANY_FINDING", "BEFORE_COVID", "LABEL_MAPS", "LabelMap", "load_label_map"]

#: In a map, every finding that it does not name.
ANY_FINDING = "*"
#: Data sets whose images were all taken before 2020, so that none of them shows COVID-19.
BEFORE_COVID = frozenset(
    {"CheXpert", "ChestX-ray14", "ChestX-Det", "JSRT", "Kermany", "MIMIC-CXR-JPG", "Montgomery", "Open-I", "PadChest"}
    | {"RSNA Pneumonia", "Shenzhen", "SIIM-ACR Pneumothorax", "TBX11K"}
)


class LabelMap(BaseModel):
    """Classes onto which labels of any data set are brought, see :mod:`monai_cxrssl.data.datalists.collapse`.

    Args:
        name: in the log and in the description of weights.
        classes: in label order.
        task: ``"multi_class"`` for exclusive classes.
        map: finding, as any data set spells it, to class. It stands for its narrower kinds too. ``None``: an image of
            it is unknown. ``"*"``: every other finding.
        rest: class of an image that is known to show none of the findings of the other classes; without it such an
            image is unknown.
        data_sets: entries that go before ``map``, by the name of a data set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = "map"
    classes: list[str] = Field(min_length=1)
    task: Literal["multi_class", "multi_label"] = "multi_class"
    map: dict[str, str | None] = Field(min_length=1)
    rest: str | None = None
    data_sets: dict[str, dict[str, str | None]] = {}

    @model_validator(mode="after")
    def _check_classes(self) -> LabelMap:
        given = [self.rest, *self.map.values(), *(v for entries in self.data_sets.values() for v in entries.values())]
        unknown = [name for name in given if name is not None and name not in self.classes]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of its classes ({', '.join(self.classes)})")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class stands twice")
        if self.task == "multi_class" and len(self.classes) < 2:
            raise ValueError("exclusive classes are two or more; for one finding say task multi_label")
        if self.task == "multi_label" and self.rest is not None:
            raise ValueError("rest is for exclusive classes only; a finding of multi_label is 0 where none of it is")
        return self

    def with_classes(self, class_map: Mapping[str, str | None] | None) -> LabelMap:
        """Return the map with further entries, which go before its own."""
        keys = {finding_key(name) for name in class_map or {}}
        own = {name: value for name, value in self.map.items() if finding_key(name) not in keys}
        return LabelMap(**{**self.model_dump(), "map": {**own, **(class_map or {})}})


def _named(name: str, classes: list[str], findings: dict[str, str | None], rest: str | None = None, **sets: Any) -> Any:
    return LabelMap(name=name, classes=classes, map=findings, rest=rest, **sets)


_RSNA = "RSNA Pneumonia"
#: No kinds of pneumonia in the vocabulary, and kinds all the same.
_PNEUMONIA = dict.fromkeys(
    ("Pneumonia", "Bronchopneumonia", "Pleuropneumonia", "Typical Appearance", "Indeterminate Appearance"), "Pneumonia"
)
_PROOF = dict.fromkeys(("COVID-19", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance"))

LABEL_MAPS: dict[str, LabelMap] = {
    label_map.name: label_map
    for label_map in (
        _named(
            "normal_abnormal",
            ["No Finding", "Abnormal"],
            {"No Finding": "No Finding", ANY_FINDING: "Abnormal"},
            data_sets={_RSNA: {"No Lung Opacity / Not Normal": "Abnormal"}},
        ),
        _named(
            "pneumonia",
            ["No Pneumonia", "Pneumonia"],
            # Of the grades of SIIM-FISABIO-RSNA, the atypical ones are effusion, edema, nodules ... as well.
            {"No Finding": "No Pneumonia", **_PNEUMONIA, "Atypical Appearance": None},
            "No Pneumonia",
            # Its opacities are those suspicious of pneumonia, in the challenge's own words.
            data_sets={_RSNA: {"Lung Opacity": "Pneumonia", "No Lung Opacity / Not Normal": "No Pneumonia"}},
        ),
        _named(
            "covid_pneumonia_normal",
            ["No Finding", "Pneumonia", "COVID-19"],
            {
                "No Finding": "No Finding",
                **dict.fromkeys(("Pneumonia", "Bronchopneumonia", "Pleuropneumonia"), "Pneumonia"),
                "COVID-19": "COVID-19",
            },
            data_sets={_RSNA: {"Lung Opacity": "Pneumonia"}},
        ),
        _named(
            "covid_negative_positive",
            ["COVID-19 Negative", "COVID-19"],
            {
                "No Finding": "COVID-19 Negative",
                "COVID-19 Negative": "COVID-19 Negative",
                **dict.fromkeys(_PROOF, "COVID-19"),
            },
            "COVID-19 Negative",
        ),
        _named(
            "tuberculosis",
            ["No Tuberculosis", "Tuberculosis"],
            {"No Finding": "No Tuberculosis", "Tuberculosis": "Tuberculosis"},
            "No Tuberculosis",
        ),
    )
}


def load_label_map(value: Any) -> LabelMap | None:
    """Return the map that a name, a JSON file, a mapping or the text of one means; ``None`` for ``None``.

    Raises:
        ConfigurationError: there is no such name or file, or it is no label map.
    """
    if value is None or isinstance(value, LabelMap):
        return value
    if isinstance(value, str | os.PathLike):
        if str(value) in LABEL_MAPS:
            return LABEL_MAPS[str(value)]
        value = _read(str(value))
    try:
        return LabelMap.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        told = f"{place}: {fault['msg']}" if place else fault["msg"]
        raise ConfigurationError(
            f"The label map is wrong ({told.replace('Value error, ', '')}); expected such as {{'classes': ['healthy', "
            "'ill'], 'map': {'No Finding': 'healthy', 'Edema': 'ill'}}."
        ) from None


def _read(text: str) -> Any:
    """Return the content of a file of that path, or of a dictionary typed in its place."""
    path = Path(text).expanduser()
    if text.lstrip().startswith("{"):
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            raise ConfigurationError(f"The label map {text} is no dictionary as Python writes it.") from None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        near = difflib.get_close_matches(text, LABEL_MAPS, 1, 0.5)
        remedy = f"did you mean {near[0]}? The named ones are" if near else "the named ones are"
        raise ConfigurationError(
            f"There is no label map {text}, neither by that name nor as a file; {remedy} {', '.join(LABEL_MAPS)}."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The label map {text} cannot be read as JSON: {error}.") from None
    return {"name": path.stem, **content} if isinstance(content, dict) else content
