# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""How often 95 % intervals of AUCs and proportions hold the truth, on drawn patients.

An image's score is the sum of its patient's and its own part, normal, of the variance shares given; a proportion counts
the images whose part lies below a quantile. Print one table in Markdown.

    python benchmarks/interval_coverage.py --draws 2000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import norm

from monai_cxrssl.metrics import proportion_interval
from monai_cxrssl.metrics.clustered_auc import ClusteredAUC

PATIENTS = (16, 40, 200)
AREAS = (0.7, 0.9, 0.99)
PROPORTIONS = (0.5, 0.95, 0.99, 1.0)

#: Name, share of the variance between patients, most images of a patient, patients of the other class (None: as many).
AREA_CASES = (
    ("half between patients", 0.5, 5, None),
    ("one image each", 0.5, 1, None),
    ("nearly all between patients", 0.95, 5, None),
    ("little between patients", 0.05, 5, None),
    ("200 of the other class", 0.5, 5, 200),
)
PROPORTION_CASES = AREA_CASES[:4]

Generator = np.random.Generator


def latent(generator: Generator, patients: int, between: float, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw patients of 1 to ``most`` images; return the patient and a unit normal number of each image ``(N,)``."""
    patient = np.repeat(np.arange(patients), generator.integers(1, most + 1, patients))
    own = np.sqrt(between) * generator.normal(size=patients)[patient]
    return patient, own + np.sqrt(1 - between) * generator.normal(size=len(patient))


def area_held(generator: Generator, truth: float, patients: int, between: float, most: int, others: int | None) -> bool:
    """Draw one test set, of so many patients in each class; return whether the interval of its AUC holds the truth."""
    patient, score = latent(generator, patients + (others or patients), between, most)
    label = (patient < patients) * 1.0
    score = score + np.sqrt(2) * norm.ppf(truth) * label
    low, high = ClusteredAUC.of(score[:, None], label[:, None], patient).ends(0.95)
    return bool(low[0] <= truth <= high[0])


def proportion_held(generator: Generator, truth: float, patients: int, between: float, most: int) -> bool:
    """Draw one test set; return whether the interval of its proportion holds the truth."""
    patient, part = latent(generator, patients, between, most)
    found = proportion_interval(part < norm.ppf(truth), patient)
    return found.ci_low <= truth <= found.ci_high


def coverage(held: Callable[[Generator], bool], draws: int, seed: int = 0) -> float:
    """Return the share of draws whose interval holds the truth."""
    generator = np.random.default_rng(seed)
    return sum(held(generator) for _ in range(draws)) / draws


def _case(held: Callable[..., bool], *case: Any) -> bool:
    """Draw one test set of a case; the generator comes last."""
    *settings, generator = case
    return held(generator, *settings)


def table(draws: int) -> str:
    """Return the coverage of every case, in percent, in Markdown."""
    lines = []
    for what, truths, cases in (("AUC", AREAS, AREA_CASES), ("proportion", PROPORTIONS, PROPORTION_CASES)):
        heads = [f"{truth:g}, {patients}" for truth in truths for patients in PATIENTS]
        lines += ["", f"| {what}, patients | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for name, between, most, others in cases:
            case = (between, most, others) if what == "AUC" else (between, most)
            held = area_held if what == "AUC" else proportion_held
            sets = [(truth, patients) for truth in truths for patients in PATIENTS]
            cells = [f"{100 * coverage(partial(_case, held, *each, *case), draws):.1f}" for each in sets]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines[1:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="test sets per cell")
    print(table(parser.parse_args().draws))
