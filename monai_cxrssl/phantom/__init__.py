# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Seeded analytic chest phantom written as DICOM.

Example:
    >>> from monai_cxrssl.phantom import render, sample_patient
    >>> patient = sample_patient(index=0, label=1, seed=0, size=128)
    >>> render(patient, 0).image.shape[0]
    1
"""

from __future__ import annotations

from monai_cxrssl.phantom.anatomy import ThoraxAnatomy, sample_anatomy
from monai_cxrssl.phantom.canvas import Pose
from monai_cxrssl.phantom.dataset import iter_patients, make_phantom_dataset
from monai_cxrssl.phantom.findings import CLASSES, Opacity, sample_findings
from monai_cxrssl.phantom.patient import Acquisition, PhantomPatient, sample_patient
from monai_cxrssl.phantom.projection import MU, Exposure, line_integral, transmit
from monai_cxrssl.phantom.render import PhantomImage, render

__all__ = ["CLASSES", "MU", "Acquisition", "Exposure", "Opacity", "PhantomImage", "PhantomPatient", "Pose"]
__all__ += ["ThoraxAnatomy", "iter_patients", "line_integral", "make_phantom_dataset", "render", "sample_anatomy"]
__all__ += ["sample_findings", "sample_patient", "transmit"]
