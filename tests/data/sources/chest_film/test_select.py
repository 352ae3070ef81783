# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The step as a whole: a mixed folder, tables, mixtures, the written datalist."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
import sys
import threading
import time

import numpy as np
import pytest

from monai_cxrssl import files
from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.datalists.datalist import load_datalist
from monai_cxrssl.data.sources.discovery.read_folder import read_folder
from monai_cxrssl.data.sources.registry import LAYOUTS, index_folder
from monai_cxrssl.data.sources.tables.dicom_headers import read_headers
from monai_cxrssl.errors import DatalistError

from .archive import PROCESSING, dicom, grey, indexed, lungs, picture
from .test_objects import colour, report


def by_table(path, keep=(), **files):
    return read_folder(path, LAYOUTS, "csv_table", files=files, keep=keep)


@pytest.fixture
def mixed(tmp_path):
    """Forty things, of which ten are images."""
    root = tmp_path / "archive"
    for n in range(8):
        film = dicom(root / f"p{n}" / "film", grey(n, 256))
        if n < 4:
            raw = {"StudyInstanceUID": film.StudyInstanceUID, "PresentationIntentType": "FOR PROCESSING"}
            dicom(root / f"p{n}" / "raw.dcm", 255 - grey(n, 256), SOPClassUID=PROCESSING, **raw)
            picture(root / "masks" / f"{n}.png", lungs(256))
            picture(root / f"p{n}" / "@eaDir" / "film" / "SYNOPHOTO_THUMB_M.jpg", grey(n, 64))
    for n in range(2):
        picture(root / "png" / f"{n}.png", grey(n, 256))
        report(root / f"p{n}" / "report.dcm", "1.2.840.10008.5.1.4.1.1.104.1", Modality="OT")
        picture(root / "thumbnails" / f"{n}.png", grey(n, 64))
        (root / f"letter{n}.pdf").write_bytes(b"%PDF-1.4")
        picture(root / "#recycle" / f"{n}.png", grey(n, 256))
        (root / f"old{n}.dcm.gz").write_bytes(gzip.compress(b"film"))
    dicom(root / "p0" / "hand.dcm", grey(20, 256), BodyPartExamined="HAND")
    dicom(root / "p0" / "capture.dcm", colour(True))
    dicom(root / "p0" / "ct.dcm", grey(21, 256), Modality="CT")
    shutil.copy(root / "p0" / "film", root / "dicomdir")
    (root / "labels.csv").write_text("a,b\n")
    dicom(root / "p1" / "cine.dcm", grey(22, 256), NumberOfFrames=5)
    return root


COUNTS = {
    **{"no_pixels": 2, "dicomdir": 1, "modality": 1, "colour": 1, "frames": 1, "body_part": 1, "for_processing": 4},
    **{"mask": 2, "thumbnail": 6, "system": 2, "packed": 2, "other_file": 3},
}


def test_mixed_folder(mixed, tmp_path, capsys, caplog):
    out = tmp_path / "lists" / "d.json"
    with caplog.at_level(logging.WARNING):
        assert main(["index", str(mixed), "--out", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["images"], summary["left_out"]) == (10, COUNTS)
    assert sum("left out" in record.getMessage() for record in caplog.records) == 1
    datalist = load_datalist(out)
    assert datalist.summary() == summary
    # Examples are found from the written file, as its images are.
    record = datalist.extra["left_out"]["mask"]
    assert [(out.parent / path).resolve() for path in record["examples"]] == [
        mixed / "masks" / f"{n}.png" for n in (2, 3)
    ]
    # Those that have an image of their name are its masks.
    assert summary["masks"] == {"lung_mask": 2}
    assert datalist.extra["left_out"]["modality"]["details"] == {"CT": 1}
    # A run sees the same.
    assert index_folder(mixed).summary()["left_out"] == COUNTS


def test_keep_on_the_command_line(mixed, tmp_path, capsys):
    words = ["index", str(mixed), "--out", str(tmp_path / "d.json"), "--json"]
    assert main([*words, "--keep", "body_part", "--keep", "mask"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["images"] == 15
    assert not {"body_part", "mask"} & set(summary["left_out"])
    assert main([*words, "--keep", "hands"]) == 2
    assert "keep is 'hands'; expected one of no_pixels" in capsys.readouterr().err


def test_counts_stand_in_the_table_too(mixed, tmp_path, capsys):
    assert main(["index", str(mixed), "--out", str(tmp_path / "d.json")]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines() if "mask" in line] == [
        ["with", "lung_mask:", "2"],
        ["left", "out:", "mask", "2"],
    ]


def table(root, images, name="films.csv"):
    lines = ["image,patient_id", *(f"{image},{n}" for n, image in enumerate(images))]
    (root / name).write_text("\n".join(lines) + "\n")
    return root / name


def test_tables(mixed, caplog):
    images = sorted(
        p.relative_to(mixed).as_posix() for p in mixed.rglob("*") if p.suffix not in (".csv", ".pdf") and p.is_file()
    )
    datalist = by_table(table(mixed, images))
    counts = {**COUNTS, "mask": 4}
    del counts["other_file"]
    assert counts == datalist.summary()["left_out"]
    assert datalist.summary()["images"] == 10
    assert "left out" in caplog.text
    assert by_table(mixed / "films.csv", ["mask", "body_part"]).summary()["images"] == 15
    masks = [image for image in images if image.startswith("masks/")]
    with pytest.raises(DatalistError, match="films lists no chest X-ray. 4 files .* masks: 4"):
        by_table(table(mixed, masks))


def test_a_table_of_films_costs_no_decoding(tmp_path, monkeypatch):
    from monai_cxrssl.data.sources.chest_film import select

    for n in range(20):
        picture(tmp_path / f"{n}.png", grey(n))
    picture(tmp_path / "truth" / "0.png", lungs())
    opened = []
    real = select.look_at_file
    monkeypatch.setattr(select, "look_at_file", lambda path, *a: opened.append(path) or real(path, *a))
    datalist = by_table(table(tmp_path, [*(f"{n}.png" for n in range(20)), "truth/0.png"]))
    assert datalist.summary()["left_out"] == {"mask": 1}
    assert opened == [str(tmp_path / "truth" / "0.png")]


def test_small_films_of_a_table_stay(tmp_path):
    for n in range(5):
        picture(tmp_path / f"{n}.png", grey(n, 300))
    picture(tmp_path / "tiny.png", grey(5, 40))
    assert len(by_table(table(tmp_path, [*(f"{n}.png" for n in range(5)), "tiny.png"])).items()) == 6


def test_mixtures_add_up(mixed, tmp_path):
    picture(tmp_path / "other" / "a.png", grey(0))
    picture(tmp_path / "other" / "masks" / "a.png", lungs())
    summary = index_folder([mixed, tmp_path / "other"]).summary()
    assert summary["left_out"] == COUNTS
    assert summary["masks"] == {"lung_mask": 3}


def test_listed_but_no_file(tmp_path):
    picture(tmp_path / "a.png", grey(0))
    path = table(tmp_path, ["a.png", "masks/absent.png"])
    assert len(by_table(path, check_files=False).items()) == 2


def test_noise_is_no_mask_whatever_its_folder(tmp_path):
    rng = np.random.default_rng(0)
    picture(tmp_path / "segmentations" / "a.png", rng.integers(0, 255, (64, 64), np.uint8))
    assert indexed(tmp_path)[0] == ["segmentations/a.png"]


def test_many_files_in_flight_give_what_one_at_a_time_gives(mixed, tmp_path, caplog, monkeypatch, capsys):
    (mixed / "p2" / "cut.dcm").write_bytes((mixed / "p2" / "film").read_bytes()[:300])
    (mixed / "p3" / "nothing.dcm").write_bytes(b"")
    (mixed / "p3" / "lost.dcm").symlink_to(mixed / "gone.dcm")
    (mixed / "p3" / "loop.dcm").symlink_to(mixed / "p3" / "loop.dcm")
    seen = []
    for name in ("many", "one"):
        if name == "one":
            for module in [m for n, m in sys.modules.items() if n.startswith("monai_cxrssl.") and n != files.__name__]:
                if hasattr(module, "ordered_map"):
                    monkeypatch.setattr(module, "ordered_map", lambda function, items, *_, **__: map(function, items))
                if hasattr(module, "ask_all"):
                    monkeypatch.setattr(module, "ask_all", lambda function, items, *_, **__: [*map(function, items)])
        caplog.clear()
        assert main(["index", str(mixed), "--out", str(tmp_path / "d.json")]) == 0
        said = [(record.levelno, record.getMessage()) for record in caplog.records]
        seen.append((said, capsys.readouterr(), (tmp_path / "d.json").read_bytes()))
    assert seen[0] == seen[1]
    assert seen[0][0]


class SlowDisk:
    """A network disk: every file takes a tenth of a second to open."""

    SECONDS = 0.1

    def __init__(self, folder, monkeypatch):
        self.opened = self.now = self.most = 0
        self._lock = threading.Lock()
        real = os.open

        def slow(path, *args, **options):
            if not str(path).startswith(str(folder)):
                return real(path, *args, **options)
            with self._lock:
                self.opened += 1
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(self.SECONDS)
            with self._lock:
                self.now -= 1
            return real(path, *args, **options)

        monkeypatch.setattr(os, "open", slow)


def test_a_slow_disk_is_waited_for_once(tmp_path, monkeypatch):
    root, count = tmp_path / "archive", 96
    first = root / "p" / "0.dcm"
    dicom(first, AccessionNumber="A1", PatientID="p")
    for n in range(1, count):
        shutil.copy(first, root / "p" / f"{n}.dcm")
    disk = SlowDisk(root, monkeypatch)
    started = time.monotonic()
    assert main(["index", str(root), "--out", str(tmp_path / "d.json"), "--json"]) == 0
    seconds = time.monotonic() - started
    assert disk.opened >= 2 * count  # first bytes, and the header
    assert disk.most >= 16
    assert disk.opened * disk.SECONDS >= 8 * seconds
    (tmp_path / "labels.csv").write_text("accession,finding\nA1,pneumonia\n")
    disk.opened = disk.most = 0
    words = ["label", tmp_path / "d.json", tmp_path / "labels.csv", "--out", tmp_path / "l.json", "--label_column"]
    assert main([*map(str, words), "finding", "--match", "accession=AccessionNumber"]) == 0
    assert (disk.opened, disk.most >= 16) == (count, True)
    disk.most = 0
    headers = read_headers(root, [f"p/{n}.dcm" for n in range(count)], "films")
    assert [header["patient_id"] for header in headers] == ["p"] * count
    assert disk.most >= 16
