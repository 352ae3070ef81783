# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders that look like the three sources of ``benchmarks/real_cxr.py``, with small made-up films."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

__all__ = ["make_sources"]


def film(generator: np.random.Generator, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy film ``(72, 64)`` of two dark lungs, one of them with a blot where the kind says so; and its lung mask."""
    mask = np.zeros((72, 64), np.uint8)
    for centre in (19, 45):
        cv2.ellipse(mask, (centre + int(generator.integers(-2, 3)), 36), (9, 22), 0, 0, 360, 255, -1)
    pixels = np.where(mask > 0, 60.0, 150.0)
    if kind:
        cv2.circle(pixels, (19 if kind == 1 else 45, 46), 7, 140.0, -1)
    return np.clip(pixels + generator.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8), mask


def make_sources(folder: Path, patients: int = 40) -> None:
    """Write ``kermany-pediatric``, ``nih-chestxray14-subset`` and ``covid-chestxray-dataset`` below a folder."""
    generator = np.random.default_rng(0)
    rows: list[Sequence[object]] = [("X_ray_image_name", "patient", "label")]
    for number in range(patients):
        for turn in range(1 + number % 4 // 3):
            name = f"k{number}_{turn}.jpeg"
            write(folder / "kermany-pediatric" / "images" / name, film(generator, number % 3)[0])
            rows.append((name, f"k{number}", ("Normal", "Bacterial", "Viral-Other")[number % 3]))
    table(folder / "kermany-pediatric" / "labels.csv", rows)
    rows = [("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender",
             "View Position")]  # fmt: skip
    for number in range(patients):
        name = f"{number:08d}_000.png"
        write(folder / "nih-chestxray14-subset" / "images" / name, film(generator, number % 2)[0])
        rows.append((name, ("No Finding", "Pneumonia")[number % 2], 0, number, "", "", ""))
    table(folder / "nih-chestxray14-subset" / "Data_Entry_2017.csv", rows)
    rows = [("patientid", "offset", "sex", "age", "finding", "view", "modality", "date", "folder", "filename",
             "intubated", "went_icu")]  # fmt: skip
    source = folder / "covid-chestxray-dataset"
    for number in range(patients):
        pixels, mask = film(generator, number % 2)
        write(source / "images" / f"c{number}.png", pixels)
        if number % 4 < 3:
            write(source / "annotations" / "lungVAE-masks" / f"c{number}_mask.png", mask)
        finding = ("COVID-19", "Pneumonia")[number % 2]
        view = "L" if number == 5 else "PA"
        rows.append((number, 0, "", "", finding, view, "X-ray", "", "images", f"c{number}.png", "", ""))
    table(source / "metadata.csv", rows)


def write(path: Path, pixels: np.ndarray) -> None:
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
