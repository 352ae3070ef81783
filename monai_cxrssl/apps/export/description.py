# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Input, preprocessing and outputs of an exported network in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_cxrssl.data.reading.film import LONGEST_ASPECT
from monai_cxrssl.data.stores.small_film import decoded_side
from monai_cxrssl.networks.description import described_start
from monai_cxrssl.networks.normalisation import IDENTITY, Normalisation

__all__ = ["describe_export", "describe_postprocessing", "describe_preprocessing"]

_REDUCTION = "area average, rounded to uint8: halves to even, but up where both sides are exactly halved"  # as OpenCV
_RULE = "one factor for both axes, never above 1; sides rounded, halves to even"
_SCALING = {"shrink": "area average", "enlarge": "bilinear, half-pixel centres"}


def describe_preprocessing(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the steps from an image to what the encoder reads, in order, as plain JSON values.

    Args:
        settings: a model's ``model.json``. The last step is there where it names a normalisation, and is the network's
            own, which is given the result of those before it.
    """
    image_size = int(settings["image_size"])
    side = decoded_side(image_size)
    normalisation = Normalisation.from_description(settings)
    own: list[dict[str, Any]] = []
    if normalisation != IDENTITY:
        own = [{"step": "normalise", "part_of": "the network", **normalisation.as_option()}]
    return [
        {"step": "decode", "dtype": "uint8", "orientation": "rows first, upright as displayed",
         "intensity": "bright is dense (bone white); of DICOM after modality LUT and the file's first VOI LUT or "
         "window, MONOCHROME1 inverted; 0 to 255 is the full range"},
        {"step": "reduce", "shorter_side": side, "longest_side": LONGEST_ASPECT * side, "method": _REDUCTION,
         "rule": _RULE, "before": "JPEG and JPEG 2000 may be decoded at 1/2, 1/4 or 1/8 of their size"},
        {"step": "scale", "divide_by": 255, "dtype": "float32"},
        {"step": "resize", "size": [image_size, image_size], "mode": "pad",
         "rule": "one factor for both axes, sides rounded, halves to even",
         "place": "centred, an odd pixel of padding below or right", **_SCALING, "fill": 0.0},
        *own,
    ]  # fmt: skip


def describe_postprocessing(output: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the steps from what a network of this package returns to what a person reads, as plain JSON values.

    The ``output`` is ``"label"`` or ``"mask"``, which are logits, or another: nothing follows an embedding.
    """
    if output == "label":
        multi_class = settings.get("task") == "multi_class"
        return [
            {"step": "divide", "by": float(settings.get("temperature", 1.0)), "why": "temperature of the calibration"},
            {"step": "softmax", "over": "classes"} if multi_class else {"step": "sigmoid"},
        ]
    if output == "mask":
        return [
            {"step": "sigmoid"},
            {"step": "crop", "rule": "cut off what the preprocessing padded"},
            {"step": "resize", "size": "rows and columns of the image", **_SCALING},
            {"step": "threshold", "above": 0.5, "values": [0, 1], "dtype": "uint8"},
        ]
    return []


def describe_export(
    settings: Mapping[str, Any], outputs: Sequence[str], temperature: float, weights_sha256: str
) -> dict[str, Any]:
    """Describe an exported network of these ``settings`` (``model.json``) and output names in plain JSON values."""
    from monai_cxrssl import __version__

    size = int(settings["image_size"])
    activation = "softmax over the classes" if settings.get("task") == "multi_class" else "sigmoid of each class"
    classes = list(settings.get("classes", []))
    pooling = described_start(settings)["pooling"]
    known: dict[str, dict[str, Any]] = {
        "label": {"values": "probabilities", "activation": activation, "shape": ["batch", len(classes)]},
        "mask": {"values": "probabilities", "activation": "sigmoid",
                 "shape": ["batch", settings.get("mask_channels", 1), size, size], "meaning": settings.get("mask"),
                 "postprocessing": "cut off the padding, resize to the image's rows and columns (bilinear where it "
                 "grows, area average where it shrinks), 1 where above 0.5"},
        "embedding": {"values": f"features, pooled by {pooling}", "shape": ["batch", "features"]},
    }  # fmt: skip
    return {
        "class_names": classes,
        "task": settings.get("task", "embedding"),
        "image_size": size,
        "temperature": float(temperature),
        "encoder_name": settings["encoder_name"],
        "decoder": settings.get("decoder") or "none",
        "input": {"name": "image", "dtype": "float32", "shape": ["batch", 1, size, size], "value_range": [0, 1]},
        "preprocessing": describe_preprocessing(settings),
        "outputs": {name: known[name] for name in outputs},
        "weights_sha256": weights_sha256,
        "written_by": f"monai_cxrssl {__version__}",
        "intended_use": "Research. Not a medical device.",
    }
