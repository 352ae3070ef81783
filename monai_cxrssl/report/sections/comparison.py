# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report section comparing models: DeLong's test and paired bootstrap over patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.delong import delong_test, holm_adjust
from monai_cxrssl.metrics.patient_bootstrap import Interval, bootstrap_mean, missing_interval
from monai_cxrssl.metrics.ranking import compare_auc
from monai_cxrssl.report.content import Section
from monai_cxrssl.report.findings import Evidence, Films, Findings, interval_text
from monai_cxrssl.report.paired import match_films, p_of_interval

__all__ = ["comparison_findings"]

#: Means over images that are compared, where both models have them.
_MEASURES = {
    "dice": "Dice",
    "lung_attention_excess": "Attention on the lungs: PFS minus lung area",
    "pointing": "Attention on the lungs: pointing game",
    "saliency_iou": "Attention on the lungs: IoU of the most salient fifth",
}


@dataclass(frozen=True)
class _Difference:
    """A difference of two models, its name among the figures and in words, and p of DeLong's test."""

    key: str
    words: str
    interval: Interval
    delong_p: float = float("nan")


def comparison_findings(evidence: Evidence) -> Findings:
    """Make the section, on the images that all models scored.

    Figures: ``<first>_minus_<second>_macro_auc``, ``…_auc_<class>``, ``…_dice``, and of attention on the lungs
    ``…_lung_attention_excess``, ``…_pointing`` and ``…_saliency_iou``.

    Raises:
        DatalistError: models of other classes, no image in common, or images whose labels differ.
    """
    findings = Findings(Section("comparison", "Comparison of models"))
    aligned = _aligned(findings, evidence.compared)
    pairs = {pair: _differences(*pair, aligned, evidence) for pair in combinations(aligned, 2)}
    every = [each for differences in pairs.values() for each in differences]
    own = [[p_of_interval(each.interval) for each in every], [each.delong_p for each in every]]
    tested = iter(zip(own[0], holm_adjust(own[0]), own[1], holm_adjust(own[1]), strict=True))
    columns = ["Figure", "Difference", "p, interval", "p, Holm", "p, DeLong", "p DeLong, Holm"]
    for (first, second), differences in pairs.items():
        rows = [
            [each.words, interval_text(each.interval, signed=True), *p]
            for each, p in zip(differences, tested, strict=False)
        ]
        note = {each.words: each.interval for each in differences}
        findings.table(f"{first} minus {second}", columns, rows, note)
        _flag(findings, first, second, differences[0])
        for each in differences[1:]:
            if each.key == "lung_attention_excess":
                _flag(findings, first, second, each)
        findings.intervals({f"{first}_minus_{second}_{each.key}": each.interval for each in differences})
    films = next(iter(aligned.values()))
    findings.text(
        f"{len(films.items)} images of {films.patients} patients that all models scored. The differences have 95 % "
        "intervals over patients, paired: of the AUROCs by DeLong's variance over patients, of the Dice from the same "
        "resampled patients for both. The p of the interval is of its width. DeLong's test takes images as "
        "independent: where patients have several, trust the interval.",
        f"{len(every)} differences are tested here. The columns Holm are corrected for that number; without the "
        "correction, one in twenty would come out below 0.05 by chance.",
        "The sections above are of the first model; this one alone is of all.",
    )
    if any(each.key == "lung_attention_excess" for each in every):
        findings.text(
            "Attention is compared image by image, less the share that is lung, so that a model whose lungs are drawn "
            "larger gains nothing by it. Convolutional networks and transformers are looked at by different saliency "
            "methods; between the two the difference is also one of methods."
        )
    return findings


def _aligned(findings: Findings, models: Mapping[str, Films]) -> dict[str, Films]:
    """The images that all models scored, in the order of the first; what was left out is said."""
    (name_of_first, first), *others = models.items()
    common = np.arange(len(first.items))
    for name, other in others:
        if (other.classes, other.task) != (first.classes, first.task):
            raise DatalistError(
                f"{name_of_first} has the classes {', '.join(first.classes)} ({first.task}) and {name} has "
                f"{', '.join(other.classes)} ({other.task}); compare models of the same classes."
            )
    for _, other in others:
        common = np.intersect1d(common, match_films(first.items, other.items)[0])
    if not len(common):
        raise DatalistError(
            f"{', '.join(models)} have no test image in common, by image and patient_id; predict the same cases."
        )
    chosen = first.take(common)
    aligned = {name_of_first: chosen}
    for name, other in others:
        aligned[name] = other = other.take(match_films(chosen.items, other.items)[1])
        odd = ~np.isclose(other.cohort.labels, chosen.cohort.labels, rtol=0, atol=0, equal_nan=True)
        if odd.any():
            image = chosen.items[int(np.flatnonzero(odd.any(axis=1))[0])]["image"]
            raise DatalistError(
                f"{name_of_first} and {name} have other labels of {image}; give predictions on the same labels."
            )
    left_out = {name: len(films.items) - len(common) for name, films in models.items()}
    listed = ", ".join(f"{count} of {name}" for name, count in left_out.items() if count > 0)
    if listed:
        findings.text(f"The models were not scored on the same images; left out are {listed}.")
    return aligned


def _differences(first: str, second: str, models: Mapping[str, Films], evidence: Evidence) -> list[_Difference]:
    one, other = models[first], models[second]
    differences: list[_Difference] = []
    if one.classes:
        sides = (one.cohort.scores, other.cohort.scores, one.cohort.labels)
        for key, interval in compare_auc(one.cohort, other.cohort.scores, evidence.plan)[2].items():
            name, p = key.removeprefix("auc_"), float("nan")
            if key != "macro_auc" and np.isfinite(interval.value):
                c = one.classes.index(name)
                scores, other_scores, labels = (side[:, c] for side in sides)
                p = delong_test(scores, other_scores, labels).p
            words = "Macro AUROC" if key == "macro_auc" else f"AUROC of {name}"
            differences.append(_Difference(key, words, interval, p))
    for key, words in _MEASURES.items():
        own, others = (_measure(films, key) for films in (one, other))
        if own is None or others is None:
            continue
        values = own - others
        if one.take(np.isfinite(values)).patients > 1:
            interval = bootstrap_mean(values, one.cohort.patients, f"difference of {key}", evidence.plan, (-1, 1))
        else:
            interval = missing_interval("the images with a mask are of fewer than two patients")
        differences.append(_Difference(key, words, interval))
    if not differences:
        raise DatalistError(
            f"{first} and {second} have neither classes nor Dice nor attention in common; there is nothing to compare."
        )
    return differences


def _measure(films: Films, key: str) -> np.ndarray | None:
    """A figure of every image ``(N,)``; ``None`` where it was not measured."""
    if key != "lung_attention_excess":
        return films.measures.get(key)
    pfs, area = films.measures.get("pfs"), films.measures.get("lung_area")
    return None if pfs is None or area is None else pfs - area


def _flag(findings: Findings, first: str, second: str, difference: _Difference) -> None:
    interval = difference.interval
    what = "macro AUROC" if difference.key == "macro_auc" else difference.words
    shown = f"{what} {interval_text(interval, signed=True)}"
    does = "attends to the lungs" if difference.key == "lung_attention_excess" else "is"
    more, less = ("more", "less") if difference.key == "lung_attention_excess" else ("better", "worse")
    if not np.isfinite(interval.ci_low):
        reason = interval.reason or "there is no interval"
        findings.flag("unknown", f"{first} and {second}: {what} is not assessable, since {reason}.")
    elif interval.ci_low > 0:
        findings.flag("good", f"{first} {does} {more} than {second}: {shown}.")
    elif interval.ci_high < 0:
        findings.flag("warning", f"{first} {does} {less} than {second}: {shown}.")
    else:
        findings.flag("unknown", f"No difference between {first} and {second} is shown: {shown}.")
