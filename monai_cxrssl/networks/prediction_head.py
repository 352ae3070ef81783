# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Prediction head: logits to probabilities (softmax, sigmoid, temperature), decisions, masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["PredictionHead"]


class PredictionHead(nn.Module):
    """Turn the logits of :class:`~monai_cxrssl.networks.MultiTaskNet` into probabilities, decisions and masks.

    Args:
        task: ``"multi_class"`` (softmax over the classes) or ``"multi_label"`` (sigmoid of each).
        classes: names of the classes; none for a network that only segments.
        temperature: above 0; the logits of the classes are divided by it
            (:func:`monai_cxrssl.metrics.fit_temperature`). 1 leaves them.
        thresholds: the chosen operating point by class. A class that is left out, or has None or NaN, has no decision.
        mask_threshold: a pixel above this probability belongs to the mask; in [0, 1).

    Raises:
        ConfigurationError: an option is out of its range, or a threshold is of another class.

    Example:
        >>> import torch
        >>> head = PredictionHead("multi_label", ["a", "b"], thresholds={"a": 0.5})
        >>> scores = head({"label": torch.tensor([[0.0, 2.0]])})["label"]
        >>> head.decide(scores)
        tensor([[1., nan]])
    """

    def __init__(
        self,
        task: str = "multi_class",
        classes: Sequence[str] = (),
        temperature: float = 1.0,
        thresholds: Mapping[str, float | None] | None = None,
        mask_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        if task not in ("multi_class", "multi_label"):
            raise ConfigurationError(f"The task is {task!r}; expected multi_class or multi_label.")
        if not temperature > 0:
            raise ConfigurationError(f"temperature is {temperature!r}; expected a number above 0.")
        if not 0 <= mask_threshold < 1:
            raise ConfigurationError(f"mask_threshold is {mask_threshold!r}; expected a probability below 1.")
        # NaN is what choose_threshold gives where no threshold serves.
        given = {name: float(v) for name, v in (thresholds or {}).items() if v is not None and not math.isnan(v)}
        for name in thresholds or {}:
            if name not in classes:
                raise ConfigurationError(f"There is a threshold of {name!r}; the classes are {', '.join(classes)}.")
        for name, value in given.items():
            if not 0 <= value <= 1:
                raise ConfigurationError(f"The threshold of {name} is {value:g}; expected a probability, from 0 to 1.")
        self.task = task
        self.classes = list(classes)
        self.temperature = float(temperature)
        self.thresholds = given
        self.mask_threshold = float(mask_threshold)

    def named(self, output: Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
        """Name a bare output of logits: those of the classes, or of a mask where there are none."""
        return {"label" if self.classes else "mask": output} if isinstance(output, Tensor) else output

    def forward(self, output: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor]:
        """Return the probabilities of ``"label"`` ``(..., C)`` and ``"mask"``, what there is of them, in their type."""
        output = self.named(output)
        probabilities = {}
        if "label" in output:
            logits = output["label"] / self.temperature
            probabilities["label"] = logits.softmax(-1) if self.task == "multi_class" else logits.sigmoid()
        if "mask" in output:
            probabilities["mask"] = output["mask"].sigmoid()
        return probabilities

    def predict(self, output: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor]:
        """Return the probabilities that are written and shown, on the CPU.

        Logits ``{"label": (..., C), "mask": (..., 1, h, w)}``, or one of both, also bare, give ``"label"`` in float64
        where there are classes, and ``"mask"`` in float32.

        Raises:
            ConfigurationError: other numbers of classes or of masks.
        """
        output = self.named(output)
        logits = {}
        width = output["label"].shape[-1] if "label" in output else 0
        if width != len(self.classes):
            raise ConfigurationError(
                f"The network gives {width} values per image for {len(self.classes)} classes; give the classes that it "
                "was trained on."
            )
        if width:
            logits["label"] = output["label"].detach().double().cpu()
        if "mask" in output:
            logits["mask"] = output["mask"].detach().float()
            if logits["mask"].shape[-3] != 1:
                raise ConfigurationError(
                    f"The network draws {logits['mask'].shape[-3]} masks per image; one can be restored."
                )
        return {name: probabilities.cpu() for name, probabilities in self(logits).items()}

    def decide(self, probabilities: Tensor) -> Tensor:
        """Return 1 where ``(..., C)`` reaches its class's threshold, else 0; NaN without threshold or probability."""
        thresholds = probabilities.new_tensor([self.thresholds.get(name, math.nan) for name in self.classes])
        decisions = (probabilities >= thresholds).to(probabilities.dtype)
        return decisions.masked_fill(probabilities.isnan() | thresholds.isnan(), math.nan)

    def mark(self, logits: Tensor) -> Tensor:
        """Return where the mask is, from its logits: bool of the same shape."""
        return logits > (
            math.log(self.mask_threshold / (1 - self.mask_threshold)) if self.mask_threshold else -math.inf
        )
