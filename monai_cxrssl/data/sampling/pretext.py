# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining data sets: pairs of views, labelled images for probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset

from monai_cxrssl.data.datalists.datalist import is_known, is_unknown
from monai_cxrssl.data.sampling.bags import Draw, patient_numbers
from monai_cxrssl.data.sampling.deferred_views import DeferredViews, augments_on_device
from monai_cxrssl.data.sampling.view_transform import DrawnViewTransform, ViewTransform
from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.pretext_masks import PretextLungMasks
from monai_cxrssl.errors import ConfigurationError

__all__ = ["ImageDataset", "PairDataset"]


class PairDataset(Dataset):
    """Positive pairs: two views of one image, or one view of each of two images of a patient.

    With a transform that makes one view (``num_views`` of 1) a sample is one image; with lung masks it also holds where
    the lungs are in every view. Where the device makes the views (``augment_on``), a sample holds the images themselves
    (:attr:`raw`) and what was drawn, from the same keys; :class:`monai_cxrssl.engines.DeviceViews` makes of a batch of
    them what the views would have been.

    Args:
        images: decoded images.
        transform: ``transform(image, key=(epoch, position))`` gives all V views of a ``(1, H, W)`` array as a
            ``(V, 1, S, S)`` tensor, ``views=(number,)`` only some of them, and equal keys give equal views:
            :class:`monai_cxrssl.transforms.MultiView`. V is its ``num_views``, 2 of a plain function. For lung masks it
            must be a :class:`~monai_cxrssl.data.sampling.view_transform.DrawnViewTransform`.
        data: items to show as :attr:`data`, as MONAI's data sets do; by default those of ``images``.
        lung_masks: the masks of ``images``, in the same order.
        local_transform: draws more views of an image, small ones (DINO's local views), as ``local_image``.
        augment_on, device: see :func:`~monai_cxrssl.data.sampling.deferred_views.augments_on_device`.

    Raises:
        ConfigurationError: another number of masks than of images, masks for a transform that does not warp them, or a
            device that cannot make these views.
    """

    def __init__(
        self,
        images: ImageStore,
        transform: Callable[..., torch.Tensor],
        data: Sequence[dict[str, Any]] | None = None,
        lung_masks: PretextLungMasks | None = None,
        augment_on: str = "workers",
        device: torch.device | str = "cpu",
        local_transform: DrawnViewTransform | None = None,
    ) -> None:
        self.images, self.transform, self.lung_masks = images, transform, lung_masks
        self.local_transform = local_transform
        self.num_views = int(transform.num_views) if isinstance(transform, ViewTransform) else 2
        self.raw = augments_on_device(augment_on, device, transform, lung_masks is not None)
        if lung_masks is not None and not isinstance(transform, DrawnViewTransform):
            raise ConfigurationError(
                f"The samples hold lung masks, but a {type(transform).__name__} does not warp masks as it does images; "
                "take a MultiView."
            )
        if lung_masks is not None and len(lung_masks) != len(images):
            raise ConfigurationError(
                f"There are {len(lung_masks)} lung masks for {len(images)} images; make PretextLungMasks of the very "
                "images of the data set."
            )
        self.data = images.items if data is None else data
        self.patients = patient_numbers(images.items)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """Render a pair; a plain index stands for both views of that image in epoch 0.

        Returns:
            ``{"image": (V, 1, S, S) tensor, "patient": number of the patient, "index": position in the epoch, "first":
            item of view 0, "second": item of view 1}``, and ``"lung_mask": (V, 1, S, S) uint8`` of 0 and 1, warped as
            the views are, where there are lung masks; ``"local_image": (L, 1, s, s)`` where there are local views.
            Where the device makes the views, ``"image"`` is a
            :class:`~monai_cxrssl.data.sampling.deferred_views.DeferredViews`, ``"film_size"`` the ``(V, 2)`` height and
            width of the image of each view, and ``"view"`` the ``(V, 10)`` float32 parameters, ``"local_view"`` those
            of local views.

        Raises:
            ConfigurationError: a pair of two images for a transform that does not make two views, or for local views.
        """
        if not isinstance(draw, tuple):
            index = int(draw)
            draw = Draw(0, index, index, index, -1)
        epoch, position, first, second, _ = draw
        key = (epoch, position)
        if first != second and self.num_views != 2:
            raise ConfigurationError(
                f"The sampler drew a pair of two images, but the transform makes {self.num_views} views per sample. "
                "Give it two views, or the sampler no MICLe epochs."
            )
        if first != second and self.local_transform is not None:
            raise ConfigurationError(
                "The sampler drew a pair of two images, and local views are of one; give the sampler no MICLe epochs."
            )
        # By patient even when bags are studies: images of another study of the patient are no negatives either.
        patient = int(self.patients[first])
        sample: dict[str, Any] = {"patient": patient, "index": position, "first": first, "second": second}
        if self.raw:
            return {**sample, **self._films(first, second, key)}
        if first == second:
            views, masks = self._views(first, key, None)
        else:
            # The random numbers belong to (epoch, position, view), whichever image a view is taken from.
            pairs = [self._views(index, key, (number,)) for number, index in enumerate((first, second))]
            views, masks = (_joined(parts) for parts in zip(*pairs, strict=True))
        sample = {"image": views, **sample}
        if self.local_transform is not None:
            image = self.images.image(first)[None]
            sample["local_image"] = self.local_transform(image, key=key, views=self._local_numbers)
        return sample if masks is None else {**sample, "lung_mask": masks}

    @property
    def _local_numbers(self) -> range:
        """Numbers of the local views: they go on after the others, so that no two views of a sample share a draw."""
        assert self.local_transform is not None
        return range(self.num_views, self.num_views + self.local_transform.num_views)

    def _films(self, first: int, second: int, key: tuple[int, int]) -> dict[str, Any]:
        """The images of a pair as they are, and the views that are drawn of them."""
        numbers = range(self.num_views)
        films = tuple(self.images.image(index) for index in ((first,) if first == second else (first, second)))
        shown = films if len(films) == self.num_views else films * self.num_views
        transform = cast(DrawnViewTransform, self.transform)
        drawn = [transform.sample(shown[n].shape, key=key, views=(n,))[0].values() for n in numbers]
        sample = {
            "image": DeferredViews(films, self.num_views),
            "film_size": torch.tensor([film.shape for film in shown]),
            "view": torch.tensor(drawn, dtype=torch.float32),
        }
        if self.local_transform is not None:
            views = self.local_transform.sample(films[0].shape, key=key, views=self._local_numbers)
            sample["local_view"] = torch.tensor([view.values() for view in views], dtype=torch.float32)
        return sample

    def _views(
        self, index: int, key: tuple[int, int], numbers: tuple[int, ...] | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Views of one image and, where there are lung masks, the masks of these views."""
        image = self.images.image(index)
        if self.lung_masks is None:
            # Without "views" where all are wanted: a transform of the user's own need not know it.
            return self.transform(image[None], key=key, **({} if numbers is None else {"views": numbers})), None
        transform = cast(DrawnViewTransform, self.transform)
        drawn = transform.sample(image.shape, key=key, views=numbers)
        # A turned view keeps its angle only on a grid of the image's own proportions.
        mask = self.lung_masks.mask(index, (image.shape[0], image.shape[1]))
        return transform.apply(image[None], drawn), transform.apply_mask(mask[None], drawn)


def _joined(parts: Sequence[torch.Tensor | None]) -> Any:
    known = [part.numpy() for part in parts if part is not None]
    # Not torch.cat: it wakes torch's threads for these few bytes, 15 ms on two busy cores, 50 times the views.
    return torch.from_numpy(np.concatenate(known)) if known else None


class ImageDataset(Dataset):
    """Single images with their labels, for probes and embeddings.

    Args:
        images: decoded images.
        transform: evaluation transform, ``(1, H, W)`` array to ``(1, S, S)`` tensor, without randomness.
        task: ``"multi_class"`` or ``"multi_label"``.
        num_classes: values of a multi-label label, used where an item has none.
        labelled_only: leave out items without any known label.

    Attributes:
        indices, patients: per sample, its item and the number of its patient.
        labels: ``(samples,)`` int64, -1 = unknown; for multi-label ``(samples, classes)`` float32, NaN = unknown.

    Raises:
        ConfigurationError: an unknown task, or a label that does not fit it.
    """

    def __init__(
        self,
        images: ImageStore,
        transform: Callable[[np.ndarray], torch.Tensor],
        task: str = "multi_class",
        num_classes: int = 1,
        labelled_only: bool = False,
    ) -> None:
        self.images, self.transform = images, transform
        found = enumerate(images.items)
        self.indices = [index for index, item in found if not labelled_only or is_known(item.get("label"))]
        self.data = [images.items[index] for index in self.indices]
        self.patients = patient_numbers(images.items)[self.indices]
        labels = [item.get("label") for item in self.data]
        self.labels: np.ndarray
        if task == "multi_class":
            self.labels = np.array([-1 if is_unknown(label) else label for label in labels], dtype=np.int64)
        elif task == "multi_label":
            rows = [[None] * num_classes if is_unknown(label) else label for label in labels]
            if any(not isinstance(row, list | tuple) or len(row) != num_classes for row in rows):
                raise ConfigurationError(f"A multi-label label does not have num_classes = {num_classes} values.")
            self.labels = np.array(rows, dtype=np.float32).reshape(len(rows), num_classes)
        else:
            raise ConfigurationError(f"The task is {task!r}; expected multi_class or multi_label.")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``{"image": (1, S, S) tensor, "label": int64 or (classes,) float32 tensor, "patient", "index": item}``."""
        item = self.indices[index]
        return {
            "image": self.transform(self.images.image(item)[None]),
            "label": torch.as_tensor(self.labels[index]),
            "patient": int(self.patients[index]),
            "index": item,
        }
