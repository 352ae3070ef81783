# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What is left out by where it lies or what it is called."""

from __future__ import annotations

import gzip
import json
import logging
import zipfile

import pytest

from monai_cxrssl.data.sources.chest_film.names import packed_kind
from monai_cxrssl.data.sources.registry import index_folder
from monai_cxrssl.errors import ConfigurationError, DatalistError

from .archive import dicom, grey, indexed, picture


@pytest.mark.parametrize(
    "place",
    [
        *(
            "#recycle",
            "@Recycle",
            "$RECYCLE.BIN/S-1-5",
            "lost+found",
            "System Volume Information",
            "__MACOSX",
            ".Trash-1000",
        ),
        *(".Trashes/501", "Recycle Bin", "@GMT-2024.01.05-10.15.00", ".hidden", "RECYCLER", ".stversions"),
    ],
)
def test_system_folders(tmp_path, place):
    picture(tmp_path / "p1" / "a.png", grey(0))
    picture(tmp_path / "p1" / place / "sub" / "b.png", grey(1))
    picture(tmp_path / place / "c.png", grey(2))
    assert indexed(tmp_path) == (["p1/a.png"], {"system": 2})
    assert len(indexed(tmp_path, keep=["system"])[0]) == 3
    # Whoever names it wants it.
    assert indexed(tmp_path / place) == (["c.png"], {})


def test_files_without_extension_in_a_recycle_bin(tmp_path):
    dicom(tmp_path / "p1" / "a")
    dicom(tmp_path / "#recycle" / "p1" / "b")
    (tmp_path / "#recycle" / "desktop.ini").touch()
    assert indexed(tmp_path) == (["p1/a"], {"system": 1})


def test_snapshots_are_counted_as_one_and_not_listed(tmp_path, monkeypatch):
    picture(tmp_path / "a.png", grey(0))
    for hour in range(3):
        picture(tmp_path / ".snapshot" / f"hourly.{hour}" / "a.png", grey(0))
    assert indexed(tmp_path) == (["a.png"], {"system": 1})


def test_hidden_files(tmp_path, caplog):
    picture(tmp_path / "a.png", grey(0))
    for name in (".DS_Store", "Thumbs.db", ".git/objects/ab", ".gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level(logging.INFO):
        assert indexed(tmp_path) == (["a.png"], {"other_file": 1})
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    (tmp_path / "._a.png").touch()
    assert indexed(tmp_path) == (["a.png"], {"system": 1, "other_file": 1})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((f"a{kind}", kind) for kind in (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".tar.gz")),
        *(("a.dcm.gz", ".gz"), ("A.ZIP", ".zip"), ("a.7z.001", ".7z.001"), ("a.part1.rar", ".rar")),
        *((name, "") for name in ("a.nii.gz", "labels.csv.gz", "a.dcm", "1.2.840.10008", "gz", "a.001", "b.json.gz")),
    ],
)
def test_names_of_packed_files(name, kind):
    assert packed_kind(name) == kind


def test_packed_files(tmp_path, caplog):
    film = tmp_path / "mixed" / "p1" / "a.dcm"
    dicom(film)
    for number in range(3):
        (tmp_path / "mixed" / f"b{number}.dcm.gz").write_bytes(gzip.compress(film.read_bytes()))
    with zipfile.ZipFile(tmp_path / "mixed" / "study", "w") as file:
        file.write(film, "a.dcm")
    assert indexed(tmp_path / "mixed") == (["p1/a.dcm"], {"packed": 4})
    assert "packed files: 4 (.gz 3, zip 1)" in caplog.text
    assert "npack the packed files to have their images read (b0.dcm.gz, b1.dcm.gz, b2.dcm.gz)" in caplog.text
    film.unlink()
    with pytest.raises(DatalistError, match=r"no chest X-ray.*packed files: 4 .*npack .*b0\.dcm\.gz"):
        index_folder(tmp_path / "mixed")


def test_what_cannot_be_kept_is_refused(tmp_path):
    picture(tmp_path / "a.png", grey(0))
    for kind, words in {
        "packed": "unpack them first",
        "masks": "expected one of no_pixels",
        "other_file": "no image",
    }.items():
        with pytest.raises(ConfigurationError, match=words):
            indexed(tmp_path, keep=[kind])
    with pytest.raises(ConfigurationError, match="expected a list"):
        indexed(tmp_path, keep="mask")


def test_own_outputs(tmp_path):
    picture(tmp_path / "p1" / "a.png", grey(0))
    run = {"kind": "train", "status": "complete", "config": [], "version": "0"}
    for place, files in {
        "runs/2026_train": {"run.json": run},
        "CACHE": {"items.json": {}, "cache.json": {}},
        "report": {"index.html": {}, "metrics.json": {}, "provenance.json": {}},
        "phantom": {"manifest.json": {"files": {}}, "datalist.json": {}},
    }.items():
        picture(tmp_path / place / "figures" / "b.png", grey(1))
        for name, content in files.items():
            (tmp_path / place / name).write_text(json.dumps(content))
    # Inference into the folder of the images: only what it wrote itself is its own.
    for name in ("overlays/a.png", "overlays/user.png"):
        picture(tmp_path / name, grey(2))
    (tmp_path / "inference_files.jsonl").write_text(
        '{"file": "overlays/a.png"}\n{"file": "overlays/a.png", "sha256": "0"}\n'
    )
    films, left_out = indexed(tmp_path)
    assert films == ["overlays/user.png", "p1/a.png"]
    assert left_out == {"own_output": 5, "other_file": 1}
    assert len(indexed(tmp_path, keep=["own_output"])[0]) == 7


def test_a_foreign_run_json_is_no_mark(tmp_path):
    picture(tmp_path / "p1" / "a.png", grey(0))
    (tmp_path / "p1" / "run.json").write_text('{"kind": "exposure"}')
    assert indexed(tmp_path)[0] == ["p1/a.png"]
