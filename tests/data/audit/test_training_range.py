# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What training images looked like, measured independently, and which other images lie outside of it."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import block_reduce

from monai_cxrssl.data import DecodedImages, TrainingRange, index_folder, measure_training_range
from monai_cxrssl.data.audit.training_range import film_statistics
from monai_cxrssl.errors import ConfigurationError, CXRReadError


class Films(list):
    """A store of arrays."""

    in_memory = True

    def __init__(self, films, items=None):
        super().__init__(films)
        self.items = items or [{"image": f"{number}.png"} for number in range(len(films))]

    def image(self, index):
        if self[index] is None:
            raise CXRReadError(self.items[index]["image"], "is gone")
        return self[index]


def chest(seed=0, rows=180, columns=160) -> np.ndarray:
    """Bright body with two dark lungs between dark shoulders, each a little different."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    film = np.full((rows, columns), 0.7) + 0.1 * y
    for centre in (0.28, 0.72):
        size = generator.uniform(0.9, 1.1, 2)
        film -= 0.5 * np.exp(-((((x - centre) / 0.15 * size[0]) ** 2 + ((y - 0.45) / 0.3 * size[1]) ** 2) ** 2))
    film -= 0.6 * np.exp(-((y / 0.15) ** 2)) * (np.abs(x - 0.5) > 0.25)
    film = film + generator.normal(0, 0.03, film.shape) + generator.normal(0, 0.03)
    return (np.clip(film, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def known():
    """The range of 200 images of patients of 21 to 80 years, most of them PA."""
    items = [
        {"image": f"{n}", "age": 21 + n * 0.3, "view_position": "AP Supine" if n % 9 == 0 else "PA"} for n in range(200)
    ]
    return measure_training_range(Films([chest(seed) for seed in range(200)], items), image_size=64)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_statistics_are_those_of_numpy_scipy_and_skimage(dtype):
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    film = (np.random.default_rng(1).random((192, 192)) ** 3 * top).astype(dtype)
    found, regions = film_statistics(film)
    unit = film.astype(np.float64) / top
    small, middle = block_reduce(unit, 3, np.mean), block_reduce(unit, 2, np.mean)
    edges = ndimage.laplace(middle)[1:-1, 1:-1]
    expected = {
        "mean_intensity": small.mean(), "contrast": small.std(), "black_share": (small < 0.05).mean(),
        "white_share": (small > 0.95).mean(), "height_to_width": 1, "sharpness": edges.std() / middle.std(),
        "shorter_side": 192,
    }  # fmt: skip
    assert found == pytest.approx(expected, abs=0.01)
    eight = block_reduce(unit, 24, np.mean).ravel()
    np.testing.assert_allclose(regions, (eight - eight.mean()) / eight.std(), atol=0.15)
    assert math.isnan(film_statistics(film[:90])[0]["sharpness"])


def test_the_range_is_plain_json_and_comes_back(known):
    content = json.loads(json.dumps(known.to_dict(), allow_nan=False))
    assert TrainingRange.from_dict(content) == known
    assert (known.films, known.views) == (200, {"PA": 177, "AP": 23})
    assert known.age == pytest.approx(np.percentile(21 + np.arange(200) * 0.3, (1, 50, 99)), abs=1e-4)
    assert known.percentiles["shorter_side"] == [64, 64, 64]
    assert len(json.dumps(content)) < 4000


def test_films_like_those_trained_on_are_within(known):
    told = [known.outside(chest(seed), 50, "PA") for seed in range(1000, 1200)]
    assert sum(map(bool, told)) <= 4
    assert known.outside(chest(1000).astype(np.uint16) * 257) == []
    assert known.outside(chest(1000).astype(np.float32) / 255) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda film: (film * 0.3).astype(np.uint8), "darker than 99 % of the training images (mean_intensity 0."),
        (lambda film: (film * 0.3 + 178).astype(np.uint8), "brighter than"),
        (lambda film: (film * 0.2 + 110).astype(np.uint8), "of less contrast than"),
        (lambda film: np.pad(film, ((0, 0), (50, 50))), "more black than"),
        (lambda film: np.pad(film, ((90, 90), (0, 0)), constant_values=255), "more white than"),
        (lambda film: film[:, :90], "narrower than"),
        (lambda film: cv2.resize(film, (300, 150)), "wider than"),
        (lambda film: cv2.GaussianBlur(film, (0, 0), 4), "more blurred than"),
        (lambda film: np.random.default_rng(0).integers(0, 256, film.shape, np.uint8), "sharper or noisier than"),
        (lambda film: cv2.resize(film, (40, 45)), "of fewer pixels than 99 % of the training images (shorter_side 40 against 64"),
        (lambda film: 255 - film, "laid out unlike"),
        (lambda film: film[::-1].copy(), "laid out unlike"),
        (lambda film: np.rot90(film).copy(), "laid out unlike"),
    ],
)  # fmt: skip
def test_each_way_to_be_outside_has_its_words(known, change, words):
    told = known.outside(change(chest(2000)))
    assert any(text.startswith(words) for text in told), told


@pytest.mark.parametrize(
    ("patient", "words"),
    [
        ({"age": 4}, ["patient age 4 below the training images' 21.6 to 80.1"]),
        ({"age": 104}, ["patient age 104 above the training images' 21.6 to 80.1"]),
        ({"age": 20}, []),
        *[({"age": age}, []) for age in (None, "", "unknown", math.nan, 999, 50)],
        ({"view_position": "AP"}, []),
        # Laterals have a warning of their own.
        ({"view_position": "LL"}, []),
    ],
)
def test_patients_outside(known, patient, words):
    assert known.outside(chest(1000), **patient) == words


def test_a_view_that_was_hardly_trained_on():
    films = [chest(seed) for seed in range(60)]
    of_pa = measure_training_range(Films(films, [{"image": "x", "view_position": "PA"}] * 60))
    assert of_pa.outside(chest(99), view_position="ap_erect") == ["view AP, as 0 of 60 training images of known view"]
    of_none = measure_training_range(Films(films))
    assert of_none.outside(chest(99), 4, "AP") == []


def test_few_gone_and_chosen_films():
    films = Films([chest(seed) for seed in range(40)])
    assert measure_training_range(films, range(29)) is None
    assert measure_training_range(films, range(30)).films == 30
    films[3] = None
    assert measure_training_range(films).films == 39
    many = Films([chest(seed, 64, 64) for seed in range(3)] * 700)
    assert measure_training_range(many).films == 2000
    many.in_memory = False
    first = measure_training_range(many, seed=1)
    assert first.films == 200
    assert measure_training_range(many, seed=1) == first
    assert "sharpness" not in first.percentiles


@pytest.mark.parametrize(
    "change",
    [
        {"films": None}, {"region_mean": [0.0] * 9}, {"region_spread": [0.0] * 64}, {"age": [1, 2]}, {"extra": 1},
        {"percentiles": {"contrast": [0.1, math.nan, 0.2]}}, {"percentiles": [1]}, {"views": []},
    ],
)  # fmt: skip
def test_what_training_did_not_write_is_refused(known, change):
    with pytest.raises(ConfigurationError, match="not what training writes"):
        TrainingRange.from_dict({**known.to_dict(), **change})
    with pytest.raises(ConfigurationError, match="not what training writes"):
        TrainingRange.from_dict([1])


def test_real_films_of_one_source_and_what_is_none(shared_data):
    """Fitted on some patients, few images of other patients are outside, and nearly all that is no such image is."""
    skimage_data = pytest.importorskip("skimage.data")
    items = sorted(index_folder(shared_data / "nih-chestxray14-subset").items(), key=lambda item: item["patient_id"])
    cut = next(n for n in range(300, len(items)) if items[n]["patient_id"] != items[n - 1]["patient_id"])
    images = DecodedImages(items, side=192, progress=False)
    assert len(images) == len(items)
    known = measure_training_range(images, range(cut), image_size=112)
    tested = [images.image(number) for number in range(cut, len(items))]
    photographs = [getattr(skimage_data, name)() for name in ("camera", "coins", "moon", "page", "text", "grass")]

    def share(films):
        return np.mean([bool(known.outside(film)) for film in films])

    assert share(tested) < 0.05
    assert share([255 - film for film in tested]) > 0.95
    assert share([(film * 0.3).astype(np.uint8) for film in tested]) > 0.95
    assert share([film[::-1, ::-1].copy() for film in tested]) > 0.6
    assert share(photographs) == 1
    assert share([np.random.default_rng(0).integers(0, 256, (192, 192), np.uint8)]) == 1
