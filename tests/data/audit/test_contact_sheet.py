# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: what is drawn, evenly, without a patient id."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.audit.contact_sheet import SIDE, datalist_cells, draw_datalist, draw_items
from monai_cxrssl.data.datalists.datalist import Datalist, save_datalist
from monai_cxrssl.errors import ConfigurationError

CLASSES = ("a", "b", "c")


def made(labels, task="multi_label", root=None, **fields):
    items = [{"image": f"{n}.png", "patient_id": f"Doe-{n}", "label": v} | fields for n, v in enumerate(labels)]
    half = len(items) // 2
    content = {"name": "films", "classes": list(CLASSES), "task": task, "training": items[:half], "test": items[half:]}
    return Datalist.from_dict(content, root)


@pytest.fixture
def films(tmp_path):
    """Two images of 100 x 200 with a mask and a box, a text with an image's name, and an absent image."""
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    mask = np.zeros((50, 100), np.uint8)
    mask[10:40, 20:60] = 255
    for n in range(2):
        Image.fromarray(ramp).save(tmp_path / f"{n}.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "2.png").write_text("no image")
    boxes = {"lung_mask": "mask.png", "boxes": [[50, 20, 150, 80]], "view_position": "PA"}
    return made([0, 1, 2, None], "multi_class", tmp_path, **boxes)


def test_even_draw_over_rare_and_frequent_classes():
    labels = [[1, 0, 0]] * 40 + [[0, 1, 0]] * 3 + [[0, 0, 0]] * 20 + [[None, None, None]] * 20
    drawn = draw_items(made(labels), 12)
    assert Counter(name for name, _ in drawn) == {"a": 3, "b": 3, "none positive": 3, "no label": 3}
    assert len({item["image"] for _, item in drawn}) == 12
    assert draw_items(made(labels), 12) == drawn
    assert draw_items(made(labels), 12, seed=1) != drawn


def test_a_film_of_two_classes_comes_once():
    drawn = draw_items(made([[1, 1, 0], [1, 1, 0], [0, 0, 1]]), 12)
    assert sorted(item["image"] for _, item in drawn) == ["0.png", "1.png", "2.png"]
    assert [name for name, _ in drawn] == ["a", "b", "c"]
    with pytest.raises(ConfigurationError, match="count is 0"):
        draw_items(made([[1, 1, 0]]), 0)


def test_what_is_in_a_cell(films):
    cells = datalist_cells(films)
    assert len(cells) == 4
    assert cells[0].title == "1: a\nPA, patient 1"
    assert not any("Doe" in text for cell in cells for text in (cell.title, cell.text, cell.fault))
    x, y = cells[0].outlines[0].T
    np.testing.assert_allclose([x.min(), x.max(), y.min(), y.max()], [40, 119, 20, 79])
    assert cells[0].boxes == [(49.5, 19.5, 149.5, 79.5)]
    assert not datalist_cells(films, mask=False)[0].outlines
    assert "is a text file" in cells[2].fault
    assert "does not exist" in cells[3].fault
    assert cells[2].picture is None


def test_films_of_one_patient_share_a_number(films):
    splits = {name: [item | {"patient_id": "Doe-1"} for item in films.splits[name]] for name in films.splits}
    splits["training"][0]["patient_id"] = "Doe-2"
    cells = datalist_cells(Datalist(films.name, films.classes, films.task, splits, films.root))
    assert [cell.title.split()[-1] for cell in cells] == ["1", "2", "2", "2"]


def test_large_films_are_reduced_with_their_boxes(tmp_path):
    Image.fromarray(np.zeros((2 * SIDE, 4 * SIDE), np.uint8)).save(tmp_path / "0.png")
    (cell,) = datalist_cells(made([[1, 0, 0]], root=tmp_path, boxes=[[0, 0, 4 * SIDE, SIDE]]))
    assert cell.picture.shape == (SIDE // 2, SIDE)
    assert cell.boxes == [(-0.5, -0.5, SIDE - 0.5, SIDE // 4 - 0.5)]


def test_a_broken_mask_is_told(films, tmp_path):
    (tmp_path / "mask.png").write_text("no mask")
    cell = datalist_cells(films)[0]
    assert cell.picture is not None
    assert "mask: is a text file" in cell.fault


def test_lines_lie_on_their_pixels(films):
    """Cells of 300 pixels, each pixel of the images of 100 x 200 being 1.5; the first begins below heading and title."""
    sheet = np.asarray(draw_datalist(films)).astype(int)
    assert sheet.shape[1] == 4 * (300 + 8) + 8
    top, left = 8 + 22 + 8 + 2 * 17 + 75, 8
    for colour, edges in (((255, 176, 0), (50, 20, 150, 80)), ((40, 200, 255), (40.5, 20.5, 119.5, 79.5))):
        y, x = np.nonzero(np.abs(sheet[:, : left + 300] - colour).sum(axis=2) < 100)
        found = [x.min() - left + 0.5, y.min() - top + 0.5, x.max() - left + 0.5, y.max() - top + 0.5]
        np.testing.assert_allclose(found, np.array(edges) * 1.5, atol=2)


@pytest.mark.parametrize("name", ["films", "Brüche und Ödeme", "肺炎"])
def test_any_letters_are_written(films, name):
    films = Datalist(name, films.classes, films.task, films.splits, films.root)
    heading = np.asarray(draw_datalist(films))[8:30]
    assert (heading < 128).any()


def test_command(films, tmp_path, capsys):
    listed = save_datalist(films, tmp_path / "d.json")
    out = tmp_path / "sheets" / "sheet.png"
    assert main(["show", str(listed), "--out", str(out), "--count", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [*(f"{n:>4}  {item['image']}" for n, (_, item) in enumerate(draw_items(films, 2), 1)), str(out)]
    picture = np.asarray(Image.open(out).convert("RGB"))
    assert (np.abs(picture.astype(int) - (40, 200, 255)).sum(axis=2) < 30).any()
    assert main(["show", str(listed), "--out", str(out), "--count", "0"]) == 2
    assert "count is 0" in capsys.readouterr().err
    assert main(["show", str(listed), "--out", str(tmp_path / "sheet.xyz")]) == 2
    assert "sheet.xyz; expected .png, .jpg, .pdf" in capsys.readouterr().err
