# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from monai_cxrssl.data.audit import audit_datalists
from monai_cxrssl.data.datalist import load_datalist
from monai_cxrssl.data.duplicates import near_duplicates
from monai_cxrssl.data.phantom import make_phantom_dataset
from monai_cxrssl.data.reader import read_cxr_uint


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return load_datalist(make_phantom_dataset(tmp_path_factory.mktemp("p") / "set", 16, 1, 192, progress=False))


def test_nothing_is_found_on_phantoms(phantom):
    assert audit_datalists([phantom], progress=False).findings == ()


def test_planted_leaks_and_nothing_else(phantom, tmp_path):
    training, test = phantom.items("training"), phantom.items("test")
    png, jpeg = tmp_path / "a.png", tmp_path / "b.jpg"
    pixels = read_cxr_uint(training[0]["image"])
    cv2.imwrite(str(png), pixels)
    cv2.imwrite(str(jpeg), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    training[0] = {**training[0], "image": str(png)}
    test.append({"image": str(jpeg), "patient_id": "stranger"})
    moved = {**test[0], "patient_id": training[1]["patient_id"], "study_id": training[1]["study_id"]}
    planted = replace(phantom, root=None, splits={"training": training, "test": [*test[1:], moved]})
    result = audit_datalists([planted], progress=False)
    assert [f.kind for f in result.findings] == ["near_duplicate", "patient"]
    assert set(result.findings[0].items) == {str(png), str(jpeg)}
    assert result.findings[1].items == (training[1]["patient_id"],)
    assert result.has_leak
    json.dumps(result.to_dict())
    assert all(finding.sentence in result.table() for finding in result.findings)


def test_bad_films_are_told(phantom, tmp_path):
    film, mask = tmp_path / "i.png", tmp_path / "m.png"
    item = next(i for i in phantom.items("training") if i["view_position"] == "PA")
    cv2.imwrite(str(film), 255 - read_cxr_uint(item["image"]))
    cv2.imwrite(str(mask), np.eye(50, dtype=np.uint8) * 255)
    (tmp_path / "bad.png").write_text("<html>")
    items = [
        {"image": str(film), "patient_id": "a", "lung_mask": str(mask)},
        {"image": str(tmp_path / "bad.png"), "patient_id": "b"},
    ]
    result = audit_datalists([replace(phantom, root=None, splits={"training": items})], progress=False)
    assert [f.kind for f in result.findings] == ["inverted", "mask_size", "unreadable"]
    assert not result.has_leak
    tagged = audit_datalists([phantom], phi=True, progress=False)
    assert {f.kind for f in tagged.findings} == {"phi"}
    assert "PatientName" in tagged.findings[0].sentence


def test_banded_search_finds_what_all_pairs_find():
    rng = np.random.default_rng(0)
    films = rng.standard_normal((3000, 560)).astype(np.float32)
    films[1000:1050] = films[:50] + rng.normal(0, 0.05, (50, 560))
    films /= np.linalg.norm(films, axis=1, keepdims=True)
    pairs = [(i, j) for i, j, _ in near_duplicates(films)]
    assert pairs == [(n, n + 1000) for n in range(50)]
    assert [(i, j) for i, j, _ in near_duplicates(films, all_pairs=10)] == pairs
