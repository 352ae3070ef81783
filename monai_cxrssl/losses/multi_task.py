# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Loss of labels and masks together, where any sample may lack either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, FocalLoss
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.losses.task_weights import uncertainty_weighted

__all__ = ["MultiTaskLoss"]

TASKS = ("multi_class", "multi_label")
WEIGHTINGS = ("fixed", "uncertainty")
LABEL_LOSSES = ("cross_entropy", "focal", "auc_margin")
# Of MONAI's AUCMLoss.
MARGIN = 1.0


def _items(batch: Mapping[str, Any], rows: Tensor | None = None) -> str:
    """Name the items of a batch, or of some of its rows, for a message."""
    index = batch.get("index")
    if index is None:
        return "one or more items"
    numbers = torch.as_tensor(index).flatten().cpu()
    numbers = numbers if rows is None else numbers[rows.cpu()]
    shown = ", ".join(str(number) for number in numbers[:8].tolist())
    return f"item{'s' if len(numbers) > 1 else ''} {shown}" + (" …" if len(numbers) > 8 else "")


class MultiTaskLoss(nn.Module):
    r"""Weighted sum of a label loss and a mask loss; a sample without one of the two trains only the other.

    The label loss is the mean over the samples (multi-class) or the entries (multi-label) that are known, the mask
    loss the mean over the samples with a mask of Dice loss plus binary cross-entropy (both of equal weight). The logits
    of a sample that lacks a label or a mask are left out, not multiplied by zero: their gradient is exactly 0. (Through
    batch normalisation in training mode such a sample still takes part in the statistics of the others.)

    Fixed weights: ``loss = label_weight * label_loss + mask_weight * mask_loss``. Uncertainty weights (Kendall et al.
    2018, arXiv 1705.07115, equation 10, with the learned log variance s of each part, 0 at the start):
    ``loss = sum_k weight_k * (exp(-s_k) * loss_k + s_k / 2)``; a part that a batch lacks does not move its s.

    Args:
        task: ``"multi_class"`` (one class per image) or ``"multi_label"`` (any number of findings per image).
        weighting: ``"fixed"`` or ``"uncertainty"``; the latter has parameters that belong in the optimiser.
        class_weights: one weight per class for the samples that have the class. Multi-class: as in
            ``torch.nn.CrossEntropyLoss``. Multi-label: as ``pos_weight`` of ``torch.nn.BCEWithLogitsLoss``.
        label_loss: ``"cross_entropy"`` (softmax, or sigmoid for multi-label), ``"focal"`` (MONAI's ``FocalLoss`` with
            gamma 2) or ``"auc_margin"`` (as MONAI's ``AUCMLoss`` version 2; Yuan et al. 2021, arXiv 2012.03173). The
            latter is taken per class, one against the rest, on probabilities. Its inner problem (the mean scores
            a and b of positives and negatives, and alpha) is solved exactly on the batch instead of by a second
            optimiser (our choice), and a class of which the batch has one kind only has nothing to add; use
            class-balanced sampling with it.
        label_smoothing: share in [0, 1) of the target that is spread evenly, for ``"cross_entropy"`` only.

    Raises:
        ConfigurationError: an option that cannot work.

    Example:
        >>> output = {"label": torch.zeros(2, 4), "mask": torch.zeros(2, 1, 8, 8)}
        >>> batch = {"label": torch.tensor([3, -1]), "mask": torch.zeros(2, 1, 8, 8)}
        >>> batch["has_mask"] = torch.tensor([False, True])
        >>> {name: round(value.item(), 3) for name, value in MultiTaskLoss("multi_class")(output, batch).items()}
        {'loss': 3.079, 'label_loss': 1.386, 'mask_loss': 1.693}
    """

    def __init__(
        self,
        task: str,
        label_weight: float = 1.0,
        mask_weight: float = 1.0,
        weighting: str = "fixed",
        class_weights: Sequence[float] | None = None,
        label_loss: str = "cross_entropy",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("task", task, TASKS),
            ("weighting", weighting, WEIGHTINGS),
            ("label_loss", label_loss, LABEL_LOSSES),
        ):
            if value not in known:
                raise ConfigurationError(f"The {name} is {value!r}; expected one of {', '.join(known)}.")
        if label_weight < 0 or mask_weight < 0 or label_weight + mask_weight == 0:
            raise ConfigurationError(
                f"The weights of the label and the mask loss are {label_weight} and {mask_weight}; expected 0 or more, "
                "and not both 0."
            )
        if not 0 <= label_smoothing < 1 or (label_smoothing and label_loss != "cross_entropy"):
            raise ConfigurationError(
                f"label_smoothing is {label_smoothing} with the {label_loss} loss; expected a share in [0, 1), and 0 "
                "with any loss but cross_entropy."
            )
        if class_weights is not None and (label_loss == "auc_margin" or min(class_weights, default=-1.0) < 0):
            raise ConfigurationError(
                f"class_weights are {list(class_weights)} with the {label_loss} loss; expected one weight of 0 or more "
                "per class, and none with auc_margin, which does not depend on the balance of the classes."
            )
        self.task = task
        self.weights = {"label": float(label_weight), "mask": float(mask_weight)}
        self.weighting = weighting
        self.label_loss = label_loss
        self.label_smoothing = float(label_smoothing)
        self.class_weights: Tensor | None
        self.register_buffer(
            "class_weights", None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        )
        self.log_variance = nn.Parameter(torch.zeros(2)) if weighting == "uncertainty" else None
        self.focal = FocalLoss(gamma=2.0, use_softmax=task == "multi_class", reduction="none")
        self.dice = DiceLoss(sigmoid=True, reduction="none")

    def forward(self, output: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the losses of a batch, each a float32 scalar (float64 for float64 logits).

        Args:
            output: logits, ``label (B, C)`` and ``mask (B, M, H, W)``; either may be absent.
            batch: ``label``, int64 ``(B,)`` with -1 for unknown, or float ``(B, C)`` in [0, 1] with NaN for unknown;
                ``mask (B, M, H, W)`` of {0, 1} and ``has_mask (B,)`` bool (all True when absent); ``index (B,)``, item
                numbers for messages. Label or mask may be absent. With ``label_rows`` and ``mask_rows`` from
                :meth:`check`, nothing here waits for the device.

        Returns:
            ``{"loss", "label_loss", "mask_loss"}``; the loss of a part that the batch lacks is 0, with a graph.

        Raises:
            DatalistError: a label outside the classes, a mask that does not fit, or no label and no mask at all.
            ConfigurationError: another number of class weights than of classes.
        """
        reference = next(iter(output.values()))
        with torch.autocast(reference.device.type, enabled=False):
            parts: dict[str, tuple[Tensor, bool]] = {}
            if "label" in output:
                parts["label"] = self._label_part(_full(output["label"]), batch)
            if "mask" in output:
                parts["mask"] = self._mask_part(_full(output["mask"]), batch)
            if not any(known and self.weights[name] for name, (_, known) in parts.items()):
                wanted = " or ".join(f"a {name}" for name in parts if self.weights[name])
                raise DatalistError(
                    f"A batch of {len(reference)} images has nothing to learn from: none of {_items(batch)} has "
                    f"{wanted or 'a part with a weight above 0'}. Leave such images out, or use a larger batch."
                )
            loss = _full(reference).new_zeros(())
            for number, name in enumerate(("label", "mask")):
                if name not in parts:
                    continue
                part, known = parts[name]
                if self.log_variance is not None:
                    part = uncertainty_weighted(part, self.log_variance[number], known)
                loss = loss + self.weights[name] * part
            nothing = loss.new_zeros(())
            return {"loss": loss} | {
                f"{name}_loss": parts[name][0] if name in parts else nothing for name in ("label", "mask")
            }

    def check(self, batch: Mapping[str, Any], num_classes: int, masks: bool = True) -> dict[str, Tensor]:
        """Look at the labels and masks of a batch that is still on the host, so that :meth:`forward` need not.

        To be put into the batch: ``label_rows`` and ``mask_rows``, int64 ``(n,)``, the rows that have a label or a
        mask; without the entry of a branch that is absent (``num_classes`` 0, ``masks`` off), or whose shape
        ``forward`` will refuse.

        Raises:
            DatalistError: a label outside the classes, or a mask that holds other values than 0 and 1.
        """
        found: dict[str, Tensor] = {}
        label, mask = batch.get("label"), batch.get("mask")
        whole = self.task == "multi_class"
        if num_classes and label is not None and label.ndim == 2 - whole and label.is_floating_point() != whole:
            found["label_rows"] = self._label_rows(label, num_classes, batch)
        if masks and mask is not None:
            found["mask_rows"] = self._mask_rows(mask, batch.get("has_mask"), batch)
        pinned = any(value is not None and value.is_pinned() for value in (label, mask))
        return {name: rows.pin_memory() if pinned else rows for name, rows in found.items()}

    def _label_part(self, logits: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, bool]:
        label = batch.get("label")
        if label is None:
            return logits[:0].sum(), False
        count = logits.shape[1]
        if self.class_weights is not None and len(self.class_weights) != count:
            raise ConfigurationError(f"There are {len(self.class_weights)} class_weights for {count} classes.")
        expected = logits.shape[:1] if self.task == "multi_class" else logits.shape
        if label.shape != expected or label.is_floating_point() != (self.task == "multi_label"):
            kind = "whole numbers (B,)" if self.task == "multi_class" else "floats (B, classes)"
            raise DatalistError(
                f"The labels of {_items(batch)} are {str(label.dtype).removeprefix('torch.')} {tuple(label.shape)}; a "
                f"{self.task} task of {count} classes expects {kind} for {len(logits)} images."
            )
        rows = batch.get("label_rows")
        rows = self._label_rows(label, count, batch) if rows is None else rows
        if not len(rows):
            return logits[:0].sum(), False
        if self.task == "multi_class":
            logits, label = _only(rows, logits, label.long())
            if self.label_loss == "auc_margin":
                mine = _one_hot(label, count)
                return self._auc_margin_part(logits.softmax(dim=1), mine, ~mine), True
            return self._multi_class_part(logits, label), True
        known = ~torch.isnan(label)
        if self.label_loss == "auc_margin":
            return self._auc_margin_part(torch.where(known, logits, 0.0).sigmoid(), label == 1, label == 0), True
        return self._multi_label_part(logits, label.to(logits.dtype), known), True

    def _label_rows(self, label: Tensor, count: int, batch: Mapping[str, Any]) -> Tensor:
        """Numbers of the images that have a label, after a look at the values; waits for the device they are on."""
        if self.task == "multi_class":
            outside, known = (label < -1) | (label >= count), label >= 0
        else:
            entries = ~torch.isnan(label)
            soft = (label != 0) & (label != 1) if self.label_loss == "auc_margin" else (label < 0) | (label > 1)
            outside, known = (soft & entries).any(dim=1), entries.any(dim=1)
        if bool(outside.any()):
            what = (
                f"from 0 to {count - 1}, or -1 for unknown"
                if self.task == "multi_class"
                else f"{'0 or 1' if self.label_loss == 'auc_margin' else 'in [0, 1]'}, or NaN (null) for unknown"
            )
            raise DatalistError(
                f"The label of {_items(batch, outside)} is {label[outside][0].tolist()}; a {self.task} task of {count} "
                f"classes expects numbers {what}. Correct the datalist or its classes."
            )
        return torch.nonzero(known).flatten()

    def _multi_class_part(self, logits: Tensor, label: Tensor) -> Tensor:
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        share = torch.ones_like(label, dtype=logits.dtype) if weights is None else weights[label]
        if self.label_loss == "focal":
            errors = self.focal(logits, _one_hot(label, logits.shape[1])).sum(dim=1) * share
        else:
            errors = F.cross_entropy(logits, label, weights, reduction="none", label_smoothing=self.label_smoothing)
        return errors.sum() / share.sum().clamp(min=torch.finfo(share.dtype).tiny)

    def _multi_label_part(self, logits: Tensor, label: Tensor, known: Tensor) -> Tensor:
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        logits, label = torch.where(known, logits, 0.0), torch.where(known, label, 0.0)
        if self.label_loss == "focal":
            errors = self.focal(logits, label)
            if weights is not None:
                errors = errors * (1 + (weights - 1) * label)
        else:
            label = label * (1 - self.label_smoothing) + self.label_smoothing / 2
            errors = F.binary_cross_entropy_with_logits(logits, label, pos_weight=weights, reduction="none")
        return torch.where(known, errors, 0.0).sum() / known.sum()

    def _auc_margin_part(self, scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        # MONAI's AUCMLoss of version 2 at its saddle point, for all classes at once: MONAI's own asks the device for
        # numbers several times per class.
        positive, negative = positive.to(scores.dtype), negative.to(scores.dtype)
        moments = []
        for kind in (positive, negative):
            count = kind.sum(0).clamp(min=1)
            mean = (scores * kind).sum(0) / count
            moments.append((mean, ((scores - mean) ** 2 * kind).sum(0) / count))
        (a, spread_a), (b, spread_b) = moments
        terms = spread_a + spread_b + (MARGIN + b - a).clamp(min=0) ** 2
        both = (positive.any(dim=0) & negative.any(dim=0)).to(scores.dtype)
        return (terms * both).sum() / both.sum().clamp(min=1)

    def _mask_part(self, logits: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, bool]:
        mask, has_mask = batch.get("mask"), batch.get("has_mask")
        if mask is None:
            return logits[:0].sum(), False
        if mask.shape != logits.shape:
            raise DatalistError(
                f"The masks of {_items(batch)} have the shape {tuple(mask.shape)}, and the network segments "
                f"{tuple(logits.shape)} (batch, channels, height, width); make the masks on the grid of the images, "
                "one channel each."
            )
        rows = batch.get("mask_rows")
        rows = self._mask_rows(mask, has_mask, batch) if rows is None else rows
        if not len(rows):
            return logits[:0].sum(), False
        logits, mask = _only(rows, logits, mask)
        target = mask.to(logits.device, logits.dtype)
        dice = self.dice(logits, target).mean()
        return dice + F.binary_cross_entropy_with_logits(logits, target), True

    @staticmethod
    def _mask_rows(mask: Tensor, has_mask: Tensor | None, batch: Mapping[str, Any]) -> Tensor:
        """Numbers of the images that have a mask, after a look at the values; waits for the device they are on."""
        rows = torch.arange(len(mask)) if has_mask is None else torch.nonzero(has_mask).flatten()
        target = _only(rows, mask)[0]
        # Almost always true, and of whole numbers the shortest look at every pixel.
        if not len(rows) or (target.dtype is torch.uint8 and int(target.max()) <= 1):
            return rows
        odd = ((target != 0) & (target != 1)).flatten(1).any(dim=1)
        if bool(odd.any()):
            found = float(target[odd].max())
            raise DatalistError(
                f"The mask of {_items(batch, rows.to(odd.device)[odd])} holds values up to {found:g}; "
                "expected 0 and 1 only."
            )
        return rows


def _only(rows: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The given rows of tensors of one length; the tensors themselves where that is all."""
    if len(rows) == len(tensors[0]):
        return tensors
    # By number: to find the rows of a mask of yes and no, the host waits for the device.
    return tuple(tensor.index_select(0, rows.to(tensor.device, non_blocking=True)) for tensor in tensors)


def _one_hot(label: Tensor, count: int) -> Tensor:
    """Which class is the label's: bool ``(B, count)``. ``F.one_hot`` looks at the values first."""
    return label[:, None] == torch.arange(count, device=label.device)


def _full(logits: Tensor) -> Tensor:
    """Return logits in float32, or in their own type where that is finer."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
