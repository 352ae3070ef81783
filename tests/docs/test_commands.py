# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command on the pages of the site that lead a reader is run as written, or stands here with the reason why not.

Those of the README's tour are run by tests/test_readme_commands.py, those of the extending pages and the tutorials by
their own tests; the way through a hospital's archive is walked here from end to end.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil

import pydicom
import pytest

from monai_cxrssl.phantom import make_phantom_dataset
from tests import test_readme_commands as readme
from tests.docs.test_expert_commands import NOT_ALONE, RUN_HERE
from tests.docs.test_reproductions import PAGES as REPRODUCTIONS
from tests.page_commands import OURS, RUN, SMALL_SET, Small, as_run, commands_of, run

ARCHIVE = {"ARCHIVE": "my-archive", "NEW": "new-films"}
HOSPITAL = {
    f"{OURS} index ARCHIVE --out d.json --salt_file private/patient_salt": Small(makes=("d.json",)),
    f"{OURS} label d.json labels.csv --out d.json --match accession=AccessionNumber --label_column finding": Small(),
    f"{OURS} show d.json --out sheet.png": Small(makes=("sheet.png",)),
    f"{OURS} show d.json --left_out --out left_out.png": Small(makes=("left_out.png",)),
    f"{OURS} audit d.json --phi --json audit.json": Small(makes=("audit.json",)),
    f"{OURS} split d.json --out s.json --seed 0": Small(makes=("s.json",)),
    f"{OURS} audit s.json": Small(),
    f"{OURS} split d.json --out s2.json --previous s.json": Small(makes=("s2.json",)),
    f"{OURS} cache s.json --out CACHE --side 384": Small("--side 109", makes=("CACHE",)),
    f"{RUN}/micle/train.json --datalist s.json --cache_dir CACHE": Small(
        "--recipe short --image_size 64 --max_epochs 1 --num_workers 0", makes=("bundles/micle/models/model.pt",)
    ),
    f"{RUN}/classification/train.json --datalist s.json --cache_dir CACHE "
    "--pretrained bundles/micle/models/model.pt": Small(
        f"{SMALL_SET} --max_epochs 1", makes=("bundles/classification/models/model.pt",)
    ),
    f"{RUN}/classification/configs/evaluate.json --datalist s.json --store_calibration True": Small(
        "--resamples 20 --max_checked 4", makes=("bundles/classification/runs/*/report/index.html",)
    ),
    f"{RUN}/classification/configs/inference.json --dataset_dir NEW --output_dir OUT": Small(
        makes=("OUT/predictions.csv",)
    ),
}  # fmt: skip

#: Run by other tests.
NOT_HERE = {
    "docs/lungs.md": "tests/bundles/test_lung_weights.py",
    "docs/troubleshooting.md": "tests/bundles/test_description_travels.py",
    "docs/methods/curricular.md": "tests/apps/cli/comparisons/test_compare_command.py, on few images of the phantom",
    "docs/real_cxr.md": "takes hours, on real images; tests/benchmarks/test_real_cxr.py runs a tiny one",
    "docs/tutorials/index.md": "tests/distribution/test_notebooks.py",
    "docs/extending/method.md": "tests/docs/test_extending.py",
    "docs/extending/bundle.md": "tests/docs/test_extending.py",
    **dict.fromkeys([*RUN_HERE, *NOT_ALONE], "tests/docs/test_expert_commands.py"),
    **dict.fromkeys((f"docs/reproductions/{page}.md" for page in REPRODUCTIONS), "tests/docs/test_reproductions.py"),
}


def test_every_page_is_accounted_for(repo):
    known = {"docs/getting_started.md", "docs/hospital_archive.md", *NOT_HERE, *readme.PAGES}
    with_commands = {
        path.relative_to(repo).as_posix()
        for path in (repo / "docs").rglob("*.md")
        if "_build" not in path.parts and commands_of(path.read_text(encoding="utf-8"))
    }
    assert with_commands <= known


def test_tour_is_that_of_the_readme(repo):
    """What a newcomer types here is run, word for word, by the tests of the README."""
    here = commands_of((repo / "docs/getting_started.md").read_text(encoding="utf-8"))
    assert [command for command in here if command not in readme.COMMANDS | readme.NOT_RUN] == []


def test_hospital_commands_are_known(repo):
    page = commands_of((repo / "docs/hospital_archive.md").read_text(encoding="utf-8"))
    assert page == list(HOSPITAL)


def plain_folder(folder, patients, seed):
    """DICOM images without a datalist or masks, each with an accession number, and the finding of each number."""
    path = make_phantom_dataset(folder, patients, seed=seed, size=96, images_per_patient=(1, 2), progress=False)
    content = json.loads(path.read_text())
    path.unlink()
    for entry in folder.iterdir():
        if entry.is_dir() and "mask" in entry.name:
            shutil.rmtree(entry)
    items = content["training"] + content["validation"] + content["test"]
    findings = {}
    for number, item in enumerate(items):
        film = pydicom.dcmread(folder / item["image"])
        film.AccessionNumber = f"0{seed}{number:05d}"
        film.save_as(folder / item["image"])
        findings[film.AccessionNumber] = content["classes"][item["label"]]
    return findings


@pytest.mark.slow
def test_hospital_archive(repo, tmp_path, monkeypatch, warm_python):
    """From an archive of DICOM files and a table of findings to predictions on new images."""
    shutil.copytree(repo / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("runs", "*.pt"))
    findings = plain_folder(tmp_path / "my-archive", patients=72, seed=0)
    rows = [f"{accession},{finding}" for accession, finding in findings.items()]
    (tmp_path / "labels.csv").write_text("\n".join(["accession,finding", *rows, "elsewhere,"]))
    plain_folder(tmp_path / "new-films", patients=4, seed=1)
    # The division follows the pseudonyms: with a salt of chance, a class would be absent from a split now and then.
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "patient_salt").write_text("0123456789abcdef" * 4 + "\n")
    monkeypatch.chdir(tmp_path)
    for command, how in HOSPITAL.items():
        words = as_run(command, Small(how.add, ARCHIVE))
        status, told = run(words, warm_python)
        assert status == 0, f"{shlex.join(words)}\n{told}"
        for name in how.makes:
            assert list(tmp_path.glob(name)), name
    datalist = json.loads((tmp_path / "s.json").read_text())
    assert all(item["label"] is not None for item in datalist["training"])
    # The phantom's ids are PHANTOM and a number: none stands in what came out.
    assert not any(item["patient_id"].startswith("PHANTOM") for item in datalist["training"])
    with open("OUT/predictions.csv", newline="") as file:
        patients = [row["patient_id"] for row in csv.DictReader(file)]
    assert patients
    assert not any(patient.startswith("PHANTOM") for patient in patients)
