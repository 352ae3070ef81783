# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels of any data set collapsed onto a few classes.

A :class:`~monai_cxrssl.data.datalists.label_maps.LabelMap` says which findings show which class. What an image is, is
decided by what its label tells for certain:

- a positive finding speaks for the class that the map gives it, or gives the narrowest finding that it is a kind of
  (:data:`~monai_cxrssl.data.datalists.vocabulary.BROADER`); a broader finding says no more than its kinds do. Where it
  may be of a kind that another class stands for (pneumonia, in a list that does not tell COVID-19), it says nothing;
- an image with a finding beside ``No Finding``, or with findings of two exclusive classes, contradicts itself: unknown,
  and counted;
- without a positive finding of the map, it is of the class ``rest`` where the findings of all other classes are known
  to be negative, themselves or a broader one;
- an image is known to have no finding where the data set says so, or, where the data set has no word on it, where all
  findings are negative that it labels, those of heart, lungs and pleura among them. That only one finding is absent
  (no pneumothorax) is no health. An image that is known not to be without finding has one, whichever it is;
- devices (tubes, pacemakers) are no findings;
- images taken before 2020 (:data:`~monai_cxrssl.data.datalists.label_maps.BEFORE_COVID`) show no COVID-19.

All else is unknown: left out of training and figures, never negative.
"""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from monai_cxrssl.data.datalists.datalist import SPLITS, Datalist, is_known, is_unknown
from monai_cxrssl.data.datalists.label_mapping import named_findings, vocabulary_name
from monai_cxrssl.data.datalists.label_maps import ANY_FINDING, BEFORE_COVID, LABEL_MAPS, LabelMap
from monai_cxrssl.data.datalists.vocabulary import BROADER, PATHOLOGIES, finding_key

__all__ = ["Collapse", "collapse_labels"]

logger = logging.getLogger(__name__)

HEALTHY = "No Finding"
_DEVICES = frozenset(
    finding_key(name) for name in ("Support Devices", "Pacemaker", "Endotracheal Tube", "Chest Tube", "Foreign Object")
)
#: One of each must be labelled, and negative, before nothing else is to be feared.
_REGIONS = (
    {"Cardiomegaly", "Enlarged Cardiomediastinum"},
    {"Consolidation", "Infiltration", "Lung Opacity", "Pneumonia", "Alveolar Pattern"},
    {"Pleural Effusion"},
)


def collapse_labels(datalist: Datalist, label_map: LabelMap) -> Datalist:
    """Rewrite the labels of a data set onto the classes of a map, and say in the log what became of them.

    A data set without labels, or of these very classes already, is returned as it is.
    """
    if not datalist.has_labels or (list(datalist.classes), datalist.task) == (label_map.classes, label_map.task):
        return datalist
    collapse = Collapse(datalist.name, datalist.classes, datalist.task, label_map)
    before = [item.get("label") for split in SPLITS for item in datalist.splits[split]]
    labels = [collapse(label) for label in before]
    _tell(datalist, label_map, collapse, before, labels)
    return datalist.with_labels(labels, label_map.classes, label_map.task)


class Collapse:
    """Rewrites labels of one data set by a map; see the rules of this module.

    Args:
        name: of the data set.
        classes, task: of the data set.
        label_map: what shows which class.

    Example:
        >>> collapse = Collapse("x", ["Normal", "Bacterial", "Viral"], "multi_class", LABEL_MAPS["pneumonia"])
        >>> [collapse(number) for number in range(3)]
        [0, 1, 1]
    """

    def __init__(self, name: str, classes: Any, task: str, label_map: LabelMap) -> None:
        self.classes, self.task, self.label_map = list(classes), task, label_map
        self._before_covid = name in BEFORE_COVID
        entries = {**label_map.map, **label_map.data_sets.get(name, {})}
        self._star = entries.pop(ANY_FINDING, None)
        self._class_of = {finding_key(finding): target for finding, target in entries.items()}
        self.names = [self._name(each) for each in self.classes]
        self._done: dict[Any, tuple[Any, bool]] = {}

    def __call__(self, label: Any) -> int | list[float | None] | None:
        """Rewrite one label: a class number, or one value or ``None`` per class; ``None`` where nothing is known."""
        value, _ = self._result(label)
        return list(value) if isinstance(value, list) else value

    def contradicts_itself(self, label: Any) -> bool:
        """Return whether a label is positive for what excludes each other."""
        return self._result(label)[1]

    def _result(self, label: Any) -> tuple[Any, bool]:
        if is_unknown(label):
            return None, False
        key = tuple(None if is_unknown(v) else v for v in label) if isinstance(label, list | tuple) else int(label)
        if key not in self._done:  # 400,000 images have few different labels
            self._done[key] = self._rewritten(key)
        return self._done[key]

    @property
    def idle(self) -> list[str]:
        """The classes of a multi-class data set whose images become unknown."""
        numbers = range(len(self.classes)) if self.task == "multi_class" else ()
        return [self.classes[number] for number in numbers if self(number) is None]

    def _name(self, name: str) -> str:
        """The finding by its key; the short form of "Negative for Pneumonia" among the grades of COVID-19."""
        graded = any(vocabulary_name(each) == "Typical Appearance" for each in self.classes)
        return HEALTHY if graded and name.strip().lower() == "negative" else finding_key(name)

    def _target(self, name: str) -> str | None:
        """The class that a finding speaks for."""
        if name in self._class_of:
            return self._class_of[name]
        covering = [broader for broader in BROADER.get(name, ()) if broader in self._class_of]
        narrowest = [n for n in covering if not any(n in BROADER.get(other, ()) for other in covering)]
        if narrowest:
            return self._class_of[narrowest[0]]
        # Of exclusive classes with a name that nobody knows, "negative" may be one.
        foreign = self.task == "multi_class" and name not in PATHOLOGIES
        return None if name == HEALTHY or name in _DEVICES or foreign else self._star

    def _known(self, label: Any) -> dict[str, float | None]:
        """What a label tells, and what follows from it."""
        known = named_findings(label, self.names, self.task)
        if self._before_covid:
            known.setdefault("COVID-19", 0.0)
        findings = {name: value for name, value in known.items() if name != HEALTHY and name not in _DEVICES}
        told = known.get(HEALTHY)
        looked_for = all(not region.isdisjoint(findings) for region in _REGIONS)
        if told is None and looked_for and all(self._is_absent(name, known) for name in findings):
            known[HEALTHY] = told = 1.0
        return known

    def _is_absent(self, name: str, known: Mapping[str, float | None]) -> bool:
        values = [known.get(each) for each in (name, *BROADER.get(name, ()))]
        return any(value is not None and value < 0.5 for value in values)

    def _rewritten(self, label: Any) -> tuple[Any, bool]:
        """The new label, and whether the old one contradicts itself."""
        known = self._known(label)
        positive = [n for n, value in known.items() if value is not None and value >= 0.5 and n not in _DEVICES]
        # A broader finding says no more than its kinds.
        telling = [name for name in positive if not any(name in BROADER.get(kind, ()) for kind in positive)]
        doubtful = {name for name in telling if self._may_be_another(name, known)}
        targets = {self._target(name) for name in telling if name not in doubtful} - {None}
        if not positive and self._star is not None and known.get(HEALTHY) is not None:
            targets.add(self._star)
        healthy = self._class_of.get(HEALTHY)
        exclusive = self.label_map.task == "multi_class"
        if (HEALTHY in positive and len(positive) > 1) or (exclusive and len(targets) > 1):
            return None, True
        if not exclusive:
            values = [self._value(name, targets, known) for name in self.label_map.classes]
            return (values if is_known(values) else None), False
        rest = self.label_map.rest
        silenced = doubtful or any(name in self._class_of and self._class_of[name] is None for name in telling)
        target = targets.pop() if targets else None
        if target is None and all(self._all_absent(name, known) for name in self.label_map.classes if name != rest):
            target = rest
        if target is None or (silenced and target in (rest, healthy)):
            return None, False
        return self.label_map.classes.index(target), False

    def _may_be_another(self, name: str, known: Mapping[str, float | None]) -> bool:
        """Whether a positive finding may be of a kind that stands for another class."""
        kinds = [kind for kind in self._class_of if name in BROADER.get(kind, ())]
        own = self._target(name)
        return any(self._class_of[kind] != own and not self._is_absent(kind, known) for kind in kinds)

    def _all_absent(self, target: str, known: Mapping[str, float | None]) -> bool:
        """Whether all findings of a class are negative, of those that the data set labels; at least one is."""
        if (known.get(HEALTHY) or 0.0) >= 0.5 and self._class_of.get(HEALTHY) != target:
            return True
        own = [name for name in known if self._target(name) == target]
        roots = [name for name, of in self._class_of.items() if of == target]
        named = any(self._is_absent(name, known) for name in roots)
        return named and all(self._is_absent(name, known) for name in own)

    def _value(self, target: str, targets: set[str | None], known: Mapping[str, float | None]) -> float | None:
        if target in targets:
            return 1.0
        return 0.0 if self._all_absent(target, known) else None


def _tell(datalist: Datalist, label_map: LabelMap, collapse: Collapse, before: list[Any], labels: list[Any]) -> None:
    counts: Counter[str] = Counter()
    for label in labels:
        values = enumerate(label) if isinstance(label, list) else [(label, 1.0)]
        counts.update(label_map.classes[n] for n, value in values if n is not None and (value or 0.0) >= 0.5)
    known = sum(map(is_known, labels))
    told = ", ".join(f"{counts[name]} {name}" for name in label_map.classes)
    name, lost = f"{datalist.name} by {label_map.name}", sum(map(is_known, before)) - known
    logger.info("%s: of %d labelled images %s; %d unknown.", name, known + lost, told, lost)
    images = [str(item["image"]) for split in SPLITS for item in datalist.splits[split]]
    odd = [image for image, label in zip(images, before, strict=True) if collapse.contradicts_itself(label)]
    if odd:
        told = "have labels that contradict themselves, and are unknown therefore; the first is"
        logger.warning("%s: %d images %s %s.", name, len(odd), told, odd[0])
    if collapse.idle:
        told = "a file with 'classes' and 'map' can (docs/label_policies.md)"
        logger.warning("%s: the map does not say what images of %s are; %s.", name, ", ".join(collapse.idle), told)
    absent = [each for each in label_map.classes if not counts[each]]
    if absent:
        logger.warning("%s: no image is known to be %s.", name, " or ".join(absent))
    if label_map.name not in LABEL_MAPS:
        own = {finding_key(each) for each in (*datalist.classes, *PATHOLOGIES)}
        strange = [each for each in label_map.map if each != ANY_FINDING and finding_key(each) not in own]
        near = {each: difflib.get_close_matches(each, datalist.classes, 1) for each in strange}
        for each, found in near.items():
            hint = f"; did you mean {found[0]}?" if found else ""
            logger.warning("%s: %r of the map is no class of the data set%s", name, each, hint)
