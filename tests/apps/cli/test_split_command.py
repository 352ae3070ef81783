# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``split`` through the command line, on a datalist whose image files do not exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_cxrssl.apps.cli.main import main

SPLITS = ("training", "validation", "test")


@pytest.fixture
def listed(tmp_path):
    """A datalist of 60 patients with two images each; p50 to p59 are its official test split."""
    items = [
        {"image": f"{n}_{k}.png", "patient_id": f"p{n}", "label": n % 2, "view_position": "PA"}
        for n in range(60)
        for k in range(2)
    ]
    content = {"name": "toy", "classes": ["a", "b"], "task": "multi_class"}
    path = tmp_path / "d.json"
    path.write_text(json.dumps({**content, "training": items[:100], "test": items[100:]}))
    return path


def patients(path):
    content = json.loads(path.read_text())
    return [{item["patient_id"] for item in content[split]} for split in SPLITS]


def run(capsys, *arguments):
    """What ``split --json`` prints, with the recipe of each file."""
    capsys.readouterr()
    assert main(["split", *map(str, arguments), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    manifests = [json.loads(Path(entry["file"]).read_text())["manifest"] for entry in told]
    assert [entry["sha256"] for entry in told] == [manifest["sha256"] for manifest in manifests]
    return told, [manifest["recipe"] for manifest in manifests]


def test_fractions_and_official_splits(listed, tmp_path, capsys):
    out = tmp_path / "s.json"
    told, recipes = run(capsys, listed, "--out", out, "--fractions", 0.5, 0.5, 0)
    assert recipes == [{"seed": 0, "fractions": [0.5, 0.5, 0.0], "keep_official": True}]
    assert told[0]["splits"]["test"]["patients"] == 10
    parts = patients(out)
    assert parts[2] == {f"p{n}" for n in range(50, 60)}
    assert len(parts[0]) + len(parts[1]) == 50
    run(capsys, listed, "--out", out, "--fractions", 0.5, 0.5, 0, "--ignore_official")
    parts = patients(out)
    assert not parts[2]
    assert len(parts[0] | parts[1]) == 60
    assert parts[1] & {f"p{n}" for n in range(50, 60)}


def test_previous_keeps_patients_where_they_were(listed, tmp_path, capsys):
    first, second, third = (tmp_path / name for name in ("1.json", "2.json", "3.json"))
    content = json.loads(listed.read_text())
    smaller = tmp_path / "smaller.json"
    smaller.write_text(json.dumps({**content, "training": content["training"][:60]}))
    run(capsys, smaller, "--out", first, "--seed", 1)
    run(capsys, listed, "--out", second, "--seed", 2, "--previous", first)
    run(capsys, listed, "--out", third, "--seed", 2)
    assert all(small <= large for small, large in zip(patients(first), patients(second), strict=True))
    assert not all(small <= large for small, large in zip(patients(first), patients(third), strict=True))


def test_folds_are_alternatives_for_the_audit(listed, tmp_path, capsys):
    told, recipes = run(capsys, listed, "--out", tmp_path / "s.json", "--folds", 3)
    files = [tmp_path / f"s_fold{n}.json" for n in range(3)]
    assert [entry["file"] for entry in told] == list(map(str, files))
    assert [recipe["fold"] for recipe in recipes] == [0, 1, 2]
    held_out = [patients(path)[1] for path in files]
    assert sum(map(len, held_out)) == len(set.union(*held_out)) == 50
    assert main(["audit", *map(str, files), "--no-pixels"]) == 0
    # A division by another seed is no alternative of these, but another split of the same patients.
    run(capsys, listed, "--out", tmp_path / "t.json", "--folds", 3, "--seed", 9)
    assert main(["audit", str(files[0]), str(tmp_path / "t_fold0.json"), "--no-pixels"]) == 1


def test_label_fractions_are_nested_by_patient(listed, tmp_path, capsys):
    whole = tmp_path / "s.json"
    told, _ = run(capsys, listed, "--out", whole, "--fractions", 0.8, 0.2, 0)
    small, large = tmp_path / "10.json", tmp_path / "50.json"
    _, recipes = run(capsys, whole, "--out", small, "--label_fraction", 0.1)
    assert recipes == [{"seed": 0, "label_fraction": 0.1, "of": told[0]["sha256"], "draw": 0}]
    _, recipes = run(capsys, whole, "--out", large, "--label_fraction", 0.5, "--draws", 2)
    assert [recipe["draw"] for recipe in recipes] == [0, 1]
    draws = [tmp_path / "50_draw0.json", tmp_path / "50_draw1.json"]
    ours, halves, full = patients(small), [patients(path) for path in draws], patients(whole)
    assert len(ours[0]) == 4
    assert ours[0] < halves[0][0] < full[0]
    assert halves[0][0] != halves[1][0]
    assert ours[1:] == halves[0][1:] == full[1:]
    # Every image of a patient who is kept is kept.
    assert len(json.loads(small.read_text())["training"]) == 8
    assert main(["audit", str(whole), *map(str, draws), "--no-pixels"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--folds", "3", "--previous", "x.json"], "--previous does nothing with --folds"),
        (["--folds", "3", "--fractions", "0.5", "0.5", "0"], "--fractions does nothing with --folds"),
        (["--label_fraction", "0.1", "--ignore_official"], "--ignore_official does nothing with --label_fraction"),
        (["--draws", "3"], "--draws is for --label_fraction"),
        (["--label_fraction", "0.1", "--draws", "0"], "--draws is 0"),
        (["--label_fraction", "1.5"], "label fraction is 1.5"),
        (["--fractions", "0.5", "0.5", "0.5"], "whose sum is 1"),
        (["--folds", "61"], "folds is 61"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(arguments, words, listed, capsys):
    before = sorted(listed.parent.iterdir())
    assert main(["split", str(listed), "--out", str(listed.with_name("s.json")), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert sorted(listed.parent.iterdir()) == before
