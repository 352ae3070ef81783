# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Postprocessing of one image's prediction: probabilities, restored mask, MONAI Label reply."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["LabelReplyd", "RestoreMask", "RestoreMaskd", "SplitPredictiond"]


class Head(Protocol):
    """What these transforms need of :class:`monai_cxrssl.networks.PredictionHead`."""

    classes: list[str]

    def predict(self, output: Mapping[str, torch.Tensor] | torch.Tensor) -> dict[str, torch.Tensor]:
        """Return probabilities by ``"label"`` and ``"mask"``."""

    def decide(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Return decisions of ``(C,)`` probabilities, NaN where there is none."""


class SplitPredictiond(MapTransform):
    """Replace a network's outputs by the probabilities of the classes and of the mask.

    Args:
        head: :class:`monai_cxrssl.networks.PredictionHead`.
        keys: the entry with ``{"label": (classes,) logits, "mask": (1, h, w) logits}`` or one of both, also bare.
        scores_key, mask_key: get ``(classes,)`` float64 and ``(1, h, w)`` float32 probabilities, where there are any.
        allow_missing_keys: pass over an item without the entry.
    """

    def __init__(
        self,
        head: Head,
        keys: KeysCollection = "pred",
        scores_key: str = "scores",
        mask_key: str = "mask",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ConfigurationError(f"keys names {len(self.keys)} entries; an image has one prediction.")
        self.head = head
        self.targets = {"label": scores_key, "mask": mask_key}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with its prediction taken apart; a ConfigurationError for another number of classes
        or masks."""
        item = dict(data)
        for key in self.key_iterator(item):
            item |= {self.targets[name]: value for name, value in self.head.predict(item.pop(key)).items()}
        return item


class RestoreMask(Transform):
    """Bring a mask of probabilities from the network's grid, made by ``resize``, to the image's own rows and columns.

    A probability above ``threshold`` belongs to the mask; a ConfigurationError if it is out of its range.
    """

    def __init__(self, resize: ResizeCXR, threshold: float = 0.5) -> None:
        self.resize = resize
        if not 0 <= threshold < 1:
            raise ConfigurationError(f"threshold is {threshold!r}; expected a probability below 1.")
        self.threshold = float(threshold)

    def __call__(  # type: ignore[override]
        self, mask: Any, shape: tuple[int, ...], decoded_shape: tuple[int, ...] | None = None
    ) -> torch.Tensor:
        """Restore one mask: uint8 tensor ``(1, H, W)`` of 0 and 1.

        Args:
            mask: ``(1, h, w)`` of the size of ``resize``, probabilities.
            shape, decoded_shape: rows and columns of the image, and of the smaller copy that was resized, if there was
                one.

        Raises:
            ValueError: the mask is of another size or not finite.
        """
        plane = np.asarray(mask.detach().cpu() if isinstance(mask, torch.Tensor) else mask, dtype=np.float32)
        if not np.isfinite(plane).all():
            raise ValueError("The network gave no finite numbers for its mask; its weights may be damaged.")
        # NumPy keeps to the thread that calls it, and a bool is a byte of 0 or 1.
        above = self.resize.invert(plane, shape, decoded_shape).numpy() > np.float32(self.threshold)
        return torch.from_numpy(above.view(np.uint8))


class RestoreMaskd(MapTransform):
    """Dictionary form of :class:`RestoreMask`, for images loaded by :class:`~monai_cxrssl.transforms.LoadSmallCXRd`.

    Args:
        resize, threshold: as in :class:`RestoreMask`.
        keys: entries with a mask of probabilities.
        image_key: the image's entry, whose ``<image_key>_film`` tells the sizes.
        allow_missing_keys: pass over keys that an item lacks, as of a network that only classifies.
    """

    def __init__(
        self,
        resize: ResizeCXR,
        keys: KeysCollection = "mask",
        threshold: float = 0.5,
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.restore = RestoreMask(resize, threshold)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with its masks restored; a KeyError if it does not tell the image's size."""
        item = dict(data)
        for key in self.key_iterator(item):
            film = item.get(f"{self.image_key}_film")
            if film is None:
                raise KeyError(f"The item has no '{self.image_key}_film'; load its image with LoadSmallCXRd.")
            item[key] = self.restore(item[key], film["shape"], film["decoded_shape"])
        return item


class LabelReplyd(Transform):
    """Put a prediction into the form that MONAI Label's writers take: the last of a bundle's ``postprocessing``.

    A mask becomes ``pred``, ``(W, H, 1)`` uint8 with its affine; of a network without one, the probabilities do.
    ``result``, which is the reply's JSON, gets ``{"prediction": [{"idx", "label", "score", "decision"}]}`` where there
    are probabilities; ``decision`` (0 or 1) where the class has a threshold. The image goes: MONAI Label would
    otherwise resize the prediction to it once more.

    Args:
        head: :class:`monai_cxrssl.networks.PredictionHead`.
        image_key, mask_key, scores_key: entries of the image, the restored mask and the probabilities.
        pred_key: entry that MONAI Label writes; fixed there.
    """

    def __init__(
        self,
        head: Head,
        image_key: str = "image",
        mask_key: str = "mask",
        scores_key: str = "scores",
        pred_key: str = "pred",
    ) -> None:
        self.head, self.image_key, self.mask_key, self.scores_key = head, image_key, mask_key, scores_key
        self.pred_key = pred_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item as MONAI Label writes it; a KeyError without both mask and probabilities."""
        item = dict(data)
        scores, mask = item.pop(self.scores_key, None), item.pop(self.mask_key, None)
        film = item.pop(f"{self.image_key}_film", None)
        item.pop(self.image_key, None)
        item.pop(f"{self.image_key}_meta_dict", None)
        if scores is None and mask is None:
            raise KeyError(f"The item has neither {self.scores_key!r} nor {self.mask_key!r} to reply with.")
        if scores is not None:
            item["result"] = {"prediction": self._table(scores)}
        # The app adds a last step of its own on the network's first output, by the name in the bundle's metadata.
        vector = None if scores is None else MetaTensor(torch.as_tensor(scores))
        item[self.pred_key] = vector if mask is None else _columns_first(mask, film["affine"])
        item["label"] = item[self.pred_key] if vector is None else vector
        item["mask"] = item[self.pred_key]
        return item

    def _table(self, scores: torch.Tensor) -> list[dict[str, Any]]:
        table: list[dict[str, Any]] = []
        values = zip(self.head.classes, scores.tolist(), self.head.decide(scores).tolist(), strict=True)
        for index, (name, score, decision) in enumerate(values):
            row = {"idx": index, "label": name, "score": score}
            table.append(row if math.isnan(decision) else {**row, "decision": int(decision)})
        return table


def _columns_first(mask: torch.Tensor, affine: Any) -> MetaTensor:
    """Turn a mask ``(1, H, W)`` with the affine of (row, column, 0, 1) to column, row, slice.

    MONAI Label's writer swaps the axes of what it gets, since MONAI's own readers hand out pictures as (width, height).
    The third axis makes it write the place in space into NIfTI and NRRD, so that the mask lies on its image in a
    viewer; a picture (PNG) has the image's rows and columns all the same.
    """
    turned = np.asarray(affine, dtype=np.float64)[:, [1, 0, 2, 3]]
    return MetaTensor(torch.as_tensor(mask)[0].T.contiguous()[..., None], affine=torch.from_numpy(turned))
