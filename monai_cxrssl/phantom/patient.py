# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantom patient: anatomy, study and acquisitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.phantom.anatomy import ThoraxAnatomy, sample_anatomy, stream
from monai_cxrssl.phantom.canvas import Pose
from monai_cxrssl.phantom.findings import CLASSES, Opacity, sample_findings
from monai_cxrssl.phantom.projection import Exposure

__all__ = ["Acquisition", "PhantomPatient", "sample_patient"]


@dataclass(frozen=True)
class Acquisition:
    """One image of a study.

    Args:
        view_position: "PA", "AP" or "LL".
        pose, exposure: how the patient stands; detector and display settings.
        height, width, field_cm: image in pixels; length in cm of its longer side.
        arms_out: how far the arms are held aside, 0..1.
        marker: side marker in lead, "R", "L" or "" for none.
        devices, tube: electrode leads lie on the patient, a central venous line in the patient.
        shutter: width of the collimator's black border at left, top, right, bottom, as a fraction of the image.
        seed: drives noise and the course of devices.
    """

    view_position: str
    pose: Pose
    exposure: Exposure
    height: int
    width: int
    field_cm: float
    arms_out: float
    marker: str
    devices: bool
    tube: bool
    shutter: tuple[float, float, float, float]
    seed: int

    @property
    def lateral(self) -> bool:
        """Whether this is a lateral view."""
        return self.view_position == "LL"


@dataclass(frozen=True)
class PhantomPatient:
    """One patient with one study: ``anatomy`` and ``findings`` are the same for every image.

    Args:
        index, seed: number within the data set; seed of this patient.
        patient_id, study_id: identifiers as written to the files.
        label: class of the study, index into :data:`CLASSES`; ``findings`` are empty for class 0.
        acquisitions: the images, at least one of them frontal.
    """

    index: int
    patient_id: str
    study_id: str
    seed: int
    label: int
    anatomy: ThoraxAnatomy
    findings: tuple[Opacity, ...]
    acquisitions: tuple[Acquisition, ...]


def _acquisition(view: str, size: int, seed: int) -> Acquisition:
    rng = stream(seed, 31)
    lateral, ap = view == "LL", view == "AP"
    ratio = rng.uniform(0.80, 0.88) if lateral else rng.uniform(0.90, 0.98)
    longer, shorter = size, max(16, 2 * round(size * ratio / 2))
    wide = ap and rng.random() < 0.35  # bedside images are often taken across
    height, width = (shorter, longer) if wide else (longer, shorter)
    pose = Pose(
        rotation=float(rng.normal(0, 2.6 if ap else 1.3)),
        yaw=0.0 if lateral else float(np.clip(rng.normal(0, 3.5 if ap else 1.8), -8, 8)),
        shift_x=float(rng.normal(0, 0.7)),
        shift_y=float(rng.normal(0, 0.7)),
        scale=float(np.clip(rng.normal(1.03 if ap else 1.0, 0.035), 0.88, 1.12)),
        inspiration=float(np.clip(rng.normal(0.90 if ap else 0.98, 0.03), 0.82, 1.03)),
    )
    exposure = Exposure(
        photons=float(np.exp(rng.normal(np.log(90000 if ap else 140000), 0.4))) * (3.0 if lateral else 1.0),
        scatter=float(rng.uniform(0.35, 0.6) if ap else rng.uniform(0.2, 0.4)),
        contrast=float(np.clip(rng.normal(0.92 if ap else 1.0, 0.13), 0.65, 1.35)),
        brightness=float(rng.normal(0, 0.16)),
        detail=float(rng.uniform(0.4, 1.1)),
    )
    marker = str(rng.choice(["R", "L"])) if rng.random() < 0.75 else ""
    shutter = rng.uniform(0.005, 0.045, 4) if rng.random() < 0.22 else np.zeros(4)
    return Acquisition(
        view_position=view,
        pose=pose,
        exposure=exposure,
        height=height,
        width=width,
        field_cm=float(rng.uniform(37.5, 40.0)),
        arms_out=float(rng.random()),
        marker="L" if lateral and marker else marker,
        devices=bool(not lateral and rng.random() < (0.45 if ap else 0.04)),
        tube=bool(ap and rng.random() < 0.3),
        shutter=(float(shutter[0]), float(shutter[1]), float(shutter[2]), float(shutter[3])),
        seed=seed,
    )


def sample_patient(
    index: int, label: int, seed: int = 0, size: int = 512, images_per_patient: tuple[int, int] = (1, 4)
) -> PhantomPatient:
    """Draw one patient; anatomy and images do not depend on the class.

    Args:
        index, seed: number of the patient; seed of the data set.
        label: class of the study, index into :data:`CLASSES`.
        size: longer side of the images, pixels.
        images_per_patient: least and largest number of images.

    Raises:
        ConfigurationError: for a class, a size or a number of images that cannot be.
    """
    low, high = (int(n) for n in images_per_patient)
    if not 0 <= label < len(CLASSES):
        raise ConfigurationError(f"The phantom has classes 0 to {len(CLASSES) - 1}, not {label}.")
    if not 1 <= low <= high:
        raise ConfigurationError(f"images_per_patient must be (least, most) with 1 <= least <= most, not {low, high}.")
    if size < 64:
        raise ConfigurationError(f"The phantom's size must be at least 64 pixels, not {size}.")
    rng = stream(seed, index, 30)
    own = int(rng.integers(1 << 31))
    count = low + int(min(high - low, rng.binomial(max(high - low, 0), 0.43)))
    ward = rng.random() < 0.35  # a bedside patient: mostly AP
    views = []
    for k in range(count):
        if k > 0 and rng.random() < 0.22:
            views.append("LL")
        else:
            views.append("AP" if rng.random() < (0.85 if ward else 0.08) else "PA")
    anatomy = sample_anatomy(own)
    films = tuple(_acquisition(view, size, int(rng.integers(1 << 31))) for view in views)
    name, findings = f"PHANTOM{index:05d}", sample_findings(label, anatomy, own)
    return PhantomPatient(index, name, f"{name}-S1", own, label, anatomy, findings, films)
