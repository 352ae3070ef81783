# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.report.card import model_card
from monai_cxrssl.report.content import Content, Flag, Picture, Section, Table
from monai_cxrssl.report.criteria import evaluate_criteria, load_criteria, overall_sentence
from monai_cxrssl.report.page.page import write_page
from monai_cxrssl.report.page.printable import printable
from monai_cxrssl.report.page.table import cell_words, number_words

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><h1>ready</h1>",
    "' onmouseover='alert(1)",
    "&lt;b&gt; & <!-- ",
    "]]></style><b>",
]
_VOID = {"meta", "img", "br", "link", "input", "path", "circle", "use"}


class Reader(HTMLParser):
    """Collects what a page holds, and checks that its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in _VOID:
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page(content, folder):
    text = write_page(content, folder).read_text(encoding="utf-8")
    return Reader(text), text


def content(**changed):
    parts = {"title": "Report", "subtitle": "a model", "created": "2026-01-01, MONAI 1.6", "verdict": "Not ready."}
    return Content(**(parts | changed))


def full(names):
    criteria = evaluate_criteria({"dice_ci_low": 0.89996, "leaks": 0}, load_criteria())
    rows = [[name, 0.5, float("nan"), None, np.float32(0.25), float("inf"), 12345] for name in names]
    columns = ["class", "AUROC", *names[:2], "d", "e", "films"]
    section = Section(
        "a", names[0], names, [Flag("bad", name) for name in names], [Table(names[1], columns, rows, names[2])]
    )
    return content(
        title=names[0],
        subtitle=names[1],
        created=names[2],
        verdict=overall_sentence(criteria),
        criteria=[result.to_dict() for result in criteria] + [{"name": names[3], "why": names[4], "reason": names[0]}],
        flags=[Flag("good", names[1]), Flag("warning", names[0]), Flag("unknown", names[2])],
        sections=[section, section, Section("", "")],
        card=[asdict(field) for field in model_card({"name": names[0], "limitations": names[1]}, {})],
    )


def test_hostile_texts_stay_texts(tmp_path):
    hostile, text = page(full(HOSTILE), tmp_path / "a")
    tame, _ = page(full([f"name {number}" for number in range(len(HOSTILE))]), tmp_path / "b")
    # The same elements and attributes, whatever the texts.
    assert [(tag, sorted(attributes)) for tag, attributes in hostile.elements] == [
        (tag, sorted(attributes)) for tag, attributes in tame.elements
    ]
    assert all(name in hostile.text for name in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'))
    assert "<script" not in text
    assert not re.search(r"https?://|src=[^\"]", text.replace("src=x", ""))


def test_form_of_the_page(tmp_path):
    reader, text = page(full([f"name {number}" for number in range(6)]), tmp_path)
    assert text.startswith("<!DOCTYPE html>")
    assert reader.all("html")[0]["lang"] == "en"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.all("meta")
    assert any("default-src 'none'" in meta.get("content", "") for meta in reader.all("meta"))
    assert all(head["scope"] in ("col", "row") for head in reader.all("th"))
    anchors = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    links = [link["href"].removeprefix("#") for link in reader.all("a")]
    assert links[:3] == ["verdict", "findings", "reading"]
    assert set(links) <= set(anchors)
    assert len(links) == len(set(links)) == 3 + 3 + 1
    assert "Research use only; not a medical device." in reader.text
    assert "95 % interval over patients" in reader.text
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in reader.elements}
    assert list(tmp_path.iterdir()) == [tmp_path / "index.html"]


def test_no_number_is_shown_for_what_is_none(tmp_path):
    reader, text = page(full([f"name {number}" for number in range(6)]), tmp_path)
    assert not re.search(r"\b(nan|inf|none)\b", reader.text, re.IGNORECASE)
    row = re.search(r'<tr><th scope="row">name 0</th>(.*?)</tr>', text)[1]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert [re.sub("<.*?>", "", cell) for cell in cells] == ["0.500", "–", "–", "0.250", "–", "12,345"]
    assert all('title="not assessable"' in cells[number] for number in (1, 2, 4))


def test_verdict_in_words_and_shapes(tmp_path):
    _, text = page(full([f"name {number}" for number in range(6)]), tmp_path)
    box = text[text.index('<section class="verdict') : text.index("</section>")]
    total = len(load_criteria()) + 1
    assert box.startswith('<section class="verdict bad"')
    assert '1 pass</span></li><li class="unknown">' in box
    assert f"{total - 2} not assessable" in box
    assert "1 fail" in box
    assert "shape-bad" in box
    assert "shape-good" in box
    assert "shape-unknown" in box
    # Not rounded up to the threshold of 0.9.
    assert ">0.89996</td>" in box
    # The gravest first.
    findings = text[text.index('id="findings"') : text.index('class="contents"')]
    assert re.findall(r'word \w+">([\w ]+):', findings) == ["Caution", "Not assessable", "Good"]


@pytest.mark.parametrize(
    ("verdicts", "level"),
    [([], "unknown"), (["pass"], "good"), (["pass", "not assessable"], "unknown"), (["fail", "pass"], "bad")],
)
def test_level_of_the_verdict(tmp_path, verdicts, level):
    _, text = page(content(criteria=[{"name": "a", "verdict": verdict} for verdict in verdicts]), tmp_path)
    assert f'<section class="verdict {level}"' in text


def test_model_card_shows_blanks(tmp_path):
    fields = [
        {"section": "Use", "field": "Limits", "value": value, "item": "CLAIM"}
        for value in ("adults only", "", None, "not stated")
    ]
    reader, text = page(content(card=fields), tmp_path)
    assert "1 of 4 are stated" in reader.text
    assert "adults only" in reader.text
    assert text.count('<span class="not-stated">not stated</span>') == 3


def test_pictures_are_inside(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "b.jpg"), np.eye(40, 50, dtype=np.uint8) * 255)
    cv2.imwrite(str(tmp_path / "white.png"), np.full((20, 30), 255, np.uint8))
    (tmp_path / "half.png").write_bytes((tmp_path / "a.png").read_bytes()[:30])
    (tmp_path / "c.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>')
    names = ["a.png", "b.jpg", "white.png", "half.png", "c.svg", "missing.png", "nul\0.png"]
    pictures = [Picture(name, f'alt of "{name}"', f"caption of {name}") for name in names]
    reader, _ = page(content(sections=[Section("p", "Pictures", pictures=pictures)]), tmp_path)
    images = reader.all("img")
    for image, name, kind, size in zip(images, names, ("png", "jpeg"), ((30, 20), (50, 40)), strict=False):
        assert image["alt"] == f'alt of "{name}"'
        assert (int(image["width"]), int(image["height"])) == size
        start, data = image["src"].split(",")
        assert start == f"data:image/{kind};base64"
        assert base64.b64decode(data) == (tmp_path / name).read_bytes()
    assert len(images) == 2
    assert reader.text.count("No picture:") == 5
    assert "white.png is empty" in reader.text
    assert "missing.png cannot be read" in reader.text


def test_long_and_empty_tables_and_sections(tmp_path):
    tables = [
        Table("short", ["a", "b"], [["x", 1.0]]),
        Table("long", ["a", "b"], [[f"x{number}", "word"] for number in range(100)]),
        Table("many", [str(number) for number in range(12)], [[0.1] * 12]),
        Table("empty", ["a", "b"], []),
    ]
    reader, text = page(content(sections=[Section("t", "T", tables=tables), Section("e", "Empty")]), tmp_path)
    boxes = [box["class"].split() for box in reader.all("div") if box.get("role") == "region"]
    assert boxes == [["scroll"], ["scroll", "long"], ["scroll", "many"]]
    assert text.count("No rows: nothing to list.") == 1
    assert text.count("There is nothing to show here.") == 1


def test_texts_that_are_no_utf8_are_written(tmp_path):
    reader, _ = page(content(title="image \udcff \x00 \u202e evil"), tmp_path)
    assert "image \N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER} evil" in reader.text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"), (0.0, "0.000"), (-0.5, "−0.500"), (1234567, "1,234,567"), (np.int64(7), "7"), (99.5, "99.500"),
        (123.456, "123.5"), (98765.4, "98,765"), (0.0004, "below 0.001"), (-1e-9, "above −0.001"), (1.0, "1.000"),
    ],
)  # fmt: skip
def test_numbers(value, words):
    assert number_words(value) == words


@pytest.mark.parametrize(
    ("value", "is_name", "words"),
    [
        (None, False, None), (float("nan"), False, None), (np.float32("inf"), False, None), ("nan", False, None),
        ("None", False, None), ("None", True, ("None", "")), (True, False, ("yes", "")),
        (np.float64(0.5), False, ("0.500", "")), ("none of them", False, ("none of them", "")),
        ("a<b", False, ("a<b", "")), ("", False, ("", "")), ("0.9 (0.8 to 1.0)", True, ("0.9 (0.8 to 1.0)", "")),
        ("0.9 (0.8 to 1.0)", False, ("0.9", "(0.8 to 1.0)")),
    ],
)  # fmt: skip
def test_cells(value, is_name, words):
    assert cell_words(value, is_name) == words


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("a\n b\t", None, "a b"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("漢字 é", None, "漢字 é"),
        (3, None, "3"),
    ],
)
def test_printable(text, limit, shown):
    assert printable(text, limit) == shown


def test_numbers_stand_to_the_right(tmp_path):
    rows = [["x", 1, "0.9 (0.8 to 1.0)", "word", 3, None], ["y", "", None, "4", float("nan"), None]]
    reader, _ = page(content(sections=[Section("t", "T", tables=[Table("t", list("abcdef"), rows)])]), tmp_path)
    assert [head.get("class") for head in reader.all("th")[:6]] == [None, "number", "number", None, "number", None]


def test_table_needs_a_cell_per_column():
    with pytest.raises(ConfigurationError, match="Row 1 of the table 't' has 1 cells for 2 columns"):
        Table("t", ["a", "b"], [["x", 1], ["y"]])


def test_content_is_json():
    whole = content(sections=[Section("a", "A", ["t"], [Flag("good", "g")], [Table("t", ["a"], [[None]])])])
    assert json.loads(json.dumps(asdict(whole)))["sections"][0]["tables"][0]["rows"] == [[None]]
