# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Random views with the defects of hospital images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.views.cpu import warp_view
from monai_cxrssl.transforms.views.film_defects import FilmDefects
from monai_cxrssl.transforms.views.multi_view import MultiView
from monai_cxrssl.transforms.views.parameters import ViewParameters, keyed_generator

__all__ = ["AdverseViews", "AdverseView"]


@dataclass(frozen=True)
class AdverseView(ViewParameters):
    """A view with the seed of its defects and the grey, in [0, 1], of what lies outside the image."""

    defects: int = 0
    outside: float = 0.0


class AdverseViews(MultiView):
    """Random views as :class:`MultiView` draws them, some of the whole image in its padding, with drawn defects.

    They are for networks that are to work on images of other places than they learn from: see
    :class:`~monai_cxrssl.transforms.views.film_defects.FilmDefects`. Masks follow the geometry alone. Rendered on the
    CPU only, in float32.

    Args:
        whole_prob: probability that a view is the whole image, undistorted and padded, as
            :class:`~monai_cxrssl.transforms.ResizeCXR` shows it, instead of a crop.
        whole_zoom: by what factor the padded image may be smaller than it could be (uniform).
        grey_prob: probability that what lies outside the image is grey or white rather than black.
        defects: probabilities by name, over the defaults of ``FilmDefects``.
        options: of :class:`MultiView`.

    Raises:
        ConfigurationError: a probability or an option is out of its range, or there is no such defect.
    """

    def __init__(
        self,
        size: int | Sequence[int] = 256,
        num_views: int = 1,
        whole_prob: float = 0.35,
        whole_zoom: Sequence[float] = (1.0, 1.3),
        grey_prob: float = 0.25,
        defects: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(size, num_views, **options)
        if self.return_uint8:
            raise ConfigurationError("Views with defects are float32; leave return_uint8 off.")
        for name, value in (("whole_prob", whole_prob), ("grey_prob", grey_prob)):
            if not 0 <= value <= 1:
                raise ConfigurationError(f"{name} is {value!r}; give a probability between 0 and 1.")
        low, high = whole_zoom
        if not 1 <= low <= high:
            raise ConfigurationError(f"whole_zoom is {whole_zoom!r}; give two factors in rising order, at least 1.")
        self.whole_prob, self.whole_zoom, self.grey_prob = float(whole_prob), (float(low), float(high)), grey_prob
        unknown = set(defects or {}) - set(vars(FilmDefects()))
        if unknown:
            raise ConfigurationError(
                f"There is no defect {sorted(unknown)[0]!r}; there are {', '.join(vars(FilmDefects()))}."
            )
        self.defects = FilmDefects(**(defects or {}))

    def sample(
        self, spatial_shape: Sequence[int], key: tuple[int, int] | None = None, views: Iterable[int] | None = None
    ) -> tuple[AdverseView, ...]:
        """Draw views as :meth:`MultiView.sample` does, each with its defects."""
        numbers = list(range(self.num_views) if views is None else views)
        shape = (int(spatial_shape[0]), int(spatial_shape[1]))
        drawn = []
        for number, view in zip(numbers, super().sample(shape, key, numbers), strict=True):
            if key is None:
                random = np.random.default_rng(self._random_state().randint(2**32, dtype=np.uint32))
            else:
                # A stream of its own, so that the crops are those of MultiView.
                random = keyed_generator(self.seed, *key, number).spawn(1)[0]
            drawn.append(self._with_defects(view, shape, random))
        return tuple(drawn)

    def _with_defects(self, view: ViewParameters, shape: tuple[int, int], random: np.random.Generator) -> AdverseView:
        whole, zoom, down, across, grey, shade = random.random(6).tolist()
        outside = shade if grey < self.grey_prob else 0.0
        adverse = AdverseView(**vars(view), defects=int(random.integers(2**32)), outside=outside)
        if whole >= self.whole_prob:
            return adverse
        # The window of the view's proportions that holds the whole image, in fractions of the image's sides.
        factor = max(shape[0] / self.size[0], shape[1] / self.size[1])
        factor *= self.whole_zoom[0] + zoom * (self.whole_zoom[1] - self.whole_zoom[0])
        height, width = factor * self.size[0] / shape[0], factor * self.size[1] / shape[1]
        return replace(
            adverse, height=height, width=width,
            center_y=0.5 + (down - 0.5) * (height - 1), center_x=0.5 + (across - 0.5) * (width - 1),
        )  # fmt: skip

    def _render(self, plane: np.ndarray, views: Sequence[ViewParameters]) -> Any:
        rendered = super()._render(plane, views)
        for number, view in enumerate(views):
            if not isinstance(view, AdverseView):
                continue
            image = rendered[number, 0].numpy()
            if view.outside:
                inside = warp_view(np.ones(plane.shape, np.float32), view, self.size)
                image = image * inside + np.float32(view.outside) * (1 - inside)
            rendered[number, 0].numpy()[...] = self.defects.draw(image, view.defects)
        return rendered
