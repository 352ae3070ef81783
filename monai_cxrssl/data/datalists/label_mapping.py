# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels of one data set mapped onto the classes of another.

What a data set does not annotate is unknown, never negative. Data set and model may each be multi-label (any number of
findings) or multi-class (one class, which excludes the others of the list). All rules below are our choice:

- **multi-label to multi-label**: by name.
- **multi-class to multi-label**: the image's class is positive, the others of its list are negative, but a broader
  class of the list (:data:`~monai_cxrssl.data.datalists.vocabulary.BROADER`) is unknown: in a list of COVID-19 and
  Pneumonia, the latter means pneumonia of another cause. A class that the list lacks is positive where it is broader
  than the image's (bacterial pneumonia is pneumonia), negative where a broader one is negative, and negative on an
  image without finding when the list has a kind of it (a healthy image among bacterial and viral ones has no
  pneumonia).
- **multi-class to multi-class**: the class of the same name, else the narrowest broader one. Unknown where the model
  has a kind of the image's class that the data set does not tell apart: its Pneumonia may be the model's COVID-19.
- **multi-label to multi-class**: the one class of the model that is positive. A broad class is positive only where all
  kinds of it that the model has are negative; two positive classes are unknown. ``No Finding`` where the data set says
  so; where it has no word on it, an image on which every class of the data set is known to be negative, and every class
  of the model thereby too. A finding that the model does not have is no reason for ``No Finding``.

A multi-class image of a class whose name the vocabulary and the model lack is unknown altogether, since nobody knows
what it is a kind of. An explicit map of classes goes before all names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from monai_cxrssl.data.datalists.datalist import is_unknown
from monai_cxrssl.data.datalists.vocabulary import BROADER, PATHOLOGIES, canonical_pathology
from monai_cxrssl.errors import DatalistError

__all__ = ["LabelMapping", "named_findings", "vocabulary_name"]

NO_FINDING = "No Finding"
# The name of a class that is known to be none of the model's.
_NONE = ""


def vocabulary_name(name: str) -> str:
    """The entry of the vocabulary, or the name itself where there is none."""
    return canonical_pathology(name) or name


def named_findings(label: Any, names: Sequence[str], task: str) -> dict[str, float | None]:
    """Say what a known label tells of the classes of its own list.

    Args:
        label: a class number, or for multi-label one value per class, ``None`` or NaN where unknown.
        names: the classes in label order, by :func:`vocabulary_name`; several may be one, which is then positive where
            one is, negative where all are.
        task: ``"multi_class"`` or ``"multi_label"``.

    Returns:
        for each name its value in [0, 1], or ``None``.
    """
    values: list[float | None]
    if task == "multi_class":
        chosen = names[int(label)]
        broader = BROADER.get(chosen, ())
        values = [None if name in broader else float(name == chosen) for name in names]
    else:
        values = [None if is_unknown(value) else float(value) for value in label]
    known: dict[str, float | None] = {}
    for name, value in zip(names, values, strict=True):
        known[name] = _either(known[name], value) if name in known else value
    return known


def _either(first: float | None, second: float | None) -> float | None:
    """Two classes of a source that are one in the vocabulary: positive where one is, negative where both are."""
    given = [value for value in (first, second) if value is not None]
    return max(given) if len(given) == 2 or (given and given[0] >= 0.5) else None


class LabelMapping:
    """Rewrites labels of a data set onto the classes and the task of a model; see the rules of this module.

    Args:
        target_classes, target_task: classes of the data set in label order; ``"multi_class"`` or ``"multi_label"``.
        classes, task: the same of the model.
        class_map: class of the data set to class of the model, for names that the vocabulary lacks or to overrule it;
            ``None`` as value says that it is none of them, so that a multi-class image of it is negative for the other
            classes of its list (``COVID-19 Negative`` for ``COVID-19``) instead of unknown.

    Attributes:
        names: classes of the model by their names in the vocabulary.
        target_names: classes of the data set likewise; ``""`` for none of the model's.

    Raises:
        DatalistError: ``class_map`` names a class that the data set or the model does not have.

    Example:
        >>> mapping = LabelMapping(["Normal", "Bacterial"], "multi_class", ["Pneumonia", "Edema"], "multi_label")
        >>> mapping(1), mapping(0), mapping.shared
        ([1.0, None], [0.0, None], ['Pneumonia'])
    """

    def __init__(
        self,
        target_classes: Sequence[str],
        target_task: str,
        classes: Sequence[str],
        task: str,
        class_map: Mapping[str, str | None] | None = None,
    ) -> None:
        self.target_classes, self.classes = list(target_classes), list(classes)
        self.target_task, self.task = target_task, task
        given = dict(class_map or {})
        _check_map(given, self.target_classes, self.classes)
        entries = [vocabulary_name(name) for name in self.classes]
        count = Counter(entries)
        # Classes of the model that are one in the vocabulary ("Normal", "Negative for Pneumonia") keep their own names.
        self.names = [e if count[e] == 1 else name for e, name in zip(entries, self.classes, strict=True)]
        own = dict(zip(self.classes, self.names, strict=True))
        self.target_names = [
            (_NONE if given[name] is None else own[str(given[name])])
            if name in given
            else own.get(name, vocabulary_name(name))
            for name in self.target_classes
        ]
        self._explicit = {name for name in given if given[name] is not None}
        self._done: dict[Any, int | list[float | None] | None] = {}

    def __call__(self, label: Any) -> int | list[float | None] | None:
        """Rewrite one label: a class number, or one value or ``None`` per class; ``None`` where nothing is known."""
        if is_unknown(label):
            return None
        key = tuple(None if is_unknown(v) else v for v in label) if isinstance(label, list | tuple) else int(label)
        if key not in self._done:  # 400,000 images have few different labels
            self._done[key] = self._rewritten(key)
        found = self._done[key]
        return list(found) if isinstance(found, list) else found

    @property
    def shared(self) -> list[str]:
        """The classes of the model that a label of the data set can say something of."""
        count = len(self.target_classes)
        labels: list[Any] = list(range(count))
        if self.target_task == "multi_label":
            labels = [[float(number == chosen) for number in range(count)] for chosen in range(-1, count)]
        found: set[int] = set()
        for label in labels if count else ():
            told = self(label)
            found.update([told] if isinstance(told, int) else [n for n, v in enumerate(told or ()) if v is not None])
        return [self.classes[number] for number in sorted(found)]

    @property
    def idle(self) -> list[str]:
        """The classes of a multi-class data set whose images are unknown to the model."""
        if self.target_task == "multi_label":
            return []
        return [name for number, name in enumerate(self.target_classes) if self(number) is None]

    def _rewritten(self, label: Any) -> int | list[float | None] | None:
        exclusive = self.target_task == "multi_class"
        chosen = self.target_names[label] if exclusive else None
        # A foreign class: neither the vocabulary nor the model has it.
        if chosen and chosen not in self.names and chosen not in PATHOLOGIES:
            return None
        if exclusive and self.task == "multi_class":
            return self._class_of(label)
        known = named_findings(label, self.target_names, self.target_task)
        if self.task == "multi_class":
            return self._only_class(known)
        values = [self._finding(name, known, chosen) for name in self.names]
        return None if all(value is None for value in values) else values

    def _finding(self, name: str, known: Mapping[str, float | None], chosen: str | None) -> float | None:
        """A class of a multi-label model; ``chosen`` is the image's class of a multi-class data set."""
        if name in known or chosen is None:
            return known.get(name)
        if name in BROADER.get(chosen, ()):
            return 1.0
        healthy = chosen == NO_FINDING and any(name in BROADER.get(kind, ()) for kind in known)
        return 0.0 if healthy or _broader_is_negative(name, known) else None

    def _class_of(self, number: int) -> int | None:
        """The class of a multi-class model for a class of a multi-class data set."""
        chosen = self.target_names[number]
        kinds = [name for name in self.names if chosen in BROADER.get(name, ()) and name not in self.target_names]
        if kinds and self.target_classes[number] not in self._explicit:
            return None
        if chosen in self.names:
            return self.names.index(chosen)
        covering = [name for name in BROADER.get(chosen, ()) if name in self.names]
        narrowest = [n for n in covering if not any(n in BROADER.get(other, ()) for other in covering)]
        return self.names.index(narrowest[0]) if len(narrowest) == 1 else None

    def _only_class(self, known: Mapping[str, float | None]) -> int | None:
        """The class of a multi-class model for the findings of a multi-label data set."""
        states = [self._holds(name, known) for name in self.names]
        positive = [number for number, state in enumerate(states) if state]
        if len(positive) == 1:
            return positive[0]
        if positive or NO_FINDING not in self.names or known.get(NO_FINDING) is not None:
            return None
        healthy = self.names.index(NO_FINDING)
        findings = [value for name, value in known.items() if name != NO_FINDING]
        told = all(value is not None and value < 0.5 for value in findings)
        distinguished = all(state is False for number, state in enumerate(states) if number != healthy)
        return healthy if told and distinguished and len(self.names) > 1 else None

    def _holds(self, name: str, known: Mapping[str, float | None]) -> bool | None:
        """Whether an image belongs to a class of a multi-class model, apart from the kinds of it that the model has."""
        kinds = [other for other in self.names if name in BROADER.get(other, ())]
        value = known.get(name)
        shown = [name in BROADER.get(kind, ()) and (of or 0.0) >= 0.5 for kind, of in known.items()]
        if not any(shown) and (value is None or value < 0.5):
            return False if value is not None or _broader_is_negative(name, known) else None
        states = [self._holds(kind, known) for kind in kinds]
        if any(states):
            return False
        return None if None in states else True


def _broader_is_negative(name: str, known: Mapping[str, float | None]) -> bool:
    values = [known.get(broader) for broader in BROADER.get(name, ())]
    return any(value is not None and value < 0.5 for value in values)


def _check_map(given: Mapping[str, str | None], target_classes: Sequence[str], classes: Sequence[str]) -> None:
    for name, chosen in given.items():
        if name not in target_classes:
            raise DatalistError(
                f"class_map names {name!r}, which is none of the classes of the data set ({', '.join(target_classes)})."
            )
        if chosen is not None and chosen not in classes:
            raise DatalistError(
                f"class_map takes {name!r} for {chosen!r}, which is none of the classes of the model "
                f"({', '.join(classes)})."
            )
