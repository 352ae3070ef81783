# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From a network's logits of one film to probabilities of its classes and a mask of the film's own size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["RestoreMask", "RestoreMaskd", "SplitPrediction", "SplitPredictiond"]


class SplitPrediction(Transform):
    """Turn the logits of :class:`monai_cxrssl.networks.MultiTaskNet` of one film into probabilities.

    Args:
        classes: names of the classes; none for a network that only segments.
        task: ``"multi_class"`` (softmax) or ``"multi_label"`` (sigmoid).
        temperature: that the logits of the classes are divided by; 1 leaves them.

    Raises:
        ConfigurationError: another task, or a temperature that is not above 0.
    """

    def __init__(self, classes: Sequence[str] = (), task: str = "multi_class", temperature: float = 1.0) -> None:
        if task not in ("multi_class", "multi_label"):
            raise ConfigurationError(f"task is {task!r}; choose 'multi_class' or 'multi_label'.")
        if not temperature > 0:
            raise ConfigurationError(f"temperature is {temperature!r}; expected a number above 0.")
        self.classes = list(classes)
        self.task = task
        self.temperature = float(temperature)

    def __call__(self, prediction: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Take the outputs of one film apart.

        Args:
            prediction: ``{"label": (classes,) logits, "mask": (1, h, w) logits}`` or one of both.

        Returns:
            ``{"scores": (classes,) float64, "mask": (1, h, w) float32}``, probabilities, what there is of them.

        Raises:
            ConfigurationError: other numbers of classes or of masks.
        """
        result = {}
        width = int(prediction["label"].shape[-1]) if "label" in prediction else 0
        if width != len(self.classes):
            raise ConfigurationError(
                f"The network gives {width} values per image for {len(self.classes)} classes; give the classes that it "
                "was trained on."
            )
        if width:
            logits = torch.as_tensor(prediction["label"]).detach().double().cpu() / self.temperature
            result["scores"] = logits.softmax(-1) if self.task == "multi_class" else logits.sigmoid()
        if "mask" in prediction:
            mask = torch.as_tensor(prediction["mask"]).detach().float().cpu()
            if mask.shape[0] != 1:
                raise ConfigurationError(f"The network draws {mask.shape[0]} masks per image; one can be restored.")
            result["mask"] = mask.sigmoid()
        return result


class SplitPredictiond(MapTransform):
    """Dictionary form of :class:`SplitPrediction`: one entry becomes ``scores`` and ``mask``.

    Args:
        keys: the entry with the network's outputs, which is taken away.
        classes, task, temperature: as in :class:`SplitPrediction`.
        scores_key: gets ``(classes,)`` float64 probabilities, where the network classifies.
        mask_key: gets ``(1, h, w)`` float32 probabilities, where it segments.
        allow_missing_keys: pass over an item without the entry.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        classes: Sequence[str] = (),
        task: str = "multi_class",
        temperature: float = 1.0,
        scores_key: str = "scores",
        mask_key: str = "mask",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ConfigurationError(f"keys names {len(self.keys)} entries; a film has one prediction.")
        self.split = SplitPrediction(classes, task, temperature)
        self.scores_key = scores_key
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with its prediction taken apart."""
        item = dict(data)
        for key in self.key_iterator(item):
            found = self.split(item.pop(key))
            for name, target in (("scores", self.scores_key), ("mask", self.mask_key)):
                if name in found:
                    item[target] = found[name]
        return item


class RestoreMask(Transform):
    """Bring a mask of probabilities from the network's grid to the film's own rows and columns, and decide.

    Args:
        size: side of the network's images in pixels, or ``[height, width]``.
        mode: of the :class:`~monai_cxrssl.transforms.ResizeCXR` that made them.
        threshold: a probability above it is lung.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    def __init__(self, size: int | Sequence[int] = 224, mode: str = "pad", threshold: float = 0.5) -> None:
        self.resize = ResizeCXR(size=size, mode=mode)
        if not 0 <= threshold < 1:
            raise ConfigurationError(f"threshold is {threshold!r}; expected a probability below 1.")
        self.threshold = float(threshold)

    def __call__(  # type: ignore[override]
        self, mask: torch.Tensor, shape: Sequence[int], decoded_shape: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Restore one mask.

        Args:
            mask: ``(1, h, w)`` of the size of this transform, probabilities.
            shape: rows and columns of the film.
            decoded_shape: those of the smaller copy that was resized, where there was one.

        Returns:
            uint8 tensor ``(1, H, W)`` of 0 and 1.

        Raises:
            ValueError: the mask is of another size or not finite.
        """
        if not bool(torch.isfinite(mask).all()):
            raise ValueError("The network gave no finite numbers for its mask; its weights may be damaged.")
        return (self.resize.invert(mask, shape, decoded_shape) > self.threshold).to(torch.uint8)


class RestoreMaskd(MapTransform):
    """Dictionary form of :class:`RestoreMask`, for films loaded by :class:`~monai_cxrssl.transforms.LoadSmallCXRd`.

    Args:
        keys: entries with a mask of probabilities.
        size, mode, threshold: as in :class:`RestoreMask`.
        image_key: the film's entry, whose ``<image_key>_film`` tells the sizes.
        allow_missing_keys: pass over keys that an item lacks, as of a network that only classifies.
    """

    def __init__(
        self,
        keys: KeysCollection = "mask",
        size: int | Sequence[int] = 224,
        mode: str = "pad",
        threshold: float = 0.5,
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.restore = RestoreMask(size, mode, threshold)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with its masks restored.

        Raises:
            KeyError: the item does not tell the film's size.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            film = item.get(f"{self.image_key}_film")
            if film is None:
                raise KeyError(f"The item has no '{self.image_key}_film'; load its film with LoadSmallCXRd.")
            item[key] = self.restore(item[key], film["shape"], film["decoded_shape"])
        return item
