# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning data set of images with labels and masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from monai_cxrssl.data.datalists.datalist import is_known, is_unknown
from monai_cxrssl.data.sampling.bags import Draw, patient_numbers
from monai_cxrssl.data.sampling.pretext import ImageDataset
from monai_cxrssl.data.sampling.view_transform import DrawnViewTransform
from monai_cxrssl.data.stores.decoded_masks import MASK_FIELDS, DecodedMasks
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["FineTuningImages"]

logger = logging.getLogger(__name__)


class FineTuningImages(Dataset):
    """Images to learn or to evaluate by, each with the label and the mask that it has.

    An image with neither is left out unless it is to be kept for distillation, and the log says how many were.

    Args:
        images: decoded images.
        transform: evaluation transform with ``apply_mask``: :class:`monai_cxrssl.transforms.ResizeCXR`.
        task: ``"multi_class"`` (a label is a class number) or ``"multi_label"`` (one value per class, null = unknown).
        classes: names of the classes; none to learn masks only, whatever labels the items have.
        mask, boxes_shape: see :class:`DecodedMasks`; ``mask=None`` to learn labels only.
        augment: for training: draws one view per sample, the same of image and mask:
            :class:`monai_cxrssl.transforms.MultiView` with ``num_views`` 1. Without it samples are not random.
        progress: show a progress bar while masks are read.
        keep_unlabelled: keep images with neither label nor mask too, for
            :class:`~monai_cxrssl.methods.DistillationMethod`, which learns a teacher's soft labels of them.

    Attributes:
        indices, patients, has_mask: per sample, the number of its image, that of its patient, and whether it has a
            mask.
        labels: ``(samples,)`` int64, -1 = unknown; for multi-label ``(samples, classes)`` float32, NaN = unknown.
        masks: the masks of all ``images``, or ``None``.

    Raises:
        ConfigurationError: an unknown task or kind of mask, an augmentation that draws several views, nothing to learn
            (neither classes nor masks), or unlabelled images to be kept without classes.
        DatalistError: a label outside the classes, a mask of other proportions, or no image that has a label or mask.
    """

    def __init__(
        self,
        images: ImageStore,
        transform: Any,
        task: str = "multi_class",
        classes: Sequence[str] = (),
        mask: str | None = None,
        augment: DrawnViewTransform | None = None,
        boxes_shape: Sequence[int] | None = None,
        progress: bool = True,
        keep_unlabelled: bool = False,
    ) -> None:
        self.images, self.transform, self.augment = images, transform, augment
        self.classes, self.task = list(classes), task
        if not self.classes and mask is None:
            raise ConfigurationError("There is nothing to learn: give classes, a kind of mask, or both.")
        if keep_unlabelled and not self.classes:
            raise ConfigurationError(
                "keep_unlabelled is given without classes; unlabelled images have no masks to learn."
            )
        views = 1 if augment is None else augment.num_views
        if views != 1:
            raise ConfigurationError(f"The augmentation draws {views} views per sample; fine-tuning takes num_views 1.")
        labels = np.full(len(images), -1, dtype=np.int64)
        if self.classes:
            _check_labels(images, task, self.classes)
            labels = ImageDataset(images, transform, task, len(self.classes)).labels
        self.masks = None if mask is None else DecodedMasks(images, mask, boxes_shape, progress=progress)
        has_mask = np.zeros(len(images), dtype=bool) if self.masks is None else self.masks.has_mask
        labelled = np.array([bool(self.classes) and is_known(item.get("label")) for item in images.items], dtype=bool)
        useful = labelled | has_mask
        kept = np.flatnonzero(useful | keep_unlabelled)
        if not len(kept):
            field = None if mask is None else f'"{MASK_FIELDS[mask]}"'
            wanted = " or ".join(filter(None, ['"label"' if self.classes else None, field]))
            raise DatalistError(
                f"None of the {len(images)} images has a usable {wanted}, so there is nothing to learn by; bring some, "
                "or choose another task."
            )
        if len(kept) < len(images):
            logger.info("%d images without a label or mask are left out.", len(images) - len(kept))
        elif not useful.all():
            logger.info("%d images without a label or mask are kept for their soft labels.", np.sum(~useful))
        self.indices = kept.tolist()
        self.data = [images.items[index] for index in self.indices]
        self.labels = labels[kept]
        self.patients = patient_numbers(images.items)[kept]
        self.has_mask = has_mask[kept]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """Render a sample.

        Args:
            draw: its ``first`` is the sample, its epoch and position key the augmentation; a plain index stands for
                epoch 0.

        Returns:
            ``{"image": (1, S, S) float32 tensor in [0, 1], "label": int64, -1 = unknown, or (classes,) float32, NaN =
            unknown, "has_mask": bool, "patient": number, "index": number of the image}`` and, where there are masks,
            ``"mask": (1, S, S) uint8`` of 0 and 1, all 0 where this image has none.
        """
        epoch, position, number = (draw.epoch, draw.position, draw.first) if isinstance(draw, Draw) else (0, draw, draw)
        index = self.indices[number]
        image = self.images.image(index)
        sample = {
            "label": torch.as_tensor(self.labels[number]),
            "has_mask": bool(self.has_mask[number]),
            "patient": int(self.patients[number]),
            "index": index,
        }
        mask = None if self.masks is None else self.masks.mask(index, (image.shape[0], image.shape[1]))[None]
        if self.augment is None:
            sample["image"] = self.transform(image[None])
            if mask is not None:
                sample["mask"] = self.transform.apply_mask(mask)
        else:
            # Drawn once: the mask is warped as its image is.
            view = self.augment.sample(image.shape, key=(epoch, position))
            sample["image"] = self.augment.apply(image[None], view)[0]
            if mask is not None:
                sample["mask"] = self.augment.apply_mask(mask, view)[0]
        return sample


def _check_labels(images: ImageStore, task: str, classes: Sequence[str]) -> None:
    """Refuse labels outside the classes by a DatalistError that names the first such image."""
    for item in images.items:
        label: Any = item.get("label")
        if is_unknown(label):
            continue
        if task == "multi_class":
            fits = isinstance(label, int | np.integer) and not isinstance(label, bool) and 0 <= label < len(classes)
            wanted = f"a class number from 0 to {len(classes) - 1}"
        else:
            fits = isinstance(label, list | tuple) and len(label) == len(classes)
            fits = fits and all(is_unknown(value) or 0 <= value <= 1 for value in label)
            wanted = f"{len(classes)} values from 0 to 1, null where unknown"
        if not fits:
            raise DatalistError(
                f"The image {item.get('image')} has the label {label!r}; expected {wanted}, for the classes "
                f"{', '.join(classes)}. Correct the datalist, or the classes or the task of the run."
            )
