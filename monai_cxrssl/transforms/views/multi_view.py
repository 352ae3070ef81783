# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Random views of an image for contrastive pretraining."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, list_data_collate
from monai.transforms import InvertibleTransform, MapTransform, Randomizable, Transform
from monai.utils import ensure_tuple

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.spatial.moved_grid import on_new_grid, on_old_grid, pop_trace
from monai_cxrssl.transforms.spatial.planes import image_plane, mask_plane, view_size
from monai_cxrssl.transforms.views.batch import render_batch, warp_batch
from monai_cxrssl.transforms.views.cpu import render_view, unwarp_view, view_matrix, warp_view
from monai_cxrssl.transforms.views.parameters import ViewParameters, ViewSampler, keyed_generator, stack_views

__all__ = ["MultiView", "MultiViewd"]


class MultiView(Randomizable, Transform):
    """Draw random views of an image: crop, rotation, flip and scale as one warp, brightness, contrast and gamma as one
    lookup, after the chest X-ray augmentation of Azizi et al. (ICCV 2021, https://arxiv.org/abs/2101.05224): random
    resized crop, brightness and contrast jitter of strength 0.5, rotation up to 45 degrees, horizontal flip, no blur.

    A view is drawn first (:meth:`sample`) and rendered by a deterministic twin: on the CPU from the image's own
    integers (:meth:`apply`), or for a whole batch on its device (:meth:`apply_batch`). The formulas stand in
    :mod:`~monai_cxrssl.transforms.views.parameters`.

    With a ``key`` = (epoch, index), every view has its own random generator, made from (seed, epoch, index, view): it
    is the same in every worker process, in any order and after a resume, and it is another one in every epoch. Without
    a key, the draws come from ``self.R`` as in any MONAI random transform.

    The recommended source has a side of 320 to 512 pixels: of 384, a 224-px view never needs a reduction. OpenCV takes
    as many threads as it likes; data loader workers should call ``cv2.setNumThreads(1)`` once. An option out of its
    range is a ConfigurationError.

    Args:
        size: side of the views in pixels, or ``[height, width]``.
        num_views: V, views per call.
        scale: area of the crop as a fraction of the image's area (uniform). The crop lies within the image before it is
            turned about its own centre. The paper does not give this range; ours is that of MoCo v2.
        ratio: width of the crop over its height in pixels (log-uniform among those that fit the image). Where none
            fits, the nearest one is kept and the crop gets smaller than ``scale`` asks for.
        rotation: largest angle in degrees, to either side (uniform).
        rotation_prob: probability of a rotation.
        flip_prob: probability of a horizontal flip.
        brightness: factor on the intensity (uniform). SimCLR's jitter of strength s is ``[1 - 0.8 s, 1 + 0.8 s]``; the
            default has s = 0.5.
        contrast: factor on the distance from mid-grey (uniform); default likewise.
        gamma: exponent of the intensity (log-uniform); not in the paper, ``[1, 1]`` turns it off.
        jitter_prob: probability that brightness, contrast and gamma change.
        blur_prob: probability of a Gaussian blur; off in pretraining, 0.5 in the paper's style of fine-tuning.
        blur_sigma: standard deviation of the blur in output pixels (uniform).
        fill: intensity in [0, 1] of what lies outside the image, before brightness, contrast and gamma.
        seed: first number of every key; not used without a key.
        return_uint8: give uint8 (0 to 255) instead of float32 (0 to 1): a quarter of the bytes from worker to device.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((1, 384, 320), dtype=np.uint8)
        >>> MultiView(size=224)(image, key=(0, 17)).shape
        torch.Size([2, 1, 224, 224])
    """

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        num_views: int = 2,
        scale: Sequence[float] = (0.2, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        rotation: float = 45.0,
        rotation_prob: float = 1.0,
        flip_prob: float = 0.5,
        brightness: Sequence[float] = (0.6, 1.4),
        contrast: Sequence[float] = (0.6, 1.4),
        gamma: Sequence[float] = (0.8, 1.25),
        jitter_prob: float = 0.8,
        blur_prob: float = 0.0,
        blur_sigma: Sequence[float] = (0.1, 2.0),
        fill: float = 0.0,
        seed: int = 0,
        return_uint8: bool = False,
    ) -> None:
        self.size = view_size(size)
        if num_views < 1:
            raise ConfigurationError(f"num_views is {num_views!r}; give at least 1.")
        if not 0.0 <= fill <= 1.0:
            raise ConfigurationError(f"fill is {fill!r}; give an intensity between 0 (dark) and 1.")
        self.num_views = int(num_views)
        geometry, intensity = (scale, ratio, rotation, rotation_prob, flip_prob), (brightness, contrast, gamma)
        self.sampler = ViewSampler(*geometry, *intensity, jitter_prob, blur_prob, blur_sigma)
        self.fill, self.seed = float(fill), int(seed)
        keyed_generator(self.seed, 0, 0, 0)  # refuses a bad seed here rather than in a worker
        self.return_uint8 = bool(return_uint8)
        self._seeded_in: int | None = None

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> MultiView:
        """Seed the draws made without a key, as in :class:`monai.transforms.Randomizable`."""
        super().set_random_state(seed=seed, state=state)
        self._seeded_in = os.getpid()
        return self

    def _random_state(self) -> np.random.RandomState:
        # A plain torch DataLoader copies this object, random state included, into each worker, and again in every
        # epoch: all would draw the same views. MONAI's own loader seeds the copies, which is then left alone.
        if torch.utils.data.get_worker_info() is not None and self._seeded_in != os.getpid():
            self.set_random_state(seed=int(torch.randint(2**32 - 1, (), dtype=torch.int64)))
        return self.R

    def sample(
        self, spatial_shape: Sequence[int], key: tuple[int, int] | None = None, views: Iterable[int] | None = None
    ) -> tuple[ViewParameters, ...]:
        """Draw views without rendering them.

        Args:
            spatial_shape: height and width of the image; only their ratio matters.
            key: (epoch, index of the item), not negative; without it the draws come from ``self.R``.
            views: numbers of the views to draw, default 0 to V - 1: a patient bag takes one view each of two images.
        """
        shape = (int(spatial_shape[0]), int(spatial_shape[1]))
        numbers = range(self.num_views) if views is None else views
        if key is None:
            state = self._random_state()
            return tuple(self.sampler.sample(shape, state) for _ in numbers)
        epoch, index = key
        return tuple(self.sampler.sample(shape, keyed_generator(self.seed, epoch, index, view)) for view in numbers)

    def sample_batch(self, spatial_shape: Sequence[int], epoch: int, indices: Iterable[int]) -> torch.Tensor:
        """Draw the keyed views of a batch for :meth:`apply_batch`: float32 ``(B, V, 10)`` on the CPU."""
        return stack_views([self.sample(spatial_shape, key=(epoch, int(index))) for index in indices])

    def __call__(
        self, image: Any, key: tuple[int, int] | None = None, views: Iterable[int] | None = None
    ) -> torch.Tensor:
        """Draw and render views of one image on the CPU; ``key`` and ``views`` are those of :meth:`sample`.

        The image is ``(1, H, W)``, uint8 or uint16 (full range), or floating point in [0, 1]; a TypeError or ValueError
        says what else. Plain tensor ``(V, 1, h, w)``: float32 in [0, 1], or uint8 with ``return_uint8``.
        """
        plane = image_plane(image)
        return self._render(plane, self.sample(plane.shape, key=key, views=views))

    def apply(self, image: Any, views: ViewParameters | Sequence[ViewParameters]) -> torch.Tensor:
        """Render given views of one image on the CPU; input and output as in :meth:`__call__`."""
        return self._render(image_plane(image), _as_sequence(views))

    def _render(self, plane: np.ndarray, views: Sequence[ViewParameters]) -> torch.Tensor:
        rendered = np.empty((len(views), 1, *self.size), dtype=np.uint8 if self.return_uint8 else np.float32)
        for number, view in enumerate(views):
            rendered[number, 0] = render_view(plane, view, self.size, self.fill, self.return_uint8)
        return torch.from_numpy(rendered)

    def apply_mask(self, mask: Any, views: ViewParameters | Sequence[ViewParameters]) -> torch.Tensor:
        """Warp a mask as given views (:meth:`sample`) warp their image, nearest pixel, 0 outside: uint8
        ``(V, 1, h, w)``.

        The mask is ``(1, H, W)`` of labels 0 to 255 (or bool), on the grid of its image.
        """
        plane = mask_plane(mask)
        warped = [warp_view(plane, view, self.size, nearest=True) for view in _as_sequence(views)]
        return torch.from_numpy(np.stack(warped)[:, None])

    @property
    def renders_batches(self) -> bool:
        """Whether :meth:`apply_batch` gives the views of a call; a subclass that changes these says so itself."""
        return type(self) is MultiView

    def apply_batch(self, images: torch.Tensor, views: Any, shapes: torch.Tensor | None = None) -> torch.Tensor:
        """Render given views of a batch on its device: ``(B, V, 1, h, w)`` float32 in [0, 1], or uint8 with
        ``return_uint8``.

        Args:
            images: tensor ``(B, 1, H, W)``, uint8 or uint16 (full range) or floating point in [0, 1]; not checked.
            views: ``(B, V, 10)`` or ``(B, 10)`` tensor from :meth:`sample_batch` or :func:`stack_views`, or nested
                sequences of :class:`ViewParameters`.
            shapes: whole numbers ``(B, 2)``, height and width of images that are smaller than ``(H, W)``, as
                :func:`monai_cxrssl.data.sampling.deferred_views.stack_films` puts them on one grid.
        """
        blur = self.sampler.largest_blur_sigma
        return render_batch(images, views, self.size, self.fill, blur, self.return_uint8, shapes)

    def apply_mask_batch(self, masks: torch.Tensor, views: Any) -> torch.Tensor:
        """Warp masks ``(B, 1, H, W)`` of labels 0 to 255 as :meth:`apply_mask` does: uint8 ``(B, V, 1, h, w)``."""
        return warp_batch(masks, views, self.size, nearest=True).to(torch.uint8)


class MultiViewd(MapTransform, InvertibleTransform, Randomizable):
    """Dictionary form of :class:`MultiView`: one draw, shared by all its keys.

    The views of a ``MetaTensor`` keep its metadata, and each has the affine of what it shows, turn and flip included:
    the result is a batch of V, as MONAI collates one, and ``views[k]`` is view k with its own affine.

    With ``view_axis=False`` the one view is an image like any other, whose geometry ``Invertd`` undoes: what was drawn
    on it returns to the image, with 0 where the view did not look. Intensities stay as they are, since clipping cannot
    be undone. A batch of views has no inverse: each shows another part of the image, and their overlap has no rule.

    Args:
        keys: items with an image ``(1, H, W)``; each becomes ``(V, 1, h, w)``.
        mask_keys: items with a mask ``(1, H, W)`` on the same grid; each becomes uint8 ``(V, 1, h, w)``.
        key_from: names of the items that hold the epoch and the index. Where a dictionary holds both, they key the
            draw; where it holds neither, ``self.R`` draws, which ``set_random_state`` seeds. ``None`` ignores them.
        allow_missing_keys: pass over ``keys`` and ``mask_keys`` that a dictionary lacks.
        view_axis: keep the axis V; False gives ``(1, h, w)`` and needs ``num_views=1``.
        **options: those of :class:`MultiView`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mask_keys: KeysCollection = (),
        key_from: Sequence[str] | None = ("epoch", "index"),
        allow_missing_keys: bool = False,
        view_axis: bool = True,
        **options: Any,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)
        self.key_from = None if key_from is None else tuple(key_from)
        if self.key_from is not None and len(self.key_from) != 2:
            raise ConfigurationError(
                f"key_from is {key_from!r}; give the names of two items, the epoch and the index, or null."
            )
        self.multi_view = MultiView(**options)
        self.view_axis = bool(view_axis)
        if not self.view_axis and self.multi_view.num_views != 1:
            raise ConfigurationError(
                f"view_axis is off with {self.multi_view.num_views} views; without it there is room for num_views=1."
            )

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> MultiViewd:
        """Seed the draws made without a key, as in :class:`monai.transforms.Randomizable`."""
        self.multi_view.set_random_state(seed=seed, state=state)
        return self

    def _key(self, data: Mapping[Hashable, Any]) -> tuple[int, int] | None:
        if self.key_from is None:
            return None
        names = self.key_from
        present = [name for name in names if name in data]
        if not present:
            return None
        if len(present) == 1:
            raise ConfigurationError(
                f"The item holds {present[0]!r} but not both of {', '.join(map(repr, names))}, which key the random "
                "views. Give both, or set key_from to null."
            )
        return int(data[names[0]]), int(data[names[1]])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw views once and render them for every key. KeyError: an item is missing; TypeError or ValueError: an
        image or a mask is not as described, or their grids differ."""
        result = dict(data)
        images = [key for key in self.keys if key in data or not self.allow_missing_keys]
        masks = [key for key in self.mask_keys if key in data or not self.allow_missing_keys]
        shapes = {key: _spatial_shape(data, key) for key in (*images, *masks)}
        if not shapes:
            return result
        shape = next(iter(shapes.values()))
        if any(other != shape for other in shapes.values()):
            found = ", ".join(f"{key} {rows} x {columns}" for key, (rows, columns) in shapes.items())
            raise ValueError(f"Images and masks that share their views must have one height and width; found {found}.")
        views = self.multi_view.sample(shape, key=self._key(data))
        for key in images:
            result[key] = self._tracked(self.multi_view.apply(data[key], views), data[key], views, "bilinear")
        for key in masks:
            result[key] = self._tracked(self.multi_view.apply_mask(data[key], views), data[key], views, "nearest")
        return result

    def _tracked(self, rendered: torch.Tensor, source: Any, views: Sequence[ViewParameters], mode: str) -> torch.Tensor:
        if not isinstance(source, MetaTensor):
            return rendered if self.view_axis else rendered[0]
        shape = (int(source.shape[1]), int(source.shape[2]))
        size = self.multi_view.size
        images = [
            # "mode" is the name under which Invertd looks for it, to set nearest pixels for a mask drawn on an image.
            on_new_grid(image, source, view_matrix(view, shape, size), self, mode=mode, view=list(view.values()))
            for image, view in zip(rendered, views, strict=True)
        ]
        return list_data_collate(images) if self.view_axis else images[0]

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the view of every key, or what was drawn on it, back onto the image.

        Raises:
            KeyError, ConfigurationError: an item is missing; the views have an axis of their own.
            TypeError, ValueError, RuntimeError: there is no record of this transform, or the size is another one.
        """
        if self.view_axis:
            raise ConfigurationError("A batch of views has no inverse; set view_axis=False, with num_views=1.")
        result = dict(data)
        for key in (*self.keys, *self.mask_keys):
            if key in data:
                result[key] = self._unwarp(data[key])
            elif not self.allow_missing_keys:
                raise KeyError(f"The item has no {key!r} to invert; it has {', '.join(map(repr, data))}.")
        return result

    def _unwarp(self, drawn: Any) -> torch.Tensor:
        moved, shape, extra = pop_trace(drawn, self)
        size = self.multi_view.size
        if tuple(moved.shape[1:]) != size:
            raise ValueError(f"What is to be brought back has shape {tuple(moved.shape)}; the view had {size}.")
        view = ViewParameters(*extra["view"])
        back = unwarp_view(moved.as_tensor(), view, shape, nearest=extra["mode"] == "nearest")
        return on_old_grid(back, moved, view_matrix(view, shape, size), extra)


def _as_sequence(views: ViewParameters | Sequence[ViewParameters]) -> Sequence[ViewParameters]:
    return (views,) if isinstance(views, ViewParameters) else views


def _spatial_shape(data: Mapping[Hashable, Any], key: Hashable) -> tuple[int, int]:
    if key not in data:
        raise KeyError(f"The item has no {key!r} to make views of; it has {', '.join(map(repr, data))}.")
    shape: tuple[int, ...] = tuple(getattr(data[key], "shape", ()))
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"The item's {key!r} has shape {shape}; expected (1, H, W) with at least one pixel.")
    return int(shape[1]), int(shape[2])
