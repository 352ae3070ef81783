# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM structured report (TID 1500) of class probabilities."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.dicom_results.finding_codes import OWN_SCHEME, finding_code
from monai_cxrssl.data.dicom_results.result import Algorithm, FilmResult
from monai_cxrssl.data.dicom_results.source import RESEARCH_USE, new_instance, saved, source_header, source_name
from monai_cxrssl.errors import ConfigurationError, CXRReadError

if TYPE_CHECKING:
    from highdicom.sr import ComprehensiveSR, MeasurementsAndQualitativeEvaluations
    from pydicom import Dataset

__all__ = ["write_score_report"]

_SERIES_NUMBER = 901
_MODEL = "monai_cxrssl"
_PLAIN_CHEST_XRAY = ("399208008", "SCT", "Plain chest X-ray")
_PRESENCE = ("705057003", "SCT", "Presence")
_THRESHOLD = ("THRESHOLD", OWN_SCHEME, "Decision threshold")


def write_score_report(
    result: FilmResult, source: Any, path: str | os.PathLike, algorithm: Algorithm | None = None
) -> Path:
    """Write the probabilities of an image's classes as a Comprehensive SR after TID 1500.

    Each class is a measurement group: its finding (:mod:`monai_cxrssl.data.dicom_results.finding_codes`), the certainty
    of the finding in percent (DCM 111012) with its uncertainty where there is an interval, and, where the class has a
    threshold, that and whether the finding is present. The report names the algorithm, its version and
    parameters, is preliminary and unverified, and says that it is for research use only.

    Args:
        result: with at least one class.
        source: the DICOM image, or its data set; its header is read, not its pixels, and repaired where it must be.
        path: the file to write and to return.
        algorithm: that gave the probabilities.

    Raises:
        CXRReadError: the source is no DICOM image, or a probability is no number.
        ConfigurationError: highdicom is not installed, or there are no classes.
    """
    if not result.scores:
        raise ConfigurationError("A structured report holds probabilities of classes, and this network has none.")
    if not result.is_finite:
        raise CXRReadError(source_name(source), "has probabilities that are no numbers", "Check the weights.")
    header = source_header(source, "DICOM SR")
    with saved(source, header, path, "DICOM SR") as made:
        made.append(_report(result, header, algorithm or Algorithm()))
    return Path(path)


def _report(result: FilmResult, header: Dataset, algorithm: Algorithm) -> ComprehensiveSR:
    from highdicom import sr
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.sr.codedict import codes

    # The same model is the same observer in each report.
    told = "\0".join([algorithm.name, algorithm.version, *algorithm.parameters]).encode()
    uid = f"2.25.{int.from_bytes(hashlib.sha256(told).digest()[:16], 'big')}"
    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=uid, name=algorithm.name[:64], manufacturer_name="monai_cxrssl contributors", model_name=_MODEL
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, observer)
        ),
        procedure_reported=sr.CodedConcept(*_PLAIN_CHEST_XRAY),
        imaging_measurements=[_group(name, result, header, algorithm) for name in result.scores],
        title=codes.DCM.ImagingMeasurementReport,
    )
    comments = [RESEARCH_USE, *([f"Warnings about the image: {result.warnings}"] if result.warnings else [])]
    for comment in comments:
        content[0].ContentSequence.append(
            sr.TextContentItem(codes.DCM.Comment, comment, relationship_type=sr.RelationshipTypeValues.CONTAINS)
        )
    own = CodingSchemeIdentificationItem(
        OWN_SCHEME, name="Classes of monai_cxrssl", responsible_organization="monai_cxrssl contributors"
    )
    return sr.ComprehensiveSR(
        evidence=[header],
        content=content[0],
        **new_instance(_SERIES_NUMBER),
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="Scores of a neural network, research use only",
        coding_schemes=[own],
    )


def _group(
    name: str, result: FilmResult, header: Dataset, algorithm: Algorithm
) -> MeasurementsAndQualitativeEvaluations:
    import highdicom
    from highdicom import sr
    from pydicom.sr.codedict import codes

    score, finding = result.scores[name], finding_code(name)
    properties = None
    if name in result.intervals:
        low, high = result.intervals[name]
        properties = sr.MeasurementProperties(
            upper_measurement_uncertainty=_percent(high - score), lower_measurement_uncertainty=_percent(score - low)
        )
        for item in properties:  # highdicom says "no units"
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [sr.CodedConcept.from_code(codes.UCUM.Percent)]
    measurements = [
        sr.Measurement(codes.DCM.CertaintyOfFinding, _percent(score), codes.UCUM.Percent, properties=properties)
    ]
    evaluations = []
    if (present := result.decision(name)) is not None:
        threshold = _percent(result.thresholds[name])
        measurements.append(sr.Measurement(sr.CodedConcept(*_THRESHOLD), threshold, codes.UCUM.Percent))
        evaluations.append(
            sr.QualitativeEvaluation(
                sr.CodedConcept(*_PRESENCE), codes.cid240.Present if present else codes.cid240.Absent
            )
        )
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=highdicom.UID(), identifier=name[:64]),
        finding_type=finding,
        algorithm_id=sr.AlgorithmIdentification(
            name=algorithm.name[:64], version=algorithm.version[:64], parameters=list(algorithm.parameters) or None
        ),
        measurements=measurements,
        qualitative_evaluations=evaluations or None,
        source_images=[sr.SourceImageForMeasurementGroup.from_source_image(header)],
    )


def _percent(probability: float) -> float:
    return round(100 * probability, 3)
