# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders that look like the sources of ``benchmarks/real_cxr.py``, with small made-up images."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

__all__ = ["make_sources"]

Rows = list[Sequence[object]]


def film(generator: np.random.Generator, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image ``(72, 64)`` of two dark lungs, one of them with a blot where the kind says so; and its lung mask."""
    mask = np.zeros((72, 64), np.uint8)
    for centre in (19, 45):
        cv2.ellipse(mask, (centre + int(generator.integers(-2, 3)), 36), (9, 22), 0, 0, 360, 255, -1)
    pixels = np.where(mask > 0, 60.0, 150.0)
    if kind:
        cv2.circle(pixels, (19 if kind == 1 else 45, 46), 7, 140.0, -1)
    # Coarse noise, by which no two images are near-duplicates.
    coarse = cv2.resize(generator.normal(0, 14, (24, 21)), (64, 72), interpolation=cv2.INTER_LINEAR)
    return np.clip(pixels + coarse + generator.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8), mask


def make_sources(data: Path, corpus: Path, patients: int = 60) -> None:
    """Write the folders of both roots; one image of covid-radiography is a test image of covid-chestxray or not."""
    generator = np.random.default_rng(0)
    kermany(corpus / "kermany-pediatric", generator, 2 * patients)
    chestxray14(data / "nih-chestxray14-subset", corpus / "nih-chestxray14-labels", generator, patients)
    covid_chestxray(data / "covid-chestxray-dataset", corpus / "covid-chestxray-masks", generator, patients)
    rows: Rows = [("patientid", "offset", "sex", "age", "finding", "view", "modality", "date", "folder", "filename",
                   "covid_chestxray_patientid")]  # fmt: skip
    for number in range(3):
        write(corpus / "hannover-covid" / "images" / f"h{number}.png", film(generator, 1)[0])
        rows.append((f"h{number}", 0, "", "", "COVID-19", "PA", "X-ray", "", "images", f"h{number}.png", number or ""))
    table(corpus / "hannover-covid" / "metadata.csv", rows)
    for name in ("covid-radiography", "jsrt", "openist"):
        rows = [("image", "patient_id", "label", "origin")]
        for number in range(4):
            write(corpus / name / "images" / f"{name}{number}.png", film(generator, number % 3)[0])
            origin = "RSNA Pneumonia (ChestX-ray14)" if number == 0 and name == "covid-radiography" else "elsewhere"
            rows.append((f"images/{name}{number}.png", f"{number}", "", origin))
        if (
            name == "covid-radiography"
        ):  # an image of every patient of Kermany would be seen in the audit; one is enough
            copy = cv2.imread(str(corpus / "kermany-pediatric" / "images" / "IM-0001-0001.jpeg"), cv2.IMREAD_GRAYSCALE)
            write(corpus / name / "images" / "copy.png", copy)
            rows.append(("images/copy.png", "copy", "", "elsewhere"))
        table(corpus / name / "table.csv", rows)


def kermany(folder: Path, generator: np.random.Generator, patients: int) -> None:
    rows: Rows = [("X_ray_image_name", "patient", "label")]
    masks: Rows = [("image", "patient_id", "label", "lung_mask")]
    for number in range(patients):
        for turn in range(1 + number % 4 // 3):
            name = f"IM-{number:04}-000{turn + 1}"
            pixels, mask = film(generator, number % 3)
            write(folder / "images" / f"{name}.jpeg", pixels)
            rows.append((f"{name}.jpeg", f"IM-{number:04}", ("Normal", "Bacterial", "Viral-Other")[number % 3]))
            if number % 4 != 1:
                write(folder / "lung_masks" / f"{name}.png", mask)
                masks.append((f"images/{name}.jpeg", f"IM-{number:04}", "", f"lung_masks/{name}.png"))
    table(folder / "labels.csv", rows)
    table(folder / "human_lung_masks.csv", masks)


def chestxray14(folder: Path, labels: Path, generator: np.random.Generator, patients: int) -> None:
    head = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender",
            "View Position")  # fmt: skip
    rows: Rows = [head]
    truth: Rows = [head]
    for number in range(patients):
        name = f"{number:08d}_000.png"
        write(folder / "images" / name, film(generator, number % 2)[0])
        rows.append((name, ("No Finding", "Pneumonia")[number % 2], 0, number, "", "", ""))
        truth.append((name, ("No Finding", "Edema|Pneumonia")[number % 2], 0, number, 40, "F", "AP"))
    table(folder / "Data_Entry_2017.csv", rows)
    table(labels / "Data_Entry_2017.csv", truth)


def covid_chestxray(folder: Path, masks: Path, generator: np.random.Generator, patients: int) -> None:
    rows: Rows = [("patientid", "offset", "sex", "age", "finding", "view", "modality", "date", "folder", "filename",
                   "intubated", "went_icu")]  # fmt: skip
    human: Rows = [("image", "patient_id", "view", "lung_mask")]
    radiologist: Rows = [("image", "patient_id", "view", "lung_mask", "infection_mask")]
    for number in range(patients):
        pixels, mask = film(generator, number % 2)
        write(folder / "images" / f"c{number}.png", pixels)
        write(folder / "annotations" / "lungVAE-masks" / f"c{number}_mask.png", mask)
        finding = ("COVID-19", "Pneumonia")[number % 6 == 5]
        rows.append((number, 0, "", "", finding, "PA", "X-ray", "", "images", f"c{number}.png", "", ""))
        image = f"../../data/covid-chestxray-dataset/images/c{number}.png"
        if number % 2:
            write(masks / "human" / f"c{number}.png", mask)
            human.append((image, number, "PA", f"human/c{number}.png"))
        if number % 3 == 0:
            write(masks / "infection" / f"c{number}.png", cv2.circle(np.zeros_like(mask), (19, 46), 7, 255, -1))
            radiologist.append((image, number, "PA", "", f"infection/c{number}.png"))
    table(folder / "metadata.csv", rows)
    table(masks / "human_lung_masks.csv", human)
    table(masks / "radiologist_masks.csv", radiologist)


def write(path: Path, pixels: np.ndarray) -> None:
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
