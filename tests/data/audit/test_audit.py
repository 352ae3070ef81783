# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.audit.audit import _INVERTED_BELOW, _polarity, audit_datalists
from monai_cxrssl.data.audit.duplicates import near_duplicates
from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist, save_datalist
from monai_cxrssl.data.datalists.split import fold_datalists
from monai_cxrssl.data.reading.read import read_cxr_uint
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.data.stores.cache.build import build_cache
from monai_cxrssl.phantom import make_phantom_dataset


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


def test_films_of_a_cache_are_not_decoded(phantom, tmp_path, monkeypatch, capsys):
    from monai_cxrssl.data.audit import audit

    item = next(i for i in phantom.items("training") if i["view_position"] == "PA")
    lateral = next(i for i in phantom.all_items() if i["view_position"] not in ("PA", "AP"))
    film, mask = tmp_path / "inverted.png", tmp_path / "mask.png"
    cv2.imwrite(str(film), 255 - read_cxr_uint(item["image"]))
    cv2.imwrite(str(tmp_path / "copy.png"), read_cxr_uint(item["image"]))
    cv2.imwrite(str(mask), np.eye(50, dtype=np.uint8) * 255)
    (tmp_path / "bad.png").write_text("<html>")
    items = [
        item | {"study_id": None, "patient_id": "a"},
        {"image": str(tmp_path / "copy.png"), "patient_id": "b"},
        {"image": str(film), "patient_id": "c", "lung_mask": str(mask)},
        {"image": str(tmp_path / "bad.png"), "patient_id": "d"},
        lateral | {"study_id": None, "patient_id": "e", "view_position": "AP"},
    ]
    planted = replace(phantom, root=None, splits={"training": items})
    path = save_datalist(planted, tmp_path / "d.json")
    decoded = audit_datalists([planted], progress=False).findings
    build_cache(load_datalist(path), tmp_path / "cache", side=96, progress=False)
    monkeypatch.setattr(audit, "read_cxr_uint", lambda *_, **__: pytest.fail("decoded"))
    assert main(["audit", str(path), "--cache_dir", str(tmp_path / "cache"), "--json", str(tmp_path / "a.json")]) == 0
    found = json.loads((tmp_path / "a.json").read_text())["findings"]
    assert [(f["kind"], tuple(f["items"])) for f in found] == [(f.kind, f.items) for f in decoded]
    assert {f["kind"] for f in found} >= {"exact_duplicate", "inverted", "lateral", "mask_size", "unreadable"}
    sentences = {f["kind"]: f["sentence"] for f in found}
    assert "at the cache's size" in sentences["exact_duplicate"]
    assert "as reduced for the cache" in sentences["mask_size"]
    capsys.readouterr()
    assert main(["audit", str(path), "--cache_dir", str(tmp_path / "cache"), "--phi"]) == 2
    assert "give --phi without --cache_dir" in capsys.readouterr().err
    cv2.imwrite(str(film), np.eye(200, dtype=np.uint8))
    assert main(["audit", str(path), "--cache_dir", str(tmp_path / "cache")]) == 2
    assert "no finished cache of the 5 images" in capsys.readouterr().err


def test_banded_search_finds_what_all_pairs_find():
    rng = np.random.default_rng(0)
    films = rng.standard_normal((3000, 560)).astype(np.float32)
    films[1000:1050] = films[:50] + rng.normal(0, 0.05, (50, 560))
    films /= np.linalg.norm(films, axis=1, keepdims=True)
    pairs = [(i, j) for i, j, _ in near_duplicates(films)]
    assert pairs == [(n, n + 1000) for n in range(50)]
    assert [(i, j) for i, j, _ in near_duplicates(films, all_pairs=10)] == pairs


def folds_of(count, planted=None):
    """Fold datalists of 12 patients, perhaps with an item more in the training split of fold 0."""
    items = [{"image": f"/nowhere/{n}.png", "patient_id": f"p{n}", "label": n % 2} for n in range(12)]
    whole = Datalist(name="toy", classes=("a", "b"), splits={"training": items[:9], "test": items[9:]})
    made = fold_datalists(whole, count)
    if planted:
        made[0] = replace(made[0], splits={**made[0].splits, "training": [*made[0].splits["training"], planted]})
    recipes = [{"seed": 0, "folds": count, "fold": n, "keep_official": True} for n in range(count)]
    return [replace(d, extra={"manifest": {"recipe": r}}) for d, r in zip(made, recipes, strict=True)]


def kinds(datalists):
    return [f.kind for f in audit_datalists(datalists, pixels=False, progress=False).findings if f.severity == "leak"]


def test_folds_are_alternatives_and_all_else_is_compared():
    folds = folds_of(3)
    assert kinds(folds) == []
    assert audit_datalists(folds, pixels=False, progress=False).images == 12
    # Without the recipe nobody can tell that they are folds.
    assert set(kinds([replace(fold, extra={}) for fold in folds])) == {"patient", "file"}
    # A test patient in the training split of one file leaks, within it and towards the others.
    assert kinds(folds_of(3, {"image": "/nowhere/new.png", "patient_id": "p10"})) == ["patient"]
    assert kinds([folds_of(3, {"image": "/nowhere/new.png", "patient_id": "p10"})[0], folds[1]]) == ["patient"]
    # A validation patient of the same file, too.
    inside = folds[0].splits["validation"][0]["patient_id"]
    assert kinds(folds_of(3, {"image": "/nowhere/new.png", "patient_id": inside})) == ["patient"]


def test_a_pretraining_corpus_is_compared_with_a_test_set():
    corpus = Datalist(name="big", splits={"training": [{"image": "/a/1.png", "patient_id": "1"}]})
    other = Datalist(name="big", splits={"test": [{"image": "/b/1.png", "patient_id": "1"}]})
    assert kinds([corpus, other]) == ["patient"]
    assert kinds([corpus, *folds_of(2), other]) == ["patient"]
    assert kinds([corpus, replace(other, name="another")]) == []


def test_duplicates_over_folds(phantom, tmp_path):
    items = [{**item, "patient_id": f"q{n}", "study_id": None} for n, item in enumerate(phantom.items("training")[:4])]
    copy = tmp_path / "copy.png"
    cv2.imwrite(str(copy), read_cxr_uint(items[0]["image"]))
    items.append({"image": str(copy), "patient_id": "q9"})
    # Always in training together, so a warning in each fold; then on two sides of the same fold, so a leak.
    for held_out, severity in ((1, "warning"), (4, "leak")):
        lists = [
            Datalist(
                classes=phantom.classes,
                task=phantom.task,
                splits={"training": [i for i in items if i is not out], "validation": [out]},
                extra={"manifest": {"recipe": {"folds": 2, "fold": n}}},
            )
            for n, out in enumerate((items[held_out], items[2]))
        ]
        found = [f for f in audit_datalists(lists, progress=False).findings if f.severity != "note"]
        assert [(f.kind, f.severity) for f in found] == [("exact_duplicate", severity)]


def test_labels_and_masks_that_do_not_fit(phantom, tmp_path):
    films = phantom.items("training")[:2]
    shape = read_cxr_uint(films[0]["image"]).shape
    for name, size in (("lesion.png", (9, 9)), ("empty.png", shape), ("fine.png", shape)):
        cv2.imwrite(str(tmp_path / name), np.zeros(size, np.uint8))
    items = [
        {"image": films[0]["image"], "patient_id": "a", "label": 0, "infection_mask": str(tmp_path / "lesion.png")},
        {
            "image": films[1]["image"],
            "patient_id": "b",
            "label": 0,
            "lung_mask": str(tmp_path / "empty.png"),
            "infection_mask": str(tmp_path / "fine.png"),
        },
    ]
    odd = replace(phantom, classes=("a", "b"), task="multi_class", root=None, splits={"training": items})
    found = audit_datalists([odd], progress=False).findings
    assert [f.kind for f in found] == ["mask_empty", "mask_size", "label_imbalance"]
    assert found[2].items == ("b",)
    assert not any(f.severity == "leak" for f in found)


def test_inverted_films_of_the_real_folders(shared_data):
    """Of every fourth frontal image none is flagged, and of the same images inverted at least 97 % are."""
    right = wrong = films = 0
    for name in ("covid-chestxray-dataset", "nih-chestxray14-subset", "kermany-pediatric"):
        frontal = [i for i in index_folder(shared_data / name).items() if i.get("view_position") != "LL"]
        # The one that an earlier test, of mediastinum and lungs alone, took for inverted.
        known = [i for i in frontal if i["image"].endswith("262a70ca.jpg")]
        for item in [*frontal[::4], *known]:
            pixels = read_cxr_uint(item["image"]).astype(np.float32)
            films += 1
            wrong += _polarity(pixels) < _INVERTED_BELOW
            right += _polarity(pixels.max() - pixels) < _INVERTED_BELOW
    assert films > 300
    assert wrong == 0
    assert right >= 0.97 * films
