# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Views with defects: masks follow the geometry alone, draws are keyed, each defect does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import AdverseViews, MultiView, ResizeCXR
from monai_cxrssl.transforms.views.film_defects import FilmDefects

NONE = dict.fromkeys(vars(FilmDefects()), 0.0)
FILM = np.random.default_rng(0).integers(40, 200, (1, 120, 90)).astype(np.uint8)
MASK = np.zeros((1, 120, 90), np.uint8)
MASK[:, 30:90, 20:70] = 1


def test_crops_are_those_of_multi_view():
    views = AdverseViews(64, whole_prob=0, grey_prob=0, defects=NONE, seed=3)
    plain = MultiView(64, num_views=1, seed=3)
    for key in ((0, 1), (4, 9)):
        np.testing.assert_array_equal(views(FILM, key=key), plain(FILM, key=key))
        drawn = views.sample(FILM.shape[1:], key=key)
        np.testing.assert_array_equal(
            views.apply_mask(MASK, drawn), plain.apply_mask(MASK, plain.sample((120, 90), key))
        )


def test_whole_image_is_padded_as_in_evaluation():
    options = {"rotation": 0, "flip_prob": 0, "jitter_prob": 0, "whole_zoom": (1, 1), "whole_prob": 1, "grey_prob": 0}
    view = AdverseViews(64, defects=NONE, **options)(FILM, key=(0, 0))[0, 0].numpy()
    expected = ResizeCXR(64)(FILM)[0].numpy()
    # The padding is as wide, and lies on either side at random.
    seen, columns = np.flatnonzero(view.any(0)), np.flatnonzero(expected.any(0))
    assert len(seen) == len(columns) == 48
    assert abs(view[:, seen] - expected[:, columns]).mean() < 0.05


def test_draws_are_keyed_and_masks_do_not_see_defects():
    views = AdverseViews(64, seed=1, defects=dict.fromkeys(NONE, 1.0), grey_prob=1)
    first = views(FILM, key=(2, 5))
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    np.testing.assert_array_equal(
        first, AdverseViews(64, seed=1, defects=dict.fromkeys(NONE, 1.0), grey_prob=1)(FILM, key=(2, 5))
    )
    assert not np.array_equal(first, views(FILM, key=(2, 6)))
    clean = AdverseViews(64, seed=1, defects=NONE)
    masks = [each.apply_mask(MASK, each.sample((120, 90), key=(2, 5))) for each in (views, clean)]
    np.testing.assert_array_equal(*masks)
    assert not views.renders_batches


@pytest.mark.parametrize("name", NONE)
def test_each_defect(name):
    plane = np.tile(np.linspace(0.2, 0.8, 64, dtype=np.float32), (64, 1))
    drawn = FilmDefects(**{**NONE, name: 1.0}).draw(plane.copy(), seed=7)
    assert drawn.dtype == np.float32
    assert drawn.shape == plane.shape
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert not np.array_equal(drawn, plane)
    if name == "inverted":
        np.testing.assert_allclose(drawn, 1 - plane, atol=1e-6)
    if name in ("text", "border", "opacity"):  # a part of the image alone
        assert (abs(drawn - plane) < 1e-6).mean() > 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"whole_prob": 2}, "whole_prob is 2; give a probability"),
        ({"whole_zoom": (0.5, 1)}, "at least 1"),
        ({"defects": {"texts": 1}}, "There is no defect 'texts'; there are opacity"),
        ({"defects": {"text": -1}}, "text is -1; give a probability"),
        ({"return_uint8": True}, "leave return_uint8 off"),
    ],
)
def test_refused(options, words):
    with pytest.raises(ConfigurationError, match=words):
        AdverseViews(64, **options)
