# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of different sizes as one tensor, and who makes the views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from monai_cxrssl.data.sampling.deferred_views import DeferredViews, augments_on_device, stack_films
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import MultiView

FILMS = [
    np.random.default_rng(n).integers(0, 256, shape, dtype=np.uint8) for n, shape in enumerate([(40, 33), (7, 65)])
]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_film_goes_on_with_its_last_row_and_column(dtype):
    films = [film.astype(dtype) * dtype(1 if dtype is np.uint8 else 257) for film in FILMS]
    stacked = stack_films(films)
    assert stacked.shape == (2, 1, 64, 96)
    for plane, film in zip(stacked[:, 0].numpy(), films, strict=True):
        more = ((0, 64 - film.shape[0]), (0, 96 - film.shape[1]))
        np.testing.assert_array_equal(plane, np.pad(film, more, mode="edge"))
        assert plane.dtype == dtype


@pytest.mark.parametrize(("counts", "each"), [((1, 1), 1), ((1, 2), 2), ((2, 2), 2)])
def test_collation(counts, each):
    batch = default_collate(
        [{"image": DeferredViews(tuple(FILMS[:count]), 2), "index": n} for n, count in enumerate(counts)]
    )
    assert batch["index"].tolist() == [0, 1]
    assert batch["image"].shape == (2, each, 1, *stack_films(FILMS[: max(counts)]).shape[2:])
    for row, count in enumerate(counts):
        for number in range(each):
            film = FILMS[number if count == 2 else 0]
            found = batch["image"][row, number, 0, : film.shape[0], : film.shape[1]]
            np.testing.assert_array_equal(found.numpy(), film)


class Brighter(MultiView):
    """A view of the user's own, of which whole batches know nothing."""


def plain(image, key):
    return torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize(
    ("augment_on", "device", "transform", "masks", "expected"),
    [
        ("auto", "cpu", MultiView(), False, False),
        ("auto", "cuda:1", MultiView(), False, True),
        ("auto", "cuda", MultiView(), True, False),
        ("auto", "cuda", Brighter(), False, False),
        ("auto", torch.device("cuda"), plain, False, False),
        ("workers", "cuda", MultiView(), False, False),
        ("device", "cpu", MultiView(), False, True),
        ("device", "cuda", MultiView(), False, True),
        ("device", "cpu", MultiView(), True, "takes lung masks"),
        ("device", "cpu", Brighter(), False, "a Brighter does not make views of whole batches"),
        ("device", "cpu", plain, False, "a function does not"),
        ("gpu", "cpu", MultiView(), False, "augment_on is 'gpu'; expected one of auto, workers, device"),
    ],
)
def test_who_makes_the_views(augment_on, device, transform, masks, expected):
    if isinstance(expected, str):
        with pytest.raises(ConfigurationError, match=expected):
            augments_on_device(augment_on, device, transform, masks)
    else:
        assert augments_on_device(augment_on, device, transform, masks) is expected
