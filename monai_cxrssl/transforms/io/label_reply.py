# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A film's prediction in the form that MONAI Label's writers take: under ``pred`` and ``result``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

__all__ = ["LabelReply", "LabelReplyd"]


class LabelReply(Transform):
    """Turn a mask ``(1, H, W)`` to the axes of MONAI Label's writer: column, row, slice.

    The writer swaps the axes of what it gets, since MONAI's own readers hand out pictures as (width, height). The third
    axis makes it write the film's place in space into NIfTI and NRRD, so that the mask lies on its film in a viewer; a
    picture (PNG) has the film's rows and columns all the same.
    """

    def __call__(self, mask: torch.Tensor, affine: Any) -> MetaTensor:  # type: ignore[override]
        """Turn one mask.

        Args:
            mask: ``(1, H, W)`` uint8.
            affine: ``(4, 4)`` from (row, column, 0, 1) to RAS in mm.

        Returns:
            ``(W, H, 1)`` uint8 with the affine of (column, row, 0, 1).
        """
        turned = np.asarray(affine, dtype=np.float64)[:, [1, 0, 2, 3]]
        plane = torch.as_tensor(mask)[0].T.contiguous()[..., None]
        return MetaTensor(plane, affine=torch.from_numpy(turned))


class LabelReplyd(Transform):
    """Dictionary form of :class:`LabelReply`: the last of a bundle's ``postprocessing``.

    A mask becomes ``pred``; of a network without one, the probabilities do. ``result``, which is the reply's JSON, gets
    ``{"prediction": [{"idx", "label", "score", "decision"}]}`` where there are probabilities; ``decision`` (0 or 1)
    where the class has a threshold. The image goes: MONAI Label would otherwise resize the prediction to it once more.

    Args:
        classes: names of the classes.
        thresholds: the chosen operating point by class.
        image_key, mask_key, scores_key: entries of the film, the restored mask and the probabilities.
        pred_key: entry that MONAI Label writes; fixed there.
    """

    def __init__(
        self,
        classes: Sequence[str] = (),
        thresholds: Mapping[str, float | None] | None = None,
        image_key: str = "image",
        mask_key: str = "mask",
        scores_key: str = "scores",
        pred_key: str = "pred",
    ) -> None:
        self.classes = list(classes)
        self.thresholds = dict(thresholds or {})
        self.image_key = image_key
        self.mask_key = mask_key
        self.scores_key = scores_key
        self.pred_key = pred_key
        self.reply = LabelReply()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item as MONAI Label writes it.

        Raises:
            KeyError: there are neither a mask nor probabilities.
        """
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
        item[self.pred_key] = vector if mask is None else self.reply(mask, film["affine"])
        item["label"] = item[self.pred_key] if vector is None else vector
        item["mask"] = item[self.pred_key]
        return item

    def _table(self, scores: torch.Tensor) -> list[dict[str, Any]]:
        table: list[dict[str, Any]] = []
        for index, (name, score) in enumerate(zip(self.classes, scores.tolist(), strict=True)):
            row = {"idx": index, "label": name, "score": score}
            threshold = self.thresholds.get(name)
            if threshold is not None and threshold == threshold:  # NaN where no threshold serves
                row["decision"] = int(score >= threshold)
            table.append(row)
        return table
