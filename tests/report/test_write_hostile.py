# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A whole report of names that are markup: from the predictions file to the page, every text stays a text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from monai_cxrssl.data.datalists.predictions import Predictions, load_predictions, save_predictions
from monai_cxrssl.report.write import write_report

CLASSES = ["<script>alert(1)</script>", "\"><img src=x onerror='alert(2)'>", "</td></table>{{7*7}}"]
FILES = ["<svg onload=alert(3)>.png", "new\nline.png", "quo'te\".png", "not \udcff utf-8.png", "=cmd|' /C calc'!A0.png"]
SITES = ["<b>one</b>", "javascript:alert(4)"]


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def write(folder, classes, files, sites):
    draw = np.random.default_rng(0)
    patient = np.arange(60) // 2
    label = patient % len(classes)
    scores = np.exp(draw.normal(size=(60, len(classes))) + 2 * np.eye(len(classes))[label])
    items = [
        {
            "image": f"{n}/{files[n % len(files)]}",
            "patient_id": f"{files[0]}{p}",
            "split": split,
            "source": sites[p % 2],
        }
        for n, (p, split) in enumerate(zip(patient, ["validation", "test"] * 30, strict=True))
    ]
    made = Predictions(
        classes, "multi_class", items, scores / scores.sum(axis=1, keepdims=True), label,
        {"dice": draw.uniform(0.5, 0.9, 60)}, [{"image": files[0], "cause": f"is {files[1]} {classes[0]}"}],
    )  # fmt: skip
    save_predictions(made, folder / "predictions.csv")
    assert [item["image"] for item in load_predictions(folder / "predictions.csv").items] == [
        item["image"] for item in items
    ]
    return write_report(folder, resamples=20, command=f"run {classes[0]} {files[2]}")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    hostile = write(tmp_path_factory.mktemp("hostile"), CLASSES, FILES, SITES)
    tame = write(tmp_path_factory.mktemp("tame"), ["a", "b", "c"], [f"{n}.png" for n in range(5)], ["one", "two"])
    return hostile.read_text(encoding="utf-8"), tame.read_text(encoding="utf-8")


def test_no_element_or_attribute_comes_from_a_name(pages):
    hostile, tame = (Elements(text).elements for text in pages)
    # How many rows a table has may depend on figures; what elements and attributes there are may not.
    kinds = [{(tag, *sorted(attributes)) for tag, attributes in elements} for elements in (hostile, tame)]
    assert kinds[0] == kinds[1]
    assert not {tag for tag, _ in hostile} & {"script", "iframe", "object", "embed", "base", "form", "svg:script"}
    for _, attributes in hostile:
        assert not [name for name in attributes if name.startswith("on")]
        assert not re.match(r"\s*(javascript|https?):", attributes.get("href") or attributes.get("src") or "")


def test_the_names_are_shown(pages):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0]
    assert "<script" not in pages[0]
