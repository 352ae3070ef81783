# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The TBX11K layout on a miniature of its tree, and what it says of broken lists and annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_cxrssl.data.datalists.vocabulary import PATHOLOGIES
from monai_cxrssl.data.sources.layouts import tbx11k
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

TRAIN = ["health/h0001.png", "sick/s0001.png", "tb/tb0001.png", "tb/tb0002.png", "tb/tb0003.png", "tb/tb0004.png"]
VAL = ["health/h0002.png"]
NAMES = {1: "ActiveTuberculosis", 2: "ObsoletePulmonaryTuberculosis", 3: "PulmonaryTuberculosis"}
# Image number, category and box.
BOXES = [(3, 1, [10, 20, 30, 40.5]), (4, 2, [1, 2, 3, 4]), (4, 1, [5, 6, 7, 8]), (5, 3, [0, 0, 9, 9])]


def coco(boxes=BOXES, names=None):
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name, "width": 512, "height": 512} for n, name in enumerate(TRAIN, 1)],
            "categories": [{"id": number, "name": name} for number, name in (names or NAMES).items()],
            "annotations": [
                {"id": n, "image_id": image, "category_id": kind, "bbox": box}
                for n, (image, kind, box) in enumerate(boxes, 1)
            ],
        }
    )


def write(top, train=TRAIN, films=(*TRAIN, *VAL), annotations=None):
    for name, text in {
        "lists/TBX11K_train.txt": "\n".join(train) + "\n",
        "lists/TBX11K_val.txt": "\n".join(VAL),
        "annotations/json/TBX11K_train.json": annotations or coco(),
        **{f"imgs/{name}": "" for name in films},
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


@pytest.mark.parametrize("above", [False, True])
def test_items(tmp_path, above):
    top = write(tmp_path / "TBX11K" if above else tmp_path)
    assert set(tbx11k.CLASSES) <= set(PATHOLOGIES)
    assert find_layout(tmp_path) == "tbx11k"
    datalist = index_folder(tmp_path)
    items = datalist.items("training")
    assert [Path(item["image"]) for item in items] == [top / "imgs" / name for name in TRAIN]
    assert [item["label"] for item in items] == [
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 1, 0, 1],
        [0, 1, 1, 1],
        [0, None, None, 1],
        [0, None, None, 1],
    ]
    assert [item.get("boxes") for item in items] == [
        [],
        [],
        [[10, 20, 40, 60.5]],
        [[1, 2, 4, 6], [5, 6, 12, 14]],
        [[0, 0, 9, 9]],
        None,
    ]
    assert items[3]["box_classes"] == ["Latent Tuberculosis", "Active Tuberculosis"]
    assert (items[0]["patient_id"], items[2]["patient_id"]) == ("h0001", "tb0001")
    assert [item["label"] for item in datalist.items("validation")] == [[1, 0, 0, 0]]


def test_absent_films_and_boxes(tmp_path, caplog):
    top = write(tmp_path, films=(*TRAIN[1:], *VAL))
    (top / "annotations/json/TBX11K_train.json").unlink()
    items = tbx11k.read(top, allow_absent=True).items("training")
    assert [item["label"] for item in items] == [[0, 0, 0, 0]] + [[0, None, None, 1]] * 4
    assert "1 of 6 listed images are absent" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"films": TRAIN[:4] + VAL},
            r"TBX11K_train.txt, lines 5, 6: the listed files do not exist \(looked for .*tb0003",
        ),
        ({"train": [*TRAIN, TRAIN[2]]}, r"line 7: the image tb/tb0001.png was listed before, in line 3"),
        ({"annotations": "{"}, "is no COCO file with images, categories and annotations"),
        ({"annotations": '{"images": []}'}, "is no COCO file .*KeyError: 'categories'"),
        ({"annotations": coco([(1, 1, [1, 2, 0, 4])])}, r"annotation 1 has the image 1 and the bbox \[1, 2, 0, 4\]"),
        ({"annotations": coco([(99, 1, [1, 2, 3, 4])])}, "annotation 1 has the image 99"),
    ],
)
def test_faults(tmp_path, changed, message):
    with pytest.raises(DatalistError, match=message):
        tbx11k.read(write(tmp_path, **changed))


def test_nothing(tmp_path):
    with pytest.raises(DatalistError, match=r"holds no lists/TBX11K_train.txt"):
        tbx11k.read(tmp_path)
