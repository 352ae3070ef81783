# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.report.plots.attention_gallery import AttentionCase, choose_cases, draw_attention_gallery


def case(right: bool = True, rows: int = 40, columns: int = 30, **change) -> AttentionCase:
    saliency = np.zeros((rows, columns))
    saliency[5:15, 5:10] = 2
    lungs = np.zeros((rows, columns), np.uint8)
    lungs[4:30, 4:26] = 1
    given = {"image": np.full((rows, columns), 0.4), "saliency": saliency, "lung_mask": lungs, "true": "pneumonia",
             "predicted": "normal", "probability": 0.9, "right": right, "pfs": 0.8, "area": 0.4} | change  # fmt: skip
    return AttentionCase(**given)


def test_surest_first_and_one_per_patient():
    probability = [0.9, 0.8, 0.99, 0.7, np.nan, 0.6, 0.95, 0.5]
    right = [1, 1, 0, 1, 1, 0, np.nan, 0]
    chosen = choose_cases(probability, right, 2)
    np.testing.assert_array_equal(chosen[0], [0, 1])
    np.testing.assert_array_equal(chosen[1], [2, 5])
    chosen = choose_cases(probability, right, 2, ["a", "a", "b", "c", "c", "b", "d", "d"])
    np.testing.assert_array_equal(chosen[0], [0, 3])
    np.testing.assert_array_equal(chosen[1], [2, 7])
    assert [len(films) for films in choose_cases([], [])] == [0, 0]
    with pytest.raises(DatalistError, match=r"\(2,\).*\(1,\)"):
        choose_cases([0.5, 0.5], [True])


@pytest.mark.parametrize(
    "cases",
    [
        [case(), case(False), case(False)],
        [case()],
        [case(False) for _ in range(6)],
        [case(lung_mask=None, pfs=float("nan"), area=float("nan"))],
        [case(lung_mask=np.zeros((40, 30))), case(saliency=np.zeros((40, 30)), pfs=float("nan"))],
        [case(saliency=np.full((40, 30), np.nan), pfs=float("nan")), case(probability=float("nan"))],
        [case(True, 30, 64), case(False, true="a class of a very long name " * 3)],
    ],
)
def test_draws(tmp_path, cases):
    path = draw_attention_gallery(cases, tmp_path / "new" / "gallery.png", columns=4)
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.std() > 5
    assert [file.name for file in path.parent.iterdir()] == ["gallery.png"]


def test_heatmap_and_outline_are_where_they_belong(tmp_path):
    """On an image without brightness all colour comes from the heatmap (warm) and the outline (cold)."""
    dark = {"image": np.zeros((40, 40)), "rows": 40, "columns": 40}
    bare = {"lung_mask": None, "true": "", "predicted": "", "pfs": float("nan"), "area": float("nan")}
    pictures = []
    for saliency in (np.zeros((40, 40)), np.pad(np.ones((10, 10)), ((0, 30), (30, 0)))):
        path = draw_attention_gallery([case(saliency=saliency, **dark, **bare)], tmp_path / "gallery.png")
        pictures.append(cv2.imread(str(path)).astype(int))
    film = np.argwhere(pictures[0].sum(2) == 0)
    (top, left), (bottom, right) = film.min(0), film.max(0)
    changed = (pictures[1] - pictures[0])[top : bottom + 1, left : right + 1, 2] > 40
    rows, columns = np.nonzero(changed)
    assert rows.mean() / changed.shape[0] == pytest.approx(1 / 8, abs=0.04)
    assert columns.mean() / changed.shape[1] == pytest.approx(7 / 8, abs=0.04)


def test_input_that_does_not_fit(tmp_path):
    with pytest.raises(DatalistError, match="no decision to show"):
        draw_attention_gallery([], tmp_path / "gallery.png")
    with pytest.raises(DatalistError, match=r"saliency map \(10, 10\)"):
        draw_attention_gallery([case(saliency=np.ones((10, 10)))], tmp_path / "gallery.png")
    assert not list(tmp_path.iterdir())
