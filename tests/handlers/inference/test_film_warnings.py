# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.data import index_folder, read_cxr_uint
from monai_cxrssl.handlers.inference.film_warnings import film_warnings, view_warning


@pytest.mark.parametrize(
    ("view", "words"),
    [
        *[(view, "") for view in ("", "PA", "AP", "AP Supine", "ap_erect", "FRONTAL", "ANTERO-POSTERIOR")],
        *[(view, "lateral view") for view in ("LL", "RL", "L", "lateral", "LEFT_LATERAL", "Lateral left", "lat")],
        *[(view, "decubitus view") for view in ("LLD", "RLD", "left lateral decubitus")],
        *[(view, "oblique view") for view in ("LAO", "RPO", "LLO", "Oblique")],
    ],
)
def test_views(view, words):
    assert view_warning(view) == words


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_inverted_and_lateral_films(dtype):
    film = np.full((90, 70), 0.5)
    film[22:60, 12:28] = film[22:60, 45:60] = film[:14, :10] = film[:14, -10:] = 0.1
    film[75:] = 0.9
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    pixels, negative = (np.asarray(plane * top).astype(dtype) for plane in (film, 1 - film))
    assert film_warnings({}, pixels) == []
    assert film_warnings({}, negative) == ["inverted contrast suspected"]
    assert film_warnings({"view_position": "AP"}, negative, "AP") == ["inverted contrast suspected"]
    # A header is believed beside a list that has not looked.
    assert film_warnings({"view_position": "PA"}, pixels, "LL") == ["lateral view"]
    assert film_warnings({"view_position": "LL"}, negative) == ["lateral view"]


def test_real_films(shared_data):
    items = index_folder(shared_data / "covid-chestxray-dataset").items()
    lateral = [item for item in items if item.get("view_position") == "LL"][:2]
    frontal = [item for item in items if item.get("view_position") in ("PA", "AP")][:6]
    for item in [*lateral, *frontal]:
        pixels = read_cxr_uint(item["image"], max_side=400)
        assert film_warnings(item, pixels) == (["lateral view"] if item in lateral else [])
        if item in frontal:
            assert film_warnings(item, 255 - pixels) == ["inverted contrast suspected"]
    assert len(lateral) == 2
