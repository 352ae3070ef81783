# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Text drawn into images is found where it stands, and images without are left in peace."""

from __future__ import annotations

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from monai_cxrssl.__main__ import main
from monai_cxrssl.data.audit.burned_in_text import text_lines
from monai_cxrssl.data.datalists.datalist import load_datalist
from monai_cxrssl.data.reading.read import read_cxr_uint
from monai_cxrssl.phantom import make_phantom_dataset


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = make_phantom_dataset(tmp_path_factory.mktemp("p") / "set", 6, 1, 512, progress=False)
    return [read_cxr_uint(item["image"]) for item in load_datalist(folder).all_items()]


def written(film, text="DOE JANE 1948", scale=0.7, place=(40, 60), grey=255, outline=False, box=False):
    """A copy with text whose baseline starts at column and row ``place``, and the box of the text."""
    film, thickness = film.copy(), 1 if scale < 1 else 2
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    column, row = place
    if box:
        film[row - height - 5 : row + 7, column - 5 : column + width + 5] = 0
    if outline:
        cv2.putText(film, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 0, thickness + 2, cv2.LINE_AA)
    cv2.putText(film, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, grey, thickness, cv2.LINE_AA)
    return film, (row - height, column, height, width)


def overlaps(one, other):
    return all(one[a] < other[a] + other[a + 2] and other[a] < one[a] + one[a + 2] for a in (0, 1))


def test_phantoms_without_text(films):
    assert len(films) >= 6
    assert [text_lines(film) for film in films] == [[]] * len(films)


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.0])
@pytest.mark.parametrize(("column", "row"), [(40, 0.15), (80, 0.6), (100, 0.95)])
def test_text_in_a_box_is_found_wherever_it_is(films, scale, column, row):
    for film in films:
        changed, box = written(film, scale=scale, place=(column, int(row * film.shape[0])), box=True)
        lines = text_lines(changed)
        assert lines
        assert all(overlaps(line.box, box) for line in lines)


@pytest.mark.parametrize("how", [{"outline": True}, {"outline": True, "scale": 1.0}, {"grey": 0}])
def test_bare_text_is_mostly_found(films, how):
    """It is not where it runs into what is behind it."""
    found = 0
    for film in films:
        changed, box = written(film, place=(80, int(0.6 * film.shape[0])), **how)
        found += any(overlaps(line.box, box) for line in text_lines(changed))
    assert found >= 0.75 * len(films)


@pytest.mark.parametrize("text", ["L", "R", "AP", "R 3"])
def test_a_side_marker_is_no_text(films, text):
    for film in films:
        assert text_lines(written(film, text, box=True)[0]) == []
        assert text_lines(written(film, text, scale=1.2)[0]) == []


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("factor", [1, 4])
def test_upwards_and_in_any_type_and_size(films, bits, turns, factor):
    changed, box = written(films[0], box=True, scale=1.0)
    marked = np.zeros_like(changed)
    marked[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = 1
    film = np.rot90(cv2.resize(changed, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), turns)
    rows, columns = np.nonzero(np.rot90(np.kron(marked, np.ones((factor, factor), np.uint8)), turns))
    where = (rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1)
    lines = text_lines(film if bits == 8 else film.astype(np.uint16) * 16)
    assert lines
    assert all(overlaps(line.box, where) for line in lines)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5, 512), (40, 40), (700, 900)])
def test_odd_films_hold_no_text(shape):
    assert text_lines(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)) == []
    assert text_lines(np.zeros(shape, dtype=np.uint16)) == []


def test_the_audit_tells(films, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "plain.png"), films[0])
    changed, _ = written(films[1], box=True)
    cv2.imwrite(str(tmp_path / "text.png"), changed)
    items = [{"image": f"{name}.png", "patient_id": name} for name in ("plain", "text")]
    (tmp_path / "d.json").write_text(json.dumps({"name": "d", "training": items}))
    assert main(["audit", str(tmp_path / "d.json"), "--phi", "--json", str(tmp_path / "a.json")]) == 0
    found = [f for f in json.loads((tmp_path / "a.json").read_text())["findings"] if f["kind"] == "burned_in_text"]
    assert [f["items"] for f in found] == [[str(tmp_path / "text.png")]]
    assert "may have text burned into its pixels" in capsys.readouterr().out
    assert main(["audit", str(tmp_path / "d.json"), "--json", str(tmp_path / "a.json")]) == 0
    assert "burned_in_text" not in (tmp_path / "a.json").read_text()


def test_public_films(shared_data):
    """Every eighth image: docs/security.md has the counts of all, each flagged image of which was looked at."""
    flagged, seen = Counter(), Counter()
    for source in ("covid-chestxray-dataset", "kermany-pediatric", "nih-chestxray14-subset"):
        for path in sorted(p for p in (shared_data / source / "images").rglob("*") if p.is_file())[::8]:
            seen[source] += 1
            flagged[source] += bool(text_lines(read_cxr_uint(path)))
    shares = {source: flagged[source] / seen[source] for source in seen}
    assert 0.1 < shares["covid-chestxray-dataset"] < 0.35
    assert shares["kermany-pediatric"] < 0.12
    assert shares["nih-chestxray14-subset"] < 0.08
